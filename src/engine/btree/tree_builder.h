/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds a new version of a tree from left to right, out of records (new leaves) and of whole
 * subtrees of the old version. Serves drains, compaction, bulk loads and exports.
 *
 *   begin -> ( open_run, leaf_builder_add/copy ... | append )* -> finish | abandon
 *
 * Each level collects children until there are enough for two nodes, so that the last nodes of a
 * stretch can be balanced. A subtree may only be appended when nothing that waits below its level
 * would make a node less than half full (tree_builder_can_append); else the caller opens the
 * subtree and appends its parts.
 */
#ifndef TERN_ENGINE_BTREE_TREE_BUILDER_H
#define TERN_ENGINE_BTREE_TREE_BUILDER_H

#include "engine/btree/block_output.h"
#include "engine/btree/btree.h"
#include "engine/btree/generation_map.h"
#include "engine/btree/leaf_builder.h"

/* A child that waits for its parent. */
struct level_entry {
    struct child_ref child;
    struct inner_node *node; /* level > 0: retained, or NULL when not loaded */
    cache_hint hint;         /* level 0 */
    uint32_t fence_offset;   /* lower fence, in the level's bytes */
    uint32_t fence_size;
};

/* Children of one level (0: leaves). */
struct level {
    struct level_entry *entries;
    uint32_t count;
    struct buffer fences;
};

/* One thread at a time. */
struct tree_builder {
    struct btree *tree;
    const struct generation_map *generations;
    struct block_output output;
    struct leaf_builder leaves;
    uint32_t fan_out;
    uint32_t level_capacity;
    struct level levels[INNER_LEVELS_MAX];
    uint64_t generation;
    struct buffer next_fence;   /* lower fence of the next new leaf */
    struct buffer payload;      /* of an inner node being encoded */
    struct buffer values;       /* references of new values in blocks outside the output */
    struct child_ref *children; /* scratch for node_build, one node's worth */
    struct inner_node **nodes;
    cache_hint *hints;
    tern_slice *separators;
    bool is_caching;     /* new leaves go into the cache */
    uint64_t leaf_count; /* new leaves since begin */
};

TERN_MUST_CHECK tern_status tree_builder_create(struct btree *tree,
                                                const struct generation_map *generations,
                                                struct tree_builder **out_builder,
                                                tern_error *error);
/* Nothing may be under way. Accepts NULL. */
void tree_builder_destroy(struct tree_builder *builder);

TERN_MUST_CHECK tern_status tree_builder_begin(struct tree_builder *builder, uint32_t fill_percent,
                                               tern_error *error);

/* The next new leaf begins at `fence` (when none waits). */
TERN_MUST_CHECK tern_status tree_builder_open_run(struct tree_builder *builder, tern_slice fence,
                                                  tern_error *error);

/* Stores a value apart; the record to add to the leaves is written to *out_record, its bytes to
 * `out_reference`. */
TERN_MUST_CHECK tern_status
tree_builder_put_value(struct tree_builder *builder, const struct record *record,
                       uint8_t out_reference[ENGINE_LARGE_REFERENCE_BYTES_MAX],
                       struct record *out_record, tern_error *error);

/* Copies a value of the tree's own file to new blocks of this build. */
TERN_MUST_CHECK tern_status tree_builder_copy_value(
    struct tree_builder *builder, tern_slice reference,
    uint8_t out_reference[ENGINE_LARGE_REFERENCE_BYTES_MAX], size_t *out_size, tern_error *error);

/*
 * Makes ready to append a subtree of `level` (0: a leaf): ends what waits below. *out_can false:
 * that would leave a node or leaf less than half full, open the subtree instead.
 */
TERN_MUST_CHECK tern_status tree_builder_can_append(struct tree_builder *builder, uint32_t level,
                                                    bool *out_can, tern_error *error);
TERN_MUST_CHECK tern_status tree_builder_append(struct tree_builder *builder, uint32_t level,
                                                const struct child_ref *child,
                                                struct inner_node *node, cache_hint hint,
                                                tern_slice fence, tern_error *error);

/* Ends all levels and makes the root; all blocks are written. The root has one reference. */
TERN_MUST_CHECK tern_status tree_builder_finish(struct tree_builder *builder, bool balanced,
                                                struct btree_root **out_root, tern_error *error);
/* The root is going to be published: what was written is not given back any more. */
void tree_builder_keep(struct tree_builder *builder);
/* Gives everything up since begin. Also after finish (the caller releases the root). */
void tree_builder_abandon(struct tree_builder *builder);

/* Decodes the inner node at `child`, with one reference. */
TERN_MUST_CHECK tern_status tree_load_node(struct btree *tree, const struct child_ref *child,
                                           uint16_t level, struct inner_node **out_node,
                                           tern_error *error);

/* Whether any block has been written since begin. */
static inline bool tree_builder_has_output(const struct tree_builder *builder) {
    return builder->output.written_bytes > 0;
}

#endif
