/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=900
 *
 * Keys beyond memory: the index in memory stays within its share, the rest of it lies on disk, and
 * nothing else shows, whatever is written, drained, compacted, and however often it is opened.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tern/txn.h>

#include "cold_world.h"
#include "engine/hash/hash_engine.h"
#include "engine/hash/hash_engine_internal.h"
#include "os/file.h"
#include "support/cmocka_test.h"
#include "support/engine_world.h"

static uint64_t index_bytes(const struct engine_world *world) {
    struct hash_index_stats stats;
    hash_index_get_stats(cold_world_engine(world)->index, &stats);
    return stats.bytes;
}

static void the_index_in_memory_keeps_its_share_and_no_key_is_lost(void **state) {
    enum { KEYS = 60000, BUDGET_BYTES = 1 << 20 };
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    (void)state;
    cold_world_begin(&world, BUDGET_BYTES / 2, (uint64_t)2 << 20);
    for (unsigned part = 0; part < 30; part++) {
        cold_world_put(&world, part * KEYS / 30, (part + 1) * KEYS / 30, 1, 1);
        assert_ok(world_checkpoint(&world, &error), error);
        assert_true(index_bytes(&world) < BUDGET_BYTES);
    }
    assert_true(cold_world_entries(&world) > KEYS / 2);
    assert_true(atomic_load(&cold_world_engine(&world)->cold.groups) > 1);
    assert_null(hash_index_check(cold_world_engine(&world)->index));
    world_check_now(&world);
    world_verify(&world);
    /* Overwritten, deleted, in part put again, with a reader of before. */
    world_snapshot_take(&world);
    cold_world_put(&world, 0, KEYS, 3, 2);
    cold_world_put(&world, 1, KEYS, 5, 0);
    world_check_snapshots(&world);
    assert_ok(world_checkpoint(&world, &error), error);
    cold_world_put(&world, 2, KEYS, 7, 3);
    world_check_now(&world);
    assert_ok(world_checkpoint(&world, &error), error);
    world_check_now(&world);
    world_check_snapshots(&world);
    const struct world_change range = {.kind = CHANGE_DELETE_RANGE,
                                       .key = tern_slice_str("key-3"),
                                       .value = tern_slice_str("key-5"),
                                       .range_has_end = true};
    assert_ok(world_commit(&world, &range, 1, &error), error);
    world_check_now(&world);
    assert_ok(world_checkpoint(&world, &error), error);
    world_check_now(&world);
    world_check_snapshots(&world);
    world_snapshot_drop(&world, 0);
    assert_ok(world_compact(&world, &error), error);
    world_check_now(&world);
    world_verify(&world);
    assert_ok(world_cut_and_open(&world, 0, 3, &error), error);
    assert_true(index_bytes(&world) < BUDGET_BYTES);
    assert_true(cold_world_entries(&world) > 0);
    world_check_now(&world);
    world_verify(&world);
    /* Compaction brings entries back into memory, and they go again. */
    assert_ok(world_compact(&world, &error), error);
    assert_true(index_bytes(&world) < BUDGET_BYTES);
    world_check_now(&world);
    world_destroy(&world);
}

static void a_look_up_reads_one_page_of_the_index_seldom_two(void **state) {
    enum { KEYS = 40000 };
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    (void)state;
    cold_world_begin(&world, 1, (uint64_t)2 << 20);
    cold_world_put(&world, 0, KEYS, 1, 1);
    assert_ok(world_checkpoint(&world, &error), error);
    const struct hash_cold *cold = &cold_world_engine(&world)->cold;
    assert_int_equal(atomic_load(&cold->entries), KEYS);
    for (unsigned opened = 0; opened < 2; opened++) {
        uint64_t lookups = atomic_load(&cold->lookups);
        uint64_t pages = atomic_load(&cold->page_reads);
        const struct engine_moment moment = world_moment(&world);
        for (unsigned i = 0; i < KEYS; i += 7) {
            char key[32];
            int size = snprintf(key, sizeof(key), "key-%u", i);
            world_check_key(&world, world.view, &moment, &world.now,
                            tern_slice_of(key, (size_t)size));
        }
        lookups = atomic_load(&cold->lookups) - lookups;
        pages = atomic_load(&cold->page_reads) - pages;
        assert_true(lookups >= KEYS / 7);
        assert_true(pages >= lookups && pages * 10 <= lookups * 13);
        world_close(&world);
        assert_ok(world_open(&world, 0, &error), error);
        cold = &cold_world_engine(&world)->cold;
    }
    world_destroy(&world);
}

/* What has died leaves the cold part, and the numbers of its blocks come back. */
static void overwriting_again_and_again_takes_no_more_and_more(void **state) {
    enum { KEYS = 3000 };
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    uint32_t numbers = 0;
    uint64_t entries = 0;
    (void)state;
    cold_world_begin(&world, 1, (uint64_t)2 << 20);
    for (unsigned round = 1; round < 60; round++) {
        cold_world_put(&world, 0, KEYS, 1, round);
        assert_ok(world_checkpoint(&world, &error), error);
        uint64_t now = cold_world_entries(&world);
        entries = now > entries ? now : entries;
        if (round == 20) {
            numbers = cold_world_engine(&world)->base.block_limit;
        }
    }
    assert_true(entries <= 3 * KEYS);
    assert_true(cold_world_engine(&world)->base.block_limit <= numbers * 2);
    world_check_now(&world);
    world_destroy(&world);
}

/* The index was in memory when the walk began. */
static void a_walk_that_began_in_memory_ends_on_disk(void **state) {
    enum { KEYS = 5000 };
    (void)state;
    for (unsigned stop = 0; stop < 5; stop++) {
        struct engine_world world;
        struct engine_cursor *cursor = NULL;
        tern_error error = TERN_ERROR_INIT;
        const struct engine_cursor_bounds bounds = {0};
        unsigned seen = 0;
        static bool has[KEYS];
        memset(has, 0, sizeof(has));
        cold_world_begin(&world, 0, (uint64_t)2 << 20);
        cold_world_put(&world, 0, KEYS, 1, 1);
        assert_ok(world_checkpoint(&world, &error), error);
        world_snapshot_take(&world);
        const struct world_snapshot *snapshot = &world.snapshots[0];
        assert_ok(world.methods->cursor_open(snapshot->view, &snapshot->moment, &bounds, false,
                                             &cursor, &error),
                  error);
        tern_status status = TERN_NOT_FOUND;
        while ((status = world.methods->cursor_next(cursor, &error)) == TERN_OK) {
            struct engine_entry entry;
            unsigned number = 0;
            unsigned round = 0;
            char text[64] = {0};
            world.methods->cursor_entry(cursor, &entry);
            memcpy(text, entry.record.value.data, entry.record.value.size);
            assert_int_equal(sscanf(text, "%u of round %u", &number, &round), 2);
            assert_int_equal(round, 1);
            assert_true(number < KEYS && !has[number]);
            has[number] = true;
            if (++seen == 1 + stop * KEYS / 5) {
                world.budget.limit_bytes = 1;
                cold_world_put(&world, 0, KEYS, 2, 2);
                cold_world_put(&world, KEYS, KEYS + 2000, 1, 2);
                cold_world_put(&world, 1, KEYS, 6, 0);
                assert_ok(world_checkpoint(&world, &error), error);
                assert_true(cold_world_entries(&world) > 0);
            }
        }
        assert_int_equal(status, TERN_NOT_FOUND);
        assert_int_equal(seen, KEYS);
        world.methods->cursor_close(cursor);
        world_check_snapshots(&world);
        world_check_now(&world);
        world_destroy(&world);
    }
}

/* Of the old records of its keys, and of the index. */
static void a_drain_over_the_cold_part_reads_many_blocks_at_once(void **state) {
    enum { KEYS = 40000, RUNS = 4 };
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    struct hash_file_stats before;
    struct hash_file_stats after;
    (void)state;
    cold_world_begin(&world, 1, (uint64_t)4 << 20);
    for (unsigned run = 0; run < RUNS; run++) {
        cold_world_put(&world, run, KEYS, RUNS, 1);
        assert_ok(world_checkpoint(&world, &error), error);
    }
    world_close(&world);
    assert_ok(world_open(&world, 0, &error), error);
    assert_int_equal(cold_world_entries(&world), KEYS);
    uint64_t blocks = atomic_load(&cold_world_engine(&world)->base.block_bytes) / HASH_UNIT_BYTES;
    assert_true(blocks > 200);
    cold_world_put(&world, 0, KEYS, 1, 2);
    hash_file_get_stats(cold_world_engine(&world)->base.file, &before);
    assert_ok(world_checkpoint(&world, &error), error);
    hash_file_get_stats(cold_world_engine(&world)->base.file, &after);
    assert_true((after.reads - before.reads) * 2 < blocks);
    world_check_now(&world);
    world_destroy(&world);
}

static void a_cursor_without_a_frame_for_each_run_reads_a_block_for_many_keys(void **state) {
    enum { RUNS = 20, KEYS = 2100 * RUNS, PAGE_BYTES = 65536 };
    struct engine_world world;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    struct engine_cursor *cursor = NULL;
    const struct engine_cursor_bounds bounds = {0};
    struct hash_file_stats before;
    struct hash_file_stats after;
    static bool has[KEYS];
    unsigned seen = 0;
    (void)state;
    memset(has, 0, sizeof(has));
    options.page_bytes = PAGE_BYTES;
    world_create(&world, &hash_engine_methods, &options, (uint64_t)1 << 20, 1,
                 tern_allocator_default());
    world.budget.limit_bytes = 1;
    assert_ok(world_open(&world, 0, &error), error);
    for (unsigned run = 0; run < RUNS; run++) {
        cold_world_put(&world, run, KEYS, RUNS, 1);
        assert_ok(world_checkpoint(&world, &error), error);
    }
    assert_true(cache_limit(world.cache) / PAGE_BYTES < RUNS);
    assert_true(base_runs(&cold_world_engine(&world)->base) > RUNS / 2);
    hash_file_get_stats(cold_world_engine(&world)->base.file, &before);
    const struct engine_moment moment = world_moment(&world);
    assert_ok(world.methods->cursor_open(world.view, &moment, &bounds, false, &cursor, &error),
              error);
    tern_status status = TERN_NOT_FOUND;
    while ((status = world.methods->cursor_next(cursor, &error)) == TERN_OK) {
        struct engine_entry entry;
        char text[32] = {0};
        world.methods->cursor_entry(cursor, &entry);
        memcpy(text, entry.key.data, entry.key.size);
        unsigned number = (unsigned)strtoul(text + 4, NULL, 10);
        assert_true(number < KEYS && !has[number]);
        has[number] = true;
        seen++;
    }
    assert_int_equal(status, TERN_NOT_FOUND);
    assert_int_equal(seen, KEYS);
    world.methods->cursor_close(cursor);
    hash_file_get_stats(cold_world_engine(&world)->base.file, &after);
    assert_true(after.reads - before.reads < KEYS / 10);
    world_destroy(&world);
}

/* Whatever else is known of it. */
static void an_entry_fits_hashes_that_agree_in_the_bits_it_knows(void **state) {
    struct seeded_random random;
    (void)state;
    seeded_random_init(&random, seeded_random_seed("fields"));
    for (unsigned i = 0; i < 200000; i++) {
        uint64_t hash = seeded_random_next(&random);
        uint32_t known = 19 + (uint32_t)seeded_random_below(&random, COLD_KNOWN_MAX - 18);
        uint64_t field = cold_field_of(hash, known);
        uint64_t unknown = UINT64_MAX >> known;
        assert_int_equal(field & (((uint64_t)1 << COLD_LOW_SHIFT) - 1), 0);
        assert_int_equal(cold_known(field), known);
        assert_int_equal(cold_hash(field), hash & ~unknown);
        assert_true(field >= (hash & ~unknown) && field <= (hash | unknown));
        assert_true(cold_fits(field, hash));
        for (uint32_t bit = 0; bit < 64; bit++) {
            bool is_known = bit < COLD_LOW_BITS || bit >= 64 - known;
            assert_int_equal(cold_fits(field, hash ^ (uint64_t)1 << bit), !is_known);
        }
    }
}

static unsigned low_mismatches;

static void compare_low_bits(void *context, hash_link link, uint64_t hash, uint32_t known) {
    const struct hash_engine *engine = context;
    struct hash_record record;
    struct cache_frame *frame = NULL;
    tern_error error = TERN_ERROR_INIT;
    if (link_is_disk(link)) {
        struct hash_base *base = &((struct hash_engine *)context)->base;
        assert_ok(base_read_record(base, link, &record, &frame, &error), error);
        uint64_t right = hash_of_key(engine, record.key);
        uint64_t unknown = UINT64_MAX >> known & ~(((uint64_t)1 << INDEX_LOW_BITS) - 1);
        low_mismatches += ((hash ^ right) & ~unknown) != 0;
    }
}

static void a_visit_tells_the_lowest_bits_of_the_hash(void **state) {
    static const tern_hash_index indices[] = {TERN_HASH_INDEX_BUCKETS, TERN_HASH_INDEX_ROBIN_HOOD,
                                              TERN_HASH_INDEX_TAG_GROUPS};
    (void)state;
    for (size_t i = 0; i < sizeof(indices) / sizeof(indices[0]); i++) {
        struct engine_world world;
        tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
        tern_error error = TERN_ERROR_INIT;
        options.page_bytes = 4096;
        options.hash_index = indices[i];
        world_create(&world, &hash_engine_methods, &options, (uint64_t)8 << 20, 1,
                     tern_allocator_default());
        assert_ok(world_open(&world, 0, &error), error);
        cold_world_put(&world, 0, 8000, 1, 1);
        assert_ok(world_checkpoint(&world, &error), error);
        struct hash_engine *engine = cold_world_engine(&world);
        low_mismatches = 0;
        struct epoch_slot *slot = epoch_enter(world.epoch);
        hash_index_visit_range(engine->index, 0, UINT64_MAX, true, compare_low_bits, engine);
        epoch_exit(slot);
        assert_int_equal(low_mismatches, 0);
        /* And of the keys that were poured every one is found. */
        world.budget.limit_bytes = 1;
        cold_world_put(&world, 8000, 8100, 1, 1);
        assert_ok(world_checkpoint(&world, &error), error);
        assert_true(cold_world_entries(&world) > 8000);
        world_check_now(&world);
        world_destroy(&world);
    }
}

/* ---- keys that collide ---- */

#define SPECIAL 30u

/* Of keys that begin with "s" all come to one bucket. */
static uint64_t hash_specials_to_one(const void *bytes, size_t size, uint64_t seed) {
    const char *key = bytes;
    return key[0] == 's' ? 0x1001
                         : key_hasher_make(TERN_HASH_FUNCTION_XXH3, seed).hash(bytes, size, seed);
}

static void put_specials(struct engine_world *world, unsigned from, unsigned to,
                         const char *value) {
    for (unsigned i = from; i < to; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "special-%u", i);
        assert_int_equal(world_put(world, key, value), TERN_OK);
    }
}

/* They had their entries in the first table when the cursor came by; those went to disk, the bucket
 * was closed, and what was written then came to the second table. */
static void a_cursor_shows_once_what_came_to_the_second_table_behind_it(void **state) {
    enum { KEYS = 5000 };
    struct engine_world world;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    struct engine_cursor *cursor = NULL;
    tern_error error = TERN_ERROR_INIT;
    const struct engine_cursor_bounds bounds = {0};
    unsigned specials = 0;
    unsigned seen = 0;
    (void)state;
    options.page_bytes = 4096;
    world_create(&world, &hash_engine_methods, &options, (uint64_t)2 << 20, 1,
                 tern_allocator_default());
    world.config.hasher.hash = hash_specials_to_one;
    assert_ok(world_open(&world, 0, &error), error);
    put_specials(&world, 0, SPECIAL, "before");
    cold_world_put(&world, 0, KEYS, 1, 1);
    assert_ok(world_checkpoint(&world, &error), error);
    world_snapshot_take(&world);
    const struct world_snapshot *snapshot = &world.snapshots[0];
    assert_ok(world.methods->cursor_open(snapshot->view, &snapshot->moment, &bounds, false, &cursor,
                                         &error),
              error);
    tern_status status = TERN_NOT_FOUND;
    while ((status = world.methods->cursor_next(cursor, &error)) == TERN_OK) {
        struct engine_entry entry;
        world.methods->cursor_entry(cursor, &entry);
        specials += ((const char *)entry.key.data)[0] == 's';
        if (++seen == KEYS / 2) {
            assert_int_equal(specials, SPECIAL);
            world.budget.limit_bytes = 1;
            cold_world_put(&world, 0, KEYS, 2, 2);
            assert_ok(world_checkpoint(&world, &error), error);
            assert_true(cold_world_entries(&world) > KEYS / 2);
            put_specials(&world, SPECIAL, SPECIAL + 300, "after");
            put_specials(&world, 0, SPECIAL, "after");
            assert_true(hash_index_has_second(cold_world_engine(&world)->index));
            assert_ok(world_checkpoint(&world, &error), error);
        }
    }
    assert_int_equal(status, TERN_NOT_FOUND);
    assert_int_equal(specials, SPECIAL);
    assert_int_equal(seen, KEYS + SPECIAL);
    world.methods->cursor_close(cursor);
    world_check_snapshots(&world);
    world_check_now(&world);
    world_destroy(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_index_in_memory_keeps_its_share_and_no_key_is_lost),
        cmocka_unit_test(a_look_up_reads_one_page_of_the_index_seldom_two),
        cmocka_unit_test(overwriting_again_and_again_takes_no_more_and_more),
        cmocka_unit_test(a_walk_that_began_in_memory_ends_on_disk),
        cmocka_unit_test(a_drain_over_the_cold_part_reads_many_blocks_at_once),
        cmocka_unit_test(an_entry_fits_hashes_that_agree_in_the_bits_it_knows),
        cmocka_unit_test(a_visit_tells_the_lowest_bits_of_the_hash),
        cmocka_unit_test(a_cursor_without_a_frame_for_each_run_reads_a_block_for_many_keys),
        cmocka_unit_test(a_cursor_shows_once_what_came_to_the_second_table_behind_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
