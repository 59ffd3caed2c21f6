/* SPDX-License-Identifier: Apache-2.0 */
#include "timeline.h"

#include <string.h>

void timeline_init(struct timeline *timeline, uint64_t start_ticks, uint64_t slot_ticks) {
    memset(timeline, 0, sizeof(*timeline));
    timeline->start_ticks = start_ticks;
    timeline->slot_ticks = slot_ticks;
}

void timeline_merge(struct timeline *into, const struct timeline *from) {
    for (unsigned i = 0; i < from->slot_count; i++) {
        into->calls[i] += from->calls[i];
        if (from->max_ticks[i] > into->max_ticks[i])
            into->max_ticks[i] = from->max_ticks[i];
    }
    if (from->slot_count > into->slot_count)
        into->slot_count = from->slot_count;
}
