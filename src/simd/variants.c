/* SPDX-License-Identifier: Apache-2.0 */
#include "simd/variants.h"

bool variant_is_plain(void) {
    return true;
}

const struct variant *variant_best(const struct variant *list) {
    const struct variant *best = list;
    for (const struct variant *each = list; each->name != NULL; each++) {
        best = each->runs_here() ? each : best;
    }
    return best;
}
