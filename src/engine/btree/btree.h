/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the B+tree engine as they see each other: a tree over one file, reading (btree_read,
 * btree_cursor), draining (btree_drain), values stored apart (btree_value), and the engine table.
 */
#ifndef TERN_ENGINE_BTREE_BTREE_H
#define TERN_ENGINE_BTREE_BTREE_H

#include "engine/btree/btree_file.h"
#include "engine/btree/btree_node.h"
#include "engine/overlay/merge_cursor.h"
#include "engine/overlay/overlay_stack.h"

/* What reading and draining share. Owned by the engine. */
struct btree {
    const struct engine_environment *environment;
    struct engine_config config;
    struct btree_file *file;
    uint32_t space;  /* cache space id */
    bool is_mapping; /* leaves are read out of the file's mapping where it reaches */
    const struct btree_lookup *lookup;
};

/* ---- reading (any thread, inside an epoch) ---- */

/* Bytes without a frame are mapped: they live as long as the view, which is what the source of an
 * overlay says. */
static inline enum engine_source btree_source_of(const void *frame) {
    return frame != NULL ? ENGINE_SOURCE_FRAME : ENGINE_SOURCE_OVERLAY;
}

/* The record of a key in a root, and the frame that holds its bytes (readable until the epoch is
 * left, longer when it is pinned; NULL: mapped, readable as long as the view is held); kind
 * RECORD_NONE, and no frame, when there is none. */
TERN_MUST_CHECK tern_status btree_find(struct btree *tree, struct btree_root *root, tern_slice key,
                                       struct record *out_record, void **out_frame,
                                       tern_error *error);

/* Looks the key up in a root: adds a terminal record to the resolution (frame source, readable
 * until the epoch is left, longer when the frame is pinned) or nothing. */
TERN_MUST_CHECK tern_status btree_lookup(struct btree *tree, struct btree_root *root,
                                         tern_slice key, struct resolution *resolution,
                                         tern_error *error);

/* One of an interleaved batch. */
struct btree_lookup_request {
    tern_slice key;
    struct resolution *resolution;
    tern_status status; /* out */
    bool skip;          /* in: already complete */
};
/* Many at once: walks groups of them a level at a time, prefetching the next lines of each. Always
 * TERN_OK: failures are in the requests, the detail of the last one in *error. */
TERN_MUST_CHECK tern_status btree_lookup_many(struct btree *tree, struct btree_root *root,
                                              struct btree_lookup_request *requests, size_t count,
                                              tern_error *error);

/* A cursor over a root (see merge_cursor.h); holds the root by reference. */
TERN_MUST_CHECK tern_status btree_cursor_open(struct btree *tree, struct btree_root *root,
                                              struct base_cursor **out_cursor, tern_error *error);

/* Estimated records and bytes within bounds, from fences and the counts in inner nodes. */
TERN_MUST_CHECK tern_status btree_estimate(struct btree *tree, struct btree_root *root,
                                           const struct engine_cursor_bounds *bounds,
                                           uint64_t *out_count, uint64_t *out_bytes,
                                           tern_error *error);

/* The loaded child node i of `node`, loading it when needed (any thread; one load wins). */
TERN_MUST_CHECK tern_status btree_child_node(struct btree *tree, struct inner_node *node,
                                             uint32_t index, struct inner_node **out_child,
                                             tern_error *error);

/* Payload of a leaf: from its frame, or read into a frame (or into a temporary buffer when no frame
 * can be had: then *out_owned is what to release to the allocator, else NULL, and *out_frame is
 * NULL). `hint` and `out_frame` may be NULL. Inside an epoch: frames are readable until it is left.
 */
TERN_MUST_CHECK tern_status btree_leaf(struct btree *tree, packed_ref ref, uint64_t checksum,
                                       _Atomic cache_hint *hint, const uint8_t **out_payload,
                                       struct cache_frame **out_frame, void **out_owned,
                                       tern_error *error);

/* Root from its encoded state, and back. */
TERN_MUST_CHECK tern_status btree_root_load(struct btree *tree, uint32_t height,
                                            const struct child_ref *child, uint64_t records,
                                            uint64_t generation, struct btree_root **out_root,
                                            tern_error *error);
void btree_root_retain(struct btree_root *root);
void btree_root_release(struct btree *tree, struct btree_root *root);

/* Checks every page, order, fence, count and the free space of a root; findings by callback. */
TERN_MUST_CHECK tern_status btree_check(struct btree *tree, struct btree_root *root,
                                        tern_finding_function on_finding, void *context,
                                        tern_progress_function progress, void *progress_context,
                                        tern_verify_report *report, tern_error *error);

/* ---- values stored apart (btree_value.c) ---- */
TERN_MUST_CHECK tern_status btree_value_read(struct btree *tree, tern_slice reference,
                                             uint64_t offset, void *buffer, size_t capacity,
                                             size_t *out_size, tern_error *error);
/* Visits every extent (place, units) of a value: its index blocks and pieces. */
TERN_MUST_CHECK tern_status btree_value_extents(struct btree *tree, tern_slice reference,
                                                tern_status (*visit)(void *context, uint64_t place,
                                                                     uint64_t units),
                                                void *context, tern_error *error);

extern const struct engine_methods btree_engine_methods;

#endif
