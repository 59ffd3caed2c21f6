/* SPDX-License-Identifier: Apache-2.0 */
/* The meta block and the footer of a table; see table_meta.c for the bytes. */
#ifndef TERN_ENGINE_LSM_TABLE_META_H
#define TERN_ENGINE_LSM_TABLE_META_H

#include "engine/lsm/table.h"

/* A meta block being collected. */
struct table_meta {
    const tern_allocator *allocator;
    struct table_numbers numbers;
    struct buffer first, last;
    struct buffer partitions; /* encoded */
    uint32_t partition_count;
    struct value_use *uses; /* ascending by number */
    uint32_t use_count, use_capacity;
    struct buffer payload;
};

void table_meta_init(struct table_meta *meta, const tern_allocator *allocator);
void table_meta_release(struct table_meta *meta);
TERN_MUST_CHECK tern_status table_meta_note_key(struct table_meta *meta, tern_slice key);
TERN_MUST_CHECK tern_status table_meta_note_use(struct table_meta *meta, uint64_t number,
                                                uint64_t bytes);
TERN_MUST_CHECK tern_status table_meta_add_partition(struct table_meta *meta,
                                                     const struct table_partition *partition);
TERN_MUST_CHECK tern_status table_meta_encode(struct table_meta *meta,
                                              const struct lsm_range *ranges, uint32_t range_count,
                                              tern_slice *out_payload);
/* Fills numbers, keys, partitions, ranges and uses of the table from its `meta` bytes. NULL, or
 * what is wrong ("memory": out of memory). What was allocated is the table's either way. */
const char *table_meta_decode(struct lsm_table *table, size_t size, uint64_t data_end);

void table_footer_encode(struct lsm_ref meta, partition_id id, uint64_t number,
                         uint8_t out_footer[LSM_FOOTER_BYTES]);
/* NULL, or what is wrong. */
const char *table_footer_decode(const uint8_t footer[LSM_FOOTER_BYTES], partition_id *out_id,
                                uint64_t *out_number, struct lsm_ref *out_meta);

#endif
