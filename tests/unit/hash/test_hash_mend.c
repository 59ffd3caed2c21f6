/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=600
 *
 * Pages of the index on disk that are damaged: who reads them is told, and the next drain,
 * compaction or open makes them anew, whatever fails meanwhile.
 */
#include <stdio.h>
#include <string.h>

#include "cold_world.h"
#include "os/file.h"
#include "support/cmocka_test.h"
#include "support/fault_allocator.h"
#include "support/fault_file_system.h"

/* The same byte of a page of the cold part, the other way round, at `offset` of the file. */
static void flip(struct engine_world *world, uint64_t offset) {
    const tern_file_system *system = power_cut_interface(world->disk);
    tern_error error = TERN_ERROR_INIT;
    tern_file *file = NULL;
    uint8_t byte = 0;
    size_t got = 0;
    assert_ok(system->open(system->context, hash_file_path(cold_world_engine(world)->base.file), 0,
                           &file, &error),
              error);
    assert_ok(file_read(file, offset, &byte, 1, &got, &error), error);
    byte ^= 0x10;
    assert_ok(file_write(file, offset, &byte, 1, &error), error);
    assert_ok(file_close(file, &error), error);
}

static struct cold_group *group_of(const struct engine_world *world, uint64_t hash) {
    uint8_t depth = 0;
    struct cold_group *group = hash_cold_group_at(&cold_world_engine(world)->cold, hash, &depth);
    assert_non_null(group);
    return group;
}

static uint64_t mended(const struct engine_world *world) {
    return atomic_load(&cold_world_engine(world)->cold.mended);
}

/* Everything in the cold part, on disk only: nothing of it is cached. */
static void begin_cold(struct engine_world *world, unsigned keys) {
    tern_error error = TERN_ERROR_INIT;
    cold_world_begin(world, 1, (uint64_t)1 << 20);
    cold_world_put(world, 0, keys, 1, 1);
    assert_ok(world_checkpoint(world, &error), error);
    world_close(world);
    assert_ok(world_open(world, 0, &error), error);
    assert_int_equal(cold_world_entries(world), keys);
}

/* The cold part is no part of any root: what is damaged there is made anew. */
static void a_damaged_page_is_told_of_and_made_anew_by_the_next_open(void **state) {
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    tern_verify_report report = {0};
    (void)state;
    begin_cold(&world, 2000);
    flip(&world, (uint64_t)group_of(&world, 0)->place * HASH_UNIT_BYTES + 700);
    assert_ok(world.methods->verify(world.view, NULL, NULL, NULL, NULL, &report, &error), error);
    assert_true(report.findings > 0);
    world_close(&world);
    assert_ok(world_open(&world, 0, &error), error);
    world_verify(&world);
    world_check_now(&world);
    world_destroy(&world);
}

/* Whether a reader came by it before or not. */
static void a_drain_mends_the_damaged_pages_that_it_needs(void **state) {
    enum { KEYS = 60000 };
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct engine_world world;
        tern_error error = TERN_ERROR_INIT;
        tern_verify_report report = {0};
        bool is_noticed = i % 2 == 1;
        begin_cold(&world, KEYS);
        uint64_t entries = cold_world_entries(&world);
        uint64_t groups = atomic_load(&cold_world_engine(&world)->cold.groups);
        assert_true(groups > 2);
        for (uint64_t at = 0;;) {
            const struct cold_group *group = group_of(&world, at);
            uint32_t page = group->page_count / 2;
            flip(&world, (uint64_t)(group->place + page) * HASH_UNIT_BYTES + 17 + 1000 * i);
            at |= group->depth == 0 ? UINT64_MAX : UINT64_MAX >> group->depth;
            if (at++ == UINT64_MAX) {
                break;
            }
        }
        if (is_noticed) {
            assert_ok(world.methods->verify(world.view, NULL, NULL, NULL, NULL, &report, &error),
                      error);
            assert_true(report.findings > 0);
        }
        /* Many keys of each group, or a few of some: groups as wholes, or single pages. */
        cold_world_put(&world, 0, KEYS, i < 2 ? 3 : 4001, 2);
        cold_world_put(&world, 1, KEYS, i < 2 ? 5 : 7001, 0);
        assert_ok(world_checkpoint(&world, &error), error);
        assert_true(mended(&world) > 0);
        assert_true(i >= 2 || mended(&world) == groups);
        assert_true(cold_world_entries(&world) <= entries + KEYS / 2);
        if (i >= 2) {
            assert_ok(world_compact(&world, &error), error);
        }
        /* A page that nobody has needed yet is met by who verifies, and mended after that. */
        (void)world.methods->verify(world.view, NULL, NULL, NULL, NULL, &report, &error);
        cold_world_put(&world, 2, KEYS, 4001, 3);
        assert_ok(world_checkpoint(&world, &error), error);
        assert_int_equal(mended(&world), groups);
        world_verify(&world);
        world_check_now(&world);
        assert_null(hash_index_check(cold_world_engine(&world)->index));
        assert_ok(world_cut_and_open(&world, 0, 3, &error), error);
        world_verify(&world);
        world_check_now(&world);
        world_destroy(&world);
    }
}

/* The record of a key in memory has no second entry afterwards, whatever leads to it. */
static void mending_leaves_out_what_memory_leads_to(void **state) {
    enum { KEYS = 3000 };
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    (void)state;
    begin_cold(&world, KEYS);
    /* In memory: records, records below stubs, versions over records. */
    world.budget.limit_bytes = 0;
    cold_world_put(&world, 0, KEYS, 4, 2);
    assert_ok(world_checkpoint(&world, &error), error);
    world_snapshot_take(&world);
    cold_world_put(&world, 0, KEYS, 12, 3);
    assert_ok(world_checkpoint(&world, &error), error);
    cold_world_put(&world, 1, KEYS, 5, 4);
    uint64_t live = 0;
    struct hash_engine *engine = cold_world_engine(&world);
    struct buffer entries;
    buffer_init(&entries, tern_allocator_default());
    assert_ok(hash_mend_gather(engine, 0, UINT64_MAX, &entries, &error), error);
    const struct cold_entry *listed = (const struct cold_entry *)(void *)entries.data;
    for (size_t i = 0; i < entries.size / sizeof(*listed); i++) {
        live += base_holds_live(&engine->base, listed[i].link);
    }
    /* Every fourth has a newer record, which memory leads to. */
    assert_int_equal(live, KEYS - KEYS / 4);
    assert_int_equal(entries.size / sizeof(*listed), KEYS - KEYS / 4);
    buffer_release(&entries);
    world_check_now(&world);
    world_check_snapshots(&world);
    world_destroy(&world);
}

/* Every byte of a page counts: whoever reads it finds the right record, or is told. */
static void no_flipped_byte_of_a_page_shows_another_key(void **state) {
    enum { KEYS = 600, FLIPS = 64 };
    struct engine_world world;
    struct seeded_random random;
    (void)state;
    seeded_random_init(&random, seeded_random_seed("flips"));
    begin_cold(&world, KEYS);
    for (unsigned i = 0; i < FLIPS; i++) {
        tern_error error = TERN_ERROR_INIT;
        const struct cold_group *group = group_of(&world, 0);
        uint64_t before = mended(&world);
        uint64_t at = seeded_random_below(&random, HASH_UNIT_BYTES);
        flip(&world, (uint64_t)group->place * HASH_UNIT_BYTES + at);
        unsigned told = 0;
        for (unsigned number = 0; number < KEYS; number++) {
            const struct engine_moment moment = world_moment(&world);
            struct engine_result result;
            char key[32];
            char value[64];
            tern_slice slice =
                tern_slice_of(key, (size_t)snprintf(key, sizeof(key), "key-%u", number));
            tern_status status =
                world.methods->get(world.view, slice, key_hasher_hash(&world.config.hasher, slice),
                                   &moment, &world.scratch, &result, &error);
            told += status == TERN_CORRUPTION;
            if (status == TERN_OK) {
                int size = snprintf(value, sizeof(value), "%u of round %u", number,
                                    number % FLIPS < i ? 2 : 1);
                assert_int_equal(result.record.value.size, size);
                assert_memory_equal(result.record.value.data, value, (size_t)size);
            } else {
                assert_int_equal(status, TERN_CORRUPTION);
                assert_non_null(strstr(error.message, "index"));
            }
        }
        assert_true(told > 0 || i > 0); /* at first nothing is cached */
        cold_world_put(&world, i, KEYS, FLIPS, 2);
        assert_ok(world_checkpoint(&world, &error), error);
        assert_true(told == 0 || mended(&world) > before);
        world_check_now(&world);
    }
    world_destroy(&world);
}

/* Reads all groups as they lie in the file, whatever the cache has. */
static void come_by_all_groups(struct engine_world *world) {
    struct hash_cold *cold = &cold_world_engine(world)->cold;
    struct buffer entries;
    buffer_init(&entries, tern_allocator_default());
    for (uint64_t at = 0; hash_cold_has_any(cold);) {
        uint8_t depth = 0;
        struct cold_group *group = hash_cold_group_at(cold, at, &depth);
        entries.size = 0;
        if (group != NULL && hash_cold_read_group(cold, group, &entries, NULL) != TERN_OK) {
            assert_true(atomic_load(&group->is_damaged));
        }
        at |= depth == 0 ? UINT64_MAX : UINT64_MAX >> depth;
        if (at++ == UINT64_MAX) {
            break;
        }
    }
    buffer_release(&entries);
}

static void flip_somewhere(struct engine_world *world, struct seeded_random *random) {
    uint8_t depth = 0;
    const struct cold_group *group =
        hash_cold_group_at(&cold_world_engine(world)->cold, seeded_random_next(random), &depth);
    if (group != NULL) {
        uint64_t bytes = (uint64_t)group->page_count * HASH_UNIT_BYTES;
        flip(world, (uint64_t)group->place * HASH_UNIT_BYTES + seeded_random_below(random, bytes));
    }
}

static void whatever_is_damaged_meanwhile_no_key_is_lost(void **state) {
    enum { KEYS = 12000, ROUNDS = 24 };
    struct engine_world world;
    struct seeded_random random;
    tern_error error = TERN_ERROR_INIT;
    (void)state;
    seeded_random_init(&random, seeded_random_seed("damage"));
    begin_cold(&world, KEYS);
    for (unsigned round = 2; round < ROUNDS; round++) {
        bool is_deletion = seeded_random_chance(&random, 1, 4);
        cold_world_put(&world, (unsigned)seeded_random_below(&random, KEYS / 2), KEYS,
                       1 + (unsigned)seeded_random_below(&random, 20), is_deletion ? 0 : round);
        if (seeded_random_chance(&random, 1, 3) && world.snapshot_count < 3) {
            world_snapshot_take(&world);
        } else if (seeded_random_chance(&random, 1, 3) && world.snapshot_count > 0) {
            world_snapshot_drop(&world, 0);
        }
        for (unsigned i = 0; i < 3; i++) {
            flip_somewhere(&world, &random);
        }
        if (seeded_random_chance(&random, 1, 2)) {
            come_by_all_groups(&world);
        }
        assert_ok(world_checkpoint(&world, &error), error);
        if (seeded_random_chance(&random, 1, 4)) {
            assert_ok(world_compact(&world, &error), error);
        }
        come_by_all_groups(&world);
        assert_ok(world_checkpoint(&world, &error), error);
        world_verify(&world);
        world_check_now(&world);
        world_check_snapshots(&world);
        assert_null(hash_index_check(cold_world_engine(&world)->index));
    }
    assert_true(mended(&world) > ROUNDS / 2);
    world_destroy(&world);
}

/* ---- with something that fails ---- */

static void damage_all_groups(struct engine_world *world) {
    for (uint64_t at = 0;;) {
        const struct cold_group *group = group_of(world, at);
        flip(world, (uint64_t)group->place * HASH_UNIT_BYTES + 100);
        at |= group->depth == 0 ? UINT64_MAX : UINT64_MAX >> group->depth;
        if (at++ == UINT64_MAX) {
            return;
        }
    }
}

/* A world whose cold part is damaged all over, with new versions to be drained. */
static void begin_damaged(struct engine_world *world, const tern_allocator *allocator,
                          struct fault_file_system **out_faults) {
    enum { KEYS = 9000 };
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    options.page_bytes = 4096;
    world_create(world, &hash_engine_methods, &options, (uint64_t)1 << 20, 1, allocator);
    world->budget.limit_bytes = 1;
    *out_faults = fault_file_system_create(power_cut_interface(world->disk));
    world->environment.file_system = fault_file_system_interface(*out_faults);
    assert_ok(world_open(world, 0, &error), error);
    cold_world_put(world, 0, KEYS, 1, 1);
    assert_ok(world_checkpoint(world, &error), error);
    world_close(world);
    assert_ok(world_open(world, 0, &error), error);
    assert_int_equal(cold_world_entries(world), KEYS);
    cold_world_put(world, 0, KEYS, 5, 2);
    damage_all_groups(world);
}

static void end_damaged(struct engine_world *world, struct fault_file_system *faults) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(world_checkpoint(world, &error), error);
    assert_true(mended(world) > 0);
    world_verify(world);
    world_check_now(world);
    world_destroy(world);
    fault_file_system_destroy(faults);
}

static void mending_survives_failing_allocations(void **state) {
    uint64_t calls = 0;
    (void)state;
    for (uint64_t nth = 0; nth == 0 || nth < calls; nth += 1 + calls / 24) {
        struct fault_allocator *allocator = fault_allocator_create();
        struct fault_file_system *faults = NULL;
        struct engine_world world;
        tern_error error = TERN_ERROR_INIT;
        begin_damaged(&world, fault_allocator_interface(allocator), &faults);
        uint64_t before = fault_allocator_calls(allocator);
        fault_allocator_fail(allocator, nth, nth % 2 == 1);
        tern_status status = world_checkpoint(&world, &error);
        assert_true(status == TERN_OK || status == TERN_NO_MEMORY);
        if (nth == 0) {
            assert_int_equal(status, TERN_OK);
            calls = fault_allocator_calls(allocator) - before;
        }
        fault_allocator_fail(allocator, 0, false);
        end_damaged(&world, faults);
        fault_allocator_destroy(allocator);
    }
}

static void mending_survives_failing_calls(void **state) {
    const uint32_t kinds = FAULT_READ | FAULT_WRITE | FAULT_ALLOCATE;
    uint64_t calls = 0;
    (void)state;
    for (uint64_t nth = 0; nth == 0 || nth <= calls; nth += 1 + calls / 24) {
        struct fault_file_system *faults = NULL;
        struct engine_world world;
        tern_error error = TERN_ERROR_INIT;
        begin_damaged(&world, tern_allocator_default(), &faults);
        uint64_t before = fault_file_system_calls(faults, kinds);
        const struct fault_plan plan = {
            .kinds = kinds, .nth = nth, .sticky = nth % 2 == 0, .status = TERN_IO};
        if (nth > 0) {
            fault_file_system_arm(faults, &plan);
        }
        tern_status status = world_checkpoint(&world, &error);
        assert_true(status == TERN_OK || status == TERN_IO);
        calls = nth == 0 ? fault_file_system_calls(faults, kinds) - before : calls;
        fault_file_system_disarm(faults);
        end_damaged(&world, faults);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_damaged_page_is_told_of_and_made_anew_by_the_next_open),
        cmocka_unit_test(a_drain_mends_the_damaged_pages_that_it_needs),
        cmocka_unit_test(mending_leaves_out_what_memory_leads_to),
        cmocka_unit_test(no_flipped_byte_of_a_page_shows_another_key),
        cmocka_unit_test(whatever_is_damaged_meanwhile_no_key_is_lost),
        cmocka_unit_test(mending_survives_failing_allocations),
        cmocka_unit_test(mending_survives_failing_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
