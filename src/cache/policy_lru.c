/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Least recently used, as far as flags tell: one list, newest first.
 *
 * Deviation: a hit only sets the frame's flag. Before each round of evictions a hand looks at
 * SWEEP_LOOKS frames per victim (cache.c) and moves those that were hit to the front, so that it
 * passes all frames while an eighth of them are replaced: the order is that of LRU but for hits
 * less than an eighth of the cache's turnover apart. A frame that was hit and comes to the end
 * before the hand has seen it goes to the front as well.
 */
#include "base/error.h"
#include "cache/policy_look.h"
#include "cache/policy_nodes.h"

#define RECENT 1u

struct policy_lru {
    struct cache_policy base;
    struct policy_nodes nodes;
};

static void on_insert(struct cache_policy *policy, uint32_t index, cache_tag tag) {
    (void)tag;
    nodes_move(&((struct policy_lru *)policy)->nodes, RECENT, index);
}

static void on_remove(struct cache_policy *policy, uint32_t index, cache_tag tag, bool was_victim) {
    (void)tag;
    (void)was_victim;
    nodes_unlink(&((struct policy_lru *)policy)->nodes, index);
}

static void sweep(struct cache_policy *policy, uint32_t looks) {
    struct policy_lru *lru = (struct policy_lru *)policy;
    for (; looks > 0; looks--) {
        struct cache_frame *frame = frame_pool_next(policy->pool);
        if (frame == NULL) {
            return;
        }
        uint32_t index = frame_pool_index(policy->pool, frame);
        if (lru->nodes.frames[index].list == RECENT && policy_collect(policy, frame) == LOOK_HIT) {
            nodes_move(&lru->nodes, RECENT, index);
        }
    }
}

static struct cache_frame *pick(struct cache_policy *policy, struct eviction_round *round) {
    struct policy_lru *lru = (struct policy_lru *)policy;
    while (round->looks_left > 0 && lru->nodes.lists[RECENT].count > 0) {
        node_id oldest = lru->nodes.lists[RECENT].last;
        struct cache_frame *frame = node_frame(&lru->nodes, oldest);
        if (policy_look(policy, frame, round) == LOOK_IDLE) {
            return frame;
        }
        nodes_move(&lru->nodes, RECENT, oldest);
    }
    return NULL;
}

static tern_status create(const tern_allocator *allocator, struct frame_pool *pool,
                          uint32_t frames_max, struct cache_policy **out_policy,
                          tern_error *error) {
    struct policy_lru *lru = memory_allocate_zeroed(allocator, sizeof(*lru));
    if (lru == NULL) {
        return ERROR_NO_MEMORY(error, "the cache");
    }
    lru->base.pool = pool;
    tern_status status = nodes_init(&lru->nodes, pool, frames_max, false, error);
    if (status != TERN_OK) {
        memory_release(allocator, lru);
        return status;
    }
    *out_policy = &lru->base;
    return TERN_OK;
}

static void destroy(const tern_allocator *allocator, struct cache_policy *policy) {
    nodes_release(&((struct policy_lru *)policy)->nodes);
    memory_release(allocator, policy);
}

static const char *check(const struct cache_policy *policy) {
    return nodes_check(&((const struct policy_lru *)policy)->nodes);
}

const struct cache_policy_methods cache_policy_lru = {
    .name = "lru",
    .bytes_per_frame = NODE_FRAME_BYTES,
    .create = create,
    .destroy = destroy,
    .on_insert = on_insert,
    .on_remove = on_remove,
    .sweep = sweep,
    .pick = pick,
    .check = check,
};
