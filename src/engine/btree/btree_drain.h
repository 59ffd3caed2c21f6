/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merges a frozen overlay into a tree, leaf by leaf in order of key, into a new version of the tree
 * that shares what was not touched. Works in steps; can be stopped at any key: what lies beyond the
 * boundary stays as it was and is drained by a later run that begins there.
 *
 * Also compacts: without an overlay, rewriting the leaves that a plan asks for.
 */
#ifndef TERN_ENGINE_BTREE_DRAIN_H
#define TERN_ENGINE_BTREE_DRAIN_H

#include "engine/btree/tree_builder.h"

/* A part of the key space that range deletes empty; slices of the overlay. */
struct drain_range {
    tern_slice begin;
    tern_slice end;
    bool has_end;
};

/* An inner node that is being taken apart. */
struct walk_frame {
    struct inner_node *node; /* kept alive by the base root */
    uint32_t next;           /* first child that has not been dealt with */
    bool has_upper;
    struct buffer lower;
    struct buffer upper;
};

/* The leaf that is being merged. */
struct leaf_merge {
    bool is_open;
    bool has_upper;
    struct buffer upper;        /* fence */
    const uint8_t *payload;     /* NULL: no records */
    struct cache_frame *pinned; /* or NULL */
    uint32_t index;             /* first record that has not been dealt with */
    uint32_t count;
};

/* What a compaction wants; NULL functions for a drain. */
struct drain_plan {
    bool (*wants_child)(void *context, struct inner_node *node, uint32_t index);
    bool (*wants_value)(void *context, tern_slice reference);
    void *context;
};

/* One thread at a time (the maintenance role). */
struct drain {
    struct btree *tree;
    const struct generation_map *generations;
    struct tree_builder *builder;
    bool is_active;
    bool is_stopped; /* nothing further is merged */
    bool is_done;    /* everything has been handed to the builder */
    struct btree_root *base;
    struct shared_overlay *source; /* NULL: compaction */
    struct overlay_iterator keys;
    struct drain_plan plan;
    struct drain_range *ranges; /* ascending, disjoint */
    size_t range_count;
    size_t range_at;
    bool has_start;
    struct buffer start; /* boundary where it began */
    bool has_boundary;
    struct buffer boundary; /* where it was stopped; none: the source is used up */
    struct walk_frame frames[INNER_LEVELS_MAX];
    uint32_t frame_count;
    struct leaf_merge leaf;
    struct engine_scratch scratch;
    struct buffer key; /* scratch for fences and keys */
    uint8_t *page;     /* aligned: a leaf that is not in the cache */
    uint8_t *window;   /* aligned: raw blocks read ahead */
    uint64_t window_place;
    uint64_t window_units;
    uint64_t next_place; /* behind the last leaf read: sequential reads go on there */
    bool cache_has_room;
    uint64_t work_bytes;  /* done in this step */
    uint64_t moved_bytes; /* of values, in this step */
    uint64_t merged_keys; /* of the source since drain_start */
    bool has_merged;      /* a key or range delete of the source has been merged */
};

TERN_MUST_CHECK tern_status drain_create(struct btree *tree,
                                         const struct generation_map *generations,
                                         struct drain **out_drain, tern_error *error);
/* Not active. Accepts NULL. */
void drain_destroy(struct drain *drain);

/* Begins to merge `source` (from `boundary` on, when not NULL) into `base`; retains both. */
TERN_MUST_CHECK tern_status drain_start(struct drain *drain, struct btree_root *base,
                                        struct shared_overlay *source, const tern_slice *boundary,
                                        const struct drain_plan *plan, tern_error *error);
/* Works for about `quantum_bytes`; is_done tells whether all has been dealt with. */
TERN_MUST_CHECK tern_status drain_run(struct drain *drain, size_t quantum_bytes, tern_error *error);
/* Sets the boundary here: the rest is taken over as it is. */
TERN_MUST_CHECK tern_status drain_stop(struct drain *drain, tern_error *error);
/* When done: the new root. The drain stays active until drain_keep or drain_abandon. */
TERN_MUST_CHECK tern_status drain_finish(struct drain *drain, struct btree_root **out_root,
                                         tern_error *error);
/* The root stays: forget how to give it up. */
void drain_keep(struct drain *drain);
/* Gives up what was built. */
void drain_abandon(struct drain *drain);

#endif
