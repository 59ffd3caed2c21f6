/* SPDX-License-Identifier: Apache-2.0 */
/*
 * W-TinyLFU (Einziger, Friedman, Manes, 2017): a small window list takes every new page; what falls
 * out of it contests with the oldest of a segmented main list, and the one that was seen more often
 * lately (frequency_sketch.c) stays.
 *
 *   WINDOW ->  contest  ->  PROBATION <-> PROTECTED
 *
 * Deviations: hits are collected as in policy_lru.c, so a page that is hit many times between two
 * looks counts once; rounds of evictions make the window swing by up to a round (WINDOW_SLACK);
 * what is beyond that when no eviction is due (the cache is filling) goes to probation without a
 * contest.
 */
#include "base/error.h"
#include "cache/frequency_sketch.h"
#include "cache/policy_look.h"
#include "cache/policy_nodes.h"

#define WINDOW    1u
#define PROBATION 2u
#define PROTECTED 3u

#define WINDOW_PERCENT    1u
#define PROTECTED_PERCENT 80u /* of the main list */
#define WINDOW_SLACK_MAX  64u

struct policy_tinylfu {
    struct cache_policy base;
    struct policy_nodes nodes;
    struct frequency_sketch sketch;
    uint32_t frame_count;
};

static void resize(struct cache_policy *policy, uint32_t frame_count) {
    struct policy_tinylfu *lfu = (struct policy_tinylfu *)policy;
    lfu->frame_count = frame_count;
    sketch_resize(&lfu->sketch, frame_count);
}

static uint32_t window_limit(const struct policy_tinylfu *lfu) {
    return lfu->frame_count / 100 * WINDOW_PERCENT + 1;
}

static cache_tag tag_of(const struct policy_tinylfu *lfu, node_id id) {
    return atomic_load_explicit(&node_frame(&lfu->nodes, id)->tag, memory_order_relaxed);
}

static void on_insert(struct cache_policy *policy, uint32_t index, cache_tag tag) {
    struct policy_tinylfu *lfu = (struct policy_tinylfu *)policy;
    sketch_add(&lfu->sketch, tag);
    nodes_move(&lfu->nodes, WINDOW, index);
    uint32_t slack = lfu->frame_count / 4;
    slack = slack < WINDOW_SLACK_MAX ? slack : WINDOW_SLACK_MAX;
    if (lfu->nodes.lists[WINDOW].count > window_limit(lfu) + slack) {
        nodes_move(&lfu->nodes, PROBATION, lfu->nodes.lists[WINDOW].last);
    }
}

static void on_remove(struct cache_policy *policy, uint32_t index, cache_tag tag, bool was_victim) {
    (void)tag;
    (void)was_victim;
    nodes_unlink(&((struct policy_tinylfu *)policy)->nodes, index);
}

static void protect(struct policy_tinylfu *lfu, node_id id) {
    struct policy_list *lists = lfu->nodes.lists;
    nodes_move(&lfu->nodes, PROTECTED, id);
    uint64_t main_frames = (uint64_t)lists[PROBATION].count + lists[PROTECTED].count;
    if ((uint64_t)lists[PROTECTED].count * 100 > main_frames * PROTECTED_PERCENT) {
        nodes_move(&lfu->nodes, PROBATION, lists[PROTECTED].last);
    }
}

/* The page was hit. */
static void touch(struct policy_tinylfu *lfu, node_id id) {
    cache_tag tag = tag_of(lfu, id);
    if (tag != 0) {
        sketch_add(&lfu->sketch, tag);
    }
    if (lfu->nodes.frames[id].list == WINDOW) {
        nodes_move(&lfu->nodes, WINDOW, id);
    } else {
        protect(lfu, id);
    }
}

static void sweep(struct cache_policy *policy, uint32_t looks) {
    struct policy_tinylfu *lfu = (struct policy_tinylfu *)policy;
    for (; looks > 0; looks--) {
        struct cache_frame *frame = frame_pool_next(policy->pool);
        if (frame == NULL) {
            return;
        }
        uint32_t index = frame_pool_index(policy->pool, frame);
        if (lfu->nodes.frames[index].list != LIST_NONE &&
            policy_collect(policy, frame) == LOOK_HIT) {
            touch(lfu, index);
        }
    }
}

/* The oldest of the lists in order that is neither hit nor pinned; those that are move up. */
static node_id oldest_idle(struct policy_tinylfu *lfu, unsigned list,
                           struct eviction_round *round) {
    while (round->looks_left > 0 && lfu->nodes.lists[list].count > 0) {
        node_id id = lfu->nodes.lists[list].last;
        enum frame_look look = policy_look(&lfu->base, node_frame(&lfu->nodes, id), round);
        if (look == LOOK_IDLE) {
            return id;
        }
        if (look == LOOK_HIT) {
            touch(lfu, id);
        } else {
            nodes_move(&lfu->nodes, list, id);
        }
    }
    return NODE_NONE;
}

static struct cache_frame *pick(struct cache_policy *policy, struct eviction_round *round) {
    struct policy_tinylfu *lfu = (struct policy_tinylfu *)policy;
    struct policy_list *lists = lfu->nodes.lists;
    node_id candidate = NODE_NONE;
    if (lists[WINDOW].count > window_limit(lfu)) {
        candidate = oldest_idle(lfu, WINDOW, round);
    }
    node_id victim = oldest_idle(lfu, PROBATION, round);
    if (victim == NODE_NONE) {
        victim = oldest_idle(lfu, PROTECTED, round);
    }
    if (victim == NODE_NONE && candidate == NODE_NONE) {
        victim = oldest_idle(lfu, WINDOW, round);
    }
    if (victim == NODE_NONE || candidate == NODE_NONE) {
        node_id only = victim == NODE_NONE ? candidate : victim;
        return only == NODE_NONE ? NULL : node_frame(&lfu->nodes, only);
    }
    if (sketch_estimate(&lfu->sketch, tag_of(lfu, candidate)) >
        sketch_estimate(&lfu->sketch, tag_of(lfu, victim))) {
        nodes_move(&lfu->nodes, PROBATION, candidate);
        return node_frame(&lfu->nodes, victim);
    }
    return node_frame(&lfu->nodes, candidate);
}

static bool is_hot(const struct cache_policy *policy, uint32_t index) {
    return ((const struct policy_tinylfu *)policy)->nodes.frames[index].list == PROTECTED;
}

static tern_status create(const tern_allocator *allocator, struct frame_pool *pool,
                          uint32_t frames_max, struct cache_policy **out_policy,
                          tern_error *error) {
    struct policy_tinylfu *lfu = memory_allocate_zeroed(allocator, sizeof(*lfu));
    if (lfu == NULL) {
        return ERROR_NO_MEMORY(error, "the cache");
    }
    lfu->base.pool = pool;
    tern_status status = nodes_init(&lfu->nodes, pool, frames_max, false, error);
    if (status != TERN_OK) {
        goto no_nodes;
    }
    status = sketch_init(&lfu->sketch, frames_max, error);
    if (status != TERN_OK) {
        goto no_sketch;
    }
    *out_policy = &lfu->base;
    return TERN_OK;

no_sketch:
    nodes_release(&lfu->nodes);
no_nodes:
    memory_release(allocator, lfu);
    return status;
}

static void destroy(const tern_allocator *allocator, struct cache_policy *policy) {
    struct policy_tinylfu *lfu = (struct policy_tinylfu *)policy;
    sketch_release(&lfu->sketch);
    nodes_release(&lfu->nodes);
    memory_release(allocator, lfu);
}

static const char *check(const struct cache_policy *policy) {
    return nodes_check(&((const struct policy_tinylfu *)policy)->nodes);
}

const struct cache_policy_methods cache_policy_tinylfu = {
    .name = "tinylfu",
    .bytes_per_frame = NODE_FRAME_BYTES + SKETCH_FRAME_BYTES,
    .create = create,
    .destroy = destroy,
    .resize = resize,
    .on_insert = on_insert,
    .on_remove = on_remove,
    .sweep = sweep,
    .pick = pick,
    .is_hot = is_hot,
    .check = check,
};
