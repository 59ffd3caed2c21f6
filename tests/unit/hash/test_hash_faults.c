/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=900
 *
 * A fixed stretch of work on the engine, with the power cut in every mutating call of it, with
 * allocations and I/O calls that fail, and on a full disk. Afterwards the engine holds what was
 * committed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <tern/txn.h>

#include "cold_index.h"
#include "engine/hash/hash_engine.h"
#include "engine/hash/hash_engine_internal.h"
#include "support/cmocka_test.h"
#include "support/engine_world.h"
#include "support/fault_allocator.h"
#include "support/fault_file_system.h"

static void create_world(struct engine_world *world, const struct engine_methods *methods,
                         const tern_keyspace_options *options, uint64_t cache_bytes, uint64_t seed,
                         const tern_allocator *allocator) {
    world_create(world, methods, options, cache_bytes, seed, allocator);
    cold_index_apply(world);
}

static tern_keyspace_options small_options(void) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.page_bytes = 4096;
    return options;
}

static tern_status put_some(struct engine_world *world, struct seeded_random *random, size_t count,
                            tern_error *error) {
    char keys[8][40];
    uint8_t values[8][1500];
    static uint8_t large[300000];
    for (size_t done = 0; done < count; done += 8) {
        struct world_change changes[8];
        for (size_t i = 0; i < 8; i++) {
            uint64_t what = seeded_random_below(random, 100);
            size_t size = (size_t)seeded_random_below(random, 300);
            int length = snprintf(keys[i], sizeof(keys[i]), "key-%06llu",
                                  (unsigned long long)seeded_random_below(random, 900));
            size = what == 1 ? sizeof(values[i]) : size;
            memset(values[i], (int)('a' + done % 20 + i % 5), size);
            changes[i] = (struct world_change){
                .kind = RECORD_PUT, .key = {keys[i], (size_t)length}, .value = {values[i], size}};
            if (what >= 85) {
                changes[i].kind = RECORD_DELETE;
                changes[i].value = tern_slice_of(NULL, 0);
            } else if (what == 0 && i == 7) {
                memset(large, 'L', sizeof(large));
                changes[i].kind = RECORD_LARGE;
                changes[i].value = tern_slice_of(large, sizeof(large));
            } else if (what == 84 && i == 3) {
                changes[i].kind = CHANGE_DELETE_RANGE;
                changes[i].key = tern_slice_str("key-000300");
                changes[i].value = tern_slice_str("key-000340");
                changes[i].range_has_end = true;
            }
        }
        tern_status status = world_commit(world, changes, 8, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    return TERN_OK;
}

/* The stretch of work; ends at the first failure. */
static tern_status work(struct engine_world *world, uint64_t seed, tern_error *error) {
    struct seeded_random random;
    seeded_random_init(&random, seed);
    for (unsigned round = 0; round < 3; round++) {
        bool idle = false;
        tern_status status = put_some(world, &random, 160, error);
        if (status == TERN_OK && round == 1) {
            world_snapshot_take(world);
        }
        if (status == TERN_OK) {
            status = world_freeze(world, error);
        }
        for (unsigned i = 0; status == TERN_OK && !idle; i++) {
            status = world_drain_step(world, 20000, &idle, error);
            if (status == TERN_OK && i % 2 == 0) {
                status = world_publish(world, error);
            }
            if (status == TERN_OK && i == 0) {
                status = put_some(world, &random, 16, error);
            }
        }
        if (status == TERN_OK && round == 2) {
            status = world_compact(world, error);
        }
        if (status != TERN_OK) {
            return status;
        }
    }
    return TERN_OK;
}

static void check_after(struct engine_world *world) {
    tern_error error = TERN_ERROR_INIT;
    world_check_now(world);
    world_check_snapshots(world);
    assert_ok(world_checkpoint(world, &error), error);
    world_verify(world);
    world_check_now(world);
}

static void survives_a_power_cut_in_every_mutating_call(void **state) {
    (void)state;
    const tern_keyspace_options options = small_options();
    tern_error error = TERN_ERROR_INIT;
    uint64_t seed = 11;
    struct engine_world world;
    create_world(&world, &hash_engine_methods, &options, 0, seed, tern_allocator_default());
    assert_ok(world_open(&world, 0, &error), error);
    uint64_t first = power_cut_calls(world.disk);
    assert_ok(work(&world, seed, &error), error);
    uint64_t last = power_cut_calls(world.disk);
    check_after(&world);
    world_destroy(&world);
    assert_true(last - first > 20);
    for (uint64_t call = first + 1; call <= last; call++) {
        for (size_t manifest = 0; manifest < WORLD_MANIFESTS; manifest++) {
            create_world(&world, &hash_engine_methods, &options, 0, seed, tern_allocator_default());
            assert_ok(world_open(&world, 0, &error), error);
            power_cut_arm(world.disk, call);
            assert_int_not_equal(work(&world, seed, &error), TERN_OK);
            assert_ok(world_cut_and_open(&world, manifest, call * 2 + manifest, &error), error);
            world_verify(&world);
            check_after(&world);
            world_destroy(&world);
        }
    }
}

static void survives_failing_allocations(void **state) {
    (void)state;
    const tern_keyspace_options options = small_options();
    tern_error error = TERN_ERROR_INIT;
    struct engine_world world;
    uint64_t calls = 0;
    for (uint64_t nth = 0; nth == 0 || nth < calls; nth += 1 + calls / 150) {
        struct fault_allocator *allocator = fault_allocator_create();
        create_world(&world, &hash_engine_methods, &options, 0, 5,
                     fault_allocator_interface(allocator));
        assert_ok(world_open(&world, 0, &error), error);
        uint64_t before = fault_allocator_calls(allocator);
        fault_allocator_fail(allocator, nth, nth % 2 == 1);
        tern_status status = work(&world, 5, &error);
        assert_true(status == TERN_OK || status == TERN_NO_MEMORY);
        if (nth == 0) {
            assert_int_equal(status, TERN_OK);
            calls = fault_allocator_calls(allocator) - before;
        }
        fault_allocator_fail(allocator, 0, false);
        check_after(&world);
        world_destroy(&world);
        fault_allocator_destroy(allocator);
    }
}

/* Work with I/O calls that fail; sticky failures end when the work does. */
static void run_with_failing_calls(uint32_t kinds, tern_status injected) {
    const tern_keyspace_options options = small_options();
    tern_error error = TERN_ERROR_INIT;
    struct engine_world world;
    uint64_t calls = 0;
    for (uint64_t nth = 0; nth == 0 || nth <= calls; nth += 1 + calls / 40) {
        create_world(&world, &hash_engine_methods, &options, 0, 5, tern_allocator_default());
        struct fault_file_system *faults =
            fault_file_system_create(power_cut_interface(world.disk));
        world.environment.file_system = fault_file_system_interface(faults);
        assert_ok(world_open(&world, 0, &error), error);
        uint64_t before = fault_file_system_calls(faults, kinds);
        if (nth > 0) {
            const struct fault_plan plan = {.kinds = kinds,
                                            .nth = nth,
                                            .sticky = nth % 2 == 0,
                                            .short_write = nth % 3 == 0,
                                            .status = injected};
            fault_file_system_arm(faults, &plan);
        }
        tern_status status = work(&world, 5, &error);
        assert_true(status == TERN_OK || status == injected);
        if (nth == 0) {
            calls = fault_file_system_calls(faults, kinds) - before;
        }
        fault_file_system_disarm(faults);
        check_after(&world);
        world_destroy(&world);
        fault_file_system_destroy(faults);
    }
}

static void survives_failing_writes(void **state) {
    (void)state;
    run_with_failing_calls(FAULT_WRITE | FAULT_ALLOCATE | FAULT_OPEN, TERN_IO);
}

static void survives_failing_reads(void **state) {
    (void)state;
    run_with_failing_calls(FAULT_READ, TERN_IO);
}

static uint64_t used_bytes(const struct engine_world *world) {
    struct hash_file_stats stats;
    hash_file_get_stats(((const struct hash_engine *)world->engine)->base.file, &stats);
    return stats.file_bytes - stats.free_bytes;
}

/* The value that a merge amounts to is written apart before the block that refers to it. */
static void failed_drains_give_back_what_merges_stored_apart(void **state) {
    (void)state;
    const tern_keyspace_options options = small_options();
    tern_error error = TERN_ERROR_INIT;
    struct engine_world world;
    static char value[60001];
    struct world_change append = {
        .kind = RECORD_MERGE, .merge_kind = TERN_MERGE_APPEND, .key = tern_slice_str("key")};
    create_world(&world, &hash_engine_methods, &options, 0, 5, tern_allocator_default());
    struct fault_file_system *faults = fault_file_system_create(power_cut_interface(world.disk));
    world.environment.file_system = fault_file_system_interface(faults);
    assert_ok(world_open(&world, 0, &error), error);
    memset(value, 'v', sizeof(value) - 1);
    assert_int_equal(world_put(&world, "key", value), TERN_OK);
    assert_ok(world_checkpoint(&world, &error), error);
    append.value = tern_slice_of(value, 10000);
    assert_ok(world_commit(&world, &append, 1, &error), error);
    assert_ok(world_freeze(&world, &error), error);
    uint64_t before = used_bytes(&world);
    for (unsigned i = 0; i < 10; i++) {
        const struct fault_plan plan = {.kinds = FAULT_WRITE, .nth = 3, .status = TERN_IO};
        bool idle = false;
        fault_file_system_arm(faults, &plan);
        assert_int_equal(world_drain_step(&world, 20000, &idle, &error), TERN_IO);
    }
    fault_file_system_disarm(faults);
    assert_int_equal(used_bytes(&world), before);
    check_after(&world);
    world_destroy(&world);
    fault_file_system_destroy(faults);
}

static void goes_on_after_the_disk_was_full(void **state) {
    (void)state;
    const tern_keyspace_options options = small_options();
    tern_error error = TERN_ERROR_INIT;
    struct engine_world world;
    create_world(&world, &hash_engine_methods, &options, 0, 9, tern_allocator_default());
    struct fault_file_system *faults = fault_file_system_create(power_cut_interface(world.disk));
    world.environment.file_system = fault_file_system_interface(faults);
    assert_ok(world_open(&world, 0, &error), error);
    fault_file_system_set_capacity(faults, 60 * 1024);
    assert_int_equal(work(&world, 9, &error), TERN_DISK_FULL);
    world_check_now(&world);
    fault_file_system_set_capacity(faults, 0);
    check_after(&world);
    world_destroy(&world);
    fault_file_system_destroy(faults);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_a_power_cut_in_every_mutating_call),
        cmocka_unit_test(survives_failing_allocations),
        cmocka_unit_test(survives_failing_writes),
        cmocka_unit_test(survives_failing_reads),
        cmocka_unit_test(failed_drains_give_back_what_merges_stored_apart),
        cmocka_unit_test(goes_on_after_the_disk_was_full),
        cmocka_unit_test_setup_teardown(survives_a_power_cut_in_every_mutating_call,
                                        cold_index_begin, cold_index_end),
        cmocka_unit_test_setup_teardown(survives_failing_allocations, cold_index_begin,
                                        cold_index_end),
        cmocka_unit_test_setup_teardown(survives_failing_writes, cold_index_begin, cold_index_end),
        cmocka_unit_test_setup_teardown(survives_failing_reads, cold_index_begin, cold_index_end),
        cmocka_unit_test_setup_teardown(failed_drains_give_back_what_merges_stored_apart,
                                        cold_index_begin, cold_index_end),
        cmocka_unit_test_setup_teardown(goes_on_after_the_disk_was_full, cold_index_begin,
                                        cold_index_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
