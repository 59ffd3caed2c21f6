/* SPDX-License-Identifier: Apache-2.0 */
/* Writes one table. One thread. */
#ifndef TERN_ENGINE_LSM_TABLE_WRITER_H
#define TERN_ENGINE_LSM_TABLE_WRITER_H

#include "engine/lsm/table.h"

struct table_writer;

/* Creates the file. */
TERN_MUST_CHECK tern_status table_writer_create(struct lsm *lsm, uint32_t level,
                                                struct table_writer **out_writer,
                                                tern_error *error);
/* Keys ascend, or it is TERN_CORRUPTION. A MERGE record's value is an operand list. */
TERN_MUST_CHECK tern_status table_writer_add(struct table_writer *writer, tern_slice key,
                                             const struct record *record, tern_error *error);
/* Bytes written so far, about. */
uint64_t table_writer_bytes(const struct table_writer *writer);
/* All keys so far are below this one. */
bool table_writer_is_below(const struct table_writer *writer, tern_slice key);
bool table_writer_is_full(const struct table_writer *writer);
/* Completes the file with its range deletes (ascending, disjoint), not synced, and opens it. Frees
 * the writer; on failure the file is removed. */
TERN_MUST_CHECK tern_status table_writer_finish(struct table_writer *writer,
                                                const struct lsm_range *ranges,
                                                uint32_t range_count, uint64_t age_seq,
                                                struct lsm_table **out_table, tern_error *error);
void table_writer_abandon(struct table_writer *writer);

#endif
