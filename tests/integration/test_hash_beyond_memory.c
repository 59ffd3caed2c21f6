/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=600
 * ctest: more=release TERN_HASH_KEYS=50000000 10800
 *
 * A hash keyspace with many times the keys that the index has room for in memory, against an array
 * that says what each key must be: written in random order, overwritten, deleted, read, scanned,
 * and opened again. The budget is 256 MiB for 50 million keys, and as much less for fewer, but 8
 * MiB at least. What it took is told at the end.
 */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "api_fixture.h"
#include "support/keyspace_stat.h"

#define KEYS_DEFAULT  300000u
#define BYTES_PER_KEY 5.37 /* 256 MiB for 50 million */
#define BATCH         500u
#define SEED          12345u

struct large {
    struct api_fixture fixture;
    uint32_t keys;
    uint8_t *rounds; /* of each key: what its value says; 0: there is none */
    uint64_t idle_bytes;
    uint64_t most_bytes;
    double began;
};

static double now_s(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static uint64_t resident_bytes(void) {
    unsigned long pages = 0;
    unsigned long resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &pages, &resident), 2);
    (void)fclose(file);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void look_at_memory(struct large *large) {
    uint64_t bytes = resident_bytes();
    large->most_bytes = bytes > large->most_bytes ? bytes : large->most_bytes;
}

/* All keys once, in an order without any. */
static uint32_t nth_key(const struct large *large, uint32_t n) {
    return (uint32_t)(((uint64_t)n * 2654435761u + SEED) % large->keys);
}

static tern_slice key_of(uint32_t number, char key[24]) {
    return tern_slice_of(key, (size_t)snprintf(key, 24, "k%010u", number));
}

static tern_slice value_of(uint32_t number, uint8_t round, char value[32]) {
    return tern_slice_of(value, (size_t)snprintf(value, 32, "%u-%u", number ^ 0x5555u, round));
}

/* Every `step`th of that order, from `first` on; round 0 deletes. */
static void write_round(struct large *large, uint32_t first, uint32_t step, uint8_t round) {
    tern_txn *txn = NULL;
    uint32_t count = 0;
    for (uint32_t n = first; n < large->keys; n += step) {
        char key[24];
        char value[32];
        uint32_t number = nth_key(large, n);
        txn = txn == NULL ? api_begin(&large->fixture) : txn;
        tern_status status =
            round == 0 ? tern_txn_delete(txn, large->fixture.keyspace, key_of(number, key))
                       : tern_txn_put(txn, large->fixture.keyspace, key_of(number, key),
                                      value_of(number, round, value), NULL);
        assert_ok(status, *tern_txn_error(txn));
        large->rounds[number] = round;
        if (++count % BATCH == 0) {
            api_commit(txn);
            txn = NULL;
        }
        if (count % 100000 == 0) {
            look_at_memory(large);
        }
    }
    if (txn != NULL) {
        api_commit(txn);
    }
}

static void check_some(struct large *large, uint32_t step) {
    tern_txn *txn = api_begin_reading(&large->fixture);
    for (uint32_t n = 0; n < large->keys; n += step) {
        char key[24];
        char value[32];
        uint32_t number = nth_key(large, n);
        uint8_t round = large->rounds[number];
        (void)key_of(number, key);
        (void)value_of(number, round, value);
        api_assert_txn_value(txn, large->fixture.keyspace, key, round == 0 ? NULL : value);
    }
    tern_txn_free(txn);
    look_at_memory(large);
}

/* A cursor comes by every key once and by no other. */
static void check_all(struct large *large) {
    tern_txn *txn = api_begin_reading(&large->fixture);
    tern_cursor *cursor = NULL;
    uint64_t wanted = 0;
    uint64_t seen = 0;
    uint64_t sum = 0;
    tern_status status = tern_cursor_open(txn, large->fixture.keyspace, NULL, &cursor);
    assert_ok(status, *tern_txn_error(txn));
    while ((status = tern_cursor_next(cursor)) == TERN_OK) {
        char value[32];
        char digits[16] = "";
        tern_slice key = tern_cursor_key(cursor);
        assert_int_equal(key.size, 11);
        memcpy(digits, (const char *)key.data + 1, 10);
        uint32_t number = (uint32_t)strtoul(digits, NULL, 10);
        assert_true(number < large->keys && large->rounds[number] != 0);
        tern_slice right = value_of(number, large->rounds[number], value);
        tern_slice found;
        assert_int_equal(tern_cursor_value(cursor, &found), TERN_OK);
        assert_true(found.size == right.size && memcmp(found.data, right.data, right.size) == 0);
        seen++;
        sum += number;
        if (seen % 1000000 == 0) {
            look_at_memory(large);
        }
    }
    assert_int_equal(status, TERN_NOT_FOUND);
    tern_cursor_close(cursor);
    tern_txn_free(txn);
    for (uint32_t i = 0; i < large->keys; i++) {
        wanted += large->rounds[i] != 0 ? 1 : 0;
        sum -= large->rounds[i] != 0 ? i : 0;
    }
    assert_int_equal(seen, wanted);
    assert_int_equal(sum, 0);
    look_at_memory(large);
}

static uint64_t stat_of(const struct large *large, const char *name) {
    return keyspace_stat(large->fixture.keyspace, name);
}

static void tell(const struct large *large, const char *what) {
    print_message("%7.1f s  %-22s memory %llu MiB (before %llu), index %llu + %llu + %llu KiB, "
                  "cold entries %llu, rounds %llu\n",
                  now_s() - large->began, what, (unsigned long long)(large->most_bytes >> 20),
                  (unsigned long long)(large->idle_bytes >> 20),
                  (unsigned long long)(stat_of(large, "index_bytes") >> 10),
                  (unsigned long long)(stat_of(large, "map_bytes") >> 10),
                  (unsigned long long)(stat_of(large, "cold_bytes") >> 10),
                  (unsigned long long)stat_of(large, "cold_entries"),
                  (unsigned long long)stat_of(large, "cold_rounds"));
}

static void begin(struct large *large) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    const char *keys = getenv("TERN_HASH_KEYS");
    memset(large, 0, sizeof(*large));
    large->keys = keys != NULL ? (uint32_t)strtoul(keys, NULL, 10) : KEYS_DEFAULT;
    large->rounds = calloc(large->keys, 1);
    assert_non_null(large->rounds);
    memset(large->rounds, 1, large->keys);
    memset(large->rounds, 0, large->keys);
    api_fixture_init_closed(&large->fixture, false);
    uint64_t budget = (uint64_t)(BYTES_PER_KEY * large->keys);
    large->fixture.options.memory_bytes = budget > (uint64_t)8 << 20 ? budget : (uint64_t)8 << 20;
    large->fixture.options.overlay_bytes = 0;
    large->fixture.options.segment_bytes = 0;
    large->fixture.options.conflict_slots = 0;
    assert_ok(tern_open(large->fixture.path, &large->fixture.options, &large->fixture.db, &error),
              error);
    options.engine = TERN_ENGINE_HASH;
    assert_ok(
        tern_keyspace_create(large->fixture.db, "test", &options, &large->fixture.keyspace, &error),
        error);
    large->idle_bytes = resident_bytes();
    large->began = now_s();
}

static void many_times_the_keys_that_memory_has_room_for(void **state) {
    struct large large;
    tern_error error = TERN_ERROR_INIT;
    (void)state;
    begin(&large);
    write_round(&large, 0, 1, 1);
    tell(&large, "written");
    assert_true(stat_of(&large, "cold_entries") > large.keys / 4);
    check_some(&large, large.keys / 20000 + 1);
    tell(&large, "some read");
    write_round(&large, 1, 7, 2);
    write_round(&large, 2, 11, 0);
    tell(&large, "overwritten, deleted");
    check_all(&large);
    tell(&large, "scanned");
    assert_ok(tern_checkpoint(large.fixture.db, &error), error);
    write_round(&large, 5, 13, 3);
    check_some(&large, large.keys / 20000 + 1);
    tell(&large, "overwritten again");
    api_fixture_reopen(&large.fixture);
    tell(&large, "opened again");
    check_all(&large);
    tell(&large, "scanned again");
    check_some(&large, large.keys / 20000 + 1);
    if (large.keys <= 10 * KEYS_DEFAULT) {
        api_assert_sound(large.fixture.db);
    }
    tell(&large, "done");
    print_message("cold: %llu look-ups, %llu pages, %llu of them read; %llu reads of the file\n",
                  (unsigned long long)stat_of(&large, "cold_lookups"),
                  (unsigned long long)stat_of(&large, "cold_page_reads"),
                  (unsigned long long)stat_of(&large, "cold_page_misses"),
                  (unsigned long long)stat_of(&large, "reads"));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    uint64_t budget = large.fixture.options.memory_bytes;
    assert_true(large.most_bytes - large.idle_bytes < budget + budget / 8 + ((uint64_t)16 << 20));
#endif
    api_fixture_release(&large.fixture);
    free(large.rounds);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_times_the_keys_that_memory_has_room_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
