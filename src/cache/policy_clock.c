/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CLOCK (Corbató, "A paging experiment with the Multics system", 1968): a hand goes round the
 * frames; one that was hit since the hand last came by loses its flag and stays, one that was not
 * goes. A new frame starts without the flag, so that a scan pushes itself out first.
 *
 * Deviation: the hand looks at no more than LOOKS_MAX frames per call; after that the next unpinned
 * ones go, flag or not. So an eviction costs the same however many frames are hot.
 */
#include "cache/cache_internal.h"

#define LOOKS_MAX 256u

static size_t pick(struct cache_policy *policy, struct frame_pool *pool,
                   struct cache_frame **out_victims, size_t capacity) {
    (void)policy;
    size_t count = 0;
    size_t looks_max = LOOKS_MAX + 2 * capacity;
    for (size_t looks = 0; looks < looks_max && count < capacity; looks++) {
        struct cache_frame *frame = frame_pool_next(pool);
        if (frame == NULL) {
            break;
        }
        uint32_t state = atomic_load_explicit(&frame->state, memory_order_acquire);
        if ((state & FRAME_PHASE_MASK) != FRAME_PHASE_PUBLISHED || (state & FRAME_PINS_MASK) != 0) {
            continue;
        }
        if ((state & CACHE_FRAME_REFERENCED) != 0) {
            atomic_fetch_and_explicit(&frame->state, ~CACHE_FRAME_REFERENCED, memory_order_relaxed);
            if (looks < LOOKS_MAX) {
                continue;
            }
        }
        out_victims[count++] = frame;
    }
    return count;
}

static tern_status create(const tern_allocator *allocator, struct cache_policy **out_policy,
                          tern_error *error) {
    (void)allocator;
    (void)error;
    *out_policy = NULL; /* the hand is the pool's, the flags are the frames' */
    return TERN_OK;
}

static void destroy(const tern_allocator *allocator, struct cache_policy *policy) {
    (void)allocator;
    (void)policy;
}

static uint64_t memory_bytes(const struct cache_policy *policy) {
    (void)policy;
    return 0;
}

const struct cache_policy_methods cache_policy_clock = {
    .name = "clock",
    .create = create,
    .destroy = destroy,
    .pick = pick,
    .memory_bytes = memory_bytes,
};
