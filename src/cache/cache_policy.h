/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What decides which frames go: one policy state per size class. The cache tells it of frames that
 * come and go and asks it for victims; a hit tells it nothing, but leaves CACHE_FRAME_REFERENCED on
 * the frame, which the policy reads and clears when it looks.
 */
#ifndef TERN_CACHE_CACHE_POLICY_H
#define TERN_CACHE_CACHE_POLICY_H

#include "cache/cache.h"

struct frame_pool;
struct cache_policy;

/* All calls hold the cache's lock, but on_insert, which any thread may be in. */
struct cache_policy_methods {
    const char *name;
    tern_status (*create)(const tern_allocator *allocator, struct cache_policy **out_policy,
                          tern_error *error);
    void (*destroy)(const tern_allocator *allocator, struct cache_policy *policy);
    /* A frame was published. May be NULL. */
    void (*on_insert)(struct cache_policy *policy, const struct cache_frame *frame, cache_tag tag);
    /* A frame was taken out. May be NULL. */
    void (*on_remove)(struct cache_policy *policy, const struct cache_frame *frame, cache_tag tag);
    /*
     * Picks up to `capacity` published, unpinned frames to evict, looking at a bounded number. The
     * cache may find that one has been pinned or taken out meanwhile.
     */
    size_t (*pick)(struct cache_policy *policy, struct frame_pool *pool,
                   struct cache_frame **out_victims, size_t capacity);
    uint64_t (*memory_bytes)(const struct cache_policy *policy);
};

extern const struct cache_policy_methods cache_policy_clock;

#endif
