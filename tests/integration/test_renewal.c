/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read-only transactions that are renewed, and their cursors, over each engine: what they see, what
 * they let go, and what becomes of them when the keyspace does not stay as it was.
 */
#include <pthread.h>
#include <stdlib.h>

#include "api_fixture.h"
#include "base/compare.h"
#include "support/fault_allocator.h"
#include "support/seeded_random.h"

#define ENGINES       3
#define THREAD_KEYS   300u
#define THREAD_ROUNDS 400u

static const tern_engine_kind engine_kinds[ENGINES] = {TERN_ENGINE_BTREE, TERN_ENGINE_HASH,
                                                       TERN_ENGINE_LSM};

static tern_keyspace *create(struct api_fixture *fixture, const char *name,
                             tern_engine_kind engine) {
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_keyspace *keyspace = NULL;
    options.engine = engine;
    assert_ok(tern_keyspace_create(fixture->db, name, &options, &keyspace, &error), error);
    return keyspace;
}

static tern_cursor *open_cursor(tern_txn *txn, tern_keyspace *keyspace,
                                const tern_cursor_options *options) {
    tern_cursor *cursor = NULL;
    assert_ok(tern_cursor_open(txn, keyspace, options, &cursor), *tern_txn_error(txn));
    return cursor;
}

static void renew(tern_txn *txn) {
    assert_ok(tern_txn_renew(txn), *tern_txn_error(txn));
}

static void checkpoint(struct api_fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_checkpoint(fixture->db, &error), error);
}

static void put_number(tern_keyspace *keyspace, unsigned key, unsigned value) {
    char text[16];
    char digits[16];
    (void)snprintf(text, sizeof(text), "key-%05u", key);
    (void)snprintf(digits, sizeof(digits), "%u", value);
    api_put(keyspace, text, digits);
}

/* ---- what a cursor shows ---- */

/* Of all entries; the order does not count. */
struct shown {
    uint64_t count;
    uint64_t sum;
};

static uint64_t mix(uint64_t hash, tern_slice bytes) {
    for (size_t i = 0; i < bytes.size; i++) {
        hash = (hash ^ ((const uint8_t *)bytes.data)[i]) * UINT64_C(0x100000001b3);
    }
    return hash * UINT64_C(0x9E3779B97F4A7C15) + 1;
}

static void add_entry(struct shown *shown, tern_slice key, tern_slice value) {
    shown->count++;
    shown->sum += mix(mix(0, key), value);
}

static struct shown show_by_steps(tern_cursor *cursor) {
    struct shown shown = {0};
    tern_status status;
    while ((status = tern_cursor_next(cursor)) == TERN_OK) {
        tern_slice value;
        assert_ok(tern_cursor_value(cursor, &value), *tern_cursor_error(cursor));
        add_entry(&shown, tern_cursor_key(cursor), value);
    }
    assert_int_equal(status, TERN_NOT_FOUND);
    return shown;
}

/* From `key` on, or (NULL) from where it stands. */
static struct shown show_by_batches(tern_cursor *cursor, const tern_slice *key, size_t capacity) {
    struct shown shown = {0};
    tern_entry entries[64];
    size_t count = 0;
    tern_status status = key != NULL
                             ? tern_cursor_seek_batch(cursor, *key, entries, capacity, &count)
                             : tern_cursor_next_batch(cursor, entries, capacity, &count);
    for (; status == TERN_OK; status = tern_cursor_next_batch(cursor, entries, capacity, &count)) {
        for (size_t i = 0; i < count; i++) {
            assert_true(key == NULL || slice_compare(entries[i].key, *key) >= 0);
            add_entry(&shown, entries[i].key, entries[i].value);
        }
    }
    assert_int_equal(status, TERN_NOT_FOUND);
    return shown;
}

static void assert_same(struct shown left, struct shown right) {
    assert_int_equal(left.count, right.count);
    assert_int_equal(left.sum, right.sum);
}

/* ---- random work between renewals ---- */

static void change_some(struct api_fixture *fixture, tern_keyspace *keyspace,
                        struct seeded_random *random, bool is_ordered) {
    for (uint64_t i = seeded_random_below(random, 30); i > 0; i--) {
        char key[16];
        tern_error error = TERN_ERROR_INIT;
        uint64_t kind = seeded_random_below(random, 20);
        (void)snprintf(key, sizeof(key), "key-%05llu",
                       (unsigned long long)seeded_random_below(random, 700));
        if (kind < 12) {
            api_put(keyspace, key, kind < 6 ? "short" : "somewhat longer than the other");
        } else if (kind < 16) {
            assert_ok(tern_delete(keyspace, tern_slice_str(key), NULL, &error), error);
        } else if (kind < 19 || !is_ordered) {
            assert_ok(tern_merge(keyspace, tern_slice_str(key), TERN_MERGE_APPEND,
                                 tern_slice_str("+"), NULL, &error),
                      error);
        } else if (seeded_random_below(random, 4) == 0) {
            tern_slice begin = tern_slice_str(key);
            tern_slice end = tern_slice_str("key-00650");
            assert_ok(tern_delete_range(keyspace, &begin, &end, NULL, &error), error);
        }
    }
    if (seeded_random_below(random, 6) == 0) {
        checkpoint(fixture);
    }
}

static void use_a_little(tern_cursor *cursor, struct seeded_random *random) {
    tern_entry entries[16];
    size_t count;
    for (uint64_t i = seeded_random_below(random, 4); i > 0; i--) {
        tern_status status = i % 2 == 0 ? tern_cursor_next(cursor)
                                        : tern_cursor_next_batch(cursor, entries, 16, &count);
        assert_true(status == TERN_OK || status == TERN_NOT_FOUND);
    }
}

/* The renewed cursor beside one that is opened for this. */
static void compare(struct api_fixture *fixture, tern_keyspace *keyspace, tern_cursor *renewed,
                    const tern_cursor_options *options, struct seeded_random *random,
                    bool is_ordered) {
    tern_txn *txn = api_begin_reading(fixture);
    tern_cursor *fresh = open_cursor(txn, keyspace, options);
    size_t capacity = (size_t)(1 + seeded_random_below(random, 64));
    if (seeded_random_below(random, 2) == 0) {
        assert_same(show_by_steps(renewed), show_by_steps(fresh));
    } else {
        assert_same(show_by_batches(renewed, NULL, capacity), show_by_steps(fresh));
    }
    if (is_ordered) {
        char text[16];
        (void)snprintf(text, sizeof(text), "key-%05llu",
                       (unsigned long long)seeded_random_below(random, 700));
        tern_slice key = tern_slice_str(text);
        assert_same(show_by_batches(renewed, &key, capacity), show_by_batches(fresh, &key, 1));
    }
    tern_cursor_close(fresh);
    tern_txn_free(txn);
}

static void a_renewed_cursor_sees_what_one_opened_then_sees(void **state) {
    (void)state;
    uint64_t seed = seeded_random_seed("renewal");
    for (size_t engine = 0; engine < ENGINES; engine++) {
        struct api_fixture fixture;
        struct seeded_random random;
        seeded_random_init(&random, seed + engine);
        api_fixture_init(&fixture, false);
        bool is_ordered = engine_kinds[engine] != TERN_ENGINE_HASH;
        tern_keyspace *keyspace = create(&fixture, "k", engine_kinds[engine]);
        tern_slice begin = tern_slice_str("key-00100");
        tern_slice end = tern_slice_str("key-00600");
        tern_cursor_options bounded = TERN_CURSOR_OPTIONS_INIT;
        bounded.begin = &begin;
        bounded.end = &end;
        tern_txn *txn = api_begin_reading(&fixture);
        tern_cursor *all = open_cursor(txn, keyspace, NULL);
        tern_cursor *some = open_cursor(txn, keyspace, &bounded);
        for (unsigned round = 0; round < 250; round++) {
            change_some(&fixture, keyspace, &random, is_ordered);
            use_a_little(all, &random);
            use_a_little(some, &random);
            renew(txn);
            assert_int_equal(tern_cursor_key(all).size, 0);
            compare(&fixture, keyspace, all, NULL, &random, is_ordered);
            compare(&fixture, keyspace, some, &bounded, &random, is_ordered);
        }
        tern_cursor_close(all);
        tern_cursor_close(some);
        tern_txn_free(txn);
        api_fixture_release(&fixture);
    }
}

static void gets_and_counts_see_the_newest_commit(void **state) {
    (void)state;
    for (size_t engine = 0; engine < ENGINES; engine++) {
        struct api_fixture fixture;
        uint64_t count = 0;
        api_fixture_init(&fixture, false);
        tern_keyspace *keyspace = create(&fixture, "k", engine_kinds[engine]);
        tern_txn *txn = api_begin_reading(&fixture);
        uint64_t before = tern_txn_seq(txn);
        api_put(keyspace, "a", "1");
        api_assert_txn_value(txn, keyspace, "a", NULL);
        renew(txn);
        api_assert_txn_value(txn, keyspace, "a", "1");
        assert_true(tern_txn_seq(txn) > before);
        assert_ok(tern_txn_count(txn, keyspace, NULL, NULL, &count), *tern_txn_error(txn));
        assert_int_equal(count, 1);
        before = tern_txn_seq(txn);
        renew(txn);
        assert_int_equal(tern_txn_seq(txn), before);
        tern_txn_free(txn);
        api_fixture_release(&fixture);
    }
}

static void what_expires_is_judged_at_the_new_moment(void **state) {
    (void)state;
    for (size_t engine = 0; engine < ENGINES; engine++) {
        struct api_fixture fixture;
        tern_error error = TERN_ERROR_INIT;
        tern_write_options options = {.size = sizeof(options), .ttl_ms = 500};
        api_fixture_init(&fixture, true);
        tern_keyspace *keyspace = create(&fixture, "k", engine_kinds[engine]);
        assert_ok(tern_put(keyspace, tern_slice_str("a"), tern_slice_str("1"), &options, &error),
                  error);
        api_put(keyspace, "b", "2");
        checkpoint(&fixture);
        assert_ok(tern_merge(keyspace, tern_slice_str("a"), TERN_MERGE_APPEND, tern_slice_str("+"),
                             NULL, &error),
                  error);
        checkpoint(&fixture);
        tern_txn *txn = api_begin_reading(&fixture);
        tern_cursor *cursor = open_cursor(txn, keyspace, NULL);
        assert_int_equal(show_by_steps(cursor).count, 2);
        api_fixture_pass_ms(&fixture, 2000);
        api_put(keyspace, "c", "3");
        assert_int_equal(show_by_steps(cursor).count, 2);
        renew(txn);
        tern_txn *other = api_begin_reading(&fixture);
        tern_cursor *fresh = open_cursor(other, keyspace, NULL);
        assert_same(show_by_steps(cursor), show_by_steps(fresh));
        tern_cursor_close(fresh);
        tern_txn_free(other);
        tern_cursor_close(cursor);
        tern_txn_free(txn);
        api_fixture_release(&fixture);
    }
}

/* ---- what is let go ---- */

static void what_only_the_former_snapshot_kept_is_let_go(void **state) {
    (void)state;
    for (size_t engine = 0; engine < ENGINES; engine++) {
        struct api_fixture fixture;
        api_fixture_init(&fixture, true);
        tern_keyspace *keyspace = create(&fixture, "k", engine_kinds[engine]);
        for (unsigned i = 0; i < 3000; i++) {
            put_number(keyspace, i, 0);
        }
        checkpoint(&fixture);
        tern_txn *txn = api_begin_reading(&fixture);
        tern_cursor *cursor = open_cursor(txn, keyspace, NULL);
        assert_ok(tern_cursor_next(cursor), *tern_cursor_error(cursor));
        for (unsigned round = 1; round < 4; round++) {
            for (unsigned i = 0; i < 3000; i++) {
                put_number(keyspace, i, round);
            }
            checkpoint(&fixture);
        }
        assert_int_equal(api_stat(fixture.db, "snapshot_oldest_seq"), tern_txn_seq(txn));
        uint64_t pending = api_stat(fixture.db, "data_pending_bytes");
        renew(txn);
        assert_int_equal(api_stat(fixture.db, "snapshots"), 1);
        assert_int_equal(api_stat(fixture.db, "snapshot_oldest_seq"), tern_txn_seq(txn));
        api_put(keyspace, "last", "1");
        checkpoint(&fixture);
        api_fixture_pass_ms(&fixture, 1000);
        /* Of LSM tables and hash segments nothing counts as pending. */
        assert_true(engine_kinds[engine] != TERN_ENGINE_BTREE ||
                    api_stat(fixture.db, "data_pending_bytes") < pending);
        assert_int_equal(show_by_steps(cursor).count, 3000);
        renew(txn);
        assert_int_equal(show_by_steps(cursor).count, 3001);
        tern_cursor_close(cursor);
        tern_txn_free(txn);
        assert_int_equal(api_stat(fixture.db, "snapshots"), 0);
        api_fixture_release(&fixture);
    }
}

static void pinned_values_stay(void **state) {
    (void)state;
    for (size_t engine = 0; engine < ENGINES; engine++) {
        struct api_fixture fixture;
        tern_value value = TERN_VALUE_INIT;
        api_fixture_init(&fixture, false);
        tern_keyspace *keyspace = create(&fixture, "k", engine_kinds[engine]);
        api_put(keyspace, "a", "before");
        checkpoint(&fixture);
        tern_txn *txn = api_begin_reading(&fixture);
        assert_ok(tern_txn_get_pinned(txn, keyspace, tern_slice_str("a"), &value),
                  *tern_txn_error(txn));
        api_put(keyspace, "a", "after");
        checkpoint(&fixture);
        renew(txn);
        api_assert_txn_value(txn, keyspace, "a", "after");
        assert_true(slice_equal(value.bytes, tern_slice_str("before")));
        tern_value_release(&value);
        tern_txn_free(txn);
        api_fixture_release(&fixture);
    }
}

/* ---- keyspaces that do not stay as they were ---- */

static void a_cursor_of_a_dropped_keyspace_says_so_and_others_go_on(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    api_fixture_init(&fixture, false);
    for (size_t engine = 0; engine < ENGINES; engine++) {
        tern_keyspace *keyspace = create(&fixture, "k", engine_kinds[engine]);
        api_put(keyspace, "a", "1");
        tern_txn *txn = api_begin_reading(&fixture);
        tern_cursor *gone = open_cursor(txn, keyspace, NULL);
        tern_cursor *other = open_cursor(txn, fixture.keyspace, NULL);
        assert_ok(tern_cursor_next(gone), *tern_cursor_error(gone));
        assert_ok(tern_keyspace_drop(fixture.db, "k", &error), error);
        put_number(fixture.keyspace, (unsigned)engine, 1);
        renew(txn);
        tern_keyspace *namesake = create(&fixture, "k", engine_kinds[engine]);
        api_put(namesake, "b", "2");
        for (unsigned round = 0; round < 3; round++) {
            assert_int_equal(tern_cursor_next(gone), TERN_NOT_FOUND);
            assert_int_equal(tern_cursor_error(gone)->status, TERN_NOT_FOUND);
            assert_non_null(strstr(tern_cursor_error(gone)->message, "dropped"));
            assert_int_equal(show_by_steps(other).count, engine + 1);
            checkpoint(&fixture);
            renew(txn);
        }
        tern_cursor_close(gone);
        tern_cursor_close(other);
        tern_txn_free(txn);
        assert_ok(tern_keyspace_drop(fixture.db, "k", &error), error);
    }
    api_fixture_release(&fixture);
}

static void a_cursor_of_a_younger_keyspace_shows_it_once_renewed(void **state) {
    (void)state;
    for (size_t engine = 0; engine < ENGINES; engine++) {
        struct api_fixture fixture;
        api_fixture_init(&fixture, false);
        tern_txn *txn = api_begin_reading(&fixture);
        tern_keyspace *keyspace = create(&fixture, "k", engine_kinds[engine]);
        api_put(keyspace, "a", "1");
        tern_cursor *cursor = open_cursor(txn, keyspace, NULL);
        assert_int_equal(show_by_steps(cursor).count, 0);
        renew(txn);
        assert_int_equal(show_by_steps(cursor).count, 1);
        tern_cursor_close(cursor);
        tern_txn_free(txn);
        api_fixture_release(&fixture);
    }
}

static void a_cursor_follows_its_keyspace_into_another_engine(void **state) {
    (void)state;
    static const tern_engine_kind path[] = {TERN_ENGINE_HASH, TERN_ENGINE_LSM,  TERN_ENGINE_BTREE,
                                            TERN_ENGINE_LSM,  TERN_ENGINE_HASH, TERN_ENGINE_BTREE};
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    api_fixture_init(&fixture, false);
    for (unsigned i = 0; i < 500; i++) {
        put_number(fixture.keyspace, i, i);
    }
    tern_txn *txn = api_begin_reading(&fixture);
    tern_cursor *cursor = open_cursor(txn, fixture.keyspace, NULL);
    for (unsigned i = 0; i < sizeof(path) / sizeof(path[0]); i++) {
        tern_entry entries[8];
        size_t count = 0;
        tern_keyspace_options to = TERN_KEYSPACE_OPTIONS_INIT;
        to.engine = path[i];
        assert_ok(tern_keyspace_convert(fixture.keyspace, &to, NULL, NULL, &error), error);
        put_number(fixture.keyspace, 500 + i, i);
        assert_int_equal(show_by_steps(cursor).count, 500 + i);
        renew(txn);
        tern_status status =
            tern_cursor_seek_batch(cursor, tern_slice_str("key-00017"), entries, 8, &count);
        assert_int_equal(status, path[i] == TERN_ENGINE_HASH ? TERN_UNSUPPORTED : TERN_OK);
        if (status == TERN_OK) {
            assert_true(slice_equal(entries[0].key, tern_slice_str("key-00017")));
            renew(txn);
        }
        assert_int_equal(show_by_steps(cursor).count, 501 + i);
    }
    tern_cursor_close(cursor);
    tern_txn_free(txn);
    api_fixture_release(&fixture);
}

/* ---- refusals and failures ---- */

static void only_an_active_read_only_transaction_is_renewed(void **state) {
    (void)state;
    struct api_fixture fixture;
    api_fixture_init(&fixture, false);
    tern_txn *writer = api_begin(&fixture);
    assert_ok(
        tern_txn_put(writer, fixture.keyspace, tern_slice_str("a"), tern_slice_str("1"), NULL),
        *tern_txn_error(writer));
    uint64_t seq = tern_txn_seq(writer);
    api_put(fixture.keyspace, "b", "2");
    assert_int_equal(tern_txn_renew(writer), TERN_INVALID);
    assert_int_equal(tern_txn_error(writer)->status, TERN_INVALID);
    assert_int_equal(tern_txn_seq(writer), seq);
    api_assert_txn_value(writer, fixture.keyspace, "a", "1");
    api_assert_txn_value(writer, fixture.keyspace, "b", NULL);
    api_commit(writer);
    tern_txn *reader = api_begin_reading(&fixture);
    tern_cursor *cursor = open_cursor(reader, fixture.keyspace, NULL);
    tern_txn_rollback(reader);
    assert_int_equal(tern_txn_renew(reader), TERN_CLOSED);
    assert_int_equal(tern_cursor_next(cursor), TERN_CLOSED);
    assert_ok(tern_txn_restart(reader), *tern_txn_error(reader));
    renew(reader);
    assert_int_equal(tern_cursor_next(cursor), TERN_CLOSED);
    tern_cursor_close(cursor);
    tern_txn_free(reader);
    assert_int_equal(tern_txn_renew(NULL), TERN_INVALID);
    api_fixture_release(&fixture);
}

static void without_memory_it_is_renewed_and_a_cursor_tries_again(void **state) {
    (void)state;
    for (size_t engine = 0; engine < ENGINES; engine++) {
        struct api_fixture fixture;
        struct fault_allocator *faults = fault_allocator_create();
        api_fixture_init_closed(&fixture, true);
        fixture.options.allocator = fault_allocator_interface(faults);
        api_fixture_open(&fixture);
        tern_keyspace *keyspace = create(&fixture, "k", engine_kinds[engine]);
        tern_txn *txn = api_begin_reading(&fixture);
        tern_cursor *cursor = open_cursor(txn, keyspace, NULL);
        for (unsigned round = 1; round < 4; round++) {
            put_number(keyspace, round, round);
            checkpoint(&fixture);
            fault_allocator_fail(faults, 1, true);
            tern_status status = tern_txn_renew(txn);
            tern_status moved = tern_cursor_next(cursor);
            tern_status moved_again = tern_cursor_next(cursor);
            fault_allocator_fail(faults, 0, false);
            assert_int_equal(status, TERN_OK);
            assert_int_equal(moved, TERN_NO_MEMORY);
            assert_int_equal(moved_again, TERN_NO_MEMORY);
            assert_int_equal(tern_cursor_error(cursor)->status, TERN_NO_MEMORY);
            assert_int_equal(show_by_steps(cursor).count, round);
        }
        tern_cursor_close(cursor);
        tern_txn_free(txn);
        api_fixture_release(&fixture);
        fault_allocator_destroy(faults);
    }
}

/* ---- threads ---- */

/* All keys of all keyspaces always hold the same number, which grows. */
struct crowd {
    struct api_fixture fixture;
    tern_keyspace *keyspaces[ENGINES];
    _Atomic bool is_done;
};

static void write_round(struct crowd *crowd, unsigned number) {
    char digits[16];
    tern_txn *txn = api_begin(&crowd->fixture);
    (void)snprintf(digits, sizeof(digits), "%08u", number);
    for (size_t engine = 0; engine < ENGINES; engine++) {
        for (unsigned i = number % 3; i < THREAD_KEYS; i += 1 + number % 3) {
            char key[16];
            (void)snprintf(key, sizeof(key), "key-%05u", i);
            assert_ok(tern_txn_put(txn, crowd->keyspaces[engine], tern_slice_str(key),
                                   tern_slice_str(digits), NULL),
                      *tern_txn_error(txn));
        }
        /* One key tells of all. */
        assert_ok(tern_txn_put(txn, crowd->keyspaces[engine], tern_slice_str("round"),
                               tern_slice_str(digits), NULL),
                  *tern_txn_error(txn));
    }
    api_commit(txn);
}

/* The sum over each keyspace is that of every other, and its round that of the others; 0 on a
 * contradiction, else 1 + the round. */
static unsigned long look(tern_cursor *const cursors[ENGINES]) {
    uint64_t sums[ENGINES] = {0};
    unsigned long round = 0;
    for (size_t engine = 0; engine < ENGINES; engine++) {
        tern_entry entries[64];
        size_t count;
        tern_status status;
        while ((status = tern_cursor_next_batch(cursors[engine], entries, 64, &count)) == TERN_OK) {
            for (size_t i = 0; i < count; i++) {
                sums[engine] += mix(mix(0, entries[i].key), entries[i].value);
                if (engine == 0 && slice_equal(entries[i].key, tern_slice_str("round"))) {
                    char digits[16] = "";
                    memcpy(digits, entries[i].value.data, 8);
                    round = strtoul(digits, NULL, 10);
                }
            }
        }
        if (status != TERN_NOT_FOUND || sums[engine] != sums[0]) {
            return 0;
        }
    }
    return 1 + round;
}

static void *read_rounds(void *argument) {
    struct crowd *crowd = argument;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *txn = NULL;
    tern_cursor *cursors[ENGINES] = {NULL};
    unsigned long last = 0;
    bool is_right = true;
    options.read_only = true;
    is_right = tern_txn_begin(crowd->fixture.db, &options, &txn, NULL) == TERN_OK;
    for (size_t engine = 0; engine < ENGINES && is_right; engine++) {
        is_right =
            tern_cursor_open(txn, crowd->keyspaces[engine], NULL, &cursors[engine]) == TERN_OK;
    }
    while (is_right && !crowd->is_done) {
        unsigned long round = look(cursors);
        is_right = round != 0 && round >= last && tern_txn_renew(txn) == TERN_OK;
        last = round;
    }
    for (size_t engine = 0; engine < ENGINES; engine++) {
        tern_cursor_close(cursors[engine]);
    }
    tern_txn_free(txn);
    return is_right ? NULL : argument;
}

static void renewed_readers_see_whole_commits_beside_writers_and_checkpoints(void **state) {
    (void)state;
    static struct crowd crowd;
    pthread_t threads[2];
    api_fixture_init(&crowd.fixture, false);
    for (size_t engine = 0; engine < ENGINES; engine++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "k%zu", engine);
        crowd.keyspaces[engine] = create(&crowd.fixture, name, engine_kinds[engine]);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_rounds, &crowd), 0);
    }
    for (unsigned round = 1; round < THREAD_ROUNDS; round++) {
        write_round(&crowd, round);
        if (round % 40 == 0) {
            checkpoint(&crowd.fixture);
        }
    }
    crowd.is_done = true;
    for (size_t i = 0; i < 2; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    api_assert_sound(crowd.fixture.db);
    api_fixture_release(&crowd.fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_renewed_cursor_sees_what_one_opened_then_sees),
        cmocka_unit_test(gets_and_counts_see_the_newest_commit),
        cmocka_unit_test(what_expires_is_judged_at_the_new_moment),
        cmocka_unit_test(what_only_the_former_snapshot_kept_is_let_go),
        cmocka_unit_test(pinned_values_stay),
        cmocka_unit_test(a_cursor_of_a_dropped_keyspace_says_so_and_others_go_on),
        cmocka_unit_test(a_cursor_of_a_younger_keyspace_shows_it_once_renewed),
        cmocka_unit_test(a_cursor_follows_its_keyspace_into_another_engine),
        cmocka_unit_test(only_an_active_read_only_transaction_is_renewed),
        cmocka_unit_test(without_memory_it_is_renewed_and_a_cursor_tries_again),
        cmocka_unit_test(renewed_readers_see_whole_commits_beside_writers_and_checkpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
