/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A database on the real disk in a directory of its own, with small budgets, for tests of the
 * public API; and short forms of common calls that must succeed.
 */
#ifndef TERN_TESTS_INTEGRATION_API_FIXTURE_H
#define TERN_TESTS_INTEGRATION_API_FIXTURE_H

#include <stdio.h>
#include <string.h>
#include <tern/tern.h>

#include "support/cmocka_test.h"
#include "support/step_executor.h"
#include "support/temporary_directory.h"
#include "support/virtual_clock.h"

struct api_fixture {
    char *path;
    tern_db *db;
    tern_keyspace *keyspace; /* "test" */
    tern_db_options options; /* of the next open */
    struct virtual_clock clock;
    struct step_executor *executor; /* NULL: the default executor and clock */
};

/* Opens. `is_stepped`: with virtual time and background work done by hand. */
void api_fixture_init(struct api_fixture *fixture, bool is_stepped);
/* With options changed between init_closed and open. */
void api_fixture_init_closed(struct api_fixture *fixture, bool is_stepped);
void api_fixture_open(struct api_fixture *fixture);
void api_fixture_close(struct api_fixture *fixture);
void api_fixture_reopen(struct api_fixture *fixture);
/* Closes, where that has not happened, and removes the directory. */
void api_fixture_release(struct api_fixture *fixture);
/* Lets virtual time pass, with the background work that falls due. */
void api_fixture_pass_ms(struct api_fixture *fixture, uint64_t duration_ms);

tern_txn *api_begin(struct api_fixture *fixture);
tern_txn *api_begin_reading(struct api_fixture *fixture);
void api_commit(tern_txn *txn); /* and frees */

void api_put(tern_keyspace *keyspace, const char *key, const char *value);
void api_assert_value(tern_keyspace *keyspace, const char *key, const char *value);
void api_assert_missing(tern_keyspace *keyspace, const char *key);
void api_assert_txn_value(tern_txn *txn, tern_keyspace *keyspace, const char *key,
                          const char *value);
uint64_t api_stat(tern_db *db, const char *name);
/* Nothing is wrong with it. */
void api_assert_sound(tern_db *db);

#endif
