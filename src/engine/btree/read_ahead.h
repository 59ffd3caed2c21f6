/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading leaves that lie one behind the other on disk with one call, for whoever goes through the
 * leaves in order or in even steps.
 */
#ifndef TERN_ENGINE_BTREE_READ_AHEAD_H
#define TERN_ENGINE_BTREE_READ_AHEAD_H

#include "engine/btree/btree_read_internal.h"

/* Owned by one cursor. */
struct read_ahead {
    uint8_t *memory; /* aligned, allocated at the first use */
    size_t memory_bytes;
    const struct inner_node *node; /* where the cursor was last; only compared */
    uint32_t index, count;         /* of the leaf, and of the node's leaves */
    int32_t stride;                /* leaves from the one before to that */
    uint32_t steps;                /* in a row, of this stride */
    uint64_t asked_place;          /* of what the system was asked to read, in units */
    uint64_t asked_end;
};

void read_ahead_release(struct read_ahead *read_ahead, const tern_allocator *allocator);

/*
 * The cursor comes to a leaf. The distance to the last one is known within a node, and into the
 * next or the previous one, where it can only be what it was before.
 */
static inline void read_ahead_note(struct read_ahead *read_ahead, const struct inner_node *node,
                                   uint32_t index) {
    int32_t distance = (int32_t)index - (int32_t)read_ahead->index;
    if (node != read_ahead->node) {
        int32_t stride = read_ahead->stride;
        int32_t into_next = (int32_t)index + (int32_t)(read_ahead->count - read_ahead->index);
        int32_t into_previous = (int32_t)index - (int32_t)node->count - (int32_t)read_ahead->index;
        distance = stride > 0 ? into_next : into_previous;
    }
    if (distance != 0) {
        read_ahead->steps = distance == read_ahead->stride ? read_ahead->steps + 1 : 0;
        read_ahead->stride = distance;
    }
    read_ahead->node = node;
    read_ahead->index = index;
    read_ahead->count = node->count;
}

/*
 * The leaf at `index` is not in memory: reads it, and those that will follow it in the walk, into
 * frames; or, where leaves are mapped, asks the system to. Only advice: leaves that cannot be had
 * are left to leaf_fetch, which says why.
 */
void read_ahead_run(struct read_ahead *read_ahead, struct btree *tree, struct inner_node *node,
                    uint32_t index);

#endif
