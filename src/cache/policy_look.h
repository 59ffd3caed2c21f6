/* SPDX-License-Identifier: Apache-2.0 */
/* How policies look at frames: one place that reads and clears the flag of a hit. */
#ifndef TERN_CACHE_POLICY_LOOK_H
#define TERN_CACHE_POLICY_LOOK_H

#include "cache/cache_internal.h"

enum frame_look {
    LOOK_UNAVAILABLE, /* pinned, or not published (any more) */
    LOOK_HIT,         /* hit since the last look */
    LOOK_IDLE         /* not hit, or the round cannot spare it */
};

static inline enum frame_look policy_collect(struct cache_policy *policy,
                                             struct cache_frame *frame) {
    uint32_t state = atomic_load_explicit(&frame->state, memory_order_acquire);
    if ((state & FRAME_PHASE_MASK) != FRAME_PHASE_PUBLISHED || (state & FRAME_PINS_MASK) != 0) {
        return LOOK_UNAVAILABLE;
    }
    if ((state & CACHE_FRAME_REFERENCED) == 0) {
        return LOOK_IDLE;
    }
    atomic_fetch_and_explicit(&frame->state, ~CACHE_FRAME_REFERENCED, memory_order_relaxed);
    policy->hits_seen++;
    return LOOK_HIT;
}

/* Costs the round a look. */
static inline enum frame_look policy_look(struct cache_policy *policy, struct cache_frame *frame,
                                          struct eviction_round *round) {
    round->looks_left--;
    enum frame_look look = policy_collect(policy, frame);
    return look == LOOK_HIT && round->looks_left < round->forced_below ? LOOK_IDLE : look;
}

#endif
