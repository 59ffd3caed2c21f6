/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inner nodes in memory: immutable after they are built, except for hints (where a leaf's frame was
 * last found) and loaded children. Shared between versions of the tree by reference count: a new
 * version copies the path and shares the rest.
 *
 * Search form (one allocation, 64-byte aligned): every 16th head is repeated in `samples`, so that
 * a node of 256 children is searched by reading one line of samples and one line of heads; the
 * hints of those 16 children are one line more. What a descent must wait for (all that and the
 * prefix) lies together at the start, 8 bytes a child, so that the level above the leaves of
 * millions of records fits a processor's own cache and few entries of its TLB; references only
 * confirm what a hint says, and lie apart.
 */
#ifndef TERN_ENGINE_BTREE_NODE_H
#define TERN_ENGINE_BTREE_NODE_H

#include <stdatomic.h>
#include <stdint.h>
#include <tern/error.h>

#include "base/budget.h"
#include "cache/cache.h"
#include "engine/btree/btree_page.h"

struct inner_node {
    _Atomic uint32_t references;
    uint16_t level; /* 1: children are leaves */
    uint16_t sample_count;
    uint32_t count;       /* children */
    uint32_t prefix_size; /* common prefix of the separators; 0 with fewer than two */
    const uint8_t *prefix;
    const uint32_t *samples; /* head of separators 15, 31, ... */
    const uint32_t *heads;   /* count - 1, after the prefix */
    const uint32_t
        *key_offsets; /* count: separator i is keys[key_offsets[i] .. [i+1]) without prefix */
    const uint8_t *keys;
    _Atomic cache_hint *hints; /* level 1: where the leaf's frame was; above: zeros */
    packed_ref *refs;
    _Atomic(struct inner_node *) *nodes; /* level > 1: loaded children or NULL; else NULL */
    const uint64_t *checksums;
    const uint64_t *records;
    const uint64_t *bytes;
    packed_ref self; /* where the node is stored; 0: not written yet */
    uint64_t self_checksum;
    uint64_t generation; /* born */
    size_t memory_bytes;
};

/* One version of the tree. Reference counted by views; immutable. */
struct btree_root {
    _Atomic uint64_t references;
    uint32_t height;              /* 0: empty; 1: a single leaf, in `leaf`; else inner levels + 1 */
    struct inner_node *top;       /* height >= 2 */
    struct child_ref child;       /* reference of the topmost page (leaf or inner) */
    _Atomic cache_hint leaf_hint; /* height == 1 */
    uint64_t generation;
    uint64_t records; /* live records in the tree */
};

/* Separators and children to make a node of; borrowed during the call. */
struct node_source {
    uint16_t level;
    uint32_t count;
    const struct child_ref *children;
    struct inner_node *const *nodes; /* level > 1: loaded children, retained by the node; or NULL */
    const cache_hint *hints;         /* level 1: or NULL */
    const tern_slice *separators;    /* count - 1 */
    uint64_t generation;
};

/* Builds a node with one reference; counts memory in BUDGET_INDEX. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status node_build(const tern_allocator *allocator, struct budget *budget,
                                       const struct node_source *source,
                                       struct inner_node **out_node, tern_error *error);
void node_retain(struct inner_node *node);
/* The last reference releases loaded children too, then the memory: no reader may be inside
 * (callers come here through an epoch). Accepts NULL. */
void node_release(const tern_allocator *allocator, struct budget *budget, struct inner_node *node);

/* Index of the child that holds the key: number of separators <= key. */
uint32_t node_search(const struct inner_node *node, tern_slice key);

/* Whole separator i (prefix and rest) copied to `out`, returns its size; separator_size without. */
size_t node_separator(const struct inner_node *node, uint32_t index, uint8_t *out);
size_t node_separator_size(const struct inner_node *node, uint32_t index);

/* Page payload of a node, appended to a buffer; and back from hostile bytes (TERN_CORRUPTION naming
 * path, offset and invariant). */
TERN_MUST_CHECK tern_status node_encode(const struct inner_node *node, struct buffer *out_payload);
TERN_MUST_CHECK tern_status node_decode(const tern_allocator *allocator, struct budget *budget,
                                        const uint8_t *payload, size_t size, uint16_t level,
                                        const char *path, uint64_t offset,
                                        struct inner_node **out_node, tern_error *error);

#endif
