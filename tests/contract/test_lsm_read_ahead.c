/* SPDX-License-Identifier: Apache-2.0 */
/* What the system is told to read when somebody begins to read a table. */
#include <stdio.h>

#include "engine/lsm/lsm_engine_internal.h"
#include "support/cmocka_test.h"
#include "support/engine_world.h"

#define KEYS        20000u
#define BATCH       500u
#define VALUE_BYTES 200u
#define ADVICES_MAX 256u

/* The file system below, and the stretches of files that will be needed. */
static const tern_file_system *inner_system;
static tern_file_methods telling_methods;
static struct { uint64_t offset, size; } advices[ADVICES_MAX];
static unsigned advice_count;

static void note_advice(tern_file *file, uint64_t offset, uint64_t size, bool will_need) {
    (void)file;
    if (will_need) {
        assert_true(advice_count < ADVICES_MAX);
        advices[advice_count].offset = offset;
        advices[advice_count++].size = size;
    }
}

static tern_status open_telling(void *context, const char *path, uint32_t flags,
                                tern_file **out_file, tern_error *error) {
    tern_status status = inner_system->open(context, path, flags, out_file, error);
    if (status == TERN_OK) {
        telling_methods = *(*out_file)->methods;
        telling_methods.advise = note_advice;
        (*out_file)->methods = &telling_methods;
    }
    return status;
}

static void name_key(unsigned index, char out_key[16]) {
    (void)snprintf(out_key, 16, "%08u", index);
}

/* All keys in one table of several partitions, which nobody has read. */
static void begin(struct engine_world *world, uint64_t cache_bytes) {
    static tern_file_system telling;
    static char keys[BATCH][16];
    static struct world_change changes[BATCH];
    static char value[VALUE_BYTES];
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.page_bytes = 4096;
    options.fan_out = 256;
    world_create(world, engine_methods_of(TERN_ENGINE_LSM), &options, cache_bytes, 1,
                 tern_allocator_default());
    inner_system = world->environment.file_system;
    telling = *inner_system;
    telling.open = open_telling;
    world->environment.file_system = &telling;
    assert_ok(world_open(world, 0, &error), error);
    for (unsigned i = 0; i < KEYS; i += BATCH) {
        for (unsigned j = 0; j < BATCH; j++) {
            name_key(i + j, keys[j]);
            changes[j] = (struct world_change){.kind = RECORD_PUT,
                                               .key = tern_slice_str(keys[j]),
                                               .value = tern_slice_of(value, sizeof(value))};
        }
        assert_ok(world_commit(world, changes, BATCH, &error), error);
    }
    bool idle = false;
    advice_count = 0;
    assert_ok(world_freeze(world, &error), error);
    while (!idle) {
        assert_ok(world_drain_step(world, 1 << 20, &idle, &error), error);
    }
    assert_int_equal(advice_count, 0);
}

static struct lsm_table *table_of(const struct engine_world *world) {
    const struct lsm_version *version = lsm_of(world->engine)->current->version;
    assert_int_equal(version->run_count, 1);
    assert_int_equal(version->runs[0].count, 1);
    return version->runs[0].tables[0];
}

static void read_key(struct engine_world *world, unsigned index) {
    char key[16];
    tern_error error = TERN_ERROR_INIT;
    struct resolution resolution;
    const struct lsm_version *version = lsm_of(world->engine)->current->version;
    name_key(index, key);
    resolution_init(&resolution, world->allocator);
    struct epoch_slot *slot = epoch_enter(world->epoch);
    uint64_t hash = key_hasher_hash(&version->lsm->config.hasher, tern_slice_str(key));
    assert_ok(version_lookup(version, 0, tern_slice_str(key), hash, &resolution, &error), error);
    assert_true(resolution.is_complete);
    epoch_exit(slot);
    resolution_release(&resolution);
}

static void the_first_read_of_a_partition_has_all_of_it_read(void **state) {
    (void)state;
    struct engine_world world;
    begin(&world, (uint64_t)16 << 20);
    const struct lsm_table *table = table_of(&world);
    assert_true(table->partition_count > 2);
    read_key(&world, 0);
    assert_int_equal(advice_count, 1);
    assert_int_equal(advices[0].offset, 0);
    for (unsigned i = 0; i < KEYS; i += 7) {
        read_key(&world, i);
    }
    assert_int_equal(advice_count, table->partition_count);
    uint64_t end = 0;
    for (unsigned i = 0; i < advice_count; i++) {
        /* Data blocks and filter, each once; only an index block is left out between two. */
        assert_true(advices[i].offset >= end && advices[i].offset - end < 16384);
        end = advices[i].offset + advices[i].size;
        assert_int_equal(end, lsm_place_offset(table->partitions[i].index.place));
    }
    world_destroy(&world);
}

static void what_is_much_more_than_memory_is_read_block_by_block(void **state) {
    (void)state;
    struct engine_world world;
    begin(&world, (uint64_t)1 << 20);
    assert_true(table_of(&world)->file_bytes > (uint64_t)3 << 20);
    for (unsigned i = 0; i < KEYS; i += 7) {
        read_key(&world, i);
    }
    assert_int_equal(advice_count, 0);
    world_destroy(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_read_of_a_partition_has_all_of_it_read),
        cmocka_unit_test(what_is_much_more_than_memory_is_read_block_by_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
