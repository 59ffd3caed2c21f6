/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CLOCK-Pro (Jiang, Chen, Zhang, "CLOCK-Pro: an effective improvement of the CLOCK replacement",
 * 2005): pages are hot or cold by their reuse distance. A cold page is on test for as long as it
 * would take a hot page to be passed by; hit again within the test it becomes hot, also when it has
 * been evicted meanwhile (then it is a ghost). How many frames cold pages get adapts: each test
 * passed adds one, each ghost's test that ends takes one away.
 *
 *   HOT    hot frames            HAND_hot is at its last
 *   COLD   cold frames           HAND_cold is at its last
 *   GHOST  cold pages evicted during their test    HAND_test is at its last
 *
 * Deviation: the paper has one circle with three hands, of which the cold one would have to step
 * over all hot pages in between. Here each kind has a list of its own, in the order of the circle,
 * and a node's `stamp` says where it would stand; every pass of a hand that leaves a page in place
 * is a move to the front with a new stamp, as it is in the circle. `flag` of a cold frame: on test.
 * HAND_hot ends the tests of all that it has passed: `passed` is the stamp where it stands; ghosts
 * before it go at once, cold frames before it are found not to be on test when HAND_cold comes to
 * them.
 *
 * K1. GHOST is in the order of stamps. K2. Ghosts are at most the frames. K3. cold_target lies
 * between COLD_PERCENT_MIN and 100 - COLD_PERCENT_MIN percent of the frames, at least one.
 */
#include "base/error.h"
#include "cache/policy_look.h"
#include "cache/policy_nodes.h"

#define HOT   1u
#define COLD  2u
#define GHOST 3u

#define COLD_PERCENT_MIN   1u
#define COLD_PERCENT_BEGIN 10u

struct policy_clock_pro {
    struct cache_policy base;
    struct policy_nodes nodes;
    uint32_t frame_count;
    uint32_t cold_target;
    uint32_t clock; /* the next stamp */
    uint32_t passed;
};

#define STAMP_MASK (((uint32_t)1 << NODE_STAMP_BITS) - 1)

static bool is_before(uint32_t left, uint32_t right) {
    return ((left - right) & STAMP_MASK) > STAMP_MASK / 2;
}

static void to_front(struct policy_clock_pro *pro, unsigned list, node_id id, bool on_test) {
    struct policy_node *node = node_of(&pro->nodes, id);
    nodes_move(&pro->nodes, list, id);
    node->stamp = pro->clock++ & STAMP_MASK;
    node->flag = on_test;
    /* Stamps wrap: the hand that has not moved for so long must not seem to be ahead. */
    if (((pro->clock - pro->passed) & STAMP_MASK) > STAMP_MASK / 4) {
        pro->passed = (pro->clock - STAMP_MASK / 4) & STAMP_MASK;
    }
}

static bool is_on_test(const struct policy_clock_pro *pro, const struct policy_node *node) {
    return node->flag && !is_before(node->stamp, pro->passed);
}

static void move_target(struct policy_clock_pro *pro, bool up) {
    uint32_t least = pro->frame_count / 100 * COLD_PERCENT_MIN;
    least = least > 0 ? least : 1;
    uint32_t most = pro->frame_count > 2 * least ? pro->frame_count - least : least;
    if (up && pro->cold_target < most) {
        pro->cold_target++;
    } else if (!up && pro->cold_target > least) {
        pro->cold_target--;
    }
}

static void drop(struct cache_policy *policy, node_id ghost) {
    struct policy_clock_pro *pro = (struct policy_clock_pro *)policy;
    nodes_ghost_remove(&pro->nodes, ghost);
    policy->ghosts = pro->nodes.ghost_count;
}

static void end_oldest_test(struct policy_clock_pro *pro) {
    drop(&pro->base, pro->nodes.lists[GHOST].last);
    move_target(pro, false);
}

static void resize(struct cache_policy *policy, uint32_t frame_count) {
    struct policy_clock_pro *pro = (struct policy_clock_pro *)policy;
    nodes_resize(&pro->nodes, frame_count, drop, policy);
    uint64_t target = pro->frame_count == 0
                          ? (uint64_t)frame_count * COLD_PERCENT_BEGIN / 100
                          : (uint64_t)pro->cold_target * frame_count / pro->frame_count;
    pro->frame_count = frame_count;
    pro->cold_target = target > 0 ? (uint32_t)target : 1;
}

static void on_insert(struct cache_policy *policy, uint32_t index, cache_tag tag) {
    struct policy_clock_pro *pro = (struct policy_clock_pro *)policy;
    node_id ghost = nodes_ghost_find(&pro->nodes, tag);
    if (ghost == NODE_NONE) {
        to_front(pro, COLD, index, true);
        return;
    }
    drop(policy, ghost);
    policy->ghost_hits++;
    move_target(pro, true);
    to_front(pro, HOT, index, false);
}

static void on_remove(struct cache_policy *policy, uint32_t index, cache_tag tag, bool was_victim) {
    struct policy_clock_pro *pro = (struct policy_clock_pro *)policy;
    struct policy_node node = pro->nodes.frames[index];
    nodes_unlink(&pro->nodes, index);
    if (!was_victim || node.list != COLD || !is_on_test(pro, &node)) {
        return;
    }
    if (pro->nodes.ghost_count > 0 && pro->nodes.ghost_count >= pro->frame_count) {
        end_oldest_test(pro);
    }
    node_id ghost = nodes_ghost_add(&pro->nodes, tag);
    if (ghost != NODE_NONE) {
        nodes_push(&pro->nodes, GHOST, ghost);
        node_of(&pro->nodes, ghost)->stamp = node.stamp;
    }
    policy->ghosts = pro->nodes.ghost_count;
}

static void forget(struct cache_policy *policy, cache_tag tag) {
    node_id ghost = nodes_ghost_find(&((struct policy_clock_pro *)policy)->nodes, tag);
    if (ghost != NODE_NONE) {
        drop(policy, ghost);
    }
}

/* HAND_hot takes a step: a hot page that was not hit becomes cold, and next for HAND_cold. */
static void step_hot(struct policy_clock_pro *pro, struct eviction_round *round) {
    node_id id = pro->nodes.lists[HOT].last;
    struct policy_node *node = node_of(&pro->nodes, id);
    uint32_t stamp = node->stamp;
    if (policy_look(&pro->base, node_frame(&pro->nodes, id), round) == LOOK_IDLE) {
        nodes_unlink(&pro->nodes, id);
        nodes_push_last(&pro->nodes, COLD, id);
        node->flag = 0;
    } else {
        to_front(pro, HOT, id, false);
    }
    if (is_before(pro->passed, stamp)) {
        pro->passed = stamp;
    }
    struct policy_list *ghosts = &pro->nodes.lists[GHOST];
    while (ghosts->count > 0 && is_before(node_of(&pro->nodes, ghosts->last)->stamp, pro->passed)) {
        end_oldest_test(pro);
    }
}

static struct cache_frame *pick(struct cache_policy *policy, struct eviction_round *round) {
    struct policy_clock_pro *pro = (struct policy_clock_pro *)policy;
    struct policy_list *lists = pro->nodes.lists;
    while (round->looks_left > 0 && lists[HOT].count + lists[COLD].count > 0) {
        uint32_t frames = lists[HOT].count + lists[COLD].count;
        if (lists[COLD].count == 0 ||
            (lists[HOT].count > 0 && (uint64_t)lists[HOT].count + pro->cold_target > frames)) {
            step_hot(pro, round);
            continue;
        }
        node_id id = lists[COLD].last;
        struct cache_frame *frame = node_frame(&pro->nodes, id);
        enum frame_look look = policy_look(policy, frame, round);
        if (look == LOOK_IDLE) {
            return frame;
        }
        bool was_on_test = is_on_test(pro, node_of(&pro->nodes, id));
        if (look == LOOK_HIT && was_on_test) {
            move_target(pro, true);
            to_front(pro, HOT, id, false);
        } else {
            to_front(pro, COLD, id, look == LOOK_HIT || was_on_test);
        }
    }
    return NULL;
}

static bool is_hot(const struct cache_policy *policy, uint32_t index) {
    return ((const struct policy_clock_pro *)policy)->nodes.frames[index].list == HOT;
}

static tern_status create(const tern_allocator *allocator, struct frame_pool *pool,
                          uint32_t frames_max, struct cache_policy **out_policy,
                          tern_error *error) {
    struct policy_clock_pro *pro = memory_allocate_zeroed(allocator, sizeof(*pro));
    if (pro == NULL) {
        return ERROR_NO_MEMORY(error, "the cache");
    }
    pro->base.pool = pool;
    pro->cold_target = 1;
    tern_status status = nodes_init(&pro->nodes, pool, frames_max, true, error);
    if (status != TERN_OK) {
        memory_release(allocator, pro);
        return status;
    }
    *out_policy = &pro->base;
    return TERN_OK;
}

static void destroy(const tern_allocator *allocator, struct cache_policy *policy) {
    nodes_release(&((struct policy_clock_pro *)policy)->nodes);
    memory_release(allocator, policy);
}

static const char *check(const struct cache_policy *policy) {
    const struct policy_clock_pro *pro = (const struct policy_clock_pro *)policy;
    if (pro->nodes.ghost_count > pro->frame_count) {
        return "K2: ghosts are at most the frames";
    }
    return nodes_check(&pro->nodes);
}

const struct cache_policy_methods cache_policy_clock_pro = {
    .name = "clock-pro",
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
