/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content of the golden databases: what a release wrote once, every later one must read. What
 * is in each keyspace follows from rules, so that it can be written and checked by the same table.
 * Golden files stay when releases go by: rules are added, never changed.
 *
 * Key number i of a keyspace has had several versions by the end; golden_version() says which one
 * stands. Beside these keys there are merged ones, and values stored apart.
 */
#ifndef TERN_TESTS_COMPAT_GOLDEN_H
#define TERN_TESTS_COMPAT_GOLDEN_H

#include <tern/tern.h>

#define GOLDEN_KEYS 300u

/* How far a database is. Each stage holds what came before. */
enum golden_stage {
    GOLDEN_EMPTY = 0,
    GOLDEN_FIRST = 1, /* as loaded, in slices: the caller may checkpoint in between */
    GOLDEN_LAST = 2   /* changed, ranges deleted, a keyspace dropped and one created, one converted;
                         one transaction longer than a segment of the log */
};

#define GOLDEN_SLICES 3u

/* Small budgets: log segments of 1 MiB. */
tern_db_options golden_db_options(void);

void golden_create_keyspaces(tern_db *db);
void golden_load_slice(tern_db *db, unsigned slice);
void golden_change(tern_db *db);
/* After the first stage, which stays what is read: ends the process amid a conversion. */
void golden_end_amid_conversion(tern_db *db);

/* Version of key i that stands at the end of a stage: 1, 2, ...; 0: the key is missing. */
unsigned golden_version(unsigned key, enum golden_stage stage);

/* Every keyspace, key and value of the stage is there, by cursor both ways and by point reads, and
 * nothing else. */
void golden_check(tern_db *db, enum golden_stage stage);
/* The same of one keyspace, whatever else there is. */
void golden_check_keyspace(tern_db *db, const char *name, enum golden_stage stage);

/* Beside the stages: a B+tree that takes several slices to drain, in round 1 and again in round 2.
 */
void golden_load_many(tern_db *db, unsigned round);
/* Both rounds, and nothing else. */
void golden_check_many(tern_db *db);

#endif
