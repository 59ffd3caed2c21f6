/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=300
 *
 * Conversions of keyspaces that are in use: threads write and read through them, old snapshots and
 * cursors outlive them, open transactions commit over them.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <tern/sys/file_system.h>
#include <unistd.h>

#include "api_fixture.h"
#include "support/seeded_random.h"

#define WRITERS     2u
#define KEYS        4000u /* of each writer */
#define VALUE_BYTES 48u
#define LARGE_BYTES 90000u

static const tern_engine_kind around[] = {TERN_ENGINE_LSM,   TERN_ENGINE_HASH, TERN_ENGINE_LSM,
                                          TERN_ENGINE_BTREE, TERN_ENGINE_HASH, TERN_ENGINE_BTREE};
#define PAIRS (sizeof(around) / sizeof(around[0]))

static tern_keyspace_options options_for(tern_engine_kind engine) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.engine = engine;
    return options;
}

static void convert(tern_keyspace *keyspace, tern_engine_kind engine) {
    tern_keyspace_options options = options_for(engine);
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_keyspace_convert(keyspace, &options, NULL, NULL, &error), error);
    tern_keyspace_get_options(keyspace, &options);
    assert_int_equal(options.engine, engine);
}

/* ---- threads ---- */

/* What a writer has put last; only its thread looks at it, and the end of the test. */
struct writer {
    struct api_fixture *fixture;
    struct seeded_random random;
    unsigned number;
    uint64_t values[KEYS]; /* 0: missing */
    uint64_t sum;          /* of the merges */
    uint64_t commits, conflicts;
    _Atomic bool *is_over;
};

static tern_slice key_of(unsigned writer, unsigned number, char key[24]) {
    (void)snprintf(key, 24, "%u:%05u", writer, number);
    return tern_slice_str(key);
}

static tern_slice value_of(uint64_t value, uint8_t bytes[VALUE_BYTES]) {
    memset(bytes, (int)(value % 251), VALUE_BYTES);
    memcpy(bytes, &value, sizeof(value));
    return tern_slice_of(bytes, VALUE_BYTES);
}

struct pending {
    unsigned number;
    uint64_t value;
};

static tern_status change_some(struct writer *writer, tern_txn *txn, struct pending *pending,
                               size_t *out_count) {
    tern_keyspace *keyspace = writer->fixture->keyspace;
    tern_status status = TERN_OK;
    size_t count = 1 + (size_t)seeded_random_below(&writer->random, 8);
    for (size_t i = 0; status == TERN_OK && i < count; i++) {
        char key[24];
        uint8_t bytes[VALUE_BYTES];
        pending[i].number = (unsigned)seeded_random_below(&writer->random, KEYS);
        pending[i].value = seeded_random_below(&writer->random, 5) == 0
                               ? 0
                               : 1 + seeded_random_below(&writer->random, UINT32_MAX);
        tern_slice name = key_of(writer->number, pending[i].number, key);
        status = pending[i].value == 0
                     ? tern_txn_delete(txn, keyspace, name)
                     : tern_txn_put(txn, keyspace, name, value_of(pending[i].value, bytes), NULL);
    }
    *out_count = count;
    return status;
}

static void *write_always(void *argument) {
    struct writer *writer = argument;
    tern_error error = TERN_ERROR_INIT;
    uint8_t one[8] = {1};
    while (!atomic_load(writer->is_over)) {
        struct pending pending[8];
        size_t count;
        tern_txn *txn;
        char key[24];
        assert_ok(tern_txn_begin(writer->fixture->db, NULL, &txn, &error), error);
        assert_ok(change_some(writer, txn, pending, &count), *tern_txn_error(txn));
        assert_ok(tern_txn_merge(txn, writer->fixture->keyspace, key_of(writer->number, KEYS, key),
                                 TERN_MERGE_ADD, tern_slice_of(one, sizeof(one))),
                  *tern_txn_error(txn));
        tern_status status = tern_txn_commit(txn);
        if (status == TERN_OK) {
            for (size_t i = 0; i < count; i++) {
                writer->values[pending[i].number] = pending[i].value;
            }
            writer->sum++;
            writer->commits++;
        } else {
            /* The conflict table may take one key for another, and a reader's snapshot keep so much
             * in memory that there is no room. */
            if (status != TERN_CONFLICT && status != TERN_NO_MEMORY) {
                print_error("%s\n", tern_txn_error(txn)->message);
                fail();
            }
            writer->conflicts++;
        }
        tern_txn_free(txn);
    }
    return NULL;
}

/* Own keys, from this thread: what was acknowledged is read back at once. */
static void check_writer(const struct writer *writer, tern_keyspace *keyspace) {
    tern_error error = TERN_ERROR_INIT;
    char key[24];
    uint8_t bytes[VALUE_BYTES];
    uint8_t found[VALUE_BYTES];
    size_t size = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        tern_status status =
            tern_get(keyspace, key_of(writer->number, i, key), found, sizeof(found), &size, &error);
        assert_int_equal(status, writer->values[i] != 0 ? TERN_OK : TERN_NOT_FOUND);
        if (status == TERN_OK) {
            assert_memory_equal(found, value_of(writer->values[i], bytes).data, VALUE_BYTES);
        }
    }
    uint64_t sum = 0;
    assert_ok(
        tern_get(keyspace, key_of(writer->number, KEYS, key), &sum, sizeof(sum), &size, &error),
        error);
    assert_int_equal(sum, writer->sum);
}

static uint64_t count_all(tern_txn *txn, tern_keyspace *keyspace) {
    uint64_t count = 0;
    tern_cursor *cursor;
    assert_ok(tern_cursor_open(txn, keyspace, NULL, &cursor), *tern_txn_error(txn));
    tern_status status;
    while ((status = tern_cursor_next(cursor)) == TERN_OK) {
        count++;
    }
    if (status != TERN_NOT_FOUND) {
        print_error("%s\n", tern_cursor_error(cursor)->message);
    }
    assert_int_equal(status, TERN_NOT_FOUND);
    tern_cursor_close(cursor);
    return count;
}

struct reader {
    struct api_fixture *fixture;
    uint64_t rounds;
    _Atomic bool *is_over;
};

/* One snapshot shows the same whenever it is asked, whatever becomes of the keyspace. */
static void *read_always(void *argument) {
    struct reader *reader = argument;
    while (!atomic_load(reader->is_over)) {
        tern_txn *txn = api_begin_reading(reader->fixture);
        uint64_t first = count_all(txn, reader->fixture->keyspace);
        (void)usleep(20000);
        uint64_t again = count_all(txn, reader->fixture->keyspace);
        if (again != first) {
            print_error("a snapshot had %llu records, and has %llu\n", (unsigned long long)first,
                        (unsigned long long)again);
        }
        assert_int_equal(again, first);
        reader->rounds++;
        tern_txn_free(txn);
    }
    return NULL;
}

static void writers_and_readers_go_on_around_all_pairs_of_engines(void **state) {
    (void)state;
    struct api_fixture fixture;
    static struct writer writers[WRITERS];
    struct reader reader = {.fixture = &fixture};
    pthread_t threads[WRITERS + 1];
    _Atomic bool is_over = false;
    uint64_t seed = seeded_random_seed("convert_threads");
    api_fixture_init_closed(&fixture, false);
    fixture.options.memory_bytes = (uint64_t)256 << 20;
    fixture.options.overlay_bytes = (uint64_t)64 << 20;
    api_fixture_open(&fixture);
    reader.is_over = &is_over;
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] =
            (struct writer){.fixture = &fixture, .number = i, .is_over = &is_over, .sum = 0};
        seeded_random_init(&writers[i].random, seed + i);
        assert_int_equal(pthread_create(&threads[i], NULL, write_always, &writers[i]), 0);
    }
    assert_int_equal(pthread_create(&threads[WRITERS], NULL, read_always, &reader), 0);
    for (size_t i = 0; i < PAIRS; i++) {
        (void)usleep(30000);
        convert(fixture.keyspace, around[i]);
    }
    (void)usleep(30000);
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < WRITERS + 1; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    for (int i = 0; i < 2; i++) {
        for (unsigned j = 0; j < WRITERS; j++) {
            assert_true(writers[j].commits > 0);
            check_writer(&writers[j], fixture.keyspace);
        }
        api_assert_sound(fixture.db);
        if (i == 0) {
            assert_int_equal(api_stat(fixture.db, "conversions"), PAIRS);
            api_fixture_reopen(&fixture);
        }
    }
    print_message("%llu and %llu commits, %llu reads of all amid %zu conversions\n",
                  (unsigned long long)writers[0].commits, (unsigned long long)writers[1].commits,
                  (unsigned long long)reader.rounds, PAIRS);
    api_fixture_release(&fixture);
}

/* One keyspace through the engines, over and over. */
struct converter {
    tern_keyspace *keyspace;
    size_t first; /* of `around` */
};

static void *convert_around(void *argument) {
    const struct converter *converter = argument;
    for (size_t i = 0; i < PAIRS; i++) {
        convert(converter->keyspace, around[(converter->first + i) % PAIRS]);
    }
    return NULL;
}

/* Each has a writer of its own; what they share are the roles, the log and the manifests. */
static void two_keyspaces_are_converted_at_the_same_time(void **state) {
    (void)state;
    struct api_fixture fixtures[2];
    static struct writer writers[2];
    struct converter converters[2];
    pthread_t threads[4];
    _Atomic bool is_over = false;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = options_for(TERN_ENGINE_BTREE);
    uint64_t seed = seeded_random_seed("convert_two");
    api_fixture_init_closed(&fixtures[0], false);
    fixtures[0].options.memory_bytes = (uint64_t)256 << 20;
    fixtures[0].options.overlay_bytes = (uint64_t)64 << 20;
    api_fixture_open(&fixtures[0]);
    fixtures[1] = fixtures[0];
    assert_ok(
        tern_keyspace_create(fixtures[0].db, "other", &options, &fixtures[1].keyspace, &error),
        error);
    for (unsigned i = 0; i < 2; i++) {
        writers[i] = (struct writer){.fixture = &fixtures[i], .number = i, .is_over = &is_over};
        converters[i] = (struct converter){fixtures[i].keyspace, i * 2};
        seeded_random_init(&writers[i].random, seed + i);
        assert_int_equal(pthread_create(&threads[i], NULL, write_always, &writers[i]), 0);
        assert_int_equal(pthread_create(&threads[2 + i], NULL, convert_around, &converters[i]), 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[2 + i], NULL), 0);
    }
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_true(api_stat(fixtures[0].db, "conversions") >= 2 * PAIRS - 1);
    for (int again = 0; again < 2; again++) {
        check_writer(&writers[0], fixtures[0].keyspace);
        check_writer(&writers[1], fixtures[1].keyspace);
        assert_true(writers[0].commits > 0 && writers[1].commits > 0);
        api_assert_sound(fixtures[0].db);
        if (again == 0) {
            api_fixture_reopen(&fixtures[0]);
            assert_ok(tern_keyspace_open(fixtures[0].db, "other", &fixtures[1].keyspace, &error),
                      error);
        }
    }
    api_fixture_release(&fixtures[0]);
}

/* ---- transactions over the switch ---- */

static void open_transactions_commit_into_the_new_engine(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    uint8_t two[8] = {2};
    uint32_t savepoint;
    api_fixture_init(&fixture, false);
    for (size_t i = 0; i < PAIRS; i++) {
        api_put(fixture.keyspace, "a", "old");
        api_put(fixture.keyspace, "b", "old");
        assert_ok(tern_put(fixture.keyspace, tern_slice_str("n"), tern_slice_of(two, sizeof(two)),
                           NULL, &error),
                  error);
        tern_txn *first = api_begin(&fixture);
        tern_txn *second = api_begin(&fixture);
        tern_txn *reading = api_begin_reading(&fixture);
        assert_ok(
            tern_txn_put(first, fixture.keyspace, tern_slice_str("a"), tern_slice_str("new"), NULL),
            *tern_txn_error(first));
        assert_ok(tern_txn_merge(first, fixture.keyspace, tern_slice_str("n"), TERN_MERGE_ADD,
                                 tern_slice_of(two, sizeof(two))),
                  *tern_txn_error(first));
        assert_ok(tern_txn_savepoint(first, &savepoint), *tern_txn_error(first));
        assert_ok(tern_txn_delete(first, fixture.keyspace, tern_slice_str("b")),
                  *tern_txn_error(first));
        assert_ok(tern_txn_put(second, fixture.keyspace, tern_slice_str("a"),
                               tern_slice_str("lost"), NULL),
                  *tern_txn_error(second));
        convert(fixture.keyspace, around[i]);
        assert_ok(tern_txn_rollback_to(first, savepoint), *tern_txn_error(first));
        assert_ok(
            tern_txn_put(first, fixture.keyspace, tern_slice_str("c"), tern_slice_str("new"), NULL),
            *tern_txn_error(first));
        api_assert_txn_value(first, fixture.keyspace, "b", "old");
        api_commit(first);
        assert_int_equal(tern_txn_commit(second), TERN_CONFLICT);
        tern_txn_free(second);
        api_assert_txn_value(reading, fixture.keyspace, "a", "old");
        tern_txn_free(reading);
        api_assert_value(fixture.keyspace, "a", "new");
        api_assert_value(fixture.keyspace, "b", "old");
        api_assert_value(fixture.keyspace, "c", "new");
        uint64_t sum = 0;
        size_t size = 0;
        assert_ok(tern_get(fixture.keyspace, tern_slice_str("n"), &sum, sizeof(sum), &size, &error),
                  error);
        assert_int_equal(sum, 4);
    }
    api_fixture_release(&fixture);
}

static void locks_are_held_over_the_switch(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *txn;
    options.pessimistic = true;
    api_fixture_init(&fixture, false);
    api_put(fixture.keyspace, "a", "old");
    assert_ok(tern_txn_begin(fixture.db, &options, &txn, &error), error);
    assert_ok(tern_txn_put(txn, fixture.keyspace, tern_slice_str("a"), tern_slice_str("new"), NULL),
              *tern_txn_error(txn));
    convert(fixture.keyspace, TERN_ENGINE_HASH);
    assert_int_equal(
        tern_put(fixture.keyspace, tern_slice_str("a"), tern_slice_str("other"), NULL, &error),
        TERN_LOCKED);
    api_commit(txn);
    api_assert_value(fixture.keyspace, "a", "new");
    api_put(fixture.keyspace, "a", "other");
    api_fixture_release(&fixture);
}

static void a_cursor_goes_on_in_the_order_that_it_had(void **state) {
    (void)state;
    struct api_fixture fixture;
    char key[16];
    api_fixture_init(&fixture, false);
    for (unsigned i = 0; i < 300; i++) {
        (void)snprintf(key, sizeof(key), "%05u", i);
        api_put(fixture.keyspace, key, "v");
    }
    tern_txn *txn = api_begin_reading(&fixture);
    tern_cursor *cursor;
    assert_ok(tern_cursor_open(txn, fixture.keyspace, NULL, &cursor), *tern_txn_error(txn));
    for (unsigned i = 0; i < 300; i++) {
        if (i == 100) {
            convert(fixture.keyspace, TERN_ENGINE_HASH);
            api_put(fixture.keyspace, "00150x", "v");
        }
        assert_int_equal(tern_cursor_next(cursor), TERN_OK);
        (void)snprintf(key, sizeof(key), "%05u", i);
        tern_slice found = tern_cursor_key(cursor);
        assert_int_equal(found.size, 5);
        assert_memory_equal(found.data, key, 5);
    }
    assert_int_equal(tern_cursor_next(cursor), TERN_NOT_FOUND);
    tern_cursor_close(cursor);
    tern_txn_free(txn);
    api_fixture_release(&fixture);
}

/* ---- values apart, expiry, ranges ---- */

static void put_large_for(tern_keyspace *keyspace, const char *key, uint8_t seed, uint64_t ttl_ms) {
    static uint8_t bytes[LARGE_BYTES];
    tern_error error = TERN_ERROR_INIT;
    tern_write_options options = {.size = sizeof(options), .ttl_ms = ttl_ms};
    memset(bytes, seed, sizeof(bytes));
    assert_ok(tern_put(keyspace, tern_slice_str(key), tern_slice_of(bytes, sizeof(bytes)), &options,
                       &error),
              error);
}

static void put_large(tern_keyspace *keyspace, const char *key, uint8_t seed) {
    put_large_for(keyspace, key, seed, 0);
}

static void assert_large(tern_keyspace *keyspace, const char *key, uint8_t seed) {
    static uint8_t bytes[LARGE_BYTES];
    size_t size = 0;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_get(keyspace, tern_slice_str(key), bytes, sizeof(bytes), &size, &error), error);
    assert_int_equal(size, LARGE_BYTES);
    assert_int_equal(bytes[0], seed);
    assert_int_equal(bytes[LARGE_BYTES - 1], seed);
}

static bool write_amid(void *context, const char *phase, uint64_t done, uint64_t total) {
    struct api_fixture *fixture = context;
    tern_error error = TERN_ERROR_INIT;
    const tern_slice begin = tern_slice_str("r1");
    const tern_slice end = tern_slice_str("r3");
    (void)phase;
    (void)total;
    if (done == 0) {
        put_large(fixture->keyspace, "large", 7);
        put_large(fixture->keyspace, "new", 8);
        put_large_for(fixture->keyspace, "brief", 9, 5000);
        assert_ok(tern_delete_range(fixture->keyspace, &begin, &end, NULL, &error), error);
        api_put(fixture->keyspace, "r2", "after");
    }
    return true;
}

static void what_changes_amid_a_conversion_is_in_the_new_engine(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    api_fixture_init_closed(&fixture, true);
    fixture.options.large_value_bytes = 20000;
    api_fixture_open(&fixture);
    for (size_t i = 0; i < PAIRS; i++) {
        tern_keyspace_options options = options_for(around[i]);
        tern_write_options expiring = {.size = sizeof(expiring), .ttl_ms = 5000};
        put_large(fixture.keyspace, "large", 1);
        put_large(fixture.keyspace, "still", 2);
        api_put(fixture.keyspace, "r0", "before");
        api_put(fixture.keyspace, "r1", "before");
        api_put(fixture.keyspace, "r2", "before");
        api_put(fixture.keyspace, "r3", "before");
        assert_ok(tern_put(fixture.keyspace, tern_slice_str("short"), tern_slice_str("lived"),
                           &expiring, &error),
                  error);
        assert_ok(tern_keyspace_convert(fixture.keyspace, &options, write_amid, &fixture, &error),
                  error);
        for (int j = 0; j < 2; j++) {
            assert_large(fixture.keyspace, "large", 7);
            assert_large(fixture.keyspace, "new", 8);
            assert_large(fixture.keyspace, "still", 2);
            assert_large(fixture.keyspace, "brief", 9);
            api_assert_value(fixture.keyspace, "r0", "before");
            api_assert_missing(fixture.keyspace, "r1");
            api_assert_value(fixture.keyspace, "r2", "after");
            api_assert_value(fixture.keyspace, "r3", "before");
            api_assert_value(fixture.keyspace, "short", "lived");
            if (j == 0) {
                api_fixture_reopen(&fixture);
            }
        }
        api_fixture_pass_ms(&fixture, 6000);
        api_assert_missing(fixture.keyspace, "short");
        api_assert_missing(fixture.keyspace, "brief");
        api_assert_sound(fixture.db);
    }
    api_fixture_release(&fixture);
}

/* A reference into the old engine means nothing in the new one. */
static void a_large_value_of_an_open_transaction_is_never_taken_for_another(void **state) {
    (void)state;
    struct api_fixture fixture;
    static uint8_t bytes[LARGE_BYTES];
    api_fixture_init_closed(&fixture, false);
    fixture.options.large_value_bytes = 20000;
    api_fixture_open(&fixture);
    put_large(fixture.keyspace, "a", 1);
    tern_txn *txn = api_begin(&fixture);
    assert_ok(tern_txn_put(txn, fixture.keyspace, tern_slice_str("a"),
                           tern_slice_of(bytes, sizeof(bytes)), NULL),
              *tern_txn_error(txn));
    convert(fixture.keyspace, TERN_ENGINE_LSM);
    tern_value value = TERN_VALUE_INIT;
    assert_ok(tern_txn_get_pinned(txn, fixture.keyspace, tern_slice_str("a"), &value),
              *tern_txn_error(txn));
    assert_int_equal(value.bytes.size, LARGE_BYTES);
    assert_int_equal(((const uint8_t *)value.bytes.data)[0], 0);
    tern_value_release(&value);
    assert_int_equal(tern_txn_commit(txn), TERN_CONFLICT);
    tern_txn_free(txn);
    assert_large(fixture.keyspace, "a", 1);
    api_assert_sound(fixture.db);
    api_fixture_release(&fixture);
}

/* ---- what is refused, and what is given up ---- */

static bool count_file(void *context, const char *name) {
    *(unsigned *)context += strncmp(name, "p-", 2) == 0 ? 1 : 0;
    return true;
}

static unsigned count_files(const struct api_fixture *fixture) {
    const tern_file_system *files = tern_file_system_default();
    unsigned count = 0;
    assert_int_equal(files->list(files->context, fixture->path, count_file, &count, NULL), TERN_OK);
    return count;
}

static bool cancel_late(void *context, const char *phase, uint64_t done, uint64_t total) {
    unsigned *left = context;
    (void)phase;
    (void)done;
    (void)total;
    return (*left)-- > 0;
}

static void a_cancelled_conversion_leaves_nothing(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = options_for(TERN_ENGINE_HASH);
    char key[16];
    api_fixture_init(&fixture, false);
    for (unsigned i = 0; i < 3000; i++) {
        (void)snprintf(key, sizeof(key), "%u", i);
        api_put(fixture.keyspace, key, "v");
    }
    assert_ok(tern_checkpoint(fixture.db, &error), error);
    unsigned before = count_files(&fixture);
    tern_status status = TERN_CANCELLED;
    unsigned calls = 0;
    for (; status == TERN_CANCELLED; calls++) {
        unsigned left = calls;
        status = tern_keyspace_convert(fixture.keyspace, &options, cancel_late, &left, &error);
        if (status == TERN_CANCELLED) {
            tern_keyspace_options now = TERN_KEYSPACE_OPTIONS_INIT;
            tern_keyspace_get_options(fixture.keyspace, &now);
            assert_int_equal(now.engine, TERN_ENGINE_BTREE);
            assert_int_equal(count_files(&fixture), before);
            api_assert_value(fixture.keyspace, "2999", "v");
        }
    }
    assert_ok(status, error);
    assert_true(calls > 4);
    assert_int_equal(count_files(&fixture), before);
    api_assert_value(fixture.keyspace, "2999", "v");
    api_fixture_release(&fixture);
}

static void keys_that_would_be_too_long_are_refused_before_anything_changes(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = options_for(TERN_ENGINE_LSM);
    static char key[5001];
    memset(key, 'k', sizeof(key) - 1);
    options.page_bytes = 4096;
    api_fixture_init(&fixture, false);
    api_put(fixture.keyspace, key, "v");
    assert_int_equal(tern_keyspace_convert(fixture.keyspace, &options, NULL, NULL, &error),
                     TERN_TOO_LARGE);
    assert_non_null(strstr(error.message, "5000"));
    api_assert_value(fixture.keyspace, key, "v");
    assert_ok(tern_delete(fixture.keyspace, tern_slice_str(key), NULL, &error), error);
    assert_ok(tern_keyspace_convert(fixture.keyspace, &options, NULL, NULL, &error), error);
    assert_int_equal(
        tern_put(fixture.keyspace, tern_slice_str(key), tern_slice_str("v"), NULL, &error),
        TERN_TOO_LARGE);
    api_fixture_release(&fixture);
}

static bool convert_amid(void *context, const char *phase, uint64_t done, uint64_t total) {
    struct api_fixture *fixture = context;
    tern_keyspace_options options = options_for(TERN_ENGINE_LSM);
    (void)phase;
    (void)total;
    (void)done;
    if (api_stat(fixture->db, "keyspaces") > 0) {
        assert_int_equal(tern_keyspace_convert(fixture->keyspace, &options, NULL, NULL, NULL),
                         TERN_LOCKED);
        assert_int_equal(tern_keyspace_drop(fixture->db, "test", NULL), TERN_OK);
    }
    return true;
}

static void what_cannot_be_is_told(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = options_for((tern_engine_kind)9);
    api_fixture_init(&fixture, false);
    assert_int_equal(tern_keyspace_convert(fixture.keyspace, &options, NULL, NULL, &error),
                     TERN_UNSUPPORTED);
    options = options_for(TERN_ENGINE_LSM);
    options.page_bytes = 5000;
    assert_int_equal(tern_keyspace_convert(fixture.keyspace, &options, NULL, NULL, &error),
                     TERN_INVALID);
    assert_ok(tern_keyspace_convert(fixture.keyspace, NULL, NULL, NULL, &error), error);
    assert_int_equal(api_stat(fixture.db, "conversions"), 0);
    options = options_for(TERN_ENGINE_HASH);
    assert_int_equal(
        tern_keyspace_convert(fixture.keyspace, &options, convert_amid, &fixture, &error),
        TERN_NOT_FOUND);
    assert_int_equal(api_stat(fixture.db, "conversions_failed"), 1);
    assert_int_equal(api_stat(fixture.db, "keyspaces"), 0);
    api_fixture_release(&fixture);
}

/* ---- hash functions ---- */

static void convert_hashed(struct api_fixture *fixture, tern_hash_function function) {
    tern_keyspace_options options = options_for(TERN_ENGINE_HASH);
    tern_error error = TERN_ERROR_INIT;
    options.hash_function = function;
    assert_ok(tern_keyspace_convert(fixture->keyspace, &options, NULL, NULL, &error), error);
    tern_keyspace_get_options(fixture->keyspace, &options);
    assert_int_equal(options.hash_function, function);
}

static void check_numbered(struct api_fixture *fixture, tern_txn *txn, unsigned count) {
    tern_get_request requests[100];
    char keys[100][16];
    char values[100][16];
    tern_error error = TERN_ERROR_INIT;
    for (unsigned first = 0; first < count; first += 100) {
        for (unsigned i = 0; i < 100; i++) {
            (void)snprintf(keys[i], sizeof(keys[i]), "key-%u", first + i);
            requests[i] = (tern_get_request){
                .key = tern_slice_str(keys[i]), .buffer = values[i], .capacity = sizeof(values[i])};
            api_assert_txn_value(txn, fixture->keyspace, keys[i], "before");
            api_assert_value(fixture->keyspace, keys[i], "before");
        }
        assert_ok(tern_txn_multi_get(txn, fixture->keyspace, requests, 100), *tern_txn_error(txn));
        for (unsigned i = 0; i < 100; i++) {
            assert_int_equal(requests[i].status, TERN_OK);
            assert_int_equal(requests[i].value_size, strlen("before"));
        }
        assert_ok(tern_multi_get(fixture->keyspace, requests, 100, &error), error);
        for (unsigned i = 0; i < 100; i++) {
            assert_int_equal(requests[i].status, TERN_OK);
        }
    }
}

static tern_txn *begin_serializable(struct api_fixture *fixture) {
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_txn *txn;
    tern_error error = TERN_ERROR_INIT;
    options.isolation = TERN_ISOLATION_SERIALIZABLE;
    assert_ok(tern_txn_begin(fixture->db, &options, &txn, &error), error);
    return txn;
}

/* What transactions know of keys from before the switch must hold behind it. */
static void check_over_the_switch(struct api_fixture *fixture, tern_hash_function to) {
    tern_keyspace *keyspace = fixture->keyspace;
    tern_txn *old_reader = api_begin_reading(fixture);
    tern_txn *writer = api_begin(fixture);
    tern_txn *late = api_begin(fixture);
    tern_txn *early = api_begin(fixture);
    tern_txn *reads = begin_serializable(fixture);
    const tern_slice own = tern_slice_str("own");
    api_assert_txn_value(old_reader, keyspace, "key-1", "before");
    assert_int_equal(tern_txn_put(writer, keyspace, own, own, NULL), TERN_OK);
    assert_int_equal(tern_txn_put(early, keyspace, tern_slice_str("early"), own, NULL), TERN_OK);
    assert_int_equal(tern_txn_put(late, keyspace, tern_slice_str("late"), own, NULL), TERN_OK);
    api_assert_txn_value(reads, keyspace, "key-2", "before");
    assert_int_equal(tern_txn_put(reads, keyspace, tern_slice_str("read"), own, NULL), TERN_OK);
    api_put(keyspace, "early", "others");
    convert_hashed(fixture, to);
    api_put(keyspace, "late", "others");
    api_put(keyspace, "key-2", "before");
    api_assert_txn_value(writer, keyspace, "own", "own");
    assert_int_equal(tern_txn_put(writer, keyspace, tern_slice_str("own-2"), own, NULL), TERN_OK);
    api_assert_txn_value(writer, keyspace, "own-2", "own");
    check_numbered(fixture, old_reader, 300);
    check_numbered(fixture, writer, 300);
    api_commit(writer);
    tern_txn *refused[] = {early, late, reads};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(tern_txn_commit(refused[i]), TERN_CONFLICT);
        tern_txn_free(refused[i]);
    }
    tern_txn_free(old_reader);
    api_assert_value(keyspace, "own", "own");
    api_assert_value(keyspace, "own-2", "own");
    api_assert_value(keyspace, "late", "others");
    api_assert_missing(keyspace, "read");
    const tern_slice others = tern_slice_str("others");
    tern_error error = TERN_ERROR_INIT;
    assert_ok(
        tern_compare_and_set(keyspace, tern_slice_str("late"), &others, NULL, NULL, NULL, &error),
        error);
    api_assert_missing(keyspace, "late");
    tern_txn *reader = api_begin_reading(fixture);
    check_numbered(fixture, reader, 300);
    tern_txn_free(reader);
}

static void hash_functions_change_under_open_transactions(void **state) {
    static const tern_hash_function functions[] = {
        TERN_HASH_FUNCTION_CRC32C, TERN_HASH_FUNCTION_FNV1A, TERN_HASH_FUNCTION_XXH3,
        TERN_HASH_FUNCTION_FNV1A};
    struct api_fixture fixture;
    char key[16];
    (void)state;
    api_fixture_init(&fixture, false);
    convert(fixture.keyspace, TERN_ENGINE_HASH);
    for (unsigned i = 0; i < 300; i++) {
        (void)snprintf(key, sizeof(key), "key-%u", i);
        api_put(fixture.keyspace, key, "before");
    }
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        check_over_the_switch(&fixture, functions[i]);
        api_assert_sound(fixture.db);
        if (i % 2 == 1) {
            api_fixture_reopen(&fixture);
            check_over_the_switch(&fixture, TERN_HASH_FUNCTION_CRC32C);
        }
    }
    convert(fixture.keyspace, TERN_ENGINE_BTREE);
    tern_txn *reader = api_begin_reading(&fixture);
    check_numbered(&fixture, reader, 300);
    tern_txn_free(reader);
    api_fixture_release(&fixture);
}

static bool list_once(void *context, tern_keyspace *keyspace) {
    assert_string_equal(tern_keyspace_name(keyspace), "test");
    ++*(unsigned *)context;
    return true;
}

static bool clone_amid(void *context, const char *phase, uint64_t done, uint64_t total) {
    struct api_fixture *fixture = context;
    tern_error error = TERN_ERROR_INIT;
    char path[512];
    static unsigned number;
    unsigned count = 0;
    (void)phase;
    (void)done;
    (void)total;
    assert_ok(tern_keyspace_list(fixture->db, list_once, &count, &error), error);
    assert_int_equal(count, 1);
    (void)snprintf(path, sizeof(path), "%s/clone-%u", fixture->path, number++);
    assert_ok(tern_clone(fixture->db, path, NULL, NULL, &error), error);
    return true;
}

static void nobody_sees_what_a_conversion_builds(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    api_fixture_init(&fixture, false);
    for (size_t i = 0; i < 3; i++) {
        tern_keyspace_options options = options_for(around[i]);
        api_put(fixture.keyspace, "a", "v");
        assert_ok(tern_keyspace_convert(fixture.keyspace, &options, clone_amid, &fixture, &error),
                  error);
    }
    api_fixture_release(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writers_and_readers_go_on_around_all_pairs_of_engines),
        cmocka_unit_test(two_keyspaces_are_converted_at_the_same_time),
        cmocka_unit_test(open_transactions_commit_into_the_new_engine),
        cmocka_unit_test(locks_are_held_over_the_switch),
        cmocka_unit_test(a_cursor_goes_on_in_the_order_that_it_had),
        cmocka_unit_test(what_changes_amid_a_conversion_is_in_the_new_engine),
        cmocka_unit_test(a_large_value_of_an_open_transaction_is_never_taken_for_another),
        cmocka_unit_test(a_cancelled_conversion_leaves_nothing),
        cmocka_unit_test(keys_that_would_be_too_long_are_refused_before_anything_changes),
        cmocka_unit_test(what_cannot_be_is_told),
        cmocka_unit_test(nobody_sees_what_a_conversion_builds),
        cmocka_unit_test(hash_functions_change_under_open_transactions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
