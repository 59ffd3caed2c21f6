/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CLOCK (Corbató, "A paging experiment with the Multics system", 1968): a hand goes round the
 * frames; one that was hit since the hand last came by loses its flag and stays, one that was not
 * goes. A new frame starts without the flag, so that a scan pushes itself out first.
 *
 * Deviation: the hand looks at a bounded number of frames in a round; after that the next unpinned
 * ones go, flag or not. So an eviction costs the same however many frames are hot.
 *
 * No memory beside the frames: the hand is the pool's, the flags are the frames'.
 */
#include "base/error.h"
#include "cache/policy_look.h"

static struct cache_frame *pick(struct cache_policy *policy, struct eviction_round *round) {
    while (round->looks_left > 0) {
        struct cache_frame *frame = frame_pool_next(policy->pool);
        if (frame == NULL) {
            return NULL;
        }
        if (policy_look(policy, frame, round) == LOOK_IDLE) {
            return frame;
        }
    }
    return NULL;
}

static tern_status create(const tern_allocator *allocator, struct frame_pool *pool,
                          uint32_t frames_max, struct cache_policy **out_policy,
                          tern_error *error) {
    (void)frames_max;
    struct cache_policy *policy = memory_allocate_zeroed(allocator, sizeof(*policy));
    if (policy == NULL) {
        return ERROR_NO_MEMORY(error, "the cache");
    }
    policy->pool = pool;
    *out_policy = policy;
    return TERN_OK;
}

static void destroy(const tern_allocator *allocator, struct cache_policy *policy) {
    memory_release(allocator, policy);
}

const struct cache_policy_methods cache_policy_clock = {
    .name = "clock",
    .create = create,
    .destroy = destroy,
    .pick = pick,
};
