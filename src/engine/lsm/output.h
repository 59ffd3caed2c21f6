/* SPDX-License-Identifier: Apache-2.0 */
/* What a drain or a compaction writes: a run of tables, cut at a target size, with the range
 * deletes divided among them, and values put apart. One thread. */
#ifndef TERN_ENGINE_LSM_OUTPUT_H
#define TERN_ENGINE_LSM_OUTPUT_H

#include "base/arena.h"
#include "engine/lsm/table_writer.h"
#include "engine/lsm/value_file.h"

struct lsm_output {
    struct lsm *lsm;
    uint32_t level;
    uint64_t target_bytes; /* of a table, at least */
    uint64_t age_seq;
    struct table_writer *writer;
    struct value_output *values;
    uint64_t value_number;     /* of the file of values, once it is whole; 0: none */
    struct lsm_table **tables; /* finished ones, with a reference each */
    uint32_t table_count, table_capacity;
    const struct lsm_range *ranges; /* ascending, disjoint; keys outlive the output */
    uint32_t range_count, range_at;
    struct lsm_range first_range; /* the rest of ranges[range_at] after a cut */
    bool has_first_range;
    uint32_t counted_ranges; /* those from range_at up to here fall to the table being written */
    size_t range_bytes;      /* that they take in its meta block */
    struct arena arena;      /* keys where ranges were cut */
    uint64_t written_bytes;
    bool is_kept; /* the tables are part of a version: abandoning leaves their files */
};

void output_init(struct lsm_output *output, struct lsm *lsm, uint32_t level, uint64_t target_bytes,
                 uint64_t age_seq, const struct lsm_range *ranges, uint32_t range_count);
/* Keys ascend. PUT values that are too long for a block go apart. */
TERN_MUST_CHECK tern_status output_add(struct lsm_output *output, tern_slice key,
                                       const struct record *record, tern_error *error);
/* Adds a LARGE record with a copy of its value. */
TERN_MUST_CHECK tern_status output_add_copy(struct lsm_output *output, struct lsm *source,
                                            tern_slice key, const struct record *record,
                                            tern_error *error);
/* Completes the last table. */
TERN_MUST_CHECK tern_status output_finish(struct lsm_output *output, tern_error *error);
/* Lets go; files of what was not kept are removed. */
void output_release(struct lsm_output *output);

#endif
