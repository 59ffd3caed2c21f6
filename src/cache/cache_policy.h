/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What decides which frames go: one policy state per size class. The cache tells it of frames that
 * come and go and asks it for victims; a hit tells it nothing, but leaves CACHE_FRAME_REFERENCED on
 * the frame, which the policy reads and clears when it looks. So a hit costs the same under every
 * policy, and how much a policy learns of hits depends on how often it looks.
 *
 * Frames are named by their index in the class (struct frame_pool), pages that are gone (ghosts) by
 * their tag.
 */
#ifndef TERN_CACHE_CACHE_POLICY_H
#define TERN_CACHE_CACHE_POLICY_H

#include <tern/db.h>

#include "cache/cache.h"

struct frame_pool;

/* Comes first in the state of each policy. */
struct cache_policy {
    struct frame_pool *pool;
    uint64_t hits_seen;  /* frames found with their flag: each was hit at least once */
    uint64_t ghost_hits; /* pages that came back while the policy still knew them */
    uint64_t ghosts;     /* known now */
};

/* How much one round of evictions may look at. */
struct eviction_round {
    uint32_t looks_left;
    uint32_t forced_below; /* with so few looks left a hit does not save a frame any more */
};

/* All calls hold the cache's lock. */
struct cache_policy_methods {
    const char *name;
    /* Memory per frame of the class: nodes, ghosts and counters. At least what the policy takes. */
    uint32_t bytes_per_frame;
    tern_status (*create)(const tern_allocator *allocator, struct frame_pool *pool,
                          uint32_t frames_max, struct cache_policy **out_policy, tern_error *error);
    void (*destroy)(const tern_allocator *allocator, struct cache_policy *policy);
    /* The class has so many frames from now on. May be NULL. */
    void (*resize)(struct cache_policy *policy, uint32_t frame_count);
    /* A frame was published. May be NULL; then the policy is told of none. */
    void (*on_insert)(struct cache_policy *policy, uint32_t index, cache_tag tag);
    /* A frame was taken out: as the victim of a pick, or because nobody needs the page any more. */
    void (*on_remove)(struct cache_policy *policy, uint32_t index, cache_tag tag, bool was_victim);
    /* The place of a page that is not cached gets new contents. May be NULL. */
    void (*forget)(struct cache_policy *policy, cache_tag tag);
    /* Before a round: looks at so many frames to collect hits. May be NULL. */
    void (*sweep)(struct cache_policy *policy, uint32_t looks);
    /*
     * A published, unpinned frame to evict, or NULL when the round's looks are used up. It stays
     * where it is in the policy's lists until on_remove.
     */
    struct cache_frame *(*pick)(struct cache_policy *policy, struct eviction_round *round);
    /* True when the policy holds the frame to be among the better half. May be NULL. */
    bool (*is_hot)(const struct cache_policy *policy, uint32_t index);
    /* Name of a broken invariant, or NULL. May be NULL. */
    const char *(*check)(const struct cache_policy *policy);
};

extern const struct cache_policy_methods cache_policy_arc;
extern const struct cache_policy_methods cache_policy_clock;
extern const struct cache_policy_methods cache_policy_clock_pro;
extern const struct cache_policy_methods cache_policy_lru;
extern const struct cache_policy_methods cache_policy_slru;
extern const struct cache_policy_methods cache_policy_tinylfu;

/* NULL: there is no such policy. TERN_CACHE_POLICY_DEFAULT is the default's. */
const struct cache_policy_methods *cache_policy_methods_of(tern_cache_policy policy);

#endif
