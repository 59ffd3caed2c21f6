/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a run went over time: for each slot of it (a tenth of a second, say) how many timed calls
 * ended in it, and the longest of them. A pause shows as a slot with a long call and slots without
 * any before it. One thread writes it; merge after the threads have ended.
 */
#ifndef BENCH_TIMELINE_H
#define BENCH_TIMELINE_H

#include <stdint.h>

/* What comes after the last slot is not recorded. */
#define TIMELINE_SLOTS 1024U

struct timeline {
    uint64_t start_ticks;
    uint64_t slot_ticks;
    unsigned slot_count; /* up to the last one with a call */
    uint64_t calls[TIMELINE_SLOTS];
    uint64_t max_ticks[TIMELINE_SLOTS];
};

void timeline_init(struct timeline *timeline, uint64_t start_ticks, uint64_t slot_ticks);
void timeline_merge(struct timeline *into, const struct timeline *from);

/* A call that took `ticks` has ended. */
static inline void timeline_add(struct timeline *timeline, uint64_t end_ticks, uint64_t ticks) {
    uint64_t slot = (end_ticks - timeline->start_ticks) / timeline->slot_ticks;
    if (slot >= TIMELINE_SLOTS)
        return;
    timeline->calls[slot]++;
    if (ticks > timeline->max_ticks[slot])
        timeline->max_ticks[slot] = ticks;
    if (slot >= timeline->slot_count)
        timeline->slot_count = (unsigned)slot + 1;
}

#endif
