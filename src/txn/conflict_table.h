/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who committed what recently: for optimistic validation, first committer wins.
 *
 * One 64-byte bucket per group of key hashes: seven entries of (tag, seq) and the highest seq that
 * was ever pushed out. A key not found in its bucket has not been written after that seq. Errs only
 * towards conflict; those cases are counted.
 *
 * Threads: record and validate belong to the applier; prefetch to anyone.
 */
#ifndef TERN_TXN_CONFLICT_TABLE_H
#define TERN_TXN_CONFLICT_TABLE_H

#include <stdbool.h>
#include <tern/error.h>

#include "base/budget.h"
#include "base/memory.h"
#include "base/types.h"

struct conflict_table;

/* `entries` is rounded up so that buckets are a power of two. Counts in BUDGET_OTHER. */
TERN_MUST_CHECK tern_status conflict_table_create(const tern_allocator *allocator,
                                                  struct budget *budget, uint32_t entries,
                                                  struct conflict_table **out_table,
                                                  tern_error *error);
void conflict_table_destroy(struct conflict_table *table);

void conflict_table_prefetch(const struct conflict_table *table, uint64_t key_hash);

/* The key was written at `seq` (ascending). `is_merge`: merges do not conflict with merges. */
void conflict_table_record(struct conflict_table *table, uint64_t key_hash, seq_no seq,
                           bool is_merge);

enum conflict_answer {
    CONFLICT_NO,
    CONFLICT_YES,     /* an entry with this tag is newer than `since` */
    CONFLICT_POSSIBLE /* pushed out: cannot be told */
};

/*
 * Was the key written after `since`? With `ignore_merges` merge writes do not count.
 */
enum conflict_answer conflict_table_check(const struct conflict_table *table, uint64_t key_hash,
                                          seq_no since, bool ignore_merges);

/* Snapshots below the horizon cannot be validated any more. */
seq_no conflict_table_horizon(const struct conflict_table *table);
/* Commits up to `seq` were not recorded (nobody could have conflicted). */
void conflict_table_set_horizon(struct conflict_table *table, seq_no seq);

#endif
