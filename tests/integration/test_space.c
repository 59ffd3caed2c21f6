/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=600
 *
 * Memory and disk under long readers, and files after deletes.
 */
#include <stdlib.h>
#include <unistd.h>

#include "api_fixture.h"

/* Files shrink in the background, when there is time for it: a minute, or it never will. */
#define SHRINK_TURNS 1200u
#define READERS      50u
#define KEYS         12000u
#define VALUE_BYTES  100u

static tern_slice key_of(unsigned number, char key[16]) {
    (void)snprintf(key, 16, "%08u", number * 2654435761u % 100000000u);
    return tern_slice_str(key);
}

static void overwrite(struct api_fixture *fixture, unsigned keys, unsigned round) {
    char value[VALUE_BYTES];
    char key[16];
    for (unsigned i = 0; i < keys; i++) {
        tern_error error = TERN_ERROR_INIT;
        memset(value, (int)((i + round) % 251), sizeof(value));
        assert_ok(tern_put(fixture->keyspace, key_of(i, key), tern_slice_of(value, sizeof(value)),
                           NULL, &error),
                  error);
    }
}

static void check_round(tern_txn *reader, struct api_fixture *fixture, unsigned keys,
                        unsigned round) {
    for (unsigned i = 0; i < keys; i += 7) {
        char key[16];
        uint8_t value[VALUE_BYTES];
        size_t size = 0;
        assert_ok(
            tern_txn_get(reader, fixture->keyspace, key_of(i, key), value, sizeof(value), &size),
            *tern_txn_error(reader));
        assert_int_equal(size, VALUE_BYTES);
        assert_int_equal(value[0], (i + round) % 251);
        assert_int_equal(value[VALUE_BYTES - 1], (i + round) % 251);
    }
    uint64_t found = 0;
    assert_ok(tern_txn_count(reader, fixture->keyspace, NULL, NULL, &found),
              *tern_txn_error(reader));
    assert_int_equal(found, keys);
}

struct wanted_stat {
    const char *name;
    uint64_t value;
};

static bool match(void *context, const tern_stat *stat) {
    struct wanted_stat *wanted = context;
    if (strcmp(stat->name, wanted->name) == 0) {
        wanted->value = stat->value;
    }
    return true;
}

static uint64_t keyspace_stat(struct api_fixture *fixture, const char *name) {
    struct wanted_stat wanted = {name, 0};
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_keyspace_stats(fixture->keyspace, match, &wanted, &error), error);
    return wanted.value;
}

static uint64_t memory_used(tern_db *db) {
    return api_stat(db, "memory_overlay_bytes") + api_stat(db, "memory_overlay_pool_bytes") +
           api_stat(db, "memory_cache_bytes") + api_stat(db, "memory_index_bytes") +
           api_stat(db, "memory_other_bytes");
}

static void open_with(struct api_fixture *fixture, uint64_t memory_bytes, uint64_t overlay_bytes) {
    api_fixture_init_closed(fixture, false);
    fixture->options.memory_bytes = memory_bytes;
    fixture->options.overlay_bytes = overlay_bytes;
    fixture->options.durability = TERN_DURABILITY_NONE;
    api_fixture_open(fixture);
}

/* Each of them holds overlays that together are ten times their share. */
static void fifty_readers_of_every_age_fit_the_budget(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_txn *readers[READERS];
    open_with(&fixture, (uint64_t)24 << 20, (uint64_t)4 << 20);
    overwrite(&fixture, KEYS, 0);
    for (unsigned round = 0; round < READERS; round++) {
        readers[round] = api_begin_reading(&fixture);
        overwrite(&fixture, KEYS, round + 1);
        assert_true(memory_used(fixture.db) <= fixture.options.memory_bytes / 100 * 115);
    }
    assert_int_equal(api_stat(fixture.db, "refused_writes"), 0);
    assert_true(api_stat(fixture.db, "memory_spilled_bytes") > (uint64_t)4 << 20);
    for (unsigned round = 0; round < READERS; round++) {
        check_round(readers[round], &fixture, KEYS, round);
    }
    for (unsigned round = 0; round < READERS; round++) {
        tern_txn_free(readers[round]);
    }
    for (unsigned i = 0; i < 200 && api_stat(fixture.db, "memory_spilled_bytes") > 0; i++) {
        (void)usleep(50000);
    }
    assert_int_equal(api_stat(fixture.db, "memory_spilled_bytes"), 0);
    api_fixture_release(&fixture);
}

/* A cursor that stands in an overlay goes on while the overlay is moved. */
static void a_scan_goes_on_while_its_overlays_are_spilled(void **state) {
    (void)state;
    struct api_fixture fixture;
    unsigned count = 0;
    open_with(&fixture, (uint64_t)16 << 20, (uint64_t)2 << 20);
    overwrite(&fixture, KEYS, 0);
    tern_txn *reader = api_begin_reading(&fixture);
    tern_cursor *cursor;
    assert_ok(tern_cursor_open(reader, fixture.keyspace, NULL, &cursor), *tern_txn_error(reader));
    tern_status status = tern_cursor_next(cursor);
    while (status == TERN_OK) {
        tern_slice value;
        assert_ok(tern_cursor_value(cursor, &value), *tern_cursor_error(cursor));
        assert_int_equal(value.size, VALUE_BYTES);
        assert_int_equal(((const uint8_t *)value.data)[0],
                         ((const uint8_t *)value.data)[VALUE_BYTES - 1]);
        if (count++ % 600 == 0) {
            overwrite(&fixture, KEYS, count + 1);
        }
        status = tern_cursor_next(cursor);
    }
    assert_int_equal(status, TERN_NOT_FOUND);
    assert_int_equal(count, KEYS);
    assert_true(api_stat(fixture.db, "memory_spilled_bytes") > 0);
    tern_cursor_close(cursor);
    tern_txn_free(reader);
    api_fixture_release(&fixture);
}

static void a_reader_through_twenty_overwrites_costs_one_copy(void **state) {
    (void)state;
    struct api_fixture fixture;
    const unsigned keys = 40000;
    tern_error error = TERN_ERROR_INIT;
    open_with(&fixture, (uint64_t)16 << 20, (uint64_t)2 << 20);
    overwrite(&fixture, keys, 0);
    assert_ok(tern_checkpoint(fixture.db, &error), error);
    uint64_t copy = keyspace_stat(&fixture, "base_bytes");
    tern_txn *reader = api_begin_reading(&fixture);
    for (unsigned round = 1; round <= 20; round++) {
        overwrite(&fixture, keys, round);
        /* Two copies, what a drain needs to turn around in, and a quarter free. */
        assert_true(keyspace_stat(&fixture, "file_bytes") <=
                    copy * 2 * 5 / 4 + ((uint64_t)6 << 20));
    }
    check_round(reader, &fixture, keys, 0);
    tern_txn_free(reader);
    assert_ok(tern_checkpoint(fixture.db, &error), error);
    for (unsigned i = 0; i < SHRINK_TURNS; i++) {
        if (keyspace_stat(&fixture, "file_bytes") <= copy * 13 / 10) {
            break;
        }
        (void)usleep(50000);
    }
    assert_true(keyspace_stat(&fixture, "file_bytes") <= copy * 13 / 10);
    api_fixture_release(&fixture);
}

/* Nobody asks for it; readers and writers go on meanwhile. */
static void a_file_shrinks_after_deletes(void **state) {
    (void)state;
    struct api_fixture fixture;
    const unsigned keys = 60000;
    char key[16];
    tern_error error = TERN_ERROR_INIT;
    open_with(&fixture, (uint64_t)16 << 20, (uint64_t)2 << 20);
    overwrite(&fixture, keys, 0);
    assert_ok(tern_checkpoint(fixture.db, &error), error);
    uint64_t before = keyspace_stat(&fixture, "file_bytes");
    assert_true(before > (uint64_t)keys * VALUE_BYTES);
    for (unsigned i = 0; i < keys; i++) {
        if (i % 10 != 0) {
            assert_ok(tern_delete(fixture.keyspace, key_of(i, key), NULL, &error), error);
        }
    }
    uint64_t left = (uint64_t)keys / 10 * (VALUE_BYTES + 8);
    uint64_t wanted = left * 13 / 10 + ((uint64_t)3 << 20);
    wanted = wanted < before / 2 ? wanted : before / 2 - 1;
    for (unsigned i = 0; i < SHRINK_TURNS && keyspace_stat(&fixture, "file_bytes") > wanted; i++) {
        char value[VALUE_BYTES] = {(char)i};
        size_t size = 0;
        assert_ok(tern_put(fixture.keyspace, tern_slice_str("one"),
                           tern_slice_of(value, sizeof(value)), NULL, &error),
                  error);
        assert_ok(tern_get(fixture.keyspace, key_of(10 * (i % 6000), key), value, sizeof(value),
                           &size, &error),
                  error);
        (void)usleep(i % 20 == 19 ? 900000 : 2000);
    }
    print_message("from %llu to %llu bytes, %llu cut off\n", (unsigned long long)before,
                  (unsigned long long)keyspace_stat(&fixture, "file_bytes"),
                  (unsigned long long)api_stat(fixture.db, "shrunk_bytes"));
    assert_true(keyspace_stat(&fixture, "file_bytes") <= wanted);
    assert_true(keyspace_stat(&fixture, "file_bytes") < before / 2);
    assert_true(api_stat(fixture.db, "shrunk_bytes") > 0);
    api_assert_sound(fixture.db);
    api_fixture_reopen(&fixture);
    for (unsigned i = 0; i < keys; i += 10) {
        char value[VALUE_BYTES];
        size_t size = 0;
        assert_ok(tern_get(fixture.keyspace, key_of(i, key), value, sizeof(value), &size, &error),
                  error);
    }
    api_fixture_release(&fixture);
}

/* Where moved values leave room only later, they are not moved again and again until it is there.
 */
static void an_idle_file_of_few_large_values_comes_to_rest(void **state) {
    (void)state;
    struct api_fixture fixture;
    const unsigned keys = 65;
    static char value[8192];
    char key[16];
    tern_error error = TERN_ERROR_INIT;
    open_with(&fixture, (uint64_t)256 << 20, 0);
    for (unsigned round = 0; round < 20; round++) {
        memset(value, (int)round + 1, sizeof(value));
        for (unsigned i = 0; i < keys; i++) {
            assert_ok(tern_put(fixture.keyspace, key_of(i, key),
                               tern_slice_of(value, sizeof(value)), NULL, &error),
                      error);
        }
        if (round == 0) {
            assert_ok(tern_checkpoint(fixture.db, &error), error);
            api_fixture_reopen(&fixture);
        }
    }
    assert_ok(tern_checkpoint(fixture.db, &error), error);
    uint64_t written = 0;
    unsigned still = 0;
    for (unsigned i = 0; i < SHRINK_TURNS && still < 40; i++) {
        uint64_t now = keyspace_stat(&fixture, "written_bytes");
        still = now == written ? still + 1 : 0;
        written = now;
        (void)usleep(50000);
    }
    print_message("%llu bytes written, %llu in the file\n", (unsigned long long)written,
                  (unsigned long long)keyspace_stat(&fixture, "file_bytes"));
    assert_true(still >= 40);
    api_assert_sound(fixture.db);
    api_fixture_release(&fixture);
}

/* Several times what overlays may have, in keyspaces that are dropped again. */
#define DROPPED      8u
#define DROPPED_KEYS 4000u

static void fill_and_drop(struct api_fixture *fixture, unsigned number, tern_keyspace **keyspace,
                          tern_txn **reader) {
    char name[16];
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *kept = fixture->keyspace;
    (void)snprintf(name, sizeof(name), "gone%u", number);
    assert_ok(tern_keyspace_create(fixture->db, name, NULL, keyspace, &error), error);
    fixture->keyspace = *keyspace;
    overwrite(fixture, DROPPED_KEYS, number);
    if (reader != NULL) {
        *reader = api_begin_reading(fixture);
    }
    assert_ok(tern_keyspace_drop(fixture->db, name, &error), error);
    fixture->keyspace = kept;
}

static void dropped_keyspaces_that_readers_hold_are_spilled(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_txn *readers[DROPPED];
    tern_keyspace *keyspaces[DROPPED];
    open_with(&fixture, (uint64_t)16 << 20, (uint64_t)2 << 20);
    tern_keyspace *kept = fixture.keyspace;
    for (unsigned i = 0; i < DROPPED; i++) {
        fill_and_drop(&fixture, i, &keyspaces[i], &readers[i]);
    }
    overwrite(&fixture, KEYS, 0);
    assert_int_equal(api_stat(fixture.db, "refused_writes"), 0);
    assert_true(api_stat(fixture.db, "memory_overlay_bytes") <= (uint64_t)3 << 20);
    for (unsigned i = 0; i < DROPPED; i++) {
        fixture.keyspace = keyspaces[i];
        check_round(readers[i], &fixture, DROPPED_KEYS, i);
        tern_txn_free(readers[i]);
    }
    fixture.keyspace = kept;
    api_fixture_release(&fixture);
}

/* The reader began before there was any of them. */
static void dropped_keyspaces_that_no_reader_sees_give_their_memory_back(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_keyspace *keyspace;
    open_with(&fixture, (uint64_t)16 << 20, (uint64_t)2 << 20);
    overwrite(&fixture, 100, 0);
    tern_txn *reader = api_begin_reading(&fixture);
    for (unsigned i = 0; i < DROPPED; i++) {
        fill_and_drop(&fixture, i, &keyspace, NULL);
    }
    overwrite(&fixture, KEYS, 1);
    assert_int_equal(api_stat(fixture.db, "refused_writes"), 0);
    assert_true(api_stat(fixture.db, "memory_overlay_bytes") <= (uint64_t)3 << 20);
    check_round(reader, &fixture, 100, 0);
    tern_txn_free(reader);
    api_fixture_release(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fifty_readers_of_every_age_fit_the_budget),
        cmocka_unit_test(a_scan_goes_on_while_its_overlays_are_spilled),
        cmocka_unit_test(a_reader_through_twenty_overwrites_costs_one_copy),
        cmocka_unit_test(a_file_shrinks_after_deletes),
        cmocka_unit_test(an_idle_file_of_few_large_values_comes_to_rest),
        cmocka_unit_test(dropped_keyspaces_that_readers_hold_are_spilled),
        cmocka_unit_test(dropped_keyspaces_that_no_reader_sees_give_their_memory_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
