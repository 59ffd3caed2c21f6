/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sorted tables: immutable files of records in order of key, with filters and an index, both in
 * partitions of up to 128 data blocks, and range deletes that hold for everything older. Opened,
 * a table keeps its list of partitions in memory; filters, index blocks and data blocks are cached
 * frames, found through hints.
 *
 * The cache knows a block by the serial number of its table (20 bits, given when it is opened) and
 * an ordinal (20 bits): data blocks from 0 on, then two for each partition.
 *
 * Reference counted: versions and jobs hold tables. Any thread reads, inside an epoch.
 */
#ifndef TERN_ENGINE_LSM_TABLE_H
#define TERN_ENGINE_LSM_TABLE_H

#include "engine/lsm/key_directory.h"
#include "engine/lsm/lsm.h"
#include "engine/resolution.h"

/* Keys that are gone from everything older. */
struct lsm_range {
    tern_slice begin; /* inclusive; empty: from the first key on */
    tern_slice end;   /* exclusive */
    bool has_end;
};

/* What a table refers to in a file of values. */
struct value_use {
    uint64_t number;
    uint64_t references;
    uint64_t bytes;
};

struct table_partition {
    tern_slice lower; /* not above any key in it */
    struct lsm_ref index;
    struct lsm_ref filter; /* place 0: it has none */
    uint32_t first_block;
    uint32_t block_count;
    uint64_t records;
    _Atomic cache_hint index_hint;
    _Atomic cache_hint filter_hint;
    _Atomic bool is_read_ahead; /* the system has been told to read all of it */
};

/* The numbers of a table, as its meta block has them. */
struct table_numbers {
    uint64_t hash_seed; /* of the key hashes that the filters were built with */
    uint64_t age_seq;   /* newest seq in it, or above */
    uint64_t records;   /* of all kinds */
    uint64_t deletes;
    uint64_t merges;
    uint64_t expiring;
    uint64_t expires_min; /* of those that expire, or 0 */
    uint64_t expires_max;
    uint64_t raw_bytes; /* keys and values, also those stored apart */
    uint64_t blocks;
    uint32_t level; /* that it was written for */
    uint32_t compression;
};

struct lsm_table {
    _Atomic uint64_t references;
    struct lsm *lsm;
    uint64_t number;
    uint64_t file_bytes;
    uint64_t meta_checksum;
    tern_file *file;
    uint8_t *meta; /* payload of the meta block: slices lie in it */
    struct table_numbers numbers;
    tern_slice first, last; /* keys; both empty without records */
    /* All keys and range deletes lie in [lower, upper], without upper itself unless inclusive. */
    tern_slice lower, upper;
    bool has_upper, is_upper_inclusive;
    uint32_t space, serial;
    uint32_t partition_count;
    struct table_partition *partitions;
    struct key_directory directory;
    _Atomic cache_hint *hints; /* one for each data block */
    struct lsm_range *ranges;  /* ascending, disjoint */
    uint32_t range_count;
    uint32_t use_count;
    struct value_use *uses; /* ascending by number */
};

static inline bool partition_has_filter(const struct table_partition *partition) {
    return partition->filter.place != 0;
}

/* Opens a table; meta_checksum 0: whatever the footer says (salvage). */
TERN_MUST_CHECK tern_status table_open(struct lsm *lsm, uint64_t number, uint64_t meta_checksum,
                                       struct lsm_table **out_table, tern_error *error);
void table_retain(struct lsm_table *table);
/* The last reference closes the file. Accepts NULL. */
void table_release(struct lsm_table *table);

/* Compares with the extent: < 0 the key is below it, 0 inside, > 0 above. */
int table_compare_extent(const struct lsm_table *table, tern_slice key);
/* True when [lower, upper] of both have a key in common. */
bool table_extents_overlap(const struct lsm_table *left, const struct lsm_table *right);

/* ---- reading (table_read.c) ---- */

static inline const uint8_t *frame_payload(const struct cache_frame *frame) {
    return (const uint8_t *)frame + BLOCK_HEADER_BYTES;
}

/* Frames are readable until the epoch is left. */
TERN_MUST_CHECK tern_status table_index_frame(struct lsm_table *table, uint32_t partition,
                                              struct cache_frame **out_frame, tern_error *error);
/* Only where there is a filter. */
TERN_MUST_CHECK tern_status table_filter_frame(struct lsm_table *table, uint32_t partition,
                                               struct cache_frame **out_frame, tern_error *error);
TERN_MUST_CHECK tern_status table_data_frame(struct lsm_table *table, uint32_t block,
                                             struct lsm_ref ref, struct cache_frame **out_frame,
                                             tern_error *error);
/* What is cached of them, or NULL, for prefetching. */
const void *table_filter_hinted(struct lsm_table *table, uint32_t partition);
const void *table_data_hinted(struct lsm_table *table, uint32_t block);
/* Fetches the lines ahead that a search in that block looks at first. */
void table_data_prefetch(struct lsm_table *table, uint32_t block, struct lsm_ref ref);

/* Reads a block beside the cache into `target` (grown as needed) and checks its structure. */
TERN_MUST_CHECK tern_status table_read_block(struct lsm_table *table, struct lsm_ref ref,
                                             enum lsm_payload_type type, struct buffer *target,
                                             tern_error *error);

/* Reads bytes of the file. */
TERN_MUST_CHECK tern_status table_read_bytes(struct lsm_table *table, uint64_t offset, size_t size,
                                             void *target, tern_error *error);
/* As table_read_block, of bytes that have been read already; *out_payload lies in them, or in
 * `target`. */
TERN_MUST_CHECK tern_status table_decode_block(struct lsm_table *table, struct lsm_ref ref,
                                               const void *stored, enum lsm_payload_type type,
                                               struct buffer *target, const uint8_t **out_payload,
                                               size_t *out_size, tern_error *error);

/* Adds what the table has of the key (operands, or a terminal record). Inside an epoch. */
TERN_MUST_CHECK tern_status table_lookup(struct lsm_table *table, tern_slice key, uint64_t key_hash,
                                         struct resolution *resolution, tern_error *error);
/* The hash that this table's filters know the key by. */
uint64_t table_key_hash(const struct lsm_table *table, tern_slice key, uint64_t key_hash);
/* Adds a record of a table: operands of a list one by one. */
TERN_MUST_CHECK tern_status table_add_record(struct resolution *resolution,
                                             const struct record *record, void *frame,
                                             tern_error *error);

#endif
