/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segmented LRU (Karedla, Love, Wherry, "Caching strategies to improve disk system performance",
 * 1994): pages come into a probationary list; one that is hit there moves to the protected list,
 * which holds up to PROTECTED_PERCENT of the frames and gives its oldest back to the front of
 * probation. Victims are the oldest of probation.
 *
 * Deviation: hits are collected as in policy_lru.c.
 */
#include "base/error.h"
#include "cache/policy_look.h"
#include "cache/policy_nodes.h"

#define PROBATION         1u
#define PROTECTED         2u
#define PROTECTED_PERCENT 80u

struct policy_slru {
    struct cache_policy base;
    struct policy_nodes nodes;
};

static void on_insert(struct cache_policy *policy, uint32_t index, cache_tag tag) {
    (void)tag;
    nodes_move(&((struct policy_slru *)policy)->nodes, PROBATION, index);
}

static void on_remove(struct cache_policy *policy, uint32_t index, cache_tag tag, bool was_victim) {
    (void)tag;
    (void)was_victim;
    nodes_unlink(&((struct policy_slru *)policy)->nodes, index);
}

static void touch(struct policy_slru *slru, node_id id) {
    struct policy_list *lists = slru->nodes.lists;
    nodes_move(&slru->nodes, PROTECTED, id);
    uint64_t frames = (uint64_t)lists[PROBATION].count + lists[PROTECTED].count;
    if ((uint64_t)lists[PROTECTED].count * 100 > frames * PROTECTED_PERCENT) {
        nodes_move(&slru->nodes, PROBATION, lists[PROTECTED].last);
    }
}

static void sweep(struct cache_policy *policy, uint32_t looks) {
    struct policy_slru *slru = (struct policy_slru *)policy;
    for (; looks > 0; looks--) {
        struct cache_frame *frame = frame_pool_next(policy->pool);
        if (frame == NULL) {
            return;
        }
        uint32_t index = frame_pool_index(policy->pool, frame);
        if (slru->nodes.frames[index].list != LIST_NONE &&
            policy_collect(policy, frame) == LOOK_HIT) {
            touch(slru, index);
        }
    }
}

static struct cache_frame *pick(struct cache_policy *policy, struct eviction_round *round) {
    struct policy_slru *slru = (struct policy_slru *)policy;
    struct policy_list *lists = slru->nodes.lists;
    while (round->looks_left > 0) {
        node_id oldest = lists[lists[PROBATION].count > 0 ? PROBATION : PROTECTED].last;
        if (oldest == NODE_NONE) {
            return NULL;
        }
        struct cache_frame *frame = node_frame(&slru->nodes, oldest);
        enum frame_look look = policy_look(policy, frame, round);
        if (look == LOOK_IDLE) {
            return frame;
        }
        touch(slru, oldest);
    }
    return NULL;
}

static bool is_hot(const struct cache_policy *policy, uint32_t index) {
    return ((const struct policy_slru *)policy)->nodes.frames[index].list == PROTECTED;
}

static tern_status create(const tern_allocator *allocator, struct frame_pool *pool,
                          uint32_t frames_max, struct cache_policy **out_policy,
                          tern_error *error) {
    struct policy_slru *slru = memory_allocate_zeroed(allocator, sizeof(*slru));
    if (slru == NULL) {
        return ERROR_NO_MEMORY(error, "the cache");
    }
    slru->base.pool = pool;
    tern_status status = nodes_init(&slru->nodes, pool, frames_max, false, error);
    if (status != TERN_OK) {
        memory_release(allocator, slru);
        return status;
    }
    *out_policy = &slru->base;
    return TERN_OK;
}

static void destroy(const tern_allocator *allocator, struct cache_policy *policy) {
    nodes_release(&((struct policy_slru *)policy)->nodes);
    memory_release(allocator, policy);
}

static const char *check(const struct cache_policy *policy) {
    return nodes_check(&((const struct policy_slru *)policy)->nodes);
}

const struct cache_policy_methods cache_policy_slru = {
    .name = "slru",
    .bytes_per_frame = NODE_FRAME_BYTES,
    .create = create,
    .destroy = destroy,
    .on_insert = on_insert,
    .on_remove = on_remove,
    .sweep = sweep,
    .pick = pick,
    .is_hot = is_hot,
    .check = check,
};
