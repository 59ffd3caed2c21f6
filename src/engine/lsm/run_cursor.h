/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the records of a list of tables in order of key, both ways, a block at a time: the block it
 * stands in is held (by a pin, or as a copy) and decoded whole, so steps and searches inside it are
 * those of an array. Holds no epoch between calls. One thread at a time.
 */
#ifndef TERN_ENGINE_LSM_RUN_CURSOR_H
#define TERN_ENGINE_LSM_RUN_CURSOR_H

#include "engine/lsm/version.h"

struct run_cursor {
    struct lsm *lsm;
    struct lsm_table *const *tables; /* ascending; kept alive by the owner */
    uint32_t table_count;
    bool beside_cache; /* reads without touching the cache, and needs no epoch */
    bool pins;         /* has leave to pin frames */

    uint32_t table, partition, block; /* block: within its partition */
    struct buffer index;              /* payload of the partition's index */
    uint32_t index_table, index_partition;
    bool has_index;

    struct cache_frame *held;
    struct buffer copy;  /* when nothing is pinned */
    struct buffer ahead; /* beside the cache: bytes of a table from ahead_offset on */
    const struct lsm_table *ahead_table; /* NULL: of none */
    uint64_t ahead_offset;
    struct engine_entry *entries;
    uint32_t entry_capacity;
    struct buffer keys;
    uint32_t count; /* of the block; 0: stands nowhere */
    uint32_t position;
};

void run_cursor_init(struct run_cursor *cursor, struct lsm *lsm, struct lsm_table *const *tables,
                     uint32_t table_count, bool beside_cache);
void run_cursor_release(struct run_cursor *cursor);

static inline bool run_cursor_is_valid(const struct run_cursor *cursor) {
    return cursor->position < cursor->count;
}
static inline const struct engine_entry *run_cursor_entry(const struct run_cursor *cursor) {
    return &cursor->entries[cursor->position];
}
/* True when a step in the direction stays in the block that is held. */
static inline bool run_cursor_stays(const struct run_cursor *cursor, bool backward) {
    return backward ? cursor->position > 0 : cursor->position + 1 < cursor->count;
}

/* First key >= `key` (backward: last <= it); NULL: first or last of all. That there is none is no
 * failure: it then stands nowhere. */
TERN_MUST_CHECK tern_status run_cursor_seek(struct run_cursor *cursor, const tern_slice *key,
                                            bool backward, tern_error *error);
TERN_MUST_CHECK tern_status run_cursor_step(struct run_cursor *cursor, bool backward,
                                            tern_error *error);
/* The first record of a block of a partition of a table. */
TERN_MUST_CHECK tern_status run_cursor_enter(struct run_cursor *cursor, uint32_t table,
                                             uint32_t partition, uint32_t block, tern_error *error);
/* Over the block that the last call could not read, to the first record behind it. */
TERN_MUST_CHECK tern_status run_cursor_skip_block(struct run_cursor *cursor, tern_error *error);
/* Goes nowhere. */
void run_cursor_end(struct run_cursor *cursor);

#endif
