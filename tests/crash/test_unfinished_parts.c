/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process dies while it writes a transaction that is larger than a log record. The next one
 * begins with such a transaction, too, which gets the same sequence number, and dies after it has
 * been acknowledged: all of it is there, and nothing of the first.
 */
#include "support/cmocka_test.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <tern/tern.h>
#include <unistd.h>

#include "base/bytes.h"
#include "db/database_internal.h"
#include "support/temporary_directory.h"
#include "txn/commit_codec.h"
#include "txn/commit_queue.h"

#define KEYS        200u
#define VALUE_BYTES 1000u
#define PARTS       3

static tern_db *open_database(const char *path, tern_keyspace **out_keyspace) {
    tern_db *db;
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    options.create_if_missing = true;
    options.memory_bytes = (uint64_t)16 << 20;
    options.segment_bytes = (uint64_t)64 << 10;
    options.durability = TERN_DURABILITY_FULL;
    assert_ok(tern_open(path, &options, &db, &error), error);
    if (tern_keyspace_open(db, "test", out_keyspace, &error) != TERN_OK) {
        assert_ok(tern_keyspace_create(db, "test", NULL, out_keyspace, &error), error);
    }
    return db;
}

/* As many parts of a large transaction as were in the log when the process died. */
static void begin_large_transaction(tern_db *db) {
    static const uint8_t piece[8192];
    tern_error error = TERN_ERROR_INIT;
    struct txn_manager *manager = &db->manager;
    log_position position;
    commit_applier_lock(manager);
    for (unsigned i = 0; i < PARTS; i++) {
        size_t size = COMMIT_PART_HEADER_BYTES + sizeof(piece);
        uint8_t *payload;
        assert_ok(log_begin(manager->log, LOG_RECORD_PART, size, &payload, &error), error);
        put_u64(payload, manager->next_seq);
        memcpy(payload + COMMIT_PART_HEADER_BYTES, piece, sizeof(piece));
        assert_ok(log_end(manager->log, size, &position, &error), error);
    }
    assert_ok(log_sync(manager->log, position, &error), error);
    commit_applier_unlock(manager);
}

static tern_slice key_of(unsigned i, char key[16]) {
    (void)snprintf(key, 16, "%04u", i);
    return tern_slice_str(key);
}

static void commit_large_transaction(tern_db *db, tern_keyspace *keyspace) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn *txn;
    char key[16];
    uint8_t value[VALUE_BYTES];
    assert_ok(tern_txn_begin(db, NULL, &txn, &error), error);
    for (unsigned i = 0; i < KEYS; i++) {
        memset(value, (int)i, sizeof(value));
        assert_ok(
            tern_txn_put(txn, keyspace, key_of(i, key), tern_slice_of(value, sizeof(value)), NULL),
            *tern_txn_error(txn));
    }
    assert_ok(tern_txn_commit(txn), *tern_txn_error(txn));
    tern_txn_free(txn);
}

/* A process that ends without closing anything. */
static void live_and_die(const char *path, bool finishes) {
    pid_t child = fork();
    int status;
    assert_true(child >= 0);
    if (child == 0) {
        tern_keyspace *keyspace;
        tern_db *db = open_database(path, &keyspace);
        if (finishes) {
            commit_large_transaction(db, keyspace);
        } else {
            /* What has not been drained keeps the log. */
            tern_error error = TERN_ERROR_INIT;
            assert_ok(
                tern_put(keyspace, tern_slice_str("before"), tern_slice_str("1"), NULL, &error),
                error);
            begin_large_transaction(db);
        }
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void assert_whole(tern_keyspace *keyspace) {
    tern_error error = TERN_ERROR_INIT;
    char key[16];
    uint8_t value[VALUE_BYTES];
    uint8_t expected[VALUE_BYTES];
    assert_ok(tern_get(keyspace, tern_slice_str("before"), value, sizeof(value), NULL, &error),
              error);
    for (unsigned i = 0; i < KEYS; i++) {
        size_t size;
        assert_ok(tern_get(keyspace, key_of(i, key), value, sizeof(value), &size, &error), error);
        memset(expected, (int)i, sizeof(expected));
        assert_int_equal(size, sizeof(value));
        assert_memory_equal(value, expected, sizeof(value));
    }
}

static void a_transaction_after_an_unfinished_one_survives(void **state) {
    (void)state;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *keyspace;
    char *path = temporary_directory_create();
    assert_ok(tern_close(open_database(path, &keyspace), &error), error);
    live_and_die(path, false);
    live_and_die(path, true);
    tern_db *db = open_database(path, &keyspace);
    assert_whole(keyspace);
    assert_ok(tern_close(db, &error), error);
    temporary_directory_remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_transaction_after_an_unfinished_one_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
