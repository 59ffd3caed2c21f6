/* SPDX-License-Identifier: Apache-2.0 */
/* A B+tree file from inside: for btree_file.c and btree_space.c alone. */
#ifndef TERN_ENGINE_BTREE_SPACE_H
#define TERN_ENGINE_BTREE_SPACE_H

#include "base/bytes.h"
#include "engine/btree/btree_file_internal.h"
#include "os/file.h"
#include "os/mutex.h"

struct pending_block {
    uint64_t place;
    uint64_t units;
    uint64_t born;
};

/* Blocks that one published root superseded. */
struct pending_batch {
    struct pending_block *blocks;
    size_t count;
    size_t capacity;
    uint64_t superseded;
    bool is_sorted; /* by born, ascending */
};

struct btree_file {
    const struct engine_environment *environment;
    uint32_t page_bytes;
    partition_id id;
    uint32_t space;
    bool header_is_valid;
    bool may_be_mapped;
    bool name_is_durable; /* maintenance role */
    _Atomic(tern_file *) handle;
    _Atomic(struct btree_map *) map; /* NULL: pages come from the cache */
    bool map_failed;                 /* it was wanted */
    _Atomic uint64_t granule_units;

    struct mutex lock;
    struct extents free;
    uint64_t end_units; /* of the file; 0 while it is missing */
    struct pending_batch *batches;
    size_t batch_count;
    size_t batch_capacity;
    struct pending_batch building;
    uint64_t pending_units;
    uint64_t lost_units;

    _Atomic uint64_t written_bytes;
    _Atomic uint64_t read_bytes;
    _Atomic uint64_t reads;
    _Atomic uint64_t ahead_runs, ahead_pages, ahead_strided_runs;
    char path[FILE_PATH_BYTES];
};

static inline tern_file *handle_of(const struct btree_file *file) {
    return atomic_load_explicit(&file->handle, memory_order_acquire);
}

static inline uint64_t granule_of(const struct btree_file *file) {
    return atomic_load_explicit(&file->granule_units, memory_order_relaxed);
}

static inline uint64_t whole_granules(const struct btree_file *file, uint64_t units) {
    return round_up_u64(units, granule_of(file));
}

/* Under the lock: makes the file and its header where they are missing. */
TERN_MUST_CHECK tern_status btree_file_create(struct btree_file *file, tern_error *error);

/* What is free before blocks in use have been taken out: everything behind the header. */
TERN_MUST_CHECK tern_status btree_space_derive(struct btree_file *file, uint64_t size_bytes,
                                               tern_error *error);
void btree_space_release(struct btree_file *file);

#endif
