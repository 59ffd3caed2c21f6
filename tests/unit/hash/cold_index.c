/* SPDX-License-Identifier: Apache-2.0 */
#include "cold_index.h"

static bool is_on;

int cold_index_begin(void **state) {
    (void)state;
    is_on = true;
    return 0;
}

int cold_index_end(void **state) {
    (void)state;
    is_on = false;
    return 0;
}

void cold_index_apply(struct engine_world *world) {
    if (is_on) {
        world->budget.limit_bytes = 1;
    }
}
