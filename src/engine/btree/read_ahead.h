/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading leaves that lie one behind the other on disk with one call, for whoever walks the leaves
 * in order.
 */
#ifndef TERN_ENGINE_BTREE_READ_AHEAD_H
#define TERN_ENGINE_BTREE_READ_AHEAD_H

#include "engine/btree/btree_read_internal.h"

/* Owned by one cursor. */
struct read_ahead {
    uint8_t *memory; /* aligned, allocated at the first use */
    size_t memory_bytes;
    uint32_t steps; /* leaves in a row in one direction */
    bool backward;
};

void read_ahead_release(struct read_ahead *read_ahead, const tern_allocator *allocator);

/* The walk went to a neighbouring leaf, or (false) somewhere else. */
static inline void read_ahead_note(struct read_ahead *read_ahead, bool is_neighbour,
                                   bool backward) {
    if (!is_neighbour || backward != read_ahead->backward) {
        read_ahead->steps = 0;
        read_ahead->backward = backward;
    }
    read_ahead->steps += is_neighbour;
}

/*
 * The leaf at `index` is not in memory: reads it, and those that follow it in the walk and on disk,
 * into frames. Only advice: leaves that cannot be had are left to leaf_fetch, which says why.
 */
void read_ahead_run(struct read_ahead *read_ahead, struct btree *tree, struct inner_node *node,
                    uint32_t index);

#endif
