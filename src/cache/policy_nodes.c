/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of frames and ghosts. Ghosts are found by tag through chains in an array that grows a
 * bucket at a time (Litwin, "Linear hashing", 1980), so that no insertion pays for all.
 *
 * N1. A node's list counts it; first and last are reached from each other. N2. A ghost is in the
 * chain of its tag's bucket. N3. Ghosts have numbers below ghost_limit: what a smaller limit leaves
 * above it is forgotten, and its memory given back. N4. Free ghosts below ghosts_carved are linked
 * both ways (`chain` and `node.previous`), so that those above a new limit can be taken out: a
 * smaller limit costs what it takes away, not what remains.
 */
#include "cache/policy_nodes.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "cache/tag_hash.h"

#define PAGE_BYTES 4096u

tern_status nodes_init(struct policy_nodes *nodes, struct frame_pool *pool, uint32_t frames_max,
                       bool keeps_ghosts, tern_error *error) {
    *nodes = (struct policy_nodes){.pool = pool, .bucket_count = 1};
    for (unsigned i = 0; i < POLICY_LISTS; i++) {
        nodes->lists[i] = (struct policy_list){NODE_NONE, NODE_NONE, 0};
    }
    void *memory = NULL;
    nodes->frames_bytes = (size_t)frames_max * sizeof(struct policy_node);
    tern_status status = pages_allocate(nodes->frames_bytes, false, &memory, error);
    if (status != TERN_OK) {
        return status;
    }
    nodes->frames = memory;
    if (keeps_ghosts) {
        nodes->ghosts_bytes = (size_t)frames_max * sizeof(struct ghost_node);
        status = pages_allocate(nodes->ghosts_bytes, false, &memory, error);
        nodes->ghosts = status == TERN_OK ? memory : NULL;
    }
    if (status == TERN_OK && keeps_ghosts) {
        nodes->buckets_bytes = (size_t)frames_max * sizeof(uint32_t);
        status = pages_allocate(nodes->buckets_bytes, false, &memory, error);
        nodes->buckets = status == TERN_OK ? memory : NULL;
    }
    if (status != TERN_OK) {
        nodes_release(nodes);
    }
    return status;
}

void nodes_release(struct policy_nodes *nodes) {
    pages_release(nodes->frames, nodes->frames_bytes);
    pages_release(nodes->ghosts, nodes->ghosts_bytes);
    pages_release(nodes->buckets, nodes->buckets_bytes);
}

/* ---- lists ---- */

void nodes_push(struct policy_nodes *nodes, unsigned list, node_id id) {
    struct policy_list *at = &nodes->lists[list];
    struct policy_node *node = node_of(nodes, id);
    ASSERT_DEBUG(node->list == LIST_NONE);
    node->list = list & 7u;
    node->next = at->first;
    node->previous = NODE_NONE;
    if (at->first != NODE_NONE) {
        node_of(nodes, at->first)->previous = id;
    } else {
        at->last = id;
    }
    at->first = id;
    at->count++;
}

void nodes_push_last(struct policy_nodes *nodes, unsigned list, node_id id) {
    struct policy_list *at = &nodes->lists[list];
    struct policy_node *node = node_of(nodes, id);
    ASSERT_DEBUG(node->list == LIST_NONE);
    node->list = list & 7u;
    node->next = NODE_NONE;
    node->previous = at->last;
    if (at->last != NODE_NONE) {
        node_of(nodes, at->last)->next = id;
    } else {
        at->first = id;
    }
    at->last = id;
    at->count++;
}

void nodes_unlink(struct policy_nodes *nodes, node_id id) {
    struct policy_node *node = node_of(nodes, id);
    if (node->list == LIST_NONE) {
        return;
    }
    struct policy_list *at = &nodes->lists[node->list];
    if (node->next != NODE_NONE) {
        node_of(nodes, node->next)->previous = node->previous;
    } else {
        at->last = node->previous;
    }
    if (node->previous != NODE_NONE) {
        node_of(nodes, node->previous)->next = node->next;
    } else {
        at->first = node->next;
    }
    at->count--;
    node->list = LIST_NONE;
}

void nodes_move(struct policy_nodes *nodes, unsigned list, node_id id) {
    nodes_unlink(nodes, id);
    nodes_push(nodes, list, id);
}

/* ---- ghosts ---- */

/* Buckets below bucket_count by the low bits of the hash: one bit less where there is none yet. */
static uint32_t bucket_of(const struct policy_nodes *nodes, cache_tag tag) {
    uint32_t top = nodes->bucket_count - 1;
    uint32_t mask = top == 0 ? 0 : UINT32_MAX >> __builtin_clz(top);
    uint32_t bucket = (uint32_t)tag_hash(tag) & mask;
    return bucket <= top ? bucket : bucket & mask >> 1;
}

/* The bucket that the last one was split off from. */
static uint32_t parent_of_last(const struct policy_nodes *nodes) {
    uint32_t last = nodes->bucket_count - 1;
    return last & ~((uint32_t)1 << (31 - __builtin_clz(last)));
}

static void chain_push(struct policy_nodes *nodes, uint32_t bucket, uint32_t number) {
    nodes->ghosts[number].chain = nodes->buckets[bucket];
    nodes->buckets[bucket] = number + 1;
}

static void add_bucket(struct policy_nodes *nodes) {
    nodes->bucket_count++;
    uint32_t parent = parent_of_last(nodes);
    uint32_t chain = nodes->buckets[parent];
    nodes->buckets[parent] = 0;
    nodes->buckets[nodes->bucket_count - 1] = 0;
    while (chain != 0) {
        uint32_t number = chain - 1;
        chain = nodes->ghosts[number].chain;
        chain_push(nodes, bucket_of(nodes, nodes->ghosts[number].tag), number);
        nodes->pool->cache->work.now++;
    }
}

static void remove_bucket(struct policy_nodes *nodes) {
    uint32_t parent = parent_of_last(nodes);
    uint32_t chain = nodes->buckets[nodes->bucket_count - 1];
    nodes->bucket_count--;
    while (chain != 0) {
        uint32_t number = chain - 1;
        chain = nodes->ghosts[number].chain;
        chain_push(nodes, parent, number);
        nodes->pool->cache->work.now++;
    }
}

node_id nodes_ghost_find(const struct policy_nodes *nodes, cache_tag tag) {
    if (nodes->ghost_count == 0) {
        return NODE_NONE;
    }
    for (uint32_t chain = nodes->buckets[bucket_of(nodes, tag)]; chain != 0;) {
        const struct ghost_node *ghost = &nodes->ghosts[chain - 1];
        if (ghost->tag == tag) {
            return NODE_GHOST | (chain - 1);
        }
        chain = ghost->chain;
    }
    return NODE_NONE;
}

/* ---- free ghosts: `chain` is the next, `node.previous` the one before, both number + 1 ---- */

static void push_free(struct policy_nodes *nodes, uint32_t number) {
    struct ghost_node *ghost = &nodes->ghosts[number];
    *ghost = (struct ghost_node){.chain = nodes->ghost_free};
    if (nodes->ghost_free != 0) {
        nodes->ghosts[nodes->ghost_free - 1].node.previous = number + 1;
    }
    nodes->ghost_free = number + 1;
}

static void unlink_free(struct policy_nodes *nodes, uint32_t number) {
    const struct ghost_node *ghost = &nodes->ghosts[number];
    if (ghost->chain != 0) {
        nodes->ghosts[ghost->chain - 1].node.previous = ghost->node.previous;
    }
    if (ghost->node.previous != 0) {
        nodes->ghosts[ghost->node.previous - 1].chain = ghost->chain;
    } else {
        nodes->ghost_free = ghost->chain;
    }
}

node_id nodes_ghost_add(struct policy_nodes *nodes, cache_tag tag) {
    uint32_t number = nodes->ghosts_carved;
    if (nodes->ghost_free != 0) {
        number = nodes->ghost_free - 1;
        unlink_free(nodes, number);
    } else if (number < nodes->ghost_limit) {
        nodes->ghosts_carved++;
    } else {
        return NODE_NONE;
    }
    nodes->ghosts[number] = (struct ghost_node){.tag = tag};
    chain_push(nodes, bucket_of(nodes, tag), number);
    nodes->ghost_count++;
    return NODE_GHOST | number;
}

void nodes_ghost_remove(struct policy_nodes *nodes, node_id id) {
    uint32_t number = id & ~NODE_GHOST;
    struct ghost_node *ghost = &nodes->ghosts[number];
    uint32_t *chain = &nodes->buckets[bucket_of(nodes, ghost->tag)];
    while (*chain != number + 1) {
        ASSERT(*chain != 0);
        chain = &nodes->ghosts[*chain - 1].chain;
    }
    *chain = ghost->chain;
    nodes_unlink(nodes, id);
    push_free(nodes, number);
    nodes->ghost_count--;
}

/* The whole pages of an array from element `from` on become zeros without memory. */
static void discard_from(void *array, size_t array_bytes, size_t element_bytes, uint32_t from) {
    size_t begin = round_up_u64((uint64_t)from * element_bytes, PAGE_BYTES);
    size_t end = array_bytes / PAGE_BYTES * PAGE_BYTES;
    if (begin < end) {
        pages_discard((uint8_t *)array + begin, end - begin);
    }
}

static void shrink_ghosts(struct policy_nodes *nodes, uint32_t limit,
                          void (*drop)(struct cache_policy *policy, node_id ghost),
                          struct cache_policy *policy) {
    for (; nodes->ghosts_carved > limit; nodes->ghosts_carved--) {
        uint32_t number = nodes->ghosts_carved - 1;
        if (nodes->ghosts[number].tag != 0) {
            drop(policy, NODE_GHOST | number);
        }
        unlink_free(nodes, number);
        nodes->pool->cache->work.now++;
    }
    discard_from(nodes->ghosts, nodes->ghosts_bytes, sizeof(nodes->ghosts[0]), limit);
}

void nodes_resize(struct policy_nodes *nodes, uint32_t frame_count,
                  void (*drop)(struct cache_policy *policy, node_id ghost),
                  struct cache_policy *policy) {
    if (nodes->ghosts == NULL) {
        return;
    }
    if (frame_count < nodes->ghost_limit) {
        shrink_ghosts(nodes, frame_count, drop, policy);
        while (nodes->bucket_count > 1 && nodes->bucket_count > frame_count) {
            remove_bucket(nodes);
        }
        discard_from(nodes->buckets, nodes->buckets_bytes, sizeof(nodes->buckets[0]),
                     nodes->bucket_count);
    }
    nodes->ghost_limit = frame_count;
    while (nodes->bucket_count < frame_count) {
        add_bucket(nodes);
    }
}

const char *nodes_check(const struct policy_nodes *nodes) {
    uint32_t ghosts = 0;
    for (unsigned list = 1; list < POLICY_LISTS; list++) {
        uint32_t count = 0;
        node_id previous = NODE_NONE;
        for (node_id id = nodes->lists[list].first; id != NODE_NONE;) {
            const struct policy_node *node = node_of(nodes, id);
            if (node->list != list || node->previous != previous) {
                return "N1: nodes of a list are linked both ways";
            }
            if ((id & NODE_GHOST) != 0) {
                ghosts++;
                if (nodes_ghost_find(nodes, nodes->ghosts[id & ~NODE_GHOST].tag) != id) {
                    return "N2: a ghost is in the chain of its tag's bucket";
                }
                if ((id & ~NODE_GHOST) >= nodes->ghost_limit) {
                    return "N3: ghosts have numbers below their limit";
                }
            }
            previous = id;
            id = node->next;
            count++;
        }
        if (nodes->lists[list].last != previous || nodes->lists[list].count != count) {
            return "N1: a list counts its nodes";
        }
    }
    uint32_t free_ghosts = 0;
    for (uint32_t at = nodes->ghost_free; at != 0; at = nodes->ghosts[at - 1].chain) {
        free_ghosts++;
    }
    if (free_ghosts + nodes->ghost_count != nodes->ghosts_carved) {
        return "N4: ghosts that are not on a list are free";
    }
    return ghosts == nodes->ghost_count ? NULL : "N2: every ghost is on a list";
}
