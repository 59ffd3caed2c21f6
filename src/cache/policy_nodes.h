/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lists of a policy: frames of one size class, and ghosts (tags of pages that are gone), as
 * nodes that are on at most one list each. First is newest, last is oldest.
 *
 * Arrays are reserved for the most frames the class may ever have and become memory where they are
 * written: NODE_FRAME_BYTES a frame, and NODE_GHOST_BYTES a ghost where ghosts are kept, of which
 * there are at most as many as frames.
 */
#ifndef TERN_CACHE_POLICY_NODES_H
#define TERN_CACHE_POLICY_NODES_H

#include "cache/cache_internal.h"

/* A frame's index, or NODE_GHOST and the number of a ghost. */
typedef uint32_t node_id;
#define NODE_NONE  UINT32_MAX
#define NODE_GHOST ((uint32_t)1 << 31)

#define POLICY_LISTS    5u
#define LIST_NONE       0u /* lists have the numbers 1 to POLICY_LISTS - 1 */
#define NODE_STAMP_BITS 28

struct policy_node {
    node_id next, previous;
    uint32_t list : 3;
    uint32_t flag : 1;   /* as the policy likes */
    uint32_t stamp : 28; /* as the policy likes */
};
_Static_assert(sizeof(struct policy_node) == 12, "as NODE_FRAME_BYTES says");

struct ghost_node {
    struct policy_node node;
    uint32_t chain; /* next ghost of the bucket, or of the free ones; number + 1 */
    cache_tag tag;
};

#define NODE_FRAME_BYTES 12u
#define NODE_GHOST_BYTES 28u /* with its bucket */

struct policy_list {
    node_id first, last;
    uint32_t count;
};

struct policy_nodes {
    struct frame_pool *pool;
    struct policy_list lists[POLICY_LISTS];
    struct policy_node *frames;
    struct ghost_node *ghosts; /* NULL: none are kept */
    uint32_t *buckets;         /* number of the first ghost + 1 */
    size_t frames_bytes, ghosts_bytes, buckets_bytes;
    uint32_t ghost_limit, ghost_count;
    uint32_t ghosts_carved, ghost_free; /* number + 1 */
    uint32_t bucket_count;
};

TERN_MUST_CHECK tern_status nodes_init(struct policy_nodes *nodes, struct frame_pool *pool,
                                       uint32_t frames_max, bool keeps_ghosts, tern_error *error);
void nodes_release(struct policy_nodes *nodes);
/* As many ghosts as frames from now on. `drop` is called for ghosts that have to go, and removes.
 */
void nodes_resize(struct policy_nodes *nodes, uint32_t frame_count,
                  void (*drop)(struct cache_policy *policy, node_id ghost),
                  struct cache_policy *policy);

static inline struct policy_node *node_of(const struct policy_nodes *nodes, node_id id) {
    return (id & NODE_GHOST) != 0 ? &nodes->ghosts[id & ~NODE_GHOST].node : &nodes->frames[id];
}

static inline struct cache_frame *node_frame(const struct policy_nodes *nodes, node_id id) {
    return frame_pool_at(nodes->pool, id);
}

/* A node that is on no list becomes a list's newest, or its oldest. */
void nodes_push(struct policy_nodes *nodes, unsigned list, node_id id);
void nodes_push_last(struct policy_nodes *nodes, unsigned list, node_id id);
/* Takes a node off its list; nothing when it is on none. */
void nodes_unlink(struct policy_nodes *nodes, node_id id);
/* Both in one: the node becomes the newest of `list`. */
void nodes_move(struct policy_nodes *nodes, unsigned list, node_id id);

/* The ghost of a page, or NODE_NONE. */
node_id nodes_ghost_find(const struct policy_nodes *nodes, cache_tag tag);
/* A ghost on no list yet; NODE_NONE when there are ghost_limit. */
node_id nodes_ghost_add(struct policy_nodes *nodes, cache_tag tag);
/* Takes a ghost off its list and forgets it. */
void nodes_ghost_remove(struct policy_nodes *nodes, node_id id);

/* Name of a broken invariant, or NULL. */
const char *nodes_check(const struct policy_nodes *nodes);

#endif
