/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the records of a list of tables in order of key, both ways, a block at a time: the block it
 * stands in is held (by a pin, or as a copy) and decoded into an array, whose entries stay where
 * they are as long as it is held. Forwards it is decoded in parts, from the restart point that was
 * sought: a short scan needs no more. Backwards, and beside the cache, it is decoded whole. Whoever
 * turns round has to seek. Holds no epoch between calls. One thread at a time.
 */
#ifndef TERN_ENGINE_LSM_RUN_CURSOR_H
#define TERN_ENGINE_LSM_RUN_CURSOR_H

#include "engine/lsm/data_block.h"
#include "engine/lsm/version.h"

struct run_cursor {
    struct lsm *lsm;
    struct lsm_table *const *tables; /* ascending; kept alive by the owner */
    uint32_t table_count;
    const struct key_directory *directory; /* of the tables, if the owner has one; or NULL */
    bool beside_cache; /* reads without touching the cache, and needs no epoch */
    bool pins;         /* has leave to pin frames */

    uint32_t table, partition, block; /* block: within its partition */
    struct buffer index; /* payload of a partition's index that has no frame in the cache */
    uint32_t index_table, index_partition;
    bool has_index;
    bool is_aimed; /* run_cursor_aim has found a block */

    struct cache_frame *held;
    struct buffer copy;  /* when nothing is pinned */
    struct buffer ahead; /* beside the cache: bytes of a table from ahead_offset on */
    const struct lsm_table *ahead_table; /* NULL: of none */
    uint64_t ahead_offset;
    const uint8_t *payload; /* of the block that is held */
    struct data_block_walk walk;
    struct engine_entry *entries; /* decoded from `first` up to `decoded` */
    uint32_t entry_capacity;
    struct buffer keys;
    uint32_t first, decoded;
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
/* Decodes some more of the block, where there is more. */
void run_cursor_decode_more(struct run_cursor *cursor);
/* Forwards inside the block that is held. */
static inline void run_cursor_advance(struct run_cursor *cursor) {
    if (__builtin_expect(++cursor->position == cursor->decoded, 0)) {
        run_cursor_decode_more(cursor);
    }
}
/* The last key of the block. */
tern_slice run_cursor_last_key(struct run_cursor *cursor);
/* True when a step in the direction stays in the block that is held. */
static inline bool run_cursor_stays(const struct run_cursor *cursor, bool backward) {
    return backward ? cursor->position > 0 : cursor->position + 1 < cursor->count;
}

/* First key >= `key` (backward: last <= it); NULL: first or last of all. That there is none is no
 * failure: it then stands nowhere. */
TERN_MUST_CHECK tern_status run_cursor_seek(struct run_cursor *cursor, const tern_slice *key,
                                            bool backward, tern_error *error);
/*
 * The same, forwards to a key, in three parts, so that who seeks in many runs waits for memory once
 * for all of them: find the block, hold it, stand in it. All of them inside one epoch, with nothing
 * between them.
 */
TERN_MUST_CHECK tern_status run_cursor_aim(struct run_cursor *cursor, tern_slice key,
                                           tern_error *error);
TERN_MUST_CHECK tern_status run_cursor_hold(struct run_cursor *cursor, tern_error *error);
TERN_MUST_CHECK tern_status run_cursor_land(struct run_cursor *cursor, tern_slice key,
                                            tern_error *error);
TERN_MUST_CHECK tern_status run_cursor_step(struct run_cursor *cursor, bool backward,
                                            tern_error *error);
/* The first record of a block of a partition of a table, which is decoded whole. */
TERN_MUST_CHECK tern_status run_cursor_enter(struct run_cursor *cursor, uint32_t table,
                                             uint32_t partition, uint32_t block, tern_error *error);
/* Over the block that the last call could not read, to the first record behind it. */
TERN_MUST_CHECK tern_status run_cursor_skip_block(struct run_cursor *cursor, tern_error *error);
/* Goes nowhere. */
void run_cursor_end(struct run_cursor *cursor);

#endif
