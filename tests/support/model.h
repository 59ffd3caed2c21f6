/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A database as anybody would write it down: sorted arrays of keys and values, copied whole after
 * each commit. The judge of crash, fault and model tests.
 *
 * Expiring keys are either short-lived (have expired whenever a test compares) or long-lived (never
 * expire in a test), so that the state does not depend on the moment.
 */
#ifndef TERN_TESTS_MODEL_H
#define TERN_TESTS_MODEL_H

#include <stdbool.h>
#include <tern/tern.h>

#include "support/seeded_random.h"

#define MODEL_KEYSPACES     5
#define MODEL_KEY_BYTES_MAX 1200
#define MODEL_SHORT_TTL_MS  50u
#define MODEL_LONG_TTL_MS   3600000000u

struct model_entry {
    tern_slice key;
    tern_slice value;
    bool is_short_lived;
};

struct model_keyspace {
    bool exists;
    unsigned birth;              /* tells one keyspace from the next of its name */
    struct model_entry *entries; /* sorted by key */
    size_t count;
};

/* One state. Bytes belong to the history. */
struct model_state {
    struct model_keyspace keyspaces[MODEL_KEYSPACES];
};

/* All states of a run and their memory. */
struct model_history {
    struct model_state *states; /* states[i]: after i commits */
    size_t count;
    size_t capacity;
    struct model_state next; /* being built by the transaction under way */
    void *blocks;            /* what to free */
    unsigned births;
};

void model_history_init(struct model_history *history);
void model_history_release(struct model_history *history);
/* The transaction under way has (perhaps) committed: its state becomes states[count]. */
void model_history_commit(struct model_history *history);
/* It has not: back to the last state. */
void model_history_rollback(struct model_history *history);
/* What was found after a crash is the last state from now on. */
void model_history_restart(struct model_history *history, size_t state);

/* Name of keyspace i: "ks0", ... */
const char *model_keyspace_name(unsigned index, char buffer[16]);

/* Changes to the state being built. */
void model_create(struct model_history *history, unsigned keyspace);
void model_drop(struct model_history *history, unsigned keyspace);
void model_put(struct model_history *history, unsigned keyspace, tern_slice key, tern_slice value,
               bool is_short_lived);
void model_delete(struct model_history *history, unsigned keyspace, tern_slice key);
void model_delete_range(struct model_history *history, unsigned keyspace, const tern_slice *begin,
                        const tern_slice *end);
void model_merge(struct model_history *history, unsigned keyspace, tern_slice key,
                 tern_merge_kind kind, tern_slice operand);
/* NULL when missing. */
const struct model_entry *model_find(const struct model_state *state, unsigned keyspace,
                                     tern_slice key);

/*
 * Is the database in this state? Reads every keyspace by cursor, forwards; short-lived entries must
 * be gone. Writes the first difference to `out_difference`. Errors of the database count as one.
 */
bool model_matches(tern_db *db, const struct model_state *state, char *out_difference,
                   size_t capacity);

/* Random keys (few enough to meet again, some long, some with zeros) and values of the run. */
tern_slice model_random_key(struct seeded_random *random, uint8_t buffer[MODEL_KEY_BYTES_MAX]);

#endif
