/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random work on a database beside its model: transactions of puts, deletes, merges, range deletes,
 * expiring keys, values of all sizes, keyspaces created and dropped; checkpoints, compaction,
 * conversions with work amid them, syncs, steps of background work. Everything is drawn from a
 * seed.
 */
#ifndef TERN_TESTS_RANDOM_WORKLOAD_H
#define TERN_TESTS_RANDOM_WORKLOAD_H

#include "support/model.h"
#include "support/step_executor.h"

#define WORKLOAD_SNAPSHOTS 3

/* A read transaction that is left open, and what it must see. */
struct held_snapshot {
    tern_txn *txn;
    struct model_state state;
};

struct random_workload {
    struct seeded_random random;
    struct model_history history;
    struct step_executor *executor;
    struct virtual_clock *clock;
    size_t durable;      /* states[durable] and later ones may be found after a power cut */
    bool allows_compact; /* also compacts and shrinks */
    bool allows_convert; /* also converts keyspaces, with transactions amid it and over its end */
    bool is_converting;
    bool has_failed_amid; /* something that a conversion's progress did */
    uint64_t conversions; /* that came to their end */
    bool is_wide; /* also savepoints, streams, new keyspaces used at once, all isolation levels,
                     snapshots held across steps: end them with random_workload_end_snapshots */
    bool is_uncertain; /* the last call failed: states[count - 1] may be or not be */
    tern_error error;  /* of the last failure */
    uint8_t *bytes;    /* scratch for values */
    struct held_snapshot snapshots[WORKLOAD_SNAPSHOTS];
    tern_keyspace *fresh; /* created by the transaction under way */
    unsigned fresh_index;
    bool saw_wrong_data; /* in a snapshot; the error says what */
};

void random_workload_init(struct random_workload *workload, uint64_t seed);
void random_workload_release(struct random_workload *workload);

/* Small budgets, so that freezes, drains, slices and segment switches happen all the time. */
void random_workload_options(tern_db_options *options);

/*
 * One random piece of work. False when the database failed (the error is kept); then the last
 * commit may have happened or not.
 */
bool random_workload_step(struct random_workload *workload, tern_db *db);

/* Before the database is closed. */
void random_workload_end_snapshots(struct random_workload *workload);

/*
 * After reopening: finds the state, from states[durable] on, that the database is in, makes it the
 * last one, and returns true; else describes the difference from the newest.
 */
bool random_workload_find_state(struct random_workload *workload, tern_db *db, char *out_difference,
                                size_t capacity);

#endif
