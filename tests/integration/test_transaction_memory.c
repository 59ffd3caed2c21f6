/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transactions that run out of memory at any step and go on: what they have read is still
 * validated, what they have locked was checked, and cursors leave nothing out.
 */
#include "api_fixture.h"
#include "support/fault_allocator.h"

#define STEPS_MAX 200u

struct memory_fixture {
    struct api_fixture api;
    struct fault_allocator *faults;
};

static void open_fixture(struct memory_fixture *fixture) {
    fixture->faults = fault_allocator_create();
    api_fixture_init_closed(&fixture->api, true);
    fixture->api.options.allocator = fault_allocator_interface(fixture->faults);
    api_fixture_open(&fixture->api);
}

static void close_fixture(struct memory_fixture *fixture) {
    api_fixture_release(&fixture->api);
    fault_allocator_destroy(fixture->faults);
}

static void fail_from(struct memory_fixture *fixture, uint64_t nth) {
    fault_allocator_fail(fixture->faults, nth, true);
}

static tern_txn *begin(struct memory_fixture *fixture, tern_isolation isolation) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *txn;
    options.isolation = isolation;
    assert_ok(tern_txn_begin(fixture->api.db, &options, &txn, &error), error);
    return txn;
}

static tern_cursor *open_cursor(struct memory_fixture *fixture, tern_txn *txn) {
    tern_cursor *cursor;
    assert_ok(tern_cursor_open(txn, fixture->api.keyspace, NULL, &cursor), *tern_txn_error(txn));
    return cursor;
}

static void go_to(tern_cursor *cursor, const char *key) {
    assert_ok(tern_cursor_next(cursor), *tern_cursor_error(cursor));
    tern_slice found = tern_cursor_key(cursor);
    assert_int_equal(found.size, strlen(key));
    assert_memory_equal(found.data, key, found.size);
}

static void put(struct memory_fixture *fixture, tern_txn *txn, const char *key) {
    assert_ok(
        tern_txn_put(txn, fixture->api.keyspace, tern_slice_str(key), tern_slice_str("v"), NULL),
        *tern_txn_error(txn));
}

static void remove_key(struct memory_fixture *fixture, const char *key) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_delete(fixture->api.keyspace, tern_slice_str(key), NULL, &error), error);
}

/* Another transaction puts a key where this one has read; then it must not be committed. */
static void assert_phantom_is_seen(struct memory_fixture *fixture, tern_txn *txn,
                                   const char *phantom) {
    api_put(fixture->api.keyspace, phantom, "v");
    assert_int_equal(tern_txn_commit(txn), TERN_CONFLICT);
    tern_txn_free(txn);
    remove_key(fixture, phantom);
}

static void what_was_read_is_validated_when_a_failed_commit_is_tried_again(void **state) {
    (void)state;
    struct memory_fixture fixture;
    tern_status status = TERN_NO_MEMORY;
    uint64_t nth = 0;
    open_fixture(&fixture);
    api_put(fixture.api.keyspace, "a", "v");
    api_put(fixture.api.keyspace, "c", "v");
    while (status == TERN_NO_MEMORY && nth < STEPS_MAX) {
        tern_txn *txn = begin(&fixture, TERN_ISOLATION_SERIALIZABLE);
        tern_cursor *cursor = open_cursor(&fixture, txn);
        go_to(cursor, "a");
        go_to(cursor, "c");
        put(&fixture, txn, "x");
        fail_from(&fixture, ++nth);
        status = tern_txn_commit(txn);
        fail_from(&fixture, 0);
        if (status == TERN_NO_MEMORY) {
            assert_phantom_is_seen(&fixture, txn, "b");
        } else {
            assert_int_equal(status, TERN_OK);
            tern_txn_free(txn);
        }
        tern_cursor_close(cursor);
    }
    assert_int_equal(status, TERN_OK);
    assert_in_range(nth, 2, STEPS_MAX);
    close_fixture(&fixture);
}

static void what_a_cursor_reads_after_a_failed_commit_is_validated(void **state) {
    (void)state;
    struct memory_fixture fixture;
    tern_status status = TERN_NO_MEMORY;
    uint64_t nth = 0;
    open_fixture(&fixture);
    api_put(fixture.api.keyspace, "a", "v");
    api_put(fixture.api.keyspace, "c", "v");
    while (status == TERN_NO_MEMORY && nth < STEPS_MAX) {
        tern_txn *txn = begin(&fixture, TERN_ISOLATION_SERIALIZABLE);
        tern_cursor *cursor = open_cursor(&fixture, txn);
        go_to(cursor, "a");
        put(&fixture, txn, "x");
        fail_from(&fixture, ++nth);
        status = tern_txn_commit(txn);
        fail_from(&fixture, 0);
        if (status == TERN_NO_MEMORY) {
            go_to(cursor, "c");
            assert_phantom_is_seen(&fixture, txn, "b");
        } else {
            assert_int_equal(status, TERN_OK);
            tern_txn_free(txn);
        }
        tern_cursor_close(cursor);
    }
    assert_int_equal(status, TERN_OK);
    assert_in_range(nth, 2, STEPS_MAX);
    close_fixture(&fixture);
}

static void what_was_read_is_validated_after_a_move_has_failed(void **state) {
    (void)state;
    struct memory_fixture fixture;
    char long_key[300];
    open_fixture(&fixture);
    memset(long_key, 'd', sizeof(long_key));
    long_key[sizeof(long_key) - 1] = '\0';
    api_put(fixture.api.keyspace, "a", "v");
    api_put(fixture.api.keyspace, "c", "v");
    api_put(fixture.api.keyspace, long_key, "v");
    tern_txn *txn = begin(&fixture, TERN_ISOLATION_SERIALIZABLE);
    tern_cursor *cursor = open_cursor(&fixture, txn);
    go_to(cursor, "a");
    go_to(cursor, "c");
    fail_from(&fixture, 1);
    assert_int_equal(tern_cursor_next(cursor), TERN_NO_MEMORY);
    fail_from(&fixture, 0);
    put(&fixture, txn, "x");
    assert_phantom_is_seen(&fixture, txn, "b");
    tern_cursor_close(cursor);
    close_fixture(&fixture);
}

static void a_batch_that_fails_leaves_nothing_out(void **state) {
    (void)state;
    enum { KEYS = 20 };
    struct memory_fixture fixture;
    tern_status status = TERN_NO_MEMORY;
    uint64_t nth = 0;
    open_fixture(&fixture);
    tern_txn *txn = begin(&fixture, TERN_ISOLATION_SNAPSHOT);
    for (unsigned i = 0; i < KEYS; i++) {
        char key[16];
        char value[3000];
        (void)snprintf(key, sizeof(key), "%02u", i);
        memset(value, 'v', sizeof(value));
        assert_ok(tern_txn_put(txn, fixture.api.keyspace, tern_slice_str(key),
                               tern_slice_of(value, sizeof(value)), NULL),
                  *tern_txn_error(txn));
    }
    while (status == TERN_NO_MEMORY && nth < STEPS_MAX) {
        tern_cursor *cursor = open_cursor(&fixture, txn);
        tern_entry entries[KEYS + 1];
        size_t count = 0;
        fail_from(&fixture, ++nth);
        status = tern_cursor_next_batch(cursor, entries, KEYS + 1, &count);
        fail_from(&fixture, 0);
        if (status == TERN_NO_MEMORY) {
            assert_ok(tern_cursor_next_batch(cursor, entries, KEYS + 1, &count),
                      *tern_cursor_error(cursor));
        } else {
            assert_int_equal(status, TERN_OK);
        }
        assert_int_equal(count, KEYS);
        tern_cursor_close(cursor);
    }
    assert_int_equal(status, TERN_OK);
    assert_in_range(nth, 3, STEPS_MAX);
    tern_txn_free(txn);
    close_fixture(&fixture);
}

static void a_lock_that_could_not_be_checked_is_not_held(void **state) {
    (void)state;
    struct memory_fixture fixture;
    tern_status status = TERN_NO_MEMORY;
    uint64_t nth = 0;
    uint8_t one[8] = {1};
    open_fixture(&fixture);
    tern_slice key = tern_slice_str("counter");
    while (status == TERN_NO_MEMORY && nth < STEPS_MAX) {
        tern_error error = TERN_ERROR_INIT;
        tern_txn *txn = begin(&fixture, TERN_ISOLATION_SNAPSHOT);
        /* Changed since the snapshot. Merged values take memory to be compared. */
        assert_ok(tern_merge(fixture.api.keyspace, key, TERN_MERGE_ADD, tern_slice_of(one, 8), NULL,
                             &error),
                  error);
        fail_from(&fixture, ++nth);
        status = tern_txn_lock(txn, fixture.api.keyspace, key, TERN_LOCK_EXCLUSIVE);
        fail_from(&fixture, 0);
        if (status == TERN_NO_MEMORY) {
            assert_int_equal(tern_txn_lock(txn, fixture.api.keyspace, key, TERN_LOCK_EXCLUSIVE),
                             TERN_CONFLICT);
        } else {
            assert_int_equal(status, TERN_CONFLICT);
        }
        tern_txn_free(txn);
    }
    assert_int_equal(status, TERN_CONFLICT);
    assert_in_range(nth, 2, STEPS_MAX);
    close_fixture(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_read_is_validated_when_a_failed_commit_is_tried_again),
        cmocka_unit_test(what_a_cursor_reads_after_a_failed_commit_is_validated),
        cmocka_unit_test(what_was_read_is_validated_after_a_move_has_failed),
        cmocka_unit_test(a_batch_that_fails_leaves_nothing_out),
        cmocka_unit_test(a_lock_that_could_not_be_checked_is_not_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
