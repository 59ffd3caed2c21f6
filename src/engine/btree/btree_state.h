/* SPDX-License-Identifier: Apache-2.0 */
/* What a base holds (up to which seq, by key), and the state of a partition in a manifest. */
#ifndef TERN_ENGINE_BTREE_STATE_H
#define TERN_ENGINE_BTREE_STATE_H

#include "engine/btree/btree.h"

/* Keys below `below` (and not below an earlier mark's) are in the base up to `seq`. */
struct drained_mark {
    tern_slice below;
    seq_no seq;
};

/*
 * How far a base reaches: marks ascend by key and descend by seq; keys beyond the last mark reach
 * up to complete_seq. More than one mark only after a process ended inside a drain, more than once.
 * Immutable, reference counted.
 */
struct drained_map {
    _Atomic uint64_t references;
    const tern_allocator *allocator;
    seq_no complete_seq;
    uint32_t count;
    struct drained_mark marks[];
};

/* All marks' keys must stay below this for the state to stay below 64 KiB. */
#define DRAINED_KEY_BYTES_MAX ((size_t)56 * 1024)

/* Complete up to `complete_seq`. */
TERN_MUST_CHECK tern_status drained_map_create(const tern_allocator *allocator, seq_no complete_seq,
                                               struct drained_map **out_map, tern_error *error);
/* As `map`, but keys below `boundary` (NULL: all keys) reach up to `seq`. */
TERN_MUST_CHECK tern_status drained_map_advance(const struct drained_map *map,
                                                const tern_slice *boundary, seq_no seq,
                                                struct drained_map **out_map, tern_error *error);
void drained_map_retain(struct drained_map *map);
/* Accepts NULL. */
void drained_map_release(struct drained_map *map);
/* Up to which seq the base holds this key. */
seq_no drained_map_seq(const struct drained_map *map, tern_slice key);
/* The newest seq in any part of the base. */
seq_no drained_map_newest(const struct drained_map *map);
size_t drained_map_key_bytes(const struct drained_map *map);

/* A decoded state. The keys of `map` are copies. */
struct btree_state {
    uint32_t height;
    struct child_ref child;
    uint64_t records;
    uint64_t generation;
    struct drained_map *map; /* one reference for the caller */
};

/* Appends the bytes; docs/format/btree.md. */
TERN_MUST_CHECK tern_status btree_state_encode(const struct btree_root *root,
                                               const struct drained_map *map,
                                               struct buffer *out_state, tern_error *error);
/* TERN_CORRUPTION, TERN_VERSION, TERN_NO_MEMORY. An empty state is a new, empty partition. */
TERN_MUST_CHECK tern_status btree_state_decode(const tern_allocator *allocator, tern_slice bytes,
                                               struct btree_state *out_state, tern_error *error);

#endif
