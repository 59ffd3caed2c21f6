/* SPDX-License-Identifier: Apache-2.0 */
/* A database in a directory of its own, and short forms for transactions over text. */
#ifndef TERN_TESTS_INTEGRATION_TXN_FIXTURE_H
#define TERN_TESTS_INTEGRATION_TXN_FIXTURE_H

#include "support/cmocka_test.h"

#include <stdio.h>
#include <string.h>
#include <tern/tern.h>

#include "support/temporary_directory.h"

struct txn_fixture {
    char *path;
    tern_db *db;
    tern_keyspace *keyspace;
};

/* Of the keyspace that set_up makes. */
static tern_engine_kind txn_fixture_engine;

static inline int txn_fixture_set_up(void **state) {
    static struct txn_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    tern_keyspace_options keyspace_options = TERN_KEYSPACE_OPTIONS_INIT;
    keyspace_options.engine = txn_fixture_engine;
    options.create_if_missing = true;
    options.memory_bytes = (uint64_t)64 << 20;
    options.segment_bytes = (uint64_t)4 << 20;
    options.large_value_bytes = 64 << 10;
    options.lock_timeout_ms = 20000;
    options.conflict_slots = 1 << 16;
    fixture.path = temporary_directory_create();
    assert_ok(tern_open(fixture.path, &options, &fixture.db, &error), error);
    assert_ok(
        tern_keyspace_create(fixture.db, "test", &keyspace_options, &fixture.keyspace, &error),
        error);
    *state = &fixture;
    return 0;
}

static inline int txn_fixture_tear_down(void **state) {
    struct txn_fixture *fixture = *state;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_close(fixture->db, &error), error);
    temporary_directory_remove(fixture->path);
    return 0;
}

static inline tern_txn *begin(struct txn_fixture *fixture, tern_isolation isolation,
                              bool pessimistic) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *txn;
    options.isolation = isolation;
    options.pessimistic = pessimistic;
    assert_ok(tern_txn_begin(fixture->db, &options, &txn, &error), error);
    return txn;
}

/* Commits and frees. */
static inline tern_status commit(tern_txn *txn) {
    tern_status status = tern_txn_commit(txn);
    if (status != TERN_OK) {
        assert_int_equal(tern_txn_error(txn)->status, status);
    }
    tern_txn_free(txn);
    return status;
}

static inline void put(struct txn_fixture *fixture, tern_txn *txn, const char *key,
                       const char *value) {
    assert_ok(
        tern_txn_put(txn, fixture->keyspace, tern_slice_str(key), tern_slice_str(value), NULL),
        *tern_txn_error(txn));
}

/* The value in a buffer of the caller's, or "-". */
static inline const char *get(struct txn_fixture *fixture, tern_txn *txn, const char *key,
                              char buffer[64]) {
    size_t size;
    tern_status status =
        tern_txn_get(txn, fixture->keyspace, tern_slice_str(key), buffer, 63, &size);
    if (status == TERN_NOT_FOUND) {
        return "-";
    }
    assert_ok(status, *tern_txn_error(txn));
    buffer[size] = 0;
    return buffer;
}

static inline void expect(struct txn_fixture *fixture, tern_txn *txn, const char *key,
                          const char *value) {
    char buffer[64];
    assert_string_equal(get(fixture, txn, key, buffer), value);
}

static inline void put_now(struct txn_fixture *fixture, const char *key, const char *value) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_put(fixture->keyspace, tern_slice_str(key), tern_slice_str(value), NULL, &error),
              error);
}

static inline void expect_now(struct txn_fixture *fixture, const char *key, const char *value) {
    tern_error error = TERN_ERROR_INIT;
    char buffer[64];
    size_t size;
    tern_status status =
        tern_get(fixture->keyspace, tern_slice_str(key), buffer, 63, &size, &error);
    if (status == TERN_NOT_FOUND) {
        assert_string_equal("-", value);
        return;
    }
    assert_ok(status, error);
    buffer[size] = 0;
    assert_string_equal(buffer, value);
}

#endif
