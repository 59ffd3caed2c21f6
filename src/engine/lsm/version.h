/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A version: which tables make up the base, as runs from newest to oldest. A run is a list of
 * tables in order of key whose extents do not overlap; for a key, everything in a run is newer than
 * everything in the runs after it. Level 0 has one run for each drain; under levelled compaction a
 * level below has one run, under tiered compaction several.
 *
 * Immutable, reference counted, held by views.
 */
#ifndef TERN_ENGINE_LSM_VERSION_H
#define TERN_ENGINE_LSM_VERSION_H

#include "engine/lsm/table.h"

struct lsm_run {
    uint32_t level;
    uint32_t count;
    struct lsm_table **tables;
    struct key_directory directory; /* by lower bound of the extents */
    struct lsm_range *ranges;       /* of all its tables; borrowed keys */
    uint32_t range_count;
    uint64_t file_bytes;
    uint64_t records;
};

struct lsm_version {
    _Atomic uint64_t references;
    struct lsm *lsm;
    seq_no complete_seq;   /* every change up to this is in it */
    uint64_t base_time_ms; /* logged time that no reader of it is before */
    uint32_t run_count;
    struct lsm_run *runs; /* newest first */
    uint32_t use_count;
    struct value_use *uses; /* of value files by all tables, ascending by number */
};

/* What a new version has that the one before had not, and the other way round. */
struct version_edit {
    struct lsm_table *const *removed;
    uint32_t removed_count;
    struct lsm_table *const *added; /* ascending by key, extents disjoint */
    uint32_t added_count;
    uint32_t level;   /* of what is added */
    bool joins_run;   /* it becomes part of the level's run; else a run of its own, the newest of
                         the level */
    bool takes_place; /* a run of its own where what is removed was */
    bool is_newest;   /* a run of its own before all others */
    seq_no complete_seq;
    uint64_t base_time_ms;
};

TERN_MUST_CHECK tern_status version_create(struct lsm *lsm, struct lsm_version **out_version,
                                           tern_error *error);
TERN_MUST_CHECK tern_status version_apply(const struct lsm_version *version,
                                          const struct version_edit *edit,
                                          struct lsm_version **out_version, tern_error *error);
void version_retain(struct lsm_version *version);
void version_release(struct lsm_version *version);

/* Builds a version from runs given as (level, count) over tables in one array; retains the tables.
 * TERN_CORRUPTION when they are out of order. */
struct run_shape {
    uint32_t level;
    uint32_t count;
};
TERN_MUST_CHECK tern_status version_build(struct lsm *lsm, const struct run_shape *shapes,
                                          uint32_t run_count, struct lsm_table *const *tables,
                                          seq_no complete_seq, uint64_t base_time_ms,
                                          struct lsm_version **out_version, tern_error *error);

/* The table of a run that the key falls into, or NULL. */
struct lsm_table *run_table(const struct lsm_run *run, tern_slice key);
/* The range delete of the run over the key, or NULL. */
const struct lsm_range *run_range(const struct lsm_run *run, tern_slice key);
/* Adds what the runs from `first_run` on have of the key. Inside an epoch. */
TERN_MUST_CHECK tern_status version_lookup(const struct lsm_version *version, uint32_t first_run,
                                           tern_slice key, uint64_t key_hash,
                                           struct resolution *resolution, tern_error *error);
/* Whether any run from `first_run` on may hold the key. */
bool version_may_hold(const struct lsm_version *version, uint32_t first_run, tern_slice key);
uint64_t version_file_bytes(const struct lsm_version *version);
/* About how long new tables are to be. */
uint64_t version_table_bytes(const struct lsm_version *version);
uint64_t version_records(const struct lsm_version *version);
/* What the version refers to in a file of values, or NULL. */
const struct value_use *version_use(const struct lsm_version *version, uint64_t number);

#endif
