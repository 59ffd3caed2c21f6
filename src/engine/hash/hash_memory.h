/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The in-memory segment of a partition: versions one after the other in chunks, in the order in
 * which they were applied. One applier appends; readers follow links. Freed as a whole when no view
 * and no stub holds it any more.
 */
#ifndef TERN_ENGINE_HASH_MEMORY_H
#define TERN_ENGINE_HASH_MEMORY_H

#include "engine/hash/hash_version.h"

struct page_pool;

struct memory_chunk {
    struct memory_chunk *next;
    size_t capacity;
    size_t used;
    size_t mapped_bytes; /* 0: of the allocator */
    uint8_t *data;
};

struct hash_memory {
    _Atomic uint64_t references;
    const tern_allocator *allocator;
    struct budget *budget;
    struct page_pool *pool;
    struct memory_chunk *first;
    struct memory_chunk *last;
    _Atomic uint64_t bytes;                /* of all chunks */
    _Atomic uint64_t used;                 /* of versions */
    _Atomic(struct hash_version *) ranges; /* newest first */
    seq_no frozen_seq;
    uint64_t frozen_time_ms;
    /* Where the versions of the newest commit begin. */
    seq_no commit_seq;
    struct memory_chunk *commit_chunk;
    size_t commit_offset;
};

/* The pool, of huge pages to use again, may be NULL. */
TERN_MUST_CHECK tern_status hash_memory_create(const tern_allocator *allocator,
                                               struct budget *budget, struct page_pool *pool,
                                               struct hash_memory **out_memory, tern_error *error);
static inline void hash_memory_retain(struct hash_memory *memory) {
    atomic_fetch_add_explicit(&memory->references, 1, memory_order_relaxed);
}
/* Accepts NULL. */
void hash_memory_release(struct hash_memory *memory);

/* Makes room for `bytes` in one piece. */
TERN_MUST_CHECK tern_status hash_memory_reserve(struct hash_memory *memory, size_t bytes,
                                                tern_error *error);
/* Bytes that are left in the present piece. */
size_t hash_memory_room(const struct hash_memory *memory);
/* Room must be there. */
struct hash_version *hash_memory_push(struct hash_memory *memory, tern_slice key,
                                      const struct record *record, uint64_t hash, seq_no seq);
/* Fetches where the next version will be. */
static inline void hash_memory_prefetch(const struct hash_memory *memory) {
    const struct memory_chunk *chunk = memory->last;
    for (size_t at = 0; chunk != NULL && at < 4 * (size_t)64; at += 64) {
        __builtin_prefetch(chunk->data + chunk->used + at, 1);
    }
}
bool hash_memory_is_empty(const struct hash_memory *memory);

/* Walks versions in order of application. */
struct memory_walk {
    struct memory_chunk *chunk;
    size_t offset;
};
static inline struct memory_walk memory_walk_begin(const struct hash_memory *memory) {
    return (struct memory_walk){memory->first, 0};
}
/* The next version, or NULL. */
struct hash_version *memory_walk_next(struct memory_walk *walk);

/* Highest seq <= `seq` of a range delete here over the key; SEQ_NONE when none. */
seq_no hash_memory_range_seq(const struct hash_memory *memory, tern_slice key, seq_no seq);
/* Does the range (a version of kind CHANGE_DELETE_RANGE) cover the key? */
bool hash_range_covers(const struct hash_version *range, tern_slice key);

#endif
