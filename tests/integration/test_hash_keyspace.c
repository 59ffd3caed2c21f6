/* SPDX-License-Identifier: Apache-2.0 */
/* Keyspaces of the hash engine through the public API: what order means where there is none. */
#include <stdlib.h>

#include "base/compare.h"
#include "integration/txn_fixture.h"
#include "support/keyspace_stat.h"
#include "support/step_machine.h"

#define KEYS 600u

static int set_up(void **state) {
    int status = txn_fixture_set_up(state);
    struct txn_fixture *fixture = *state;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.engine = TERN_ENGINE_HASH;
    options.hash_index = TERN_HASH_INDEX_TAG_GROUPS;
    options.hash_function = TERN_HASH_FUNCTION_FNV1A;
    options.max_load_percent = 60;
    options.expected_keys = 5000;
    assert_ok(tern_keyspace_create(fixture->db, "hashed", &options, &fixture->keyspace, &error),
              error);
    return status;
}

static tern_slice key_of(unsigned number, char key[24]) {
    return tern_slice_of(key, (size_t)snprintf(key, 24, "key-%06u", number));
}

static void put_number(tern_txn *txn, tern_keyspace *keyspace, unsigned key, unsigned value) {
    char name[24];
    char text[16];
    int size = snprintf(text, sizeof(text), "%u", value);
    assert_ok(
        tern_txn_put(txn, keyspace, key_of(key, name), tern_slice_of(text, (size_t)size), NULL),
        *tern_txn_error(txn));
}

/* Keys 0 to KEYS - 1 with their own number, half of them in the base. */
static void fill(struct txn_fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    for (unsigned half = 0; half < 2; half++) {
        tern_txn *txn = begin(fixture, TERN_ISOLATION_SNAPSHOT, false);
        for (unsigned i = half; i < KEYS; i += 2) {
            put_number(txn, fixture->keyspace, i, i);
        }
        assert_int_equal(commit(txn), TERN_OK);
        if (half == 0) {
            assert_ok(tern_checkpoint(fixture->db, &error), error);
        }
    }
}

static unsigned number_of(tern_slice text, size_t skipped) {
    char digits[32] = "";
    assert_true(text.size >= skipped && text.size - skipped < sizeof(digits));
    memcpy(digits, (const char *)text.data + skipped, text.size - skipped);
    return (unsigned)strtoul(digits, NULL, 10);
}

static void a_cursor_shows_own_writes_and_each_key_once(void **state) {
    struct txn_fixture *fixture = *state;
    static unsigned seen[3 * KEYS];
    fill(fixture);
    memset(seen, 0, sizeof(seen));
    tern_txn *txn = begin(fixture, TERN_ISOLATION_SNAPSHOT, false);
    char name[24];
    for (unsigned i = 0; i < KEYS; i += 5) {
        assert_ok(tern_txn_delete(txn, fixture->keyspace, key_of(i, name)), *tern_txn_error(txn));
    }
    for (unsigned i = 1; i < KEYS; i += 5) {
        put_number(txn, fixture->keyspace, i, i + 1000);
    }
    for (unsigned i = KEYS; i < KEYS + 40; i++) {
        put_number(txn, fixture->keyspace, i, i);
    }
    assert_ok(tern_txn_merge(txn, fixture->keyspace, key_of(2, name), TERN_MERGE_APPEND,
                             tern_slice_str("7")),
              *tern_txn_error(txn));
    tern_cursor *cursor;
    assert_ok(tern_cursor_open(txn, fixture->keyspace, NULL, &cursor), *tern_txn_error(txn));
    tern_status status;
    unsigned steps = 0;
    while ((status = tern_cursor_next(cursor)) == TERN_OK) {
        tern_slice value;
        unsigned key = number_of(tern_cursor_key(cursor), 4);
        assert_ok(tern_cursor_value(cursor, &value), *tern_cursor_error(cursor));
        assert_true(key < 3 * KEYS);
        assert_int_equal(seen[key]++, 0);
        if (key < KEYS) {
            assert_int_not_equal(key % 5, 0);
        }
        unsigned expected = key == 2 ? 27 : key < KEYS && key % 5 == 1 ? key + 1000 : key;
        assert_int_equal(number_of(value, 0), expected % 10000);
        /* Writes while it is open: to the key it stands on, and to new ones. */
        if (steps % 7 == 0) {
            put_number(txn, fixture->keyspace, key, 5);
            put_number(txn, fixture->keyspace, 2 * KEYS + steps % 50, 2 * KEYS + steps % 50);
        }
        steps++;
    }
    assert_int_equal(status, TERN_NOT_FOUND);
    for (unsigned i = 0; i < KEYS + 40; i++) {
        assert_int_equal(seen[i], i < KEYS && i % 5 == 0 ? 0 : 1);
    }
    tern_cursor_close(cursor);
    tern_txn_free(txn);
}

/* Moves to the end; how many entries there were. */
static unsigned count_rest(tern_cursor *cursor) {
    tern_status status;
    unsigned count = 0;
    while ((status = tern_cursor_next(cursor)) == TERN_OK) {
        count++;
    }
    assert_int_equal(status, TERN_NOT_FOUND);
    return count;
}

/* Through to the end with own writes, again from the beginning without, on with own writes. */
static void a_cursor_that_begins_again_shows_the_rest_of_the_engine(void **state) {
    struct txn_fixture *fixture = *state;
    fill(fixture);
    for (int has_batch = 0; has_batch < 2; has_batch++) {
        tern_txn *txn = begin(fixture, TERN_ISOLATION_SNAPSHOT, false);
        tern_cursor *cursor;
        uint32_t savepoint = 0;
        unsigned shown = 1;
        assert_ok(tern_txn_savepoint(txn, &savepoint), *tern_txn_error(txn));
        put_number(txn, fixture->keyspace, KEYS, 1);
        assert_ok(tern_cursor_open(txn, fixture->keyspace, NULL, &cursor), *tern_txn_error(txn));
        assert_int_equal(count_rest(cursor), KEYS + 1);
        assert_ok(tern_txn_rollback_to(txn, savepoint), *tern_txn_error(txn));
        if (has_batch) {
            tern_entry entries[4];
            size_t count = 0;
            assert_ok(tern_cursor_next_batch(cursor, entries, 4, &count),
                      *tern_cursor_error(cursor));
            shown = (unsigned)count;
        } else {
            assert_ok(tern_cursor_next(cursor), *tern_cursor_error(cursor));
        }
        put_number(txn, fixture->keyspace, KEYS + 1, 1);
        assert_int_equal(shown + count_rest(cursor), KEYS + 1);
        tern_cursor_close(cursor);
        tern_txn_free(txn);
    }
}

static void a_cursor_shows_what_is_written_after_a_rollback(void **state) {
    struct txn_fixture *fixture = *state;
    fill(fixture);
    tern_txn *txn = begin(fixture, TERN_ISOLATION_SNAPSHOT, false);
    tern_cursor *cursor;
    uint32_t savepoint = 0;
    put_number(txn, fixture->keyspace, KEYS, 1);
    assert_ok(tern_txn_savepoint(txn, &savepoint), *tern_txn_error(txn));
    for (unsigned i = 1; i < 11; i++) {
        put_number(txn, fixture->keyspace, KEYS + i, 1);
    }
    assert_ok(tern_cursor_open(txn, fixture->keyspace, NULL, &cursor), *tern_txn_error(txn));
    for (unsigned i = 0; i < KEYS + 8; i++) {
        assert_ok(tern_cursor_next(cursor), *tern_cursor_error(cursor));
    }
    assert_ok(tern_txn_rollback_to(txn, savepoint), *tern_txn_error(txn));
    for (unsigned i = 0; i < 5; i++) {
        put_number(txn, fixture->keyspace, KEYS + 100 + i, 1);
    }
    for (unsigned i = 0; i < 5; i++) {
        assert_ok(tern_cursor_next(cursor), *tern_cursor_error(cursor));
        assert_int_equal(number_of(tern_cursor_key(cursor), 4), KEYS + 100 + i);
    }
    assert_int_equal(tern_cursor_next(cursor), TERN_NOT_FOUND);
    tern_cursor_close(cursor);
    tern_txn_free(txn);
}

static void commits_of_others_do_not_touch_an_open_cursor(void **state) {
    struct txn_fixture *fixture = *state;
    static bool seen[KEYS];
    tern_error error = TERN_ERROR_INIT;
    fill(fixture);
    memset(seen, 0, sizeof(seen));
    tern_txn *txn = begin(fixture, TERN_ISOLATION_SNAPSHOT, false);
    tern_cursor *cursor;
    assert_ok(tern_cursor_open(txn, fixture->keyspace, NULL, &cursor), *tern_txn_error(txn));
    for (unsigned steps = 0;; steps++) {
        tern_entry entries[9];
        size_t count = 0;
        tern_status status = tern_cursor_next_batch(cursor, entries, 9, &count);
        if (status == TERN_NOT_FOUND) {
            break;
        }
        assert_ok(status, *tern_cursor_error(cursor));
        for (size_t i = 0; i < count; i++) {
            unsigned key = number_of(entries[i].key, 4);
            assert_true(key < KEYS && !seen[key]);
            assert_int_equal(number_of(entries[i].value, 0), key);
            seen[key] = true;
        }
        tern_txn *other = begin(fixture, TERN_ISOLATION_SNAPSHOT, false);
        for (unsigned i = 0; i < 40; i++) {
            char name[24];
            put_number(other, fixture->keyspace, KEYS + steps * 40 + i, 1);
            put_number(other, fixture->keyspace, (steps * 3 + i) % KEYS, 9999);
            assert_ok(tern_txn_delete(other, fixture->keyspace, key_of((steps + i) % KEYS, name)),
                      *tern_txn_error(other));
        }
        assert_int_equal(commit(other), TERN_OK);
        if (steps % 20 == 0) {
            assert_ok(tern_checkpoint(fixture->db, &error), error);
        }
    }
    for (unsigned i = 0; i < KEYS; i++) {
        assert_true(seen[i]);
    }
    tern_cursor_close(cursor);
    tern_txn_free(txn);
}

static void what_needs_order_is_refused_with_a_remedy(void **state) {
    struct txn_fixture *fixture = *state;
    fill(fixture);
    for (int has_writes = 0; has_writes < 2; has_writes++) {
        tern_txn *txn = begin(fixture, TERN_ISOLATION_SNAPSHOT, false);
        tern_cursor *cursor;
        if (has_writes) {
            put_number(txn, fixture->keyspace, 1, 1);
        }
        assert_ok(tern_cursor_open(txn, fixture->keyspace, NULL, &cursor), *tern_txn_error(txn));
        assert_ok(tern_cursor_next(cursor), *tern_cursor_error(cursor));
        unsigned before = number_of(tern_cursor_key(cursor), 4);
        assert_int_equal(tern_cursor_previous(cursor), TERN_UNSUPPORTED);
        assert_non_null(strstr(tern_cursor_error(cursor)->message, "'hash'"));
        assert_non_null(strstr(tern_cursor_error(cursor)->message, "btree or lsm"));
        assert_int_equal(tern_cursor_seek(cursor, tern_slice_str("a")), TERN_UNSUPPORTED);
        assert_int_equal(tern_cursor_seek_previous(cursor, tern_slice_str("a")), TERN_UNSUPPORTED);
        assert_int_equal(number_of(tern_cursor_key(cursor), 4), before);
        assert_ok(tern_cursor_next(cursor), *tern_cursor_error(cursor));
        tern_cursor_close(cursor);
        tern_txn_free(txn);
    }
}

static void bounds_counts_and_range_deletes_mean_what_they_mean_elsewhere(void **state) {
    struct txn_fixture *fixture = *state;
    char from_name[24];
    char to_name[24];
    tern_slice from = key_of(100, from_name);
    tern_slice to = key_of(200, to_name);
    uint64_t count = 0;
    fill(fixture);
    tern_txn *txn = begin(fixture, TERN_ISOLATION_SNAPSHOT, false);
    assert_ok(tern_txn_count(txn, fixture->keyspace, &from, &to, &count), *tern_txn_error(txn));
    assert_int_equal(count, 100);
    assert_ok(tern_txn_delete_range(txn, fixture->keyspace, &from, &to), *tern_txn_error(txn));
    put_number(txn, fixture->keyspace, 150, 1);
    assert_ok(tern_txn_count(txn, fixture->keyspace, &from, &to, &count), *tern_txn_error(txn));
    assert_int_equal(count, 1);
    assert_int_equal(commit(txn), TERN_OK);
    txn = begin(fixture, TERN_ISOLATION_SNAPSHOT, false);
    assert_ok(tern_txn_count(txn, fixture->keyspace, NULL, NULL, &count), *tern_txn_error(txn));
    assert_int_equal(count, KEYS - 99);
    tern_txn_free(txn);
}

static void a_scan_is_validated_as_a_read_of_all(void **state) {
    struct txn_fixture *fixture = *state;
    fill(fixture);
    for (int is_changed = 0; is_changed < 2; is_changed++) {
        tern_txn *txn = begin(fixture, TERN_ISOLATION_SERIALIZABLE, false);
        tern_cursor *cursor;
        assert_ok(tern_cursor_open(txn, fixture->keyspace, NULL, &cursor), *tern_txn_error(txn));
        assert_ok(tern_cursor_next(cursor), *tern_cursor_error(cursor));
        put_number(txn, fixture->keyspace, 7, 7);
        if (is_changed) {
            put_now(fixture, "somewhere else", "1");
        }
        tern_cursor_close(cursor);
        assert_int_equal(commit(txn), is_changed ? TERN_CONFLICT : TERN_OK);
    }
}

static void batches_hand_out_values_stored_apart(void **state) {
    struct txn_fixture *fixture = *state;
    static uint8_t big[100000];
    tern_error error = TERN_ERROR_INIT;
    unsigned large = 0;
    unsigned total = 0;
    fill(fixture);
    memset(big, 'b', sizeof(big));
    for (unsigned i = 0; i < KEYS; i += 20) {
        char name[24];
        assert_ok(tern_put(fixture->keyspace, key_of(i, name), tern_slice_of(big, sizeof(big)),
                           NULL, &error),
                  error);
    }
    tern_txn *txn = begin(fixture, TERN_ISOLATION_SNAPSHOT, false);
    tern_cursor *cursor;
    assert_ok(tern_cursor_open(txn, fixture->keyspace, NULL, &cursor), *tern_txn_error(txn));
    for (;;) {
        tern_entry entries[16];
        size_t count = 0;
        tern_status status = tern_cursor_next_batch(cursor, entries, 16, &count);
        if (status == TERN_NOT_FOUND) {
            break;
        }
        assert_ok(status, *tern_cursor_error(cursor));
        for (size_t i = 0; i < count; i++) {
            bool is_large = number_of(entries[i].key, 4) % 20 == 0;
            assert_int_equal(entries[i].value.size == sizeof(big), is_large);
            if (is_large) {
                assert_memory_equal(entries[i].value.data, big, sizeof(big));
            }
            large += is_large;
            total++;
        }
    }
    assert_int_equal(large, KEYS / 20);
    assert_int_equal(total, KEYS);
    tern_cursor_close(cursor);
    tern_txn_free(txn);
}

static void options_outlive_the_log_and_the_checkpoint(void **state) {
    struct txn_fixture *fixture = *state;
    for (int round = 0; round < 3; round++) {
        tern_error error = TERN_ERROR_INIT;
        tern_db_options db_options = TERN_DB_OPTIONS_INIT;
        tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
        if (round == 1) {
            fill(fixture);
            assert_ok(tern_checkpoint(fixture->db, &error), error);
        }
        assert_ok(tern_close(fixture->db, &error), error);
        assert_ok(tern_open(fixture->path, &db_options, &fixture->db, &error), error);
        assert_ok(tern_keyspace_open(fixture->db, "hashed", &fixture->keyspace, &error), error);
        tern_keyspace_get_options(fixture->keyspace, &options);
        assert_int_equal(options.engine, TERN_ENGINE_HASH);
        assert_int_equal(options.hash_index, TERN_HASH_INDEX_TAG_GROUPS);
        assert_int_equal(options.hash_function, TERN_HASH_FUNCTION_FNV1A);
        assert_int_equal(options.max_load_percent, 60);
        assert_int_equal(options.expected_keys, 5000);
        assert_int_equal(options.compaction, 0);
    }
    expect_now(fixture, "key-000123", "123");
}

static void impossible_options_are_refused(void **state) {
    struct txn_fixture *fixture = *state;
    tern_keyspace_options options[4];
    for (size_t i = 0; i < 4; i++) {
        tern_error error = TERN_ERROR_INIT;
        options[i] = TERN_KEYSPACE_OPTIONS_INIT;
        options[i].engine = TERN_ENGINE_HASH;
        options[0].max_load_percent = 96;
        options[i].hash_index = i == 1 ? (tern_hash_index)3 : TERN_HASH_INDEX_BUCKETS;
        options[i].expected_keys = i == 2 ? UINT64_MAX : 0;
        options[i].hash_function = i == 3 ? (tern_hash_function)3 : TERN_HASH_FUNCTION_XXH3;
        assert_int_equal(tern_keyspace_create(fixture->db, "no", &options[i], NULL, &error),
                         TERN_INVALID);
    }
}

/* Nothing is written to the keyspace, or at all, after the snapshot has ended. */
static void check_idle_release(unsigned keys) {
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *keyspace;
    tern_txn *reader;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_txn_options reading = TERN_TXN_OPTIONS_INIT;
    tern_slice value = tern_slice_str("value");
    options.engine = TERN_ENGINE_HASH;
    reading.read_only = true;
    step_machine_init(&machine, 1);
    machine.options.memory_bytes = (uint64_t)128 << 20;
    machine.options.overlay_bytes = (uint64_t)64 << 20;
    assert_ok(step_machine_open(&machine, &db, &error), error);
    assert_ok(tern_keyspace_create(db, "test", &options, &keyspace, &error), error);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < keys; i++) {
            char key[24];
            assert_ok(tern_put(keyspace, key_of(i, key), value, NULL, &error), error);
        }
        if (round == 0) {
            assert_ok(tern_txn_begin(db, &reading, &reader, &error), error);
        }
    }
    assert_ok(tern_checkpoint(db, &error), error);
    step_machine_idle(&machine, 20);
    assert_int_equal(keyspace_stat(keyspace, "stubs"), keys);
    tern_txn_free(reader);
    step_machine_idle(&machine, 20);
    assert_int_equal(keyspace_stat(keyspace, "stubs"), 0);
    assert_ok(tern_close(db, &error), error);
    step_machine_release(&machine);
}

static void what_an_ended_snapshot_held_goes_without_another_commit(void **state) {
    (void)state;
    check_idle_release(KEYS);
}

/* More than is let go of at a time. */
static void all_that_an_ended_snapshot_held_goes(void **state) {
    (void)state;
    check_idle_release(60000);
}

struct meddling {
    tern_db *db;
    tern_keyspace *keyspaces[2];
    unsigned times;
};

static void overwrite_all(const struct meddling *meddling) {
    tern_error error = TERN_ERROR_INIT;
    for (unsigned i = 0; i < 2 * KEYS; i++) {
        char key[24];
        char value[200];
        memset(value, (int)('a' + meddling->times % 26), sizeof(value));
        assert_ok(tern_put(meddling->keyspaces[i % 2], key_of(i / 2, key),
                           tern_slice_of(value, sizeof(value)), NULL, &error),
                  error);
    }
}

static bool overwrite_amid(void *context, const char *what, uint64_t done, uint64_t total) {
    struct meddling *meddling = context;
    tern_error error = TERN_ERROR_INIT;
    (void)what;
    (void)done;
    (void)total;
    for (unsigned i = 0; i < 3; i++) {
        meddling->times++;
        overwrite_all(meddling);
        assert_ok(tern_checkpoint(meddling->db, &error), error);
    }
    return true;
}

/* The second keyspace is listed when all that it holds is younger than the view. */
static void verify_finds_nothing_in_what_is_overwritten_meanwhile(void **state) {
    (void)state;
    struct step_machine machine;
    struct meddling meddling = {0};
    tern_verify_report report;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.engine = TERN_ENGINE_HASH;
    step_machine_init(&machine, 1);
    machine.options.memory_bytes = (uint64_t)64 << 20;
    machine.options.overlay_bytes = (uint64_t)32 << 20;
    assert_ok(step_machine_open(&machine, &meddling.db, &error), error);
    assert_ok(tern_keyspace_create(meddling.db, "one", &options, &meddling.keyspaces[0], &error),
              error);
    assert_ok(tern_keyspace_create(meddling.db, "two", &options, &meddling.keyspaces[1], &error),
              error);
    overwrite_all(&meddling);
    assert_ok(tern_checkpoint(meddling.db, &error), error);
    assert_ok(tern_verify(meddling.db, NULL, NULL, overwrite_amid, &meddling, &report, &error),
              error);
    assert_true(meddling.times > 0);
    assert_int_equal(report.findings, 0);
    assert_ok(tern_close(meddling.db, &error), error);
    step_machine_release(&machine);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, txn_fixture_tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_cursor_shows_own_writes_and_each_key_once),
        TEST(a_cursor_that_begins_again_shows_the_rest_of_the_engine),
        TEST(a_cursor_shows_what_is_written_after_a_rollback),
        TEST(commits_of_others_do_not_touch_an_open_cursor),
        TEST(what_needs_order_is_refused_with_a_remedy),
        TEST(bounds_counts_and_range_deletes_mean_what_they_mean_elsewhere),
        TEST(a_scan_is_validated_as_a_read_of_all),
        TEST(batches_hand_out_values_stored_apart),
        TEST(options_outlive_the_log_and_the_checkpoint),
        cmocka_unit_test(what_an_ended_snapshot_held_goes_without_another_commit),
        cmocka_unit_test(all_that_an_ended_snapshot_held_goes),
        cmocka_unit_test(verify_finds_nothing_in_what_is_overwritten_meanwhile),
        TEST(impossible_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
