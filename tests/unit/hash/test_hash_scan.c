/* SPDX-License-Identifier: Apache-2.0 */
/* ctest: timeout=600 */
/* What a cursor over more than the cache holds reads, in which order drains write for it, and that
 * all memory of a partition is counted. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/hash/hash_engine.h"
#include "engine/hash/hash_engine_internal.h"
#include "support/cmocka_test.h"
#include "support/engine_world.h"
#include "support/fault_allocator.h"

static void begin(struct engine_world *world, uint64_t cache_bytes,
                  const tern_allocator *allocator) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    options.page_bytes = 4096;
    world_create(world, &hash_engine_methods, &options, cache_bytes, 1, allocator);
    assert_ok(world_open(world, 0, &error), error);
}

/* One commit after the other, and a checkpoint every so many. */
static void load(struct engine_world *world, unsigned count, unsigned each, size_t value_bytes) {
    static char keys[100][32];
    static char value[4000];
    struct world_change changes[100];
    tern_error error = TERN_ERROR_INIT;
    memset(value, 'v', sizeof(value));
    for (unsigned i = 0; i < count; i += 100) {
        for (unsigned j = 0; j < 100; j++) {
            int size = snprintf(keys[j], sizeof(keys[j]), "key-%u", i + j);
            changes[j] = (struct world_change){.kind = RECORD_PUT,
                                               .key = tern_slice_of(keys[j], (size_t)size),
                                               .value = tern_slice_of(value, value_bytes)};
        }
        assert_ok(world_commit(world, changes, 100, &error), error);
        if ((i + 100) % each == 0) {
            assert_ok(world_checkpoint(world, &error), error);
        }
    }
}

static void a_scan_beyond_memory_reads_every_block_about_once(void **state) {
    enum { COUNT = 40000 };
    struct engine_world world;
    struct engine_cursor *cursor = NULL;
    struct hash_file_stats before;
    struct hash_file_stats after;
    tern_error error = TERN_ERROR_INIT;
    const struct engine_cursor_bounds bounds = {0};
    unsigned seen = 0;
    (void)state;
    begin(&world, (uint64_t)2 << 20, tern_allocator_default());
    load(&world, COUNT, COUNT / 8, 200);
    const struct hash_base *base = &((const struct hash_engine *)world.engine)->base;
    uint64_t bytes = atomic_load(&base->block_bytes);
    assert_true(bytes > (uint64_t)8 << 20);
    const struct engine_moment moment = world_moment(&world);
    hash_file_get_stats(base->file, &before);
    assert_ok(world.methods->cursor_open(world.view, &moment, &bounds, false, &cursor, &error),
              error);
    for (tern_status status = world.methods->cursor_first(cursor, false, &error); status == TERN_OK;
         status = world.methods->cursor_next(cursor, &error)) {
        seen++;
    }
    world.methods->cursor_close(cursor);
    hash_file_get_stats(base->file, &after);
    assert_int_equal(seen, COUNT);
    assert_true(after.read_bytes - before.read_bytes < bytes * 3 / 2);
    /* Several at a time. */
    assert_true(after.reads - before.reads < bytes / HASH_UNIT_BYTES / 2);
    world_destroy(&world);
}

/* Overwriting it all reads as much: a drain goes through the old records in their order. */
static void a_drain_beyond_memory_reads_every_block_about_once(void **state) {
    enum { COUNT = 40000 };
    struct engine_world world;
    struct hash_file_stats before;
    struct hash_file_stats after;
    (void)state;
    begin(&world, (uint64_t)2 << 20, tern_allocator_default());
    load(&world, COUNT, COUNT / 4, 200);
    const struct hash_base *base = &((const struct hash_engine *)world.engine)->base;
    uint64_t bytes = atomic_load(&base->block_bytes);
    hash_file_get_stats(base->file, &before);
    load(&world, COUNT, COUNT, 200);
    hash_file_get_stats(base->file, &after);
    assert_true(after.read_bytes - before.read_bytes < bytes * 2);
    world_destroy(&world);
}

/* Of so many parts, with so much memory for each. */
static void check_order(uint64_t limit_bytes, unsigned parts, uint64_t most_bytes) {
    enum { COUNT = 200000 };
    struct hash_memory *memory = NULL;
    struct budget budget = {.limit_bytes = limit_bytes};
    struct version_order order = {.allocator = tern_allocator_default(), .budget = &budget};
    struct hash_version *version = NULL;
    tern_error error = TERN_ERROR_INIT;
    const struct record record = {.kind = RECORD_PUT};
    uint64_t random = 88172645463325252u;
    uint64_t sum = 0;
    uint64_t last = 0;
    unsigned count = 0;
    unsigned turns = 0;
    assert_ok(hash_memory_create(tern_allocator_default(), NULL, NULL, &memory, &error), error);
    for (unsigned i = 0; i < COUNT; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        /* Some agree in many bytes. */
        uint64_t hash = i % 3 == 0 ? random : random >> 40;
        assert_ok(hash_memory_reserve(memory, version_bytes_for(4, 0), &error), error);
        (void)hash_memory_push(memory, tern_slice_str("key1"), &record, hash, i + 1);
        sum += i + 1;
    }
    version_order_begin(&order, memory);
    for (;;) {
        assert_ok(version_order_next(&order, &version, &error), error);
        if (version == NULL && order.is_gathering) {
            continue;
        }
        if (version == NULL) {
            break;
        }
        turns += version->hash < last ? 1 : 0;
        last = version->hash;
        sum -= version->seq;
        count++;
    }
    assert_int_equal(count, COUNT);
    assert_int_equal(sum, 0);
    assert_true(turns < parts);
    assert_true(budget_used(&budget, BUDGET_OTHER) <= most_bytes);
    version_order_release(&order);
    assert_int_equal(budget_used(&budget, BUDGET_OTHER), 0);
    hash_memory_release(memory);
}

static void versions_come_once_each_in_the_order_of_their_hashes(void **state) {
    (void)state;
    check_order(0, 2, (uint64_t)2 << 20);
    check_order((uint64_t)64 << 20, 1, (uint64_t)4 << 20);
}

static uint64_t uncounted(const struct engine_world *world, struct fault_allocator *allocator) {
    uint64_t live = fault_allocator_live_bytes(allocator);
    uint64_t counted = budget_used(&world->budget, BUDGET_INDEX) +
                       budget_used(&world->budget, BUDGET_OVERLAY) +
                       budget_used(&world->budget, BUDGET_OTHER);
    return live > counted ? live - counted : 0;
}

static void all_memory_is_counted_in_the_budget(void **state) {
    enum { COUNT = 16000, SLACK_BYTES = 128 << 10 };
    struct fault_allocator *allocator = fault_allocator_create();
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    bool idle = false;
    (void)state;
    begin(&world, (uint64_t)2 << 20, fault_allocator_interface(allocator));
    load(&world, COUNT, COUNT / 2, 1900);
    assert_true(uncounted(&world, allocator) < SLACK_BYTES);
    /* Half way in a drain, too, and with old versions that a snapshot needs. */
    world_snapshot_take(&world);
    load(&world, COUNT / 2, COUNT, 1900);
    assert_ok(world_freeze(&world, &error), error);
    for (unsigned i = 0; i < 5; i++) {
        assert_ok(world_drain_step(&world, 1 << 20, &idle, &error), error);
        assert_true(uncounted(&world, allocator) < SLACK_BYTES);
    }
    world_snapshot_drop(&world, 0);
    assert_ok(world_checkpoint(&world, &error), error);
    assert_true(uncounted(&world, allocator) < SLACK_BYTES);
    assert_ok(world_compact(&world, &error), error);
    assert_true(uncounted(&world, allocator) < SLACK_BYTES);
    world_close(&world);
    assert_ok(world_open(&world, 0, &error), error);
    assert_true(uncounted(&world, allocator) < SLACK_BYTES);
    world_destroy(&world);
    fault_allocator_destroy(allocator);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scan_beyond_memory_reads_every_block_about_once),
        cmocka_unit_test(a_drain_beyond_memory_reads_every_block_about_once),
        cmocka_unit_test(versions_come_once_each_in_the_order_of_their_hashes),
        cmocka_unit_test(all_memory_is_counted_in_the_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
