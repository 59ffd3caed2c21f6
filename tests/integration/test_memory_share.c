/* SPDX-License-Identifier: Apache-2.0 */
/* What the overlays do not need the cache is lent, and they get it back before they need it. */
#include "support/cmocka_test.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <tern/tern.h>
#include <unistd.h>

#include "support/step_executor.h"
#include "support/temporary_directory.h"

#define BUDGET_BYTES  ((uint64_t)64 << 20)
#define OVERLAY_BYTES (BUDGET_BYTES / 10 * 3)
#define VALUE_BYTES   1000u
#define RECORDS       60000u /* as much as the budget, nearly */

static uint64_t stat_of(tern_db *db, const char *name) {
    uint64_t value = 0;
    assert_int_equal(tern_stat_get(db, name, &value), TERN_OK);
    return value;
}

static uint64_t memory_of(tern_db *db) {
    return stat_of(db, "memory_overlay_bytes") + stat_of(db, "memory_overlay_pool_bytes") +
           stat_of(db, "memory_cache_bytes") + stat_of(db, "memory_index_bytes") +
           stat_of(db, "memory_other_bytes");
}

/* Default threads without an executor. */
static tern_db *open_as(const char *path, const tern_executor *executor, bool read_only,
                        tern_keyspace **out_keyspace) {
    tern_error error = TERN_ERROR_INIT;
    tern_db *db = NULL;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    options.create_if_missing = true;
    options.memory_bytes = BUDGET_BYTES;
    options.executor = executor;
    options.read_only = read_only;
    assert_ok(tern_open(path, &options, &db, &error), error);
    if (tern_keyspace_open(db, "test", out_keyspace, &error) != TERN_OK) {
        assert_ok(tern_keyspace_create(db, "test", NULL, out_keyspace, &error), error);
    }
    return db;
}

static tern_db *open_db(const char *path, tern_keyspace **out_keyspace) {
    return open_as(path, NULL, false, out_keyspace);
}

static void close_db(tern_db *db) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_close(db, &error), error);
}

/* Returns the most memory that was seen. */
static uint64_t write_some(tern_db *db, tern_keyspace *keyspace, char fill, uint32_t count) {
    uint64_t most = 0;
    char value[VALUE_BYTES];
    memset(value, fill, sizeof(value));
    for (uint32_t i = 0; i < count; i++) {
        tern_error error = TERN_ERROR_INIT;
        char key[16];
        (void)snprintf(key, sizeof(key), "key%08u", i * 7919u % RECORDS);
        assert_ok(tern_put(keyspace, tern_slice_str(key), tern_slice_of(value, sizeof(value)), NULL,
                           &error),
                  error);
        uint64_t memory = i % 64 == 0 ? memory_of(db) : 0;
        most = memory > most ? memory : most;
    }
    return most;
}

static uint64_t write_all(tern_db *db, tern_keyspace *keyspace, char fill) {
    return write_some(db, keyspace, fill, RECORDS);
}

static void read_all(tern_keyspace *keyspace) {
    char value[VALUE_BYTES];
    for (uint32_t i = 0; i < RECORDS; i++) {
        tern_error error = TERN_ERROR_INIT;
        char key[16];
        size_t size = 0;
        (void)snprintf(key, sizeof(key), "key%08u", i);
        assert_ok(tern_get(keyspace, tern_slice_str(key), value, sizeof(value), &size, &error),
                  error);
        assert_int_equal(size, VALUE_BYTES);
    }
}

static void readers_have_what_writers_do_not_need(void **state) {
    const char *path = *state;
    tern_keyspace *keyspace;
    tern_db *db = open_db(path, &keyspace);
    uint64_t lent = stat_of(db, "cache_limit_bytes");
    (void)write_all(db, keyspace, 'a');
    uint64_t left = stat_of(db, "cache_limit_bytes");
    /* Three quarters of the overlays' share at first, and little of it after so many writes. */
    assert_true(lent >= left + OVERLAY_BYTES / 3);
    close_db(db);

    db = open_db(path, &keyspace);
    read_all(keyspace);
    assert_true(stat_of(db, "cache_limit_bytes") >= left + OVERLAY_BYTES / 3);
    assert_true(stat_of(db, "memory_cache_bytes") >= left);
    assert_true(memory_of(db) <= BUDGET_BYTES);
    close_db(db);
}

static void writers_get_their_share_back_before_they_need_it(void **state) {
    const char *path = *state;
    tern_keyspace *keyspace;
    tern_db *db = open_db(path, &keyspace);
    (void)write_all(db, keyspace, 'a');
    close_db(db);
    for (int round = 0; round < 3; round++) {
        db = open_db(path, &keyspace);
        read_all(keyspace);
        uint64_t cached = stat_of(db, "memory_cache_bytes");
        uint64_t most = write_all(db, keyspace, (char)('b' + round));
        /* Frames that were let go stay for as long as somebody may be inside of an epoch. */
        assert_true(most <= BUDGET_BYTES + BUDGET_BYTES / 20);
        assert_true(stat_of(db, "memory_cache_bytes") < cached);
        close_db(db);
    }
}

/* Too much for what they keep: there is no time for a task to notice. */
static void one_large_transaction_takes_all_of_it_back(void **state) {
    const uint32_t count = (uint32_t)(OVERLAY_BYTES / 2 / VALUE_BYTES);
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *keyspace;
    tern_txn *txn = NULL;
    char value[VALUE_BYTES] = {0};
    tern_db *db = open_db(*state, &keyspace);
    uint64_t lent = stat_of(db, "cache_limit_bytes");
    assert_ok(tern_txn_begin(db, NULL, &txn, &error), error);
    for (uint32_t i = 0; i < count; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "key%08u", i);
        assert_int_equal(tern_txn_put(txn, keyspace, tern_slice_str(key),
                                      tern_slice_of(value, sizeof(value)), NULL),
                         TERN_OK);
    }
    assert_int_equal(tern_txn_commit(txn), TERN_OK);
    uint64_t limit = stat_of(db, "cache_limit_bytes");
    assert_true(limit + OVERLAY_BYTES / 4 * 3 <= lent + BUDGET_BYTES / 64);
    tern_txn_free(txn);
    close_db(db);
}

/* Dies with as much in its overlays as they may have before they are drained, and all the rest in
 * its base; nothing of that runs in the background. */
static void leave_full_overlays(const char *path) {
    pid_t child = fork();
    int status = 0;
    if (child == 0) {
        struct virtual_clock clock;
        tern_keyspace *keyspace;
        virtual_clock_init(&clock);
        tern_db *db = open_db(path, &keyspace);
        (void)write_all(db, keyspace, 'a');
        close_db(db);
        struct step_executor *executor = step_executor_create(1, &clock);
        db = open_as(path, step_executor_interface(executor), false, &keyspace);
        (void)write_some(db, keyspace, 'b', (uint32_t)(OVERLAY_BYTES / 2 / VALUE_BYTES));
        _exit(stat_of(db, "memory_overlay_bytes") >= OVERLAY_BYTES / 2 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* Before any task has run; a database that is read alone has none that would. */
static void what_recovery_fills_is_not_lent(void **state) {
    const char *path = *state;
    struct virtual_clock clock;
    tern_keyspace *keyspace;
    virtual_clock_init(&clock);
    tern_db *db = open_db(path, &keyspace);
    uint64_t lent = stat_of(db, "cache_limit_bytes");
    close_db(db);
    leave_full_overlays(path);
    for (int read_only = 1; read_only >= 0; read_only--) {
        struct step_executor *executor = step_executor_create(1, &clock);
        db = open_as(path, step_executor_interface(executor), read_only == 1, &keyspace);
        assert_true(stat_of(db, "memory_overlay_bytes") >= OVERLAY_BYTES / 2);
        assert_true(stat_of(db, "cache_limit_bytes") + OVERLAY_BYTES / 4 * 3 <=
                    lent + BUDGET_BYTES / 64);
        read_all(keyspace);
        assert_true(memory_of(db) <= BUDGET_BYTES);
        close_db(db);
        step_executor_destroy(executor);
    }
}

static int setup(void **state) {
    *state = temporary_directory_create();
    return 0;
}

static int teardown(void **state) {
    temporary_directory_remove(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(readers_have_what_writers_do_not_need, setup, teardown),
        cmocka_unit_test_setup_teardown(one_large_transaction_takes_all_of_it_back, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_recovery_fills_is_not_lent, setup, teardown),
        cmocka_unit_test_setup_teardown(writers_get_their_share_back_before_they_need_it, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
