/* SPDX-License-Identifier: Apache-2.0 */
/* The cursor over a tree from inside: btree_cursor.c moves it, btree_cursor_batch.c hands out many
 * records of the leaf it stands in. */
#ifndef TERN_ENGINE_BTREE_BTREE_CURSOR_INTERNAL_H
#define TERN_ENGINE_BTREE_BTREE_CURSOR_INTERNAL_H

#include "base/assert.h"
#include "base/error.h"
#include "engine/btree/btree_read_internal.h"
#include "engine/btree/read_ahead.h"

#define BTREE_LINE_BYTES 64u

struct path_step {
    struct inner_node *node;
    uint32_t index;
};

struct btree_cursor {
    struct base_cursor head;
    struct btree *tree;
    struct btree_root *root;
    uint32_t depth;
    bool pins; /* has leave to pin */
    bool is_placed;
    struct cache_frame *held;
    const uint8_t *payload;
    uint32_t index, count;
    uint32_t prefix_left_out; /* bytes of the prefix that records do not hold */
    uint32_t first_offset;    /* of the first record in the payload */
    struct buffer key_area;
    struct buffer fence;
    const struct cache_frame *next_frame; /* where the next leaf was last seen, or NULL */
    size_t next_done;                     /* bytes of it that were asked for */
    const uint8_t *fetched;               /* of the held leaf all before was asked for, or NULL */
    struct read_ahead read_ahead;
    struct path_step path[INNER_LEVELS_MAX]; /* the first `depth` */
};

static inline struct btree_cursor *btree_cursor_of(struct base_cursor *cursor) {
    return (struct btree_cursor *)cursor;
}

/* Key areas and fences are memory of the cursor, also where its position is constant. */
static inline struct btree_cursor *btree_cursor_of_const(const struct base_cursor *cursor) {
    return (struct btree_cursor *)(uintptr_t)cursor;
}

/* Puts a key together in its place of the key area. `position`: of the record in the payload. */
static inline tern_slice btree_cursor_materialise(const struct btree_cursor *cursor,
                                                  const struct leaf_cell *cell, uint32_t index,
                                                  size_t position) {
    size_t prefix_size = cursor->prefix_left_out;
    uint8_t *target =
        cursor->key_area.data + (position - cursor->first_offset) + (size_t)index * prefix_size;
    const uint8_t *prefix = leaf_prefix_bytes(cursor->payload);
    memcpy(target, prefix, prefix_size);
    memcpy(target + prefix_size, cell->key, cell->key_size);
    return tern_slice_of(target, prefix_size + cell->key_size);
}

/* As base_cursor_methods: leaf_batch, leaf_pairs. */
size_t btree_cursor_leaf_batch(struct base_cursor *base, const tern_slice *end,
                               struct engine_entry *out_entries, size_t capacity);
size_t btree_cursor_leaf_pairs(struct base_cursor *base, const struct base_wanted *wanted,
                               tern_entry *out_entries, size_t capacity);

#endif
