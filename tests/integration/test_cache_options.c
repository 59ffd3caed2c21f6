/* SPDX-License-Identifier: Apache-2.0 */
/* The options cache_policy and prewarm, by what can be observed of them. */
#include "support/cmocka_test.h"

#include <stdio.h>
#include <string.h>
#include <tern/tern.h>
#include <unistd.h>

#include "support/fault_allocator.h"
#include "support/fault_file_system.h"
#include "support/seeded_random.h"
#include "support/step_executor.h"
#include "support/temporary_directory.h"
#include "support/virtual_clock.h"

#define VALUE_BYTES 400u

static tern_db *open_at(const char *path, tern_cache_policy policy, bool prewarm,
                        uint64_t memory_bytes, tern_keyspace **out_keyspace) {
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    tern_db *db = NULL;
    options.create_if_missing = true;
    options.memory_bytes = memory_bytes;
    options.segment_bytes = (uint64_t)4 << 20;
    options.conflict_slots = 1 << 12;
    options.cache_policy = policy;
    options.prewarm = prewarm;
    assert_ok(tern_open(path, &options, &db, &error), error);
    if (tern_keyspace_open(db, "test", out_keyspace, &error) != TERN_OK) {
        assert_ok(tern_keyspace_create(db, "test", NULL, out_keyspace, &error), error);
    }
    return db;
}

static uint64_t stat_of(tern_db *db, const char *name) {
    uint64_t value = 0;
    assert_int_equal(tern_stat_get(db, name, &value), TERN_OK);
    return value;
}

static void make_record(uint32_t number, char key[16], char value[VALUE_BYTES]) {
    (void)snprintf(key, 16, "key%010u", number);
    for (unsigned i = 0; i < VALUE_BYTES; i++) {
        value[i] = (char)('a' + (number * 7 + i) % 26);
    }
}

static void fill(tern_db *db, tern_keyspace *keyspace, uint32_t count) {
    char key[16];
    char value[VALUE_BYTES];
    tern_error error = TERN_ERROR_INIT;
    for (uint32_t i = 0; i < count; i++) {
        make_record(i, key, value);
        assert_ok(tern_put(keyspace, tern_slice_str(key), tern_slice_of(value, VALUE_BYTES), NULL,
                           &error),
                  error);
    }
    assert_ok(tern_checkpoint(db, &error), error);
}

static void read_one(tern_keyspace *keyspace, uint32_t number) {
    char key[16];
    char value[VALUE_BYTES];
    char found[VALUE_BYTES];
    size_t size = 0;
    tern_error error = TERN_ERROR_INIT;
    make_record(number, key, value);
    assert_ok(tern_get(keyspace, tern_slice_str(key), found, sizeof(found), &size, &error), error);
    assert_int_equal(size, VALUE_BYTES);
    assert_memory_equal(found, value, VALUE_BYTES);
}

static void close_db(tern_db *db) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_close(db, &error), error);
}

static void reads_four_times_the_cache_under_every_policy(void **state) {
    (void)state;
    struct seeded_random random;
    seeded_random_init(&random, seeded_random_seed("cache policies"));
    char *path = temporary_directory_create();
    tern_keyspace *keyspace;
    tern_db *db = open_at(path, TERN_CACHE_POLICY_DEFAULT, false, (uint64_t)8 << 20, &keyspace);
    fill(db, keyspace, 40000);
    close_db(db);
    for (int policy = TERN_CACHE_POLICY_CLOCK; policy <= TERN_CACHE_POLICY_LRU; policy++) {
        db = open_at(path, (tern_cache_policy)policy, false, (uint64_t)8 << 20, &keyspace);
        assert_int_equal(stat_of(db, "cache_policy"), policy);
        for (unsigned i = 0; i < 6000; i++) {
            uint64_t number = seeded_random_below(&random, 40000);
            read_one(keyspace, (uint32_t)(i % 2 == 0 ? number : number % 2000));
        }
        assert_true(stat_of(db, "cache_evictions") > 500);
        assert_true(stat_of(db, "cache_hits_seen") > 0);
        assert_true(stat_of(db, "cache_ghosts") <= stat_of(db, "cache_frames") * 2 + 1024);
        close_db(db);
    }
    temporary_directory_remove(path);
}

static void refuses_a_policy_that_is_not_there(void **state) {
    (void)state;
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    tern_db *db = NULL;
    char *path = temporary_directory_create();
    options.create_if_missing = true;
    options.cache_policy = (tern_cache_policy)99;
    assert_int_equal(tern_open(path, &options, &db, &error), TERN_INVALID);
    assert_null(db);
    temporary_directory_remove(path);
}

static void wait_until_loaded(tern_db *db) {
    for (unsigned i = 0; stat_of(db, "prewarm_done") == 0; i++) {
        assert_true(i < 20000);
        usleep(1000);
    }
}

static uint64_t misses_of_reading(tern_db *db, tern_keyspace *keyspace, uint32_t begin,
                                  uint32_t end) {
    uint64_t before = stat_of(db, "cache_misses");
    for (uint32_t i = begin; i < end; i++) {
        read_one(keyspace, i);
    }
    return stat_of(db, "cache_misses") - before;
}

#define RECORDS 20000u
#define BUDGET  ((uint64_t)64 << 20)

static char *filled_database(void) {
    char *path = temporary_directory_create();
    tern_keyspace *keyspace;
    tern_db *db = open_at(path, TERN_CACHE_POLICY_DEFAULT, true, BUDGET, &keyspace);
    fill(db, keyspace, RECORDS);
    (void)misses_of_reading(db, keyspace, 0, RECORDS);
    close_db(db);
    return path;
}

static void loads_what_was_cached_before_it_is_asked_for(void **state) {
    (void)state;
    char *path = filled_database();
    tern_keyspace *keyspace;
    tern_db *db = open_at(path, TERN_CACHE_POLICY_DEFAULT, false, BUDGET, &keyspace);
    uint64_t cold = misses_of_reading(db, keyspace, 0, RECORDS);
    assert_int_equal(stat_of(db, "prewarm_listed"), 0);
    assert_int_equal(stat_of(db, "prewarm_done"), 1);
    assert_true(cold > 500);
    close_db(db);
    db = open_at(path, TERN_CACHE_POLICY_DEFAULT, true, BUDGET, &keyspace);
    wait_until_loaded(db);
    assert_true(stat_of(db, "prewarm_listed") >= cold);
    assert_true(stat_of(db, "prewarm_loaded") >= cold - cold / 20);
    assert_true(misses_of_reading(db, keyspace, 0, RECORDS) < cold / 20);
    close_db(db);
    temporary_directory_remove(path);
}

static void opens_with_a_list_that_is_damaged_or_old(void **state) {
    (void)state;
    char *path = filled_database();
    char name[4096];
    (void)snprintf(name, sizeof(name), "%s/cache.hot", path);
    for (unsigned round = 0; round < 5; round++) {
        FILE *file = fopen(name, "r+b");
        assert_non_null(file);
        if (round == 4) {
            assert_int_equal(ftruncate(fileno(file), 100), 0);
        } else {
            const long places[] = {3, 9, 40, 1000};
            assert_int_equal(fseek(file, places[round], SEEK_SET), 0);
            int byte = fgetc(file);
            assert_int_equal(fseek(file, places[round], SEEK_SET), 0);
            assert_int_not_equal(fputc(byte ^ 4, file), EOF);
        }
        assert_int_equal(fclose(file), 0);
        tern_keyspace *keyspace;
        tern_db *db = open_at(path, TERN_CACHE_POLICY_DEFAULT, true, BUDGET, &keyspace);
        wait_until_loaded(db);
        assert_int_equal(stat_of(db, "prewarm_listed"), 0);
        (void)misses_of_reading(db, keyspace, 0, RECORDS);
        close_db(db); /* writes a whole one */
    }
    /* A list of before: the places have been given to other pages, or to none. */
    tern_keyspace *keyspace;
    tern_db *db = open_at(path, TERN_CACHE_POLICY_DEFAULT, false, BUDGET, &keyspace);
    fill(db, keyspace, RECORDS);
    close_db(db);
    db = open_at(path, TERN_CACHE_POLICY_DEFAULT, true, BUDGET, &keyspace);
    wait_until_loaded(db);
    (void)misses_of_reading(db, keyspace, 0, RECORDS);
    close_db(db);
    temporary_directory_remove(path);
}

/* ---- failures: background work is stepped, so that they meet nothing else ---- */

struct stepped {
    struct virtual_clock clock;
    struct step_executor *executor;
    struct fault_allocator *allocator;
    struct fault_file_system *file_system;
    tern_db *db;
    tern_keyspace *keyspace;
};

static void stepped_open(struct stepped *stepped, const char *path) {
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    virtual_clock_init(&stepped->clock);
    stepped->executor = step_executor_create(1, &stepped->clock);
    stepped->allocator = fault_allocator_create();
    stepped->file_system = fault_file_system_create(tern_file_system_default());
    options.memory_bytes = BUDGET;
    options.segment_bytes = (uint64_t)4 << 20;
    options.conflict_slots = 1 << 12;
    options.prewarm = true;
    options.clock = virtual_clock_interface(&stepped->clock);
    options.executor = step_executor_interface(stepped->executor);
    options.allocator = fault_allocator_interface(stepped->allocator);
    options.file_system = fault_file_system_interface(stepped->file_system);
    assert_ok(tern_open(path, &options, &stepped->db, &error), error);
    assert_ok(tern_keyspace_open(stepped->db, "test", &stepped->keyspace, &error), error);
}

static void stepped_load(struct stepped *stepped) {
    for (unsigned i = 0; stat_of(stepped->db, "prewarm_done") == 0; i++) {
        assert_true(i < 100000);
        if (!step_executor_step(stepped->executor)) {
            assert_true(step_executor_pass_time(stepped->executor));
        }
    }
}

static void stepped_close(struct stepped *stepped) {
    close_db(stepped->db);
    step_executor_destroy(stepped->executor);
    fault_file_system_destroy(stepped->file_system);
    fault_allocator_destroy(stepped->allocator); /* nothing leaked */
}

static void no_failure_while_loading_is_more_than_a_slower_start(void **state) {
    (void)state;
    char *path = filled_database();
    for (uint64_t nth = 1; nth < 40; nth += nth < 8 ? 1 : 7) {
        for (unsigned what = 0; what < 4; what++) {
            struct stepped stepped;
            bool sticky = what % 2 == 0;
            stepped_open(&stepped, path);
            if (what < 2) {
                fault_allocator_fail(stepped.allocator, nth, sticky);
            } else {
                const struct fault_plan plan = {
                    .kinds = FAULT_OPEN | FAULT_READ | FAULT_CLOSE, .nth = nth, .sticky = sticky};
                fault_file_system_arm(stepped.file_system, &plan);
            }
            stepped_load(&stepped);
            fault_allocator_fail(stepped.allocator, 0, false);
            fault_file_system_disarm(stepped.file_system);
            (void)misses_of_reading(stepped.db, stepped.keyspace, 0, RECORDS / 20);
            assert_int_equal(stat_of(stepped.db, "log_poisoned"), 0);
            stepped_close(&stepped);
        }
    }
    temporary_directory_remove(path);
}

static void a_list_that_cannot_be_written_keeps_the_one_before(void **state) {
    (void)state;
    const uint32_t kinds[] = {FAULT_OPEN, FAULT_RENAME, FAULT_OPEN | FAULT_REMOVE};
    char *path = filled_database();
    for (unsigned i = 0; i < 3; i++) {
        struct stepped stepped;
        stepped_open(&stepped, path);
        stepped_load(&stepped);
        assert_true(stat_of(stepped.db, "prewarm_listed") > 500);
        const struct fault_plan plan = {.kinds = kinds[i], .nth = 1, .sticky = true};
        fault_file_system_arm(stepped.file_system, &plan);
        stepped_close(&stepped);
    }
    temporary_directory_remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_four_times_the_cache_under_every_policy),
        cmocka_unit_test(refuses_a_policy_that_is_not_there),
        cmocka_unit_test(loads_what_was_cached_before_it_is_asked_for),
        cmocka_unit_test(opens_with_a_list_that_is_damaged_or_old),
        cmocka_unit_test(no_failure_while_loading_is_more_than_a_slower_start),
        cmocka_unit_test(a_list_that_cannot_be_written_keeps_the_one_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
