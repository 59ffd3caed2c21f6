/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=900
 *
 * The hash engine under random operations and power cuts, against the oracle of engine_world.h, and
 * what is its own: cursors without order, a list of hashes that is lost.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tern/txn.h>

#include "cold_index.h"
#include "engine/hash/hash_engine.h"
#include "engine/hash/hash_engine_internal.h"
#include "os/file.h"
#include "support/cmocka_test.h"
#include "support/engine_world.h"

#define KEYS 400u

static void begin(struct engine_world *world, uint64_t seed) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    options.page_bytes = 4096;
    world_create(world, &hash_engine_methods, &options, (uint64_t)2 << 20, seed,
                 tern_allocator_default());
    cold_index_apply(world);
    assert_ok(world_open(world, 0, &error), error);
}

static tern_slice random_key(struct seeded_random *random, char key[40]) {
    int size =
        snprintf(key, 40, "key-%llu%s", (unsigned long long)seeded_random_below(random, KEYS),
                 seeded_random_chance(random, 1, 2) ? "-and-more" : "");
    return tern_slice_of(key, (size_t)size);
}

static void commit(struct engine_world *world, struct seeded_random *random) {
    char keys[6][40];
    char ends[6][40];
    uint8_t values[6][300];
    struct world_change changes[6];
    tern_error error = TERN_ERROR_INIT;
    size_t count = 1 + (size_t)seeded_random_below(random, 6);
    for (size_t i = 0; i < count; i++) {
        uint64_t what = seeded_random_below(random, 100);
        seeded_random_fill(random, values[i], sizeof(values[i]));
        changes[i] = (struct world_change){
            .kind = RECORD_PUT,
            .key = random_key(random, keys[i]),
            .value = tern_slice_of(values[i], (size_t)seeded_random_below(random, 300))};
        if (what < 20) {
            changes[i].kind = RECORD_DELETE;
            changes[i].value = tern_slice_of(NULL, 0);
        } else if (what < 45) {
            changes[i].kind = RECORD_MERGE;
            changes[i].merge_kind = what < 35 ? TERN_MERGE_ADD : TERN_MERGE_APPEND;
            changes[i].value = tern_slice_of(values[i], 8);
        } else if (what < 47) {
            changes[i].kind = CHANGE_DELETE_RANGE;
            changes[i].range_has_end = what == 45;
            changes[i].value = what == 45 ? random_key(random, ends[i]) : tern_slice_of(NULL, 0);
            changes[i].key = what == 45 ? changes[i].key : tern_slice_str("key-39");
        } else if (what < 55) {
            changes[i].expires_ms = world->time_ms + seeded_random_below(random, 300);
        }
    }
    assert_ok(world_commit(world, changes, count, &error), error);
}

static void step(struct engine_world *world, struct seeded_random *random) {
    tern_error error = TERN_ERROR_INIT;
    uint64_t what = seeded_random_below(random, 100);
    bool idle = false;
    if (what < 80) {
        commit(world, random);
    } else if (what < 83) {
        world_snapshot_take(world);
    } else if (what < 86) {
        if (world->snapshot_count > 0) {
            world_snapshot_drop(world, (size_t)seeded_random_below(random, world->snapshot_count));
        }
    } else if (what < 88) {
        tern_status status = world_freeze(world, &error);
        assert_true(status == TERN_OK || status == TERN_NO_MEMORY);
    } else if (what < 98) {
        assert_ok(world_drain_step(world, 20000, &idle, &error), error);
        if (seeded_random_chance(random, 1, 4)) {
            assert_ok(world_publish(world, &error), error);
        }
    } else {
        assert_ok(world_compact(world, &error), error);
    }
}

static void survives_power_cuts_between_any_steps(void **state) {
    uint64_t seed = seeded_random_seed("hash engine, power cuts");
    (void)state;
    for (uint64_t round = 0; round < 12; round++) {
        struct engine_world world;
        struct seeded_random random;
        tern_error error = TERN_ERROR_INIT;
        begin(&world, seed + round);
        seeded_random_init(&random, seed + round);
        for (unsigned cut = 0; cut < 4; cut++) {
            uint64_t steps = 50 + seeded_random_below(&random, 250);
            for (uint64_t i = 0; i < steps; i++) {
                step(&world, &random);
            }
            world_check_now(&world);
            world_check_snapshots(&world);
            assert_ok(world_cut_and_open(&world, cut % WORLD_MANIFESTS, seed + cut, &error), error);
            world_verify(&world);
            world_check_now(&world);
        }
        world_destroy(&world);
    }
}

static void a_cursor_says_what_it_cannot(void **state) {
    struct engine_world world;
    struct engine_cursor *cursor = NULL;
    tern_error error = TERN_ERROR_INIT;
    const struct engine_cursor_bounds bounds = {0};
    (void)state;
    begin(&world, 1);
    assert_int_equal(world_put(&world, "a", "1"), TERN_OK);
    const struct engine_moment moment = world_moment(&world);
    assert_ok(world.methods->cursor_open(world.view, &moment, &bounds, false, &cursor, &error),
              error);
    assert_int_equal(world.methods->cursor_first(cursor, true, &error), TERN_UNSUPPORTED);
    assert_int_equal(world.methods->cursor_seek(cursor, tern_slice_str("a"), false, &error),
                     TERN_UNSUPPORTED);
    assert_int_equal(world.methods->cursor_previous(cursor, &error), TERN_UNSUPPORTED);
    assert_ok(world.methods->cursor_first(cursor, false, &error), error);
    assert_int_equal(world.methods->cursor_next(cursor, &error), TERN_NOT_FOUND);
    world.methods->cursor_close(cursor);
    world_destroy(&world);
}

static void check_cursor_amid_changes(struct engine_world *world, bool is_drained) {
    struct engine_cursor *cursor = NULL;
    struct engine_entry entry;
    tern_error error = TERN_ERROR_INIT;
    const struct engine_cursor_bounds bounds = {0};
    char key[32];
    unsigned seen = 0;
    for (unsigned i = 0; i < 3000; i++) {
        (void)snprintf(key, sizeof(key), "old-%u", i);
        assert_int_equal(world_put(world, key, "before"), TERN_OK);
    }
    if (is_drained) {
        assert_ok(world_checkpoint(world, &error), error);
    }
    world_snapshot_take(world);
    const struct world_snapshot *snapshot = &world->snapshots[0];
    assert_ok(world->methods->cursor_open(snapshot->view, &snapshot->moment, &bounds, false,
                                          &cursor, &error),
              error);
    tern_status status = world->methods->cursor_first(cursor, false, &error);
    for (unsigned i = 0; status == TERN_OK; i++) {
        world->methods->cursor_entry(cursor, &entry);
        assert_true(entry.record.value.size == 6 &&
                    memcmp(entry.record.value.data, "before", 6) == 0);
        seen++;
        (void)snprintf(key, sizeof(key), "old-%u", i % 3000);
        assert_int_equal(i % 3 == 0 ? world_delete(world, key) : world_put(world, key, "after"),
                         TERN_OK);
        (void)snprintf(key, sizeof(key), "new-%u", i);
        assert_int_equal(world_put(world, key, "after"), TERN_OK);
        if (i % 700 == 0) {
            assert_ok(world_checkpoint(world, &error), error);
        }
        status = world->methods->cursor_next(cursor, &error);
    }
    assert_int_equal(status, TERN_NOT_FOUND);
    assert_int_equal(seen, 3000);
    world->methods->cursor_close(cursor);
    world_check_snapshots(world);
    world_check_now(world);
    world_destroy(world);
}

static void a_cursor_keeps_its_moment_while_everything_changes(void **state) {
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct engine_world world;
        begin(&world, 1);
        check_cursor_amid_changes(&world, i == 1);
    }
}

/* Blocks that it has read stay as long as it is in the same epoch. */
static void a_cursor_that_finds_nothing_holds_no_more_than_a_bucket(void **state) {
    enum { COUNT = 5000, VALUE_BYTES = 4000 };
    struct engine_world world;
    struct engine_cursor *cursor = NULL;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    const struct engine_cursor_bounds bounds = {.has_begin = true, .begin = tern_slice_str("z")};
    char key[32];
    static char value[VALUE_BYTES + 1];
    (void)state;
    memset(value, 'v', VALUE_BYTES);
    options.page_bytes = 8192;
    world_create(&world, &hash_engine_methods, &options, (uint64_t)1 << 20, 1,
                 tern_allocator_default());
    assert_ok(world_open(&world, 0, &error), error);
    for (unsigned i = 0; i < COUNT; i++) {
        (void)snprintf(key, sizeof(key), "key-%u", i);
        assert_int_equal(world_put(&world, key, value), TERN_OK);
    }
    assert_ok(world_checkpoint(&world, &error), error);
    uint64_t before = budget_used(&world.budget, BUDGET_OTHER);
    const struct engine_moment moment = world_moment(&world);
    assert_ok(world.methods->cursor_open(world.view, &moment, &bounds, false, &cursor, &error),
              error);
    assert_int_equal(world.methods->cursor_first(cursor, false, &error), TERN_NOT_FOUND);
    assert_true(budget_used(&world.budget, BUDGET_OTHER) < before + ((uint64_t)1 << 20));
    world.methods->cursor_close(cursor);
    world_destroy(&world);
}

/* What the space policy does to a reader that holds too much: the horizon is without it. */
static void a_cursor_whose_snapshot_was_ended_says_so_instead_of_leaving_keys_out(void **state) {
    enum { COUNT = 3000 };
    const struct engine_cursor_bounds bounds = {0};
    (void)state;
    /* It stands at the beginning, in the middle, and past the last entry of its bucket. */
    for (unsigned moves = 0; moves < 3; moves++) {
        struct engine_world world;
        struct engine_cursor *cursor = NULL;
        tern_error error = TERN_ERROR_INIT;
        char key[32];
        unsigned seen = 0;
        begin(&world, 1);
        for (unsigned i = 0; i < COUNT; i++) {
            (void)snprintf(key, sizeof(key), "old-%u", i);
            assert_int_equal(world_put(&world, key, "before"), TERN_OK);
        }
        assert_ok(world_checkpoint(&world, &error), error);
        world_snapshot_take(&world);
        const struct world_snapshot *snapshot = &world.snapshots[0];
        assert_ok(world.methods->cursor_open(snapshot->view, &snapshot->moment, &bounds, false,
                                             &cursor, &error),
                  error);
        for (unsigned i = 0; i < moves * COUNT / 3; i++) {
            assert_ok(world.methods->cursor_next(cursor, &error), error);
            seen++;
        }
        world_snapshot_drop(&world, 0);
        for (unsigned i = 0; i < COUNT; i++) {
            (void)snprintf(key, sizeof(key), "old-%u", i);
            assert_int_equal(world_delete(&world, key), TERN_OK);
        }
        assert_ok(world_checkpoint(&world, &error), error);
        assert_int_equal(world_put(&world, "new", "after"), TERN_OK);
        assert_ok(world_checkpoint(&world, &error), error);
        tern_status status = TERN_OK;
        while ((status = world.methods->cursor_next(cursor, &error)) == TERN_OK) {
            seen++;
        }
        assert_true(status == TERN_CANCELLED);
        assert_true(seen < COUNT);
        world.methods->cursor_close(cursor);
        world_check_now(&world);
        world_destroy(&world);
    }
}

static void flip_byte(struct engine_world *world, uint32_t place) {
    const tern_file_system *system = power_cut_interface(world->disk);
    struct hash_base *base = &((struct hash_engine *)world->engine)->base;
    tern_file *file = NULL;
    uint8_t byte = 0;
    size_t got = 0;
    uint64_t offset = (uint64_t)place * HASH_UNIT_BYTES + 100;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(system->open(system->context, hash_file_path(base->file), 0, &file, &error), error);
    assert_ok(file_read(file, offset, &byte, 1, &got, &error), error);
    byte ^= 0x40;
    assert_ok(file_write(file, offset, &byte, 1, &error), error);
    assert_ok(file_sync(file, &error), error);
    assert_ok(file_close(file, &error), error);
}

/* Records that nobody can read must not all go into one bucket. */
static void opens_with_a_damaged_list_of_hashes_and_damaged_blocks(void **state) {
    struct engine_world world;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    struct hash_index_stats before;
    struct hash_index_stats after;
    char key[32];
    (void)state;
    options.page_bytes = 16384;
    options.hash_index = TERN_HASH_INDEX_ROBIN_HOOD;
    world_create(&world, &hash_engine_methods, &options, (uint64_t)2 << 20, 1,
                 tern_allocator_default());
    assert_ok(world_open(&world, 0, &error), error);
    for (unsigned i = 0; i < 20000; i++) {
        (void)snprintf(key, sizeof(key), "key-%u", i);
        assert_int_equal(world_put(&world, key, "value"), TERN_OK);
    }
    assert_ok(world_checkpoint(&world, &error), error);
    const struct hash_engine *engine = (const struct hash_engine *)world.engine;
    hash_index_get_stats(engine->index, &before);
    const struct hash_segment *segment = engine->base.segments[0];
    assert_true(segment->block_count > 8);
    uint32_t places[8];
    flip_byte(&world, segment->hashes.place);
    for (unsigned i = 0; i < 8; i++) {
        /* All over the segment, which is in the order of the hashes. */
        uint32_t block = segment->blocks[segment->block_count * i / 8];
        places[i] = base_block(&engine->base, block)->place;
        flip_byte(&world, places[i]);
    }
    assert_ok(world_cut_and_open(&world, 0, 1, &error), error);
    hash_index_get_stats(((const struct hash_engine *)world.engine)->index, &after);
    assert_int_equal(after.entries, before.entries);
    assert_true(after.bytes < 2 * before.bytes);
    /* What can be read again is in the index under no key. */
    for (unsigned i = 0; i < 8; i++) {
        flip_byte(&world, places[i]);
    }
    const struct world_change all = {.kind = CHANGE_DELETE_RANGE};
    assert_ok(world_commit(&world, &all, 1, &error), error);
    assert_int_equal(world_checkpoint(&world, &error), TERN_CORRUPTION);
    world_destroy(&world);
}

/* Nothing registers the moment of a read without a transaction. */
static void a_key_deleted_and_put_again_is_not_missing_before_both(void **state) {
    struct engine_world world;
    struct engine_result result;
    tern_error error = TERN_ERROR_INIT;
    const tern_slice key = tern_slice_str("k");
    (void)state;
    begin(&world, 1);
    assert_int_equal(world_put(&world, "k", "before"), TERN_OK);
    const struct engine_moment moment = world_moment(&world);
    struct engine_view *view = world.view;
    engine_view_retain(view);
    assert_int_equal(world_delete(&world, "k"), TERN_OK);
    /* The engine learns with the next commit that the deletion is visible. */
    assert_int_equal(world_put(&world, "other", "value"), TERN_OK);
    assert_ok(world_checkpoint(&world, &error), error);
    assert_int_equal(world_put(&world, "k", "after"), TERN_OK);
    assert_ok(world_checkpoint(&world, &error), error);
    struct epoch_slot *slot = epoch_enter(world.epoch);
    assert_int_equal(world.methods->get(view, key, engine_key_hash(world.config.id, key), &moment,
                                        &world.scratch, &result, &error),
                     TERN_CANCELLED);
    epoch_exit(slot);
    engine_view_release(view, world.epoch);
    world_check_now(&world);
    world_destroy(&world);
}

/* Options come from a file, which may hold anything. */
static void an_impossible_load_of_the_index_is_brought_within_bounds(void **state) {
    static const struct {
        uint32_t given, meant;
    } cases[] = {{1, 30}, {29, 30}, {96, 95}, {255, 95}, {UINT32_MAX, 95}, {0, 75}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t pages[2];
        for (unsigned round = 0; round < 2; round++) {
            struct engine_world world;
            struct hash_index_stats stats;
            tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
            tern_error error = TERN_ERROR_INIT;
            options.page_bytes = 4096;
            options.max_load_percent = round == 0 ? cases[i].given : cases[i].meant;
            options.expected_keys = 20000;
            world_create(&world, &hash_engine_methods, &options, (uint64_t)2 << 20, 1,
                         tern_allocator_default());
            assert_ok(world_open(&world, 0, &error), error);
            assert_int_equal(world_put(&world, "a", "1"), TERN_OK);
            world_check_now(&world);
            hash_index_get_stats(((const struct hash_engine *)world.engine)->index, &stats);
            pages[round] = stats.pages;
            world_destroy(&world);
        }
        assert_int_equal(pages[0], pages[1]);
    }
}

/* ---- hashes ---- */

#define COLLIDING 6000u

static uint64_t hash_to_one(const void *bytes, size_t size, uint64_t seed) {
    (void)bytes;
    (void)size;
    return seed << 40;
}

/* As good as the right one, and another. */
static uint64_t hash_otherwise(const void *bytes, size_t size, uint64_t seed) {
    return engine_key_hash(~seed, tern_slice_of(bytes, size));
}

static void open_hashed(struct engine_world *world, tern_hash_index index,
                        uint64_t (*hash)(const void *bytes, size_t size, uint64_t seed)) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    options.page_bytes = 4096;
    options.hash_index = index;
    world_create(world, &hash_engine_methods, &options, (uint64_t)8 << 20, 1,
                 tern_allocator_default());
    if (hash != NULL) {
        world->config.hasher.hash = hash;
    }
    cold_index_apply(world);
    assert_ok(world_open(world, 0, &error), error);
}

static void put_numbered(struct engine_world *world, unsigned count) {
    char key[32];
    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(key, sizeof(key), "key-%u", i);
        assert_int_equal(world_put(world, key, "value"), TERN_OK);
    }
}

static struct hash_index_stats index_stats(const struct engine_world *world) {
    struct hash_index_stats stats;
    hash_index_get_stats(((const struct hash_engine *)world->engine)->index, &stats);
    return stats;
}

/* Quadratic work would take minutes here. */
static void keys_that_all_collide_are_written_drained_and_found_again(void **state) {
    (void)state;
    for (int index = 0; index < 3; index++) {
        struct engine_world world;
        tern_error error = TERN_ERROR_INIT;
        open_hashed(&world, (tern_hash_index)index, hash_to_one);
        put_numbered(&world, COLLIDING);
        world_snapshot_take(&world);
        assert_ok(world_checkpoint(&world, &error), error);
        /* Again, so that keys have an entry in each table until they are drained. */
        put_numbered(&world, COLLIDING);
        world_check_now(&world);
        world_check_snapshots(&world);
        assert_true(index_stats(&world).second_entries > COLLIDING);
        assert_ok(world_checkpoint(&world, &error), error);
        assert_int_equal(index_stats(&world).entries, COLLIDING);
        world_snapshot_drop(&world, 0);
        assert_ok(world_compact(&world, &error), error);
        world_verify(&world);
        world_check_now(&world);
        assert_ok(world_cut_and_open(&world, 0, 3, &error), error);
        world_verify(&world);
        world_check_now(&world);
        const struct world_change all = {.kind = CHANGE_DELETE_RANGE};
        assert_ok(world_commit(&world, &all, 1, &error), error);
        assert_ok(world_checkpoint(&world, &error), error);
        world_check_now(&world);
        /* The engine learns with the next commit that nobody needs the older ones. */
        assert_int_equal(world_put(&world, "last", "value"), TERN_OK);
        assert_ok(world_checkpoint(&world, &error), error);
        world_check_now(&world);
        assert_int_equal(index_stats(&world).entries, 1);
        world_destroy(&world);
    }
}

/* Keys come to have entries in both tables, and drains join them, behind the cursor and ahead of
 * it. */
static void a_cursor_shows_colliding_keys_once_while_everything_changes(void **state) {
    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        struct engine_world world;
        open_hashed(&world, (tern_hash_index)(i / 2), hash_to_one);
        check_cursor_amid_changes(&world, i % 2 == 1);
    }
}

static void reopen_hashed(struct engine_world *world, const struct key_hasher *hasher) {
    tern_error error = TERN_ERROR_INIT;
    world->config.hasher = *hasher;
    assert_ok(world_cut_and_open(world, 0, 5, &error), error);
}

/* The list has the right checksum, function and seed, and yet no right hash. */
static void opens_with_a_list_of_equal_hashes(void **state) {
    (void)state;
    for (int index = 0; index < 3; index++) {
        struct engine_world world;
        tern_error error = TERN_ERROR_INIT;
        open_hashed(&world, (tern_hash_index)index, hash_to_one);
        put_numbered(&world, COLLIDING);
        assert_ok(world_checkpoint(&world, &error), error);
        const struct key_hasher right =
            key_hasher_make(TERN_HASH_FUNCTION_XXH3, world.config.hasher.seed);
        reopen_hashed(&world, &right);
        world_verify(&world);
        world_check_now(&world);
        assert_int_equal(index_stats(&world).second_entries, 0);
        world_destroy(&world);
    }
}

static bool count_lost(void *context, const tern_finding *finding) {
    *(unsigned *)context += strcmp(finding->invariant, "H-hashes") == 0;
    return true;
}

static void verify_tells_of_records_that_no_key_leads_to(void **state) {
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    tern_verify_report report = {0};
    unsigned lost = 0;
    (void)state;
    open_hashed(&world, TERN_HASH_INDEX_BUCKETS, hash_otherwise);
    put_numbered(&world, 100);
    assert_ok(world_checkpoint(&world, &error), error);
    const struct key_hasher right =
        key_hasher_make(TERN_HASH_FUNCTION_XXH3, world.config.hasher.seed);
    reopen_hashed(&world, &right);
    assert_ok(world.methods->verify(world.view, count_lost, &lost, NULL, NULL, &report, &error),
              error);
    assert_int_equal(lost, 100);
    world_destroy(&world);
}

/* A manifest that was made anew, say. */
static void opens_with_another_seed_or_function_than_its_segments_have(void **state) {
    static const tern_hash_function functions[] = {
        TERN_HASH_FUNCTION_CRC32C, TERN_HASH_FUNCTION_FNV1A, TERN_HASH_FUNCTION_XXH3};
    struct engine_world world;
    (void)state;
    open_hashed(&world, TERN_HASH_INDEX_TAG_GROUPS, NULL);
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        tern_error error = TERN_ERROR_INIT;
        const struct key_hasher hasher = key_hasher_make(functions[i], 1000 + i);
        put_numbered(&world, 500 + (unsigned)i);
        assert_ok(world_checkpoint(&world, &error), error);
        reopen_hashed(&world, &hasher);
        world_verify(&world);
        world_check_now(&world);
    }
    world_destroy(&world);
}

static void a_directory_with_an_unknown_hash_function_is_damaged(void **state) {
    struct engine_world world;
    struct listed_segment listed;
    struct buffer payload;
    tern_error error = TERN_ERROR_INIT;
    (void)state;
    open_hashed(&world, TERN_HASH_INDEX_BUCKETS, NULL);
    put_numbered(&world, 10);
    assert_ok(world_checkpoint(&world, &error), error);
    const struct hash_engine *engine = (const struct hash_engine *)world.engine;
    const struct hash_ref *ref = &engine->base.segments[0]->directory;
    buffer_init(&payload, tern_allocator_default());
    assert_ok(hash_file_read(engine->base.file, ref, &payload, &error), error);
    assert_ok(base_directory_decode(&engine->base, ref, &payload, &listed, &error), error);
    assert_true(listed.has_our_hashes);
    payload.data[2] = 3;
    assert_int_equal(base_directory_decode(&engine->base, ref, &payload, &listed, &error),
                     TERN_CORRUPTION);
    assert_non_null(strstr(error.message, "hash function"));
    payload.data[2] = 0;
    payload.data[0] = 2; /* of a format that is not known */
    assert_int_equal(base_directory_decode(&engine->base, ref, &payload, &listed, &error),
                     TERN_CORRUPTION);
    buffer_release(&payload);
    world_destroy(&world);
}

static unsigned chain_length(const struct engine_world *world, const char *key) {
    struct hash_engine *engine = (struct hash_engine *)world->engine;
    struct hash_version *head = NULL;
    hash_link disk;
    unsigned length = 0;
    tern_slice slice = tern_slice_str(key);
    (void)hash_find_head(engine, slice, hash_of_key(engine, slice), &head, &disk);
    while (head != NULL) {
        hash_link older = version_older(head);
        head = link_is_version(older) ? link_version(older) : NULL;
        length++;
    }
    return length;
}

/* When the value on disk expires nobody knows without reading it, and each operand has a time. */
static void operands_over_a_value_that_expires_do_not_pile_up(void **state) {
    /* Two memories, and what waits for room behind a long operand. */
    enum { OPERANDS = 5000, CHAIN_MOST = 300 };
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        struct engine_world world;
        tern_error error = TERN_ERROR_INIT;
        uint8_t one[8] = {1};
        begin(&world, 1);
        struct world_change put = {.kind = RECORD_PUT,
                                   .key = tern_slice_str("counter"),
                                   .value = tern_slice_of(one, 8),
                                   .expires_ms = world.time_ms + OPERANDS / 2};
        assert_ok(world_commit(&world, &put, 1, &error), error);
        assert_ok(world_checkpoint(&world, &error), error);
        for (unsigned i = 0; i < OPERANDS; i++) {
            const struct world_change merge = {.kind = RECORD_MERGE,
                                               .merge_kind = kind == 0   ? TERN_MERGE_ADD
                                                             : kind == 1 ? TERN_MERGE_APPEND
                                                                         : TERN_MERGE_MAX,
                                               .key = tern_slice_str("counter"),
                                               .value = tern_slice_of(one, kind == 1 ? 1 : 8)};
            assert_ok(world_commit(&world, &merge, 1, &error), error);
            assert_true(chain_length(&world, "counter") <= CHAIN_MOST);
            if (i % 700 == 0) {
                world_check_now(&world);
            }
            if (i == OPERANDS / 3) {
                world_snapshot_take(&world);
                assert_ok(world_freeze(&world, &error), error);
            }
        }
        assert_true(chain_length(&world, "counter") <= CHAIN_MOST);
        world_check_now(&world);
        world_check_snapshots(&world);
        assert_ok(world_checkpoint(&world, &error), error);
        world_check_now(&world);
        world_check_snapshots(&world);
        world_destroy(&world);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_power_cuts_between_any_steps),
        cmocka_unit_test_setup_teardown(survives_power_cuts_between_any_steps, cold_index_begin,
                                        cold_index_end),
        cmocka_unit_test(a_cursor_says_what_it_cannot),
        cmocka_unit_test(operands_over_a_value_that_expires_do_not_pile_up),
        cmocka_unit_test_setup_teardown(operands_over_a_value_that_expires_do_not_pile_up,
                                        cold_index_begin, cold_index_end),
        cmocka_unit_test(a_cursor_keeps_its_moment_while_everything_changes),
        cmocka_unit_test_setup_teardown(a_cursor_keeps_its_moment_while_everything_changes,
                                        cold_index_begin, cold_index_end),
        cmocka_unit_test(a_cursor_that_finds_nothing_holds_no_more_than_a_bucket),
        cmocka_unit_test(a_cursor_whose_snapshot_was_ended_says_so_instead_of_leaving_keys_out),
        cmocka_unit_test_setup_teardown(
            a_cursor_whose_snapshot_was_ended_says_so_instead_of_leaving_keys_out, cold_index_begin,
            cold_index_end),
        cmocka_unit_test(opens_with_a_damaged_list_of_hashes_and_damaged_blocks),
        cmocka_unit_test(a_key_deleted_and_put_again_is_not_missing_before_both),
        cmocka_unit_test(an_impossible_load_of_the_index_is_brought_within_bounds),
        cmocka_unit_test(keys_that_all_collide_are_written_drained_and_found_again),
        cmocka_unit_test_setup_teardown(keys_that_all_collide_are_written_drained_and_found_again,
                                        cold_index_begin, cold_index_end),
        cmocka_unit_test(a_cursor_shows_colliding_keys_once_while_everything_changes),
        cmocka_unit_test_setup_teardown(a_cursor_shows_colliding_keys_once_while_everything_changes,
                                        cold_index_begin, cold_index_end),
        cmocka_unit_test(opens_with_a_list_of_equal_hashes),
        cmocka_unit_test(verify_tells_of_records_that_no_key_leads_to),
        cmocka_unit_test(opens_with_another_seed_or_function_than_its_segments_have),
        cmocka_unit_test(a_directory_with_an_unknown_hash_function_is_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
