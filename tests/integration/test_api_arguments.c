/* SPDX-License-Identifier: Apache-2.0 */
/* What callers pass in: missing arguments, options of other releases, and errors that are left
 * alone. */
#include <stddef.h>
#include <tern/sys/executor.h>
#include <unistd.h>

#include "api_fixture.h"

#define KEY   tern_slice_str("key")
#define VALUE tern_slice_str("value")

/* The call is refused and its message names the function. */
#define REFUSED(error, call, name)                                                                 \
    do {                                                                                           \
        (error) = (tern_error)TERN_ERROR_INIT;                                                     \
        assert_int_equal(call, TERN_INVALID);                                                      \
        assert_non_null(strstr((error).message, name));                                            \
    } while (0)

static bool no_stat(void *context, const tern_stat *stat) {
    (void)context;
    (void)stat;
    return true;
}

static bool no_keyspace(void *context, tern_keyspace *keyspace) {
    (void)context;
    (void)keyspace;
    return true;
}

static tern_status no_batch(void *context, const tern_batch *batch) {
    (void)context;
    (void)batch;
    return TERN_OK;
}

static void calls_on_a_database_name_what_is_missing(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error;
    tern_db *db;
    tern_keyspace *keyspace;
    tern_commit_hook *hook;
    tern_thread_executor *executor;
    tern_verify_report verified;
    tern_repair_report repaired;
    uint64_t number;
    int descriptor;
    api_fixture_init(&fixture, false);
    REFUSED(error, tern_open(NULL, NULL, &db, &error), "path");
    REFUSED(error, tern_open("x", NULL, NULL, &error), "out_db");
    REFUSED(error, tern_sync(NULL, &error), "tern_sync");
    REFUSED(error, tern_checkpoint(NULL, &error), "tern_checkpoint");
    REFUSED(error, tern_compact(NULL, NULL, NULL, &error), "tern_compact");
    REFUSED(error, tern_clone(NULL, "x", NULL, NULL, &error), "tern_clone");
    REFUSED(error, tern_clone(fixture.db, NULL, NULL, NULL, &error), "target_path");
    REFUSED(error, tern_verify(NULL, NULL, NULL, NULL, NULL, &verified, &error), "tern_verify");
    REFUSED(error, tern_verify(fixture.db, NULL, NULL, NULL, NULL, NULL, &error), "out_report");
    REFUSED(error, tern_verify_directory(NULL, NULL, NULL, NULL, NULL, NULL, &verified, &error),
            "path");
    REFUSED(error, tern_verify_directory("x", NULL, NULL, NULL, NULL, NULL, NULL, &error),
            "out_report");
    REFUSED(error, tern_repair(NULL, "y", NULL, NULL, NULL, NULL, NULL, &repaired, &error), "path");
    REFUSED(error, tern_repair("x", NULL, NULL, NULL, NULL, NULL, NULL, &repaired, &error),
            "target_path");
    REFUSED(error, tern_repair("x", "y", NULL, NULL, NULL, NULL, NULL, NULL, &error), "out_report");
    REFUSED(error, tern_stats(NULL, no_stat, NULL, &error), "tern_stats");
    REFUSED(error, tern_stats(fixture.db, NULL, NULL, &error), "visitor");
    REFUSED(error, tern_keyspace_stats(NULL, no_stat, NULL, &error), "tern_keyspace_stats");
    REFUSED(error, tern_keyspace_stats(fixture.keyspace, NULL, NULL, &error), "visitor");
    assert_int_equal(tern_stat_get(NULL, "commits", &number), TERN_INVALID);
    assert_int_equal(tern_stat_get(fixture.db, NULL, &number), TERN_INVALID);
    assert_int_equal(tern_stat_get(fixture.db, "commits", NULL), TERN_INVALID);
    REFUSED(error, tern_keyspace_create(NULL, "a", NULL, NULL, &error), "tern_keyspace_create");
    REFUSED(error, tern_keyspace_create(fixture.db, NULL, NULL, NULL, &error), "name");
    REFUSED(error, tern_keyspace_open(NULL, "a", &keyspace, &error), "tern_keyspace_open");
    REFUSED(error, tern_keyspace_open(fixture.db, NULL, &keyspace, &error), "name");
    REFUSED(error, tern_keyspace_open(fixture.db, "test", NULL, &error), "out_keyspace");
    REFUSED(error, tern_keyspace_drop(NULL, "a", &error), "tern_keyspace_drop");
    REFUSED(error, tern_keyspace_drop(fixture.db, NULL, &error), "name");
    REFUSED(error, tern_keyspace_list(NULL, no_keyspace, NULL, &error), "tern_keyspace_list");
    REFUSED(error, tern_keyspace_list(fixture.db, NULL, NULL, &error), "visitor");
    REFUSED(error, tern_keyspace_convert(NULL, NULL, NULL, NULL, &error), "no keyspace");
    REFUSED(error, tern_commit_hook_add(NULL, 0, no_batch, NULL, &hook, &error), "no database");
    REFUSED(error, tern_commit_hook_add(fixture.db, 0, NULL, NULL, &hook, &error), "function");
    REFUSED(error, tern_commit_hook_add(fixture.db, 0, no_batch, NULL, NULL, &error), "out_hook");
    REFUSED(error, tern_poll_descriptor(NULL, &descriptor, &error), "no database");
    REFUSED(error, tern_poll_descriptor(fixture.db, NULL, &error), "out_descriptor");
    REFUSED(error, tern_thread_executor_start(1, NULL, &error), "out_executor");
    REFUSED(error, tern_thread_executor_start(0, &executor, &error), "threads");
    assert_int_equal(tern_poll(NULL), 0);
    assert_int_equal(tern_close(NULL, &error), TERN_OK);
    api_fixture_release(&fixture);
}

static void single_operations_name_what_is_missing(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error;
    char buffer[16];
    tern_value value = TERN_VALUE_INIT;
    const tern_slice bad = {NULL, 3};
    tern_get_request request = {.key = KEY, .buffer = NULL, .capacity = 4};
    api_fixture_init(&fixture, false);
    tern_keyspace *keyspace = fixture.keyspace;
    REFUSED(error, tern_get(NULL, KEY, buffer, sizeof(buffer), NULL, &error), "no keyspace");
    REFUSED(error, tern_get(keyspace, bad, buffer, sizeof(buffer), NULL, &error), "key");
    REFUSED(error, tern_get(keyspace, KEY, NULL, 4, NULL, &error), "buffer");
    REFUSED(error, tern_get_pinned(NULL, KEY, &value, &error), "no keyspace");
    REFUSED(error, tern_get_pinned(keyspace, KEY, NULL, &error), "out_value");
    REFUSED(error, tern_multi_get(NULL, &request, 1, &error), "no keyspace");
    REFUSED(error, tern_multi_get(keyspace, NULL, 1, &error), "request");
    REFUSED(error, tern_multi_get(keyspace, &request, 1, &error), "buffer");
    request = (tern_get_request){.key = bad, .buffer = buffer, .capacity = sizeof(buffer)};
    REFUSED(error, tern_multi_get(keyspace, &request, 1, &error), "key");
    REFUSED(error, tern_put(NULL, KEY, VALUE, NULL, &error), "no keyspace");
    REFUSED(error, tern_put(keyspace, bad, VALUE, NULL, &error), "key");
    REFUSED(error, tern_put(keyspace, tern_slice_of(NULL, 0), VALUE, NULL, &error), "1 to");
    REFUSED(error, tern_put(keyspace, KEY, bad, NULL, &error), "value");
    REFUSED(error, tern_delete(NULL, KEY, NULL, &error), "no keyspace");
    REFUSED(error, tern_delete_range(NULL, NULL, NULL, NULL, &error), "no keyspace");
    REFUSED(error, tern_delete_range(keyspace, &bad, NULL, NULL, &error), "bound");
    REFUSED(error, tern_merge(NULL, KEY, TERN_MERGE_APPEND, VALUE, NULL, &error), "no keyspace");
    REFUSED(error, tern_merge(keyspace, KEY, (tern_merge_kind)0, VALUE, NULL, &error), "kind");
    REFUSED(error, tern_compare_and_set(NULL, KEY, NULL, NULL, NULL, NULL, &error), "no keyspace");
    REFUSED(error, tern_compare_and_set(keyspace, KEY, &bad, NULL, NULL, NULL, &error), "expected");
    api_fixture_release(&fixture);
}

static void calls_of_a_transaction_name_what_is_missing(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error;
    tern_txn *txn;
    tern_cursor *cursor;
    tern_entry entry;
    uint64_t number;
    size_t count;
    api_fixture_init(&fixture, false);
    REFUSED(error, tern_txn_begin(NULL, NULL, &txn, &error), "no database");
    REFUSED(error, tern_txn_begin(fixture.db, NULL, NULL, &error), "out_txn");
    assert_int_equal(tern_txn_commit(NULL), TERN_INVALID);
    assert_int_equal(tern_txn_error(NULL)->status, TERN_INVALID);
    assert_int_equal(tern_txn_put(NULL, fixture.keyspace, KEY, VALUE, NULL), TERN_INVALID);
    assert_int_equal(tern_cursor_next(NULL), TERN_INVALID);
    assert_int_equal(tern_cursor_error(NULL)->status, TERN_INVALID);
    assert_int_equal(tern_cursor_key(NULL).size, 0);
    assert_int_equal(tern_value_writer_finish(NULL), TERN_INVALID);
    txn = api_begin(&fixture);
    assert_int_equal(tern_txn_put(txn, NULL, KEY, VALUE, NULL), TERN_INVALID);
    assert_non_null(strstr(tern_txn_error(txn)->message, "no keyspace"));
    assert_int_equal(tern_txn_get(txn, fixture.keyspace, KEY, NULL, 5, NULL), TERN_INVALID);
    assert_int_equal(tern_txn_count(txn, fixture.keyspace, NULL, NULL, NULL), TERN_INVALID);
    assert_int_equal(tern_txn_estimate(txn, fixture.keyspace, NULL, NULL, &number, NULL),
                     TERN_INVALID);
    assert_int_equal(tern_txn_multi_get(txn, fixture.keyspace, NULL, 2), TERN_INVALID);
    assert_int_equal(tern_txn_savepoint(txn, NULL), TERN_INVALID);
    assert_int_equal(tern_txn_commit_async(txn, NULL, NULL), TERN_INVALID);
    assert_int_equal(tern_cursor_open(txn, fixture.keyspace, NULL, NULL), TERN_INVALID);
    assert_int_equal(tern_cursor_open(txn, fixture.keyspace, NULL, &cursor), TERN_OK);
    assert_int_equal(tern_cursor_value(cursor, NULL), TERN_INVALID);
    assert_int_equal(tern_cursor_next_batch(cursor, &entry, 0, &count), TERN_INVALID);
    assert_non_null(strstr(tern_cursor_error(cursor)->message, "room"));
    assert_int_equal(tern_cursor_seek_batch(cursor, KEY, &entry, 0, &count), TERN_INVALID);
    assert_int_equal(tern_cursor_seek_batch(cursor, KEY, &entry, 1, NULL), TERN_INVALID);
    assert_int_equal(tern_cursor_seek_batch(NULL, KEY, &entry, 1, &count), TERN_INVALID);
    assert_int_equal(tern_txn_renew(txn), TERN_INVALID);
    assert_int_equal(tern_txn_renew(NULL), TERN_INVALID);
    tern_cursor_close(cursor);
    /* None of it has harmed the transaction. */
    assert_int_equal(tern_txn_put(txn, fixture.keyspace, KEY, VALUE, NULL), TERN_OK);
    api_commit(txn);
    api_assert_value(fixture.keyspace, "key", "value");
    api_fixture_release(&fixture);
}

/* ---- options of other releases ---- */

static void options_of_an_older_release_keep_their_meaning(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    tern_txn *txn;
    tern_cursor *cursor;
    tern_keyspace *keyspace;
    api_fixture_init(&fixture, false);
    /* As long as it was before later fields came; what lies behind is not looked at. */
    tern_txn_options txn_options = {.size = offsetof(tern_txn_options, pessimistic),
                                    .read_only = true,
                                    .durability = (tern_durability)77};
    assert_ok(tern_txn_begin(fixture.db, &txn_options, &txn, &error), error);
    assert_int_equal(tern_txn_put(txn, fixture.keyspace, KEY, VALUE, NULL), TERN_READ_ONLY);
    tern_cursor_options cursor_options = {.size = offsetof(tern_cursor_options, keys_only)};
    assert_int_equal(tern_cursor_open(txn, fixture.keyspace, &cursor_options, &cursor), TERN_OK);
    tern_cursor_close(cursor);
    tern_txn_free(txn);
    tern_write_options write_options = {.size = offsetof(tern_write_options, ttl_ms),
                                        .ttl_ms = UINT64_MAX};
    assert_ok(tern_put(fixture.keyspace, KEY, VALUE, &write_options, &error), error);
    tern_keyspace_options keyspace_options = {
        .size = offsetof(tern_keyspace_options, fan_out), .page_bytes = 16384, .fan_out = 1};
    assert_ok(tern_keyspace_create(fixture.db, "old", &keyspace_options, &keyspace, &error), error);
    tern_keyspace_options found = TERN_KEYSPACE_OPTIONS_INIT;
    tern_keyspace_get_options(keyspace, &found);
    assert_int_equal(found.page_bytes, 16384);
    assert_int_equal(found.fan_out, 256);
    assert_int_equal(found.size, sizeof(found));
    api_fixture_release(&fixture);
}

static void options_of_a_newer_release_are_refused(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error;
    tern_txn *txn;
    tern_cursor *cursor;
    tern_verify_report verified;
    tern_repair_report repaired;
    char target[512];
    api_fixture_init(&fixture, false);
    tern_txn_options txn_options = {.size = sizeof(txn_options) + 8};
    REFUSED(error, tern_txn_begin(fixture.db, &txn_options, &txn, &error), "TERN_TXN_OPTIONS_INIT");
    tern_write_options write_options = {.size = sizeof(write_options) + 8};
    REFUSED(error, tern_put(fixture.keyspace, KEY, VALUE, &write_options, &error), "size");
    write_options =
        (tern_write_options){.size = sizeof(write_options), .durability = (tern_durability)9};
    REFUSED(error, tern_put(fixture.keyspace, KEY, VALUE, &write_options, &error), "durability");
    tern_cursor_options cursor_options = {.size = 0};
    txn = api_begin(&fixture);
    assert_int_equal(tern_cursor_open(txn, fixture.keyspace, &cursor_options, &cursor),
                     TERN_INVALID);
    tern_txn_free(txn);
    api_fixture_close(&fixture);
    tern_db_options options = {.size = 0};
    REFUSED(
        error,
        tern_verify_directory(fixture.path, &options, NULL, NULL, NULL, NULL, &verified, &error),
        "size");
    (void)snprintf(target, sizeof(target), "%s/repaired", fixture.path);
    options.size = sizeof(options) + 8;
    REFUSED(error,
            tern_repair(fixture.path, target, &options, NULL, NULL, NULL, NULL, &repaired, &error),
            "size");
    assert_int_equal(access(target, F_OK), -1);
    api_fixture_open(&fixture);
    api_fixture_release(&fixture);
}

static void a_reader_cannot_be_pessimistic(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error;
    tern_txn *txn;
    const tern_txn_options options = {
        .size = sizeof(options), .read_only = true, .pessimistic = true};
    api_fixture_init(&fixture, false);
    REFUSED(error, tern_txn_begin(fixture.db, &options, &txn, &error), "pessimistic");
    api_fixture_release(&fixture);
}

/* Room for the options that an older release knew, and a guard behind. */
static void options_are_told_to_an_older_release(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_keyspace_options known;
    api_fixture_init(&fixture, false);
    memset(&known, 0x5a, sizeof(known));
    known.size = offsetof(tern_keyspace_options, fill_percent);
    tern_keyspace_get_options(fixture.keyspace, &known);
    assert_int_equal(known.page_bytes, 8192);
    assert_int_equal(known.fan_out, 256);
    assert_int_equal(known.size, offsetof(tern_keyspace_options, fill_percent));
    assert_int_equal(known.fill_percent, 0x5a5a5a5a);
    assert_int_equal(known.max_load_percent, 0x5a5a5a5a);
    api_fixture_release(&fixture);
}

/* ---- errors ---- */

static const tern_error untouched = TERN_ERROR_INIT;

static void assert_untouched(const tern_error *error, const char *after) {
    if (memcmp(error, &untouched, sizeof(untouched)) != 0) {
        print_error("%s left: %d, %s (%s)\n", after, (int)error->status, error->message,
                    error->source_file);
        fail();
    }
}

#define SUCCEEDS(call)                                                                             \
    do {                                                                                           \
        assert_int_equal(call, TERN_OK);                                                           \
        assert_untouched(&error, #call);                                                           \
    } while (0)

static void write_in_every_way(tern_db *db, tern_keyspace *keyspace) {
    tern_error error = TERN_ERROR_INIT;
    static const char large[600000];
    char buffer[64];
    size_t size;
    tern_slice expected = VALUE;
    tern_value current = TERN_VALUE_INIT;
    tern_txn *txn;
    SUCCEEDS(tern_put(keyspace, KEY, VALUE, NULL, &error));
    SUCCEEDS(tern_put(keyspace, tern_slice_str("large"), tern_slice_of(large, sizeof(large)), NULL,
                      &error));
    SUCCEEDS(tern_get(keyspace, KEY, buffer, sizeof(buffer), &size, &error));
    SUCCEEDS(tern_merge(keyspace, tern_slice_str("n"), TERN_MERGE_APPEND, VALUE, NULL, &error));
    SUCCEEDS(tern_compare_and_set(keyspace, KEY, &expected, &expected, NULL, &current, &error));
    SUCCEEDS(tern_delete(keyspace, tern_slice_str("n"), NULL, &error));
    SUCCEEDS(tern_txn_begin(db, NULL, &txn, &error));
    for (int i = 0; i < 2000; i++) {
        (void)snprintf(buffer, sizeof(buffer), "k%06d", i);
        assert_int_equal(tern_txn_put(txn, keyspace, tern_slice_str(buffer), VALUE, NULL), TERN_OK);
    }
    assert_int_equal(tern_txn_commit(txn), TERN_OK);
    assert_untouched(tern_txn_error(txn), "tern_txn_commit");
    tern_txn_free(txn);
    assert_int_equal(tern_get(keyspace, tern_slice_str("no"), buffer, 1, &size, &error),
                     TERN_NOT_FOUND);
    assert_untouched(&error, "a key that is missing");
}

static void look_after(tern_db *db, const char *copy_path) {
    tern_error error = TERN_ERROR_INIT;
    tern_verify_report verified;
    SUCCEEDS(tern_sync(db, &error));
    SUCCEEDS(tern_checkpoint(db, &error));
    SUCCEEDS(tern_compact(db, NULL, NULL, &error));
    SUCCEEDS(tern_verify(db, NULL, NULL, NULL, NULL, &verified, &error));
    SUCCEEDS(tern_clone(db, copy_path, NULL, NULL, &error));
}

static void calls_that_succeed_leave_the_error_as_it_was(void **state) {
    (void)state;
    char path[512];
    char copy_path[512];
    char repaired_path[512];
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    tern_db *db;
    tern_keyspace *keyspaces[3];
    tern_verify_report verified;
    tern_repair_report repaired;
    char *directory = temporary_directory_create();
    (void)snprintf(path, sizeof(path), "%s/db", directory);
    (void)snprintf(copy_path, sizeof(copy_path), "%s/copy", directory);
    (void)snprintf(repaired_path, sizeof(repaired_path), "%s/repaired", directory);
    options.create_if_missing = true;
    for (int life = 0; life < 3; life++) {
        SUCCEEDS(tern_open(path, &options, &db, &error));
        for (size_t i = 0; i < 3; i++) {
            static const char *const names[] = {"btree", "hash", "lsm"};
            static const tern_engine_kind engines[] = {TERN_ENGINE_BTREE, TERN_ENGINE_HASH,
                                                       TERN_ENGINE_LSM};
            tern_keyspace_options kind = TERN_KEYSPACE_OPTIONS_INIT;
            kind.engine = engines[i];
            if (life == 0) {
                SUCCEEDS(tern_keyspace_create(db, names[i], &kind, &keyspaces[i], &error));
            } else {
                SUCCEEDS(tern_keyspace_open(db, names[i], &keyspaces[i], &error));
            }
            write_in_every_way(db, keyspaces[i]);
        }
        if (life == 1) {
            look_after(db, copy_path);
            SUCCEEDS(tern_keyspace_convert(keyspaces[1], NULL, NULL, NULL, &error));
        }
        SUCCEEDS(tern_close(db, &error));
    }
    SUCCEEDS(tern_verify_directory(path, NULL, NULL, NULL, NULL, NULL, &verified, &error));
    assert_int_equal(verified.findings, 0);
    SUCCEEDS(tern_repair(path, repaired_path, NULL, NULL, NULL, NULL, NULL, &repaired, &error));
    assert_int_equal(repaired.keyspaces, 3);
    temporary_directory_remove(directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_on_a_database_name_what_is_missing),
        cmocka_unit_test(single_operations_name_what_is_missing),
        cmocka_unit_test(calls_of_a_transaction_name_what_is_missing),
        cmocka_unit_test(options_of_an_older_release_keep_their_meaning),
        cmocka_unit_test(options_of_a_newer_release_are_refused),
        cmocka_unit_test(a_reader_cannot_be_pessimistic),
        cmocka_unit_test(options_are_told_to_an_older_release),
        cmocka_unit_test(calls_that_succeed_leave_the_error_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
