/* SPDX-License-Identifier: Apache-2.0 */
/* What lookups, cursors, estimates and checks share: from a child to the frame of its leaf. */
#ifndef TERN_ENGINE_BTREE_BTREE_READ_INTERNAL_H
#define TERN_ENGINE_BTREE_BTREE_READ_INTERNAL_H

#include "engine/btree/btree.h"
#include "engine/btree/btree_map.h"
#include "engine/btree/node_access.h"

/* Lines at the beginning of a frame that hold header, heads and slots of a leaf of usual records.
 */
#define LEAF_LINES_FIRST 7u
/* Lines asked for where a record begins. */
#define LEAF_LINES_RECORD 3u

/* Where a leaf is and where its frame was last seen. The checksum is not read unless it is needed:
 * it lies on a line of its own. */
struct leaf_place {
    packed_ref ref;
    const uint64_t *checksum;
    _Atomic cache_hint *hint;
};

static inline const uint8_t *leaf_payload(const struct cache_frame *frame) {
    return (const uint8_t *)frame + BLOCK_HEADER_BYTES;
}

static inline cache_tag leaf_tag(const struct btree *tree, packed_ref ref) {
    return cache_tag_of(tree->space, ref_place(ref));
}

static inline struct leaf_place leaf_place_of(const struct inner_node *node, uint32_t index) {
    return (struct leaf_place){node->refs[index], &node->checksums[index], &node->hints[index]};
}

static inline struct leaf_place leaf_place_of_root(struct btree_root *root) {
    return (struct leaf_place){root->child.ref, &root->child.checksum, &root->leaf_hint};
}

/* The frame that a hint names, not yet checked, its first lines asked for; NULL without a hint. */
static inline struct cache_frame *leaf_hinted(const uint8_t *base, const _Atomic cache_hint *hint) {
    cache_hint where = atomic_load_explicit(hint, memory_order_relaxed);
    if (where == 0) {
        return NULL;
    }
    struct cache_frame *frame = cache_frame_at(base, where);
#pragma GCC unroll 8
    for (unsigned i = 0; i < LEAF_LINES_FIRST; i++) {
        __builtin_prefetch((const uint8_t *)frame + (size_t)64 * i);
    }
    return frame;
}

/*
 * The frame of a leaf that its hint does not lead to: found by tag or read from disk. Inside an
 * epoch; the frame is readable until it is left. A private frame when none can be had: then it has
 * been given up already and goes with the epoch, unless it is pinned.
 */
TERN_MUST_CHECK tern_status leaf_fetch_slow(struct btree *tree, const struct leaf_place *place,
                                            struct cache_frame **out_frame, tern_error *error);

/*
 * Brings leaves that are not cached in together, as far as that can be done (btree_read_many.c); at
 * most LEAVES_LOAD_MAX, inside an epoch. environment->read_queues must be there.
 */
#define LEAVES_LOAD_MAX 32u
void leaves_load(struct btree *tree, const struct leaf_place *const *places, size_t count);

static inline TERN_MUST_CHECK tern_status leaf_fetch(struct btree *tree,
                                                     const struct leaf_place *place,
                                                     struct cache_frame **out_frame,
                                                     tern_error *error) {
    const uint8_t *base = cache_base(tree->environment->cache);
    struct cache_frame *frame = leaf_hinted(base, place->hint);
    if (__builtin_expect(frame != NULL && cache_frame_holds(frame, leaf_tag(tree, place->ref)),
                         1)) {
        *out_frame = frame;
        return TERN_OK;
    }
    return leaf_fetch_slow(tree, place, out_frame, error);
}

/* True when the leaf lies in the mapping: then it is no frame of the cache, is never pinned, and is
 * readable as long as the view is held. */
static inline bool leaf_is_mapped(const struct btree *tree, const struct cache_frame *frame) {
    if (__builtin_expect(!tree->is_mapping, 1)) {
        return false;
    }
    const struct btree_map *map = btree_file_map(tree->file);
    return map != NULL && btree_map_contains(map, frame);
}

/* The frame to pin when bytes of the leaf are to be kept; NULL where they need none. */
static inline struct cache_frame *leaf_to_pin(const struct btree *tree, struct cache_frame *frame) {
    return leaf_is_mapped(tree, frame) ? NULL : frame;
}

/* The level-1 node (or none, when the root is a leaf) and index that hold a key: loads what is not
 * loaded. */
TERN_MUST_CHECK tern_status child_of(struct btree *tree, struct inner_node *node, uint32_t index,
                                     struct inner_node **out_child, tern_error *error);

/*
 * Looking for a key in a leaf, in two steps. First: false when it cannot be there; else the index
 * of the first record with its head.
 */
static inline bool leaf_find_begin(const uint8_t *payload, tern_slice key, uint32_t *out_index) {
    uint32_t count = leaf_count(payload);
    uint32_t prefix_size = leaf_prefix_size(payload);
    if (prefix_compare(leaf_prefix_bytes(payload), prefix_size, key) != 0) {
        return false;
    }
    tern_slice suffix = slice_after(key, prefix_size);
    uint32_t head = head_of(suffix);
    uint32_t index = heads_lower_bound(leaf_heads(payload), count, head);
    if (index == count || leaf_head(payload, index) != head) {
        return false;
    }
    const uint8_t *record = leaf_record_start(payload, index);
    for (unsigned i = 0; i < LEAF_LINES_RECORD; i++) {
        __builtin_prefetch(record + (size_t)64 * i);
    }
    *out_index = index;
    return true;
}

/* Second: compares whole keys; true when the record is there. */
static inline bool leaf_find_end(const uint8_t *payload, tern_slice key, uint32_t index,
                                 struct leaf_cell *out_cell) {
    struct leaf_cell cell;
    (void)leaf_cell_parse(leaf_record_start(payload, index), &cell);
    size_t left_out = leaf_prefix_size(payload) - leaf_prefix_in_records(payload);
    if (__builtin_expect(
            cell.key_size + left_out == key.size &&
                memcmp(cell.key, (const uint8_t *)key.data + left_out, cell.key_size) == 0,
            1)) {
        *out_cell = cell;
        return true;
    }
    if (index + 1 >= leaf_count(payload) ||
        leaf_head(payload, index + 1) != leaf_head(payload, index)) {
        return false;
    }
    bool equal = false;
    uint32_t found = leaf_lower_bound(payload, key, &equal);
    if (equal) {
        (void)leaf_cell_parse(leaf_record_start(payload, found), out_cell);
    }
    return equal;
}

#endif
