/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The private writes of a transaction, until it commits. One thread at a time.
 *
 * Each keyspace written has a part: its operations in order, a hash index from key to newest
 * operation, and, once something asked for order, a sorted index. Savepoints are marks in the count
 * of operations; rolling back takes the newest operations away.
 */
#ifndef TERN_TXN_WRITE_SET_H
#define TERN_TXN_WRITE_SET_H

#include "base/arena.h"
#include "txn/commit.h"
#include "txn/write_order.h"

#define WRITE_NONE UINT32_MAX

/* Beside each operation. */
struct write_meta {
    uint64_t number; /* of the operation in the whole set, from 1 */
    size_t value_capacity;
    uint32_t key;   /* number of its key; WRITE_NONE for range deletes */
    uint32_t older; /* previous operation on the key, or WRITE_NONE */
};

/* What was written in one keyspace. */
struct write_part {
    tern_keyspace *keyspace;
    struct engine_change *changes; /* operations in order */
    struct write_meta *metas;      /* parallel */
    size_t count, change_capacity, meta_capacity;
    struct write_key *keys;
    size_t key_count, key_capacity;
    uint32_t *table; /* open addressing: key number + 1; NULL while there are few keys */
    size_t table_capacity;
    uint32_t *ranges; /* operations that are range deletes */
    size_t range_count, range_capacity;
    bool is_ordered;
    struct write_order order;
    /* After write_set_commit_parts: */
    bool is_left_out; /* it took none */
    uint8_t *kept;    /* which operations it took; NULL all */
};

struct write_savepoint {
    uint64_t number; /* first operation after it */
    uint64_t bytes;
};

struct write_set {
    const tern_allocator *allocator;
    struct budget *budget;
    uint64_t bytes_max;
    uint64_t bytes; /* keys, values and what belongs to an operation */
    uint64_t next_number;
    struct write_part *parts;
    size_t part_count, part_capacity;
    struct arena *arenas; /* one for each savepoint, and one before the first */
    size_t arena_count, arena_capacity;
    struct write_savepoint *savepoints;
    size_t savepoint_count, savepoint_capacity;
    struct buffer folded;
};

/* Cannot fail; memory is taken with the first write. */
void write_set_init(struct write_set *set, const tern_allocator *allocator, struct budget *budget,
                    uint64_t bytes_max);
void write_set_release(struct write_set *set);
/* Empties it, keeps a little memory for the next transaction. */
void write_set_reset(struct write_set *set);

static inline bool write_set_is_empty(const struct write_set *set) {
    return set->next_number == 1;
}

/* The part of a keyspace that has operations, or NULL. */
struct write_part *write_set_part(const struct write_set *set, const tern_keyspace *keyspace);

/*
 * Adds an operation (bytes are copied). Merges fold into what is known; an operation that replaces
 * one made after the last savepoint takes its place. TERN_TOO_LARGE, TERN_NO_MEMORY: nothing has
 * changed.
 */
TERN_MUST_CHECK tern_status write_set_add(struct write_set *set, tern_keyspace *keyspace,
                                          const struct engine_change *change, tern_error *error);

/* What the set knows of a key. */
struct write_found {
    struct record record;         /* below the operands: PUT, LARGE, DELETE; NONE: ask the engine */
    uint32_t newest;              /* operation with the newest operand */
    uint32_t operand_count;       /* merge operands over it */
    uint64_t ttl_ms;              /* of `record` */
    partition_id large_partition; /* of LARGE: what holds the value */
};

/* False: nothing. */
bool write_part_find(const struct write_part *part, tern_slice key, uint64_t hash,
                     struct write_found *out_found);
void write_part_find_number(const struct write_part *part, uint32_t key, struct write_found *out);

/* Applies the operands of `found` to a value (present false: missing). The result is in *out. */
TERN_MUST_CHECK tern_status write_part_merge(const struct write_part *part,
                                             const struct write_found *found, bool present,
                                             tern_slice value, struct buffer *out,
                                             struct buffer *spare);

/* The operation number of the newest range delete that covers the key, or 0; its bounds through
 * `out_range` (may be NULL). */
uint64_t write_part_range_over(const struct write_part *part, tern_slice key,
                               const struct engine_change **out_range);

/* Builds the sorted index when there is none. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status write_part_make_ordered(const struct write_set *set,
                                                    struct write_part *part, tern_error *error);

/* ---- savepoints ---- */

/* TERN_NO_MEMORY. Numbered from 1. */
TERN_MUST_CHECK tern_status write_set_savepoint(struct write_set *set, uint32_t *out_savepoint,
                                                tern_error *error);

/* Told of values stored apart. */
typedef void (*write_large_visitor)(void *context, tern_keyspace *keyspace,
                                    const struct engine_change *change);

/* Undoes what came after the savepoint, which must exist; tells of LARGE operations undone. */
void write_set_rollback_to(struct write_set *set, uint32_t savepoint, write_large_visitor visit,
                           void *context);

/* ---- commit ---- */

/* What a commit has to carry. */
struct write_summary {
    size_t part_count;
    size_t change_count;
    size_t bytes;
};

/*
 * Fills `out_parts` (room for set->part_count) with what is to be committed: per key the newest
 * operation and what it merges over, range deletes in their order. `excludes` (may be NULL) names
 * keyspaces to leave out. Valid until the set changes. TERN_NO_MEMORY.
 */
TERN_MUST_CHECK tern_status write_set_commit_parts(
    struct write_set *set, bool (*excludes)(void *context, const tern_keyspace *keyspace),
    void *context, struct commit_part *out_parts, struct write_summary *out_summary,
    tern_error *error);

/* Visits LARGE operations: all, or with `dropped_only` those that commit_parts left out. */
void write_set_visit_large(const struct write_set *set, bool dropped_only,
                           write_large_visitor visit, void *context);

#endif
