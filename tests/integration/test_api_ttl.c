/* SPDX-License-Identifier: Apache-2.0 */
/* Expiring keys and merges, under virtual time. */
#include "api_fixture.h"

static void put_for(tern_keyspace *keyspace, const char *key, const char *value, uint64_t ttl_ms) {
    tern_error error = TERN_ERROR_INIT;
    tern_write_options options = {.size = sizeof(options), .ttl_ms = ttl_ms};
    assert_ok(tern_put(keyspace, tern_slice_str(key), tern_slice_str(value), &options, &error),
              error);
}

static void append(tern_keyspace *keyspace, const char *key, const char *value) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_merge(keyspace, tern_slice_str(key), TERN_MERGE_APPEND, tern_slice_str(value),
                         NULL, &error),
              error);
}

static uint64_t count(struct api_fixture *fixture) {
    uint64_t found = 0;
    tern_txn *txn = api_begin_reading(fixture);
    assert_ok(tern_txn_count(txn, fixture->keyspace, NULL, NULL, &found), *tern_txn_error(txn));
    tern_txn_free(txn);
    return found;
}

static void checkpoint(struct api_fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_checkpoint(fixture->db, &error), error);
}

static void a_key_expires_though_nobody_writes(void **state) {
    (void)state;
    struct api_fixture fixture;
    api_fixture_init(&fixture, true);
    put_for(fixture.keyspace, "short", "1", 1000);
    put_for(fixture.keyspace, "long", "2", 1000000);
    api_put(fixture.keyspace, "ever", "3");
    api_fixture_pass_ms(&fixture, 500);
    api_assert_value(fixture.keyspace, "short", "1");
    assert_int_equal(count(&fixture), 3);
    api_fixture_pass_ms(&fixture, 1000);
    api_assert_missing(fixture.keyspace, "short");
    api_assert_value(fixture.keyspace, "long", "2");
    assert_int_equal(count(&fixture), 2);
    assert_true(api_stat(fixture.db, "time_ticks") > 0);
    checkpoint(&fixture);
    assert_int_equal(count(&fixture), 2);
    api_fixture_reopen(&fixture);
    api_assert_missing(fixture.keyspace, "short");
    api_assert_value(fixture.keyspace, "long", "2");
    api_assert_value(fixture.keyspace, "ever", "3");
    api_fixture_release(&fixture);
}

static void a_key_expires_from_a_base_and_after_reopening(void **state) {
    (void)state;
    struct api_fixture fixture;
    api_fixture_init(&fixture, true);
    put_for(fixture.keyspace, "k", "1", 2000);
    checkpoint(&fixture);
    api_fixture_reopen(&fixture);
    api_assert_value(fixture.keyspace, "k", "1");
    api_fixture_pass_ms(&fixture, 3000);
    api_assert_missing(fixture.keyspace, "k");
    api_fixture_reopen(&fixture);
    api_assert_missing(fixture.keyspace, "k");
    api_fixture_release(&fixture);
}

static void a_snapshot_keeps_what_was_alive_in_its_time(void **state) {
    (void)state;
    struct api_fixture fixture;
    api_fixture_init(&fixture, true);
    put_for(fixture.keyspace, "k", "1", 1000);
    tern_txn *old = api_begin_reading(&fixture);
    api_fixture_pass_ms(&fixture, 2000);
    checkpoint(&fixture);
    api_assert_missing(fixture.keyspace, "k");
    api_assert_txn_value(old, fixture.keyspace, "k", "1");
    checkpoint(&fixture);
    api_assert_txn_value(old, fixture.keyspace, "k", "1");
    tern_txn_free(old);
    api_fixture_release(&fixture);
}

static void a_clock_that_goes_back_brings_nothing_back(void **state) {
    (void)state;
    struct api_fixture fixture;
    api_fixture_init(&fixture, true);
    uint64_t wall_ms = fixture.clock.interface.wall_ms(fixture.clock.interface.context);
    put_for(fixture.keyspace, "k", "1", 1000);
    api_fixture_pass_ms(&fixture, 2000);
    api_assert_missing(fixture.keyspace, "k");
    virtual_clock_set_wall_ms(&fixture.clock, wall_ms - 5000);
    api_put(fixture.keyspace, "other", "2");
    api_assert_missing(fixture.keyspace, "k");
    api_fixture_reopen(&fixture);
    api_assert_missing(fixture.keyspace, "k");
    api_fixture_release(&fixture);
}

static void a_new_write_replaces_the_expiry(void **state) {
    (void)state;
    struct api_fixture fixture;
    api_fixture_init(&fixture, true);
    put_for(fixture.keyspace, "kept", "1", 1000);
    api_put(fixture.keyspace, "kept", "2");
    api_put(fixture.keyspace, "limited", "1");
    put_for(fixture.keyspace, "limited", "2", 1000);
    api_fixture_pass_ms(&fixture, 2000);
    api_assert_value(fixture.keyspace, "kept", "2");
    api_assert_missing(fixture.keyspace, "limited");
    api_fixture_release(&fixture);
}

/* A merge keeps the expiry of what it changes, and finds nothing once that has expired. */
static void a_merge_keeps_the_expiry_and_begins_anew_after_it(void **state) {
    (void)state;
    struct api_fixture fixture;
    api_fixture_init(&fixture, true);
    put_for(fixture.keyspace, "k", "a", 1000);
    append(fixture.keyspace, "k", "b");
    api_assert_value(fixture.keyspace, "k", "ab");
    api_fixture_pass_ms(&fixture, 2000);
    api_assert_missing(fixture.keyspace, "k");
    append(fixture.keyspace, "k", "c");
    api_assert_value(fixture.keyspace, "k", "c");
    api_fixture_pass_ms(&fixture, 5000);
    api_assert_value(fixture.keyspace, "k", "c");
    checkpoint(&fixture);
    api_assert_value(fixture.keyspace, "k", "c");
    api_fixture_reopen(&fixture);
    api_assert_value(fixture.keyspace, "k", "c");
    api_fixture_release(&fixture);
}

static void merges_have_a_result_for_every_value(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    unsigned char one[8] = {1};
    unsigned char found[16];
    size_t size;
    api_fixture_init(&fixture, true);
    tern_slice key = tern_slice_str("n");
    api_put(fixture.keyspace, "n", "not a number");
    assert_ok(
        tern_merge(fixture.keyspace, key, TERN_MERGE_ADD, tern_slice_of(one, 8), NULL, &error),
        error);
    assert_ok(tern_get(fixture.keyspace, key, found, sizeof(found), &size, &error), error);
    assert_int_equal(size, 8);
    assert_memory_equal(found, one, 8); /* what is no number counts as 0 */

    memset(one, 0xff, 8); /* -1 */
    assert_ok(
        tern_merge(fixture.keyspace, key, TERN_MERGE_ADD, tern_slice_of(one, 8), NULL, &error),
        error);
    assert_ok(tern_get(fixture.keyspace, key, found, sizeof(found), &size, &error), error);
    memset(one, 0, 8);
    assert_memory_equal(found, one, 8);

    tern_slice max_key = tern_slice_str("m");
    const char *operands[] = {"b", "abc", "bb", "ba"};
    for (int i = 0; i < 4; i++) {
        assert_ok(tern_merge(fixture.keyspace, max_key, TERN_MERGE_MAX, tern_slice_str(operands[i]),
                             NULL, &error),
                  error);
    }
    api_assert_value(fixture.keyspace, "m", "bb");
    assert_int_equal(
        tern_merge(fixture.keyspace, key, (tern_merge_kind)9, tern_slice_str("x"), NULL, &error),
        TERN_INVALID);
    api_fixture_release(&fixture);
}

static void long_chains_of_merges_stay_cheap_and_right(void **state) {
    (void)state;
    struct api_fixture fixture;
    char expected[2001] = "";
    api_fixture_init(&fixture, true);
    for (int i = 0; i < 1000; i++) {
        const char piece[3] = {(char)('a' + i % 26), '.', 0};
        append(fixture.keyspace, "chain", piece);
        memcpy(expected + 2 * i, piece, 3);
        if (i % 300 == 299) {
            checkpoint(&fixture);
        }
    }
    api_assert_value(fixture.keyspace, "chain", expected);
    api_fixture_reopen(&fixture);
    api_assert_value(fixture.keyspace, "chain", expected);
    api_fixture_release(&fixture);
}

#define EXPIRING 1000

static void number_key(char *key, size_t capacity, char kind, unsigned number) {
    (void)snprintf(key, capacity, "a/prefix/that/all/of/them/share/%c%04u", kind, number);
}

/* Entries of a batch lie in the leaf that the cursor stands in, until it moves. */
static void a_batch_ends_where_the_rest_of_a_leaf_has_expired(void **state) {
    (void)state;
    struct api_fixture fixture;
    char key[64];
    tern_entry entries[64];
    api_fixture_init(&fixture, true);
    for (unsigned i = 0; i < EXPIRING; i++) {
        number_key(key, sizeof(key), 'b', i);
        put_for(fixture.keyspace, key, "gone", 1000);
        number_key(key, sizeof(key), 'c', i);
        api_put(fixture.keyspace, key, "there");
    }
    number_key(key, sizeof(key), 'a', 1);
    api_put(fixture.keyspace, key, "first");
    checkpoint(&fixture);
    number_key(key, sizeof(key), 'a', 2);
    api_put(fixture.keyspace, key, "second");
    api_fixture_pass_ms(&fixture, 2000);
    tern_txn *txn = api_begin_reading(&fixture);
    tern_cursor *cursor = NULL;
    size_t count = 0;
    unsigned found = 0;
    assert_ok(tern_cursor_open(txn, fixture.keyspace, NULL, &cursor), *tern_txn_error(txn));
    while (tern_cursor_next_batch(cursor, entries, 64, &count) == TERN_OK) {
        for (size_t i = 0; i < count; i++, found++) {
            number_key(key, sizeof(key), found < 2 ? 'a' : 'c', found < 2 ? found + 1 : found - 2);
            assert_int_equal(entries[i].key.size, strlen(key));
            assert_memory_equal(entries[i].key.data, key, strlen(key));
        }
    }
    assert_int_equal(found, EXPIRING + 2);
    tern_cursor_close(cursor);
    tern_txn_free(txn);
    api_fixture_release(&fixture);
}

static void a_key_expires_so_long_after_its_commit(void **state) {
    (void)state;
    struct api_fixture fixture;
    uint8_t one[8] = {1};
    tern_write_options options = {.size = sizeof(options), .ttl_ms = 1000};
    api_fixture_init(&fixture, true);
    tern_txn *txn = api_begin(&fixture);
    assert_ok(
        tern_txn_put(txn, fixture.keyspace, tern_slice_str("k"), tern_slice_str("v"), &options),
        *tern_txn_error(txn));
    assert_ok(tern_txn_put(txn, fixture.keyspace, tern_slice_str("merged"),
                           tern_slice_of(one, sizeof(one)), &options),
              *tern_txn_error(txn));
    api_fixture_pass_ms(&fixture, 5000);
    api_assert_txn_value(txn, fixture.keyspace, "k", "v");
    assert_ok(tern_txn_merge(txn, fixture.keyspace, tern_slice_str("merged"), TERN_MERGE_ADD,
                             tern_slice_of(one, sizeof(one))),
              *tern_txn_error(txn));
    api_commit(txn);
    api_fixture_pass_ms(&fixture, 900);
    api_assert_value(fixture.keyspace, "k", "v");
    assert_int_equal(count(&fixture), 2);
    api_fixture_pass_ms(&fixture, 200);
    api_assert_missing(fixture.keyspace, "k");
    assert_int_equal(count(&fixture), 0);
    api_fixture_release(&fixture);
}

/* Nobody has moved the database's time on since the value expired. */
static void compare_and_set_does_not_take_what_has_expired(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    tern_write_options options = {.size = sizeof(options), .ttl_ms = 1000};
    tern_slice key = tern_slice_str("lease");
    tern_slice mine = tern_slice_str("mine");
    tern_slice others = tern_slice_str("others");
    tern_value current = TERN_VALUE_INIT;
    api_fixture_init(&fixture, true);
    assert_ok(tern_put(fixture.keyspace, key, mine, &options, &error), error);
    virtual_clock_advance_ns(&fixture.clock, (uint64_t)999 * 1000 * 1000);
    assert_ok(tern_compare_and_set(fixture.keyspace, key, &mine, &mine, &options, NULL, &error),
              error);
    virtual_clock_advance_ns(&fixture.clock, (uint64_t)1000 * 1000 * 1000);
    assert_int_equal(
        tern_compare_and_set(fixture.keyspace, key, &mine, &mine, &options, &current, &error),
        TERN_CONFLICT);
    assert_null(current.bytes.data);
    /* Everybody sees it now, and who expects nothing gets it. */
    api_assert_missing(fixture.keyspace, "lease");
    assert_ok(tern_compare_and_set(fixture.keyspace, key, NULL, &others, &options, NULL, &error),
              error);
    api_assert_value(fixture.keyspace, "lease", "others");
    api_fixture_release(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compare_and_set_does_not_take_what_has_expired),
        cmocka_unit_test(a_key_expires_though_nobody_writes),
        cmocka_unit_test(a_key_expires_from_a_base_and_after_reopening),
        cmocka_unit_test(a_key_expires_so_long_after_its_commit),
        cmocka_unit_test(a_snapshot_keeps_what_was_alive_in_its_time),
        cmocka_unit_test(a_clock_that_goes_back_brings_nothing_back),
        cmocka_unit_test(a_new_write_replaces_the_expiry),
        cmocka_unit_test(a_batch_ends_where_the_rest_of_a_leaf_has_expired),
        cmocka_unit_test(a_merge_keeps_the_expiry_and_begins_anew_after_it),
        cmocka_unit_test(merges_have_a_result_for_every_value),
        cmocka_unit_test(long_chains_of_merges_stay_cheap_and_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
