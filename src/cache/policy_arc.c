/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adaptive replacement, in the form that needs no work at a hit: CAR, "CLOCK with adaptive
 * replacement" (Bansal & Modha, 2004). It keeps the lists and the adaptation of ARC (Megiddo &
 * Modha, 2003), but as two clocks, so that a hit sets a flag where ARC moves a node between lists
 * under a lock.
 *
 *   ONCE  ->  frames seen once lately     GONE_ONCE   ghosts of those evicted from ONCE
 *   OFTEN ->  frames seen again           GONE_OFTEN  ghosts of those evicted from OFTEN
 *
 * A1. ONCE and GONE_ONCE together are at most the frames; all four at most twice the frames; ghosts
 * at most the frames. `target` is how long ONCE should be: it grows when a ghost of ONCE comes
 * back, and shrinks when one of OFTEN does.
 *
 * Deviation: evictions come in rounds before the insertions that need them, so the bounds of A1 are
 * kept where a ghost is added and where a page is inserted, not at the miss.
 */
#include "base/error.h"
#include "cache/policy_look.h"
#include "cache/policy_nodes.h"

#define ONCE       1u
#define OFTEN      2u
#define GONE_ONCE  3u
#define GONE_OFTEN 4u

struct policy_arc {
    struct cache_policy base;
    struct policy_nodes nodes;
    uint32_t frame_count;
    uint32_t target;
};

static void drop(struct cache_policy *policy, node_id ghost) {
    struct policy_arc *arc = (struct policy_arc *)policy;
    nodes_ghost_remove(&arc->nodes, ghost);
    policy->ghosts = arc->nodes.ghost_count;
}

static void resize(struct cache_policy *policy, uint32_t frame_count) {
    struct policy_arc *arc = (struct policy_arc *)policy;
    nodes_resize(&arc->nodes, frame_count, drop, policy);
    arc->frame_count = frame_count;
    arc->target = arc->target < frame_count ? arc->target : frame_count;
}

static uint32_t at_least_one(uint32_t many, uint32_t few) {
    uint32_t times = few == 0 ? many : many / few;
    return times > 0 ? times : 1;
}

static void came_back(struct policy_arc *arc, node_id ghost) {
    struct policy_list *lists = arc->nodes.lists;
    uint32_t once = lists[GONE_ONCE].count;
    uint32_t often = lists[GONE_OFTEN].count;
    if (node_of(&arc->nodes, ghost)->list == GONE_ONCE) {
        uint32_t step = at_least_one(often, once);
        arc->target = step < arc->frame_count - arc->target ? arc->target + step : arc->frame_count;
    } else {
        uint32_t step = at_least_one(once, often);
        arc->target = step < arc->target ? arc->target - step : 0;
    }
    arc->base.ghost_hits++;
    drop(&arc->base, ghost);
}

/* Room in the directory for one more page. */
static void trim(struct policy_arc *arc) {
    struct policy_list *lists = arc->nodes.lists;
    uint32_t frames = lists[ONCE].count + lists[OFTEN].count;
    if (lists[GONE_ONCE].count > 0 &&
        lists[ONCE].count + lists[GONE_ONCE].count >= arc->frame_count) {
        drop(&arc->base, lists[GONE_ONCE].last);
    } else if (lists[GONE_OFTEN].count > 0 &&
               (uint64_t)frames + arc->nodes.ghost_count >= 2 * (uint64_t)arc->frame_count) {
        drop(&arc->base, lists[GONE_OFTEN].last);
    }
}

static void on_insert(struct cache_policy *policy, uint32_t index, cache_tag tag) {
    struct policy_arc *arc = (struct policy_arc *)policy;
    node_id ghost = nodes_ghost_find(&arc->nodes, tag);
    if (ghost != NODE_NONE) {
        came_back(arc, ghost);
        nodes_move(&arc->nodes, OFTEN, index);
    } else {
        trim(arc);
        nodes_move(&arc->nodes, ONCE, index);
    }
}

static void on_remove(struct cache_policy *policy, uint32_t index, cache_tag tag, bool was_victim) {
    struct policy_arc *arc = (struct policy_arc *)policy;
    struct policy_list *lists = arc->nodes.lists;
    unsigned list = arc->nodes.frames[index].list;
    nodes_unlink(&arc->nodes, index);
    if (!was_victim || list == LIST_NONE) {
        return;
    }
    if (arc->nodes.ghost_count > 0 && arc->nodes.ghost_count >= arc->frame_count) {
        drop(policy, lists[lists[GONE_OFTEN].count > 0 ? GONE_OFTEN : GONE_ONCE].last);
    }
    node_id ghost = nodes_ghost_add(&arc->nodes, tag);
    if (ghost != NODE_NONE) {
        nodes_push(&arc->nodes, list == ONCE ? GONE_ONCE : GONE_OFTEN, ghost);
    }
    policy->ghosts = arc->nodes.ghost_count;
}

static void forget(struct cache_policy *policy, cache_tag tag) {
    node_id ghost = nodes_ghost_find(&((struct policy_arc *)policy)->nodes, tag);
    if (ghost != NODE_NONE) {
        drop(policy, ghost);
    }
}

static struct cache_frame *pick(struct cache_policy *policy, struct eviction_round *round) {
    struct policy_arc *arc = (struct policy_arc *)policy;
    struct policy_list *lists = arc->nodes.lists;
    uint32_t target = arc->target > 1 ? arc->target : 1;
    while (round->looks_left > 0 && lists[ONCE].count + lists[OFTEN].count > 0) {
        bool from_once = lists[ONCE].count >= target || lists[OFTEN].count == 0;
        node_id oldest = lists[from_once ? ONCE : OFTEN].last;
        struct cache_frame *frame = node_frame(&arc->nodes, oldest);
        enum frame_look look = policy_look(policy, frame, round);
        if (look == LOOK_IDLE) {
            return frame;
        }
        nodes_move(&arc->nodes, from_once && look == LOOK_UNAVAILABLE ? ONCE : OFTEN, oldest);
    }
    return NULL;
}

static bool is_hot(const struct cache_policy *policy, uint32_t index) {
    return ((const struct policy_arc *)policy)->nodes.frames[index].list == OFTEN;
}

static tern_status create(const tern_allocator *allocator, struct frame_pool *pool,
                          uint32_t frames_max, struct cache_policy **out_policy,
                          tern_error *error) {
    struct policy_arc *arc = memory_allocate_zeroed(allocator, sizeof(*arc));
    if (arc == NULL) {
        return ERROR_NO_MEMORY(error, "the cache");
    }
    arc->base.pool = pool;
    tern_status status = nodes_init(&arc->nodes, pool, frames_max, true, error);
    if (status != TERN_OK) {
        memory_release(allocator, arc);
        return status;
    }
    *out_policy = &arc->base;
    return TERN_OK;
}

static void destroy(const tern_allocator *allocator, struct cache_policy *policy) {
    nodes_release(&((struct policy_arc *)policy)->nodes);
    memory_release(allocator, policy);
}

static const char *check(const struct cache_policy *policy) {
    const struct policy_arc *arc = (const struct policy_arc *)policy;
    if (arc->nodes.ghost_count > arc->frame_count || arc->target > arc->frame_count) {
        return "A1: ghosts and the target are at most the frames";
    }
    return nodes_check(&arc->nodes);
}

const struct cache_policy_methods cache_policy_arc = {
    .name = "arc",
    .bytes_per_frame = NODE_FRAME_BYTES + NODE_GHOST_BYTES,
    .create = create,
    .destroy = destroy,
    .resize = resize,
    .on_insert = on_insert,
    .on_remove = on_remove,
    .forget = forget,
    .pick = pick,
    .is_hot = is_hot,
    .check = check,
};
