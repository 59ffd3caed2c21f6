/* SPDX-License-Identifier: Apache-2.0 */
/* What an LSM partition promises in shapes that other engines do not have. */
#include <stdio.h>
#include <stdlib.h>
#include <tern/txn.h>

#include "engine/lsm/lsm_engine_internal.h"
#include "os/file.h"
#include "support/cmocka_test.h"
#include "support/engine_world.h"
#include "support/fault_file_system.h"

static void begin(struct engine_world *world, tern_keyspace_options *options) {
    tern_error error = TERN_ERROR_INIT;
    const struct engine_methods *methods = engine_methods_of(TERN_ENGINE_LSM);
    world_create(world, methods, options, (uint64_t)4 << 20, 1, tern_allocator_default());
    assert_ok(world_open(world, 0, &error), error);
}

static void change(struct engine_world *world, enum record_kind kind, const char *key,
                   tern_slice value, uint32_t merge_kind, uint64_t expires_ms) {
    tern_error error = TERN_ERROR_INIT;
    const struct world_change one = {.kind = kind,
                                     .key = tern_slice_str(key),
                                     .value = value,
                                     .merge_kind = merge_kind,
                                     .expires_ms = expires_ms};
    assert_ok(world_commit(world, &one, 1, &error), error);
}

static void checkpoint(struct engine_world *world) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(world_checkpoint(world, &error), error);
    world_verify(world);
}

/* An operand that was added to a value before its expiry ends with it, also when nothing of the
 * value is left but the operand. */
static void dropping_an_expired_run_brings_no_operand_back(void **state) {
    (void)state;
    struct engine_world world;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    const int64_t five = 5;
    char key[16];
    options.page_bytes = 4096;
    options.compaction = TERN_COMPACTION_FIFO;
    begin(&world, &options);
    change(&world, RECORD_PUT, "k", tern_slice_of(&five, 8), 0, world.time_ms + 100);
    checkpoint(&world);
    change(&world, RECORD_MERGE, "k", tern_slice_of(&five, 8), TERN_MERGE_ADD, 0);
    checkpoint(&world);
    world.time_ms += 1000;
    /* More runs than are merged at once: then what has expired goes after all. */
    for (unsigned i = 0; i < 25; i++) {
        (void)snprintf(key, sizeof(key), "other %u", i);
        assert_ok(world_put(&world, key, "v"), error);
        checkpoint(&world);
        assert_ok(world_maintain(&world, &error), error);
        world_check_now(&world);
    }
    world_close(&world);
    assert_ok(world_open(&world, 0, &error), error);
    world_check_now(&world);
    world_destroy(&world);
}

/* A block of the longest kind of page may just have room for 2000 records: there the bytes of its
 * hash index, a byte and a third for each, come and go with the number of records. */
static void the_longest_pages_are_read_again(void **state) {
    (void)state;
    char value[400];
    memset(value, 'v', sizeof(value));
    for (unsigned size = 50; size < sizeof(value); size += 50) {
        struct engine_world world;
        tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
        tern_error error = TERN_ERROR_INIT;
        static char keys[1997][8];
        static struct world_change changes[1997];
        options.page_bytes = 65536;
        begin(&world, &options);
        for (unsigned i = 0; i < 1997; i++) {
            (void)snprintf(keys[i], sizeof(keys[i]), "%06u", i);
            changes[i] = (struct world_change){.kind = RECORD_PUT,
                                               .key = tern_slice_str(keys[i]),
                                               .value = tern_slice_of(value, i < 1984 ? 25 : size)};
        }
        assert_ok(world_commit(&world, changes, 1997, &error), error);
        checkpoint(&world);
        world_check_now(&world);
        world_destroy(&world);
    }
}

static void write_value(struct engine_world *world, uint8_t *reference, size_t *out_size) {
    struct engine_large_writer *writer = NULL;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(world->methods->large_begin(world->engine, &writer, &error), error);
    assert_ok(world->methods->large_append(writer, "value", 5, &error), error);
    assert_ok(world->methods->large_finish(writer, reference, out_size, &error), error);
}

/* A sync that failed after the first of two files, and is repeated when the second is gone. */
static void names_of_an_earlier_failed_sync_are_synced(void **state) {
    (void)state;
    const struct fault_plan second_open = {.kinds = FAULT_OPEN, .nth = 2};
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct engine_world world;
        tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
        tern_error error = TERN_ERROR_INIT;
        enum engine_drain_state drained = ENGINE_DRAIN_MORE;
        uint8_t reference[ENGINE_LARGE_REFERENCE_BYTES_MAX];
        size_t size = 0;
        world_create(&world, engine_methods_of(TERN_ENGINE_LSM), &options, (uint64_t)4 << 20, seed,
                     tern_allocator_default());
        struct fault_file_system *faults = fault_file_system_create(world.environment.file_system);
        world.environment.file_system = fault_file_system_interface(faults);
        assert_ok(world_open(&world, 0, &error), error);
        assert_ok(world_put(&world, "key", "value"), error);
        assert_ok(world_freeze(&world, &error), error);
        while (drained != ENGINE_DRAIN_SLICE) {
            assert_ok(world.methods->drain_step(world.engine, 1 << 20, &drained, &error), error);
        }
        write_value(&world, reference, &size);
        fault_file_system_arm(faults, &second_open);
        assert_int_equal(world_publish(&world, &error), TERN_IO);
        fault_file_system_disarm(faults);
        world.methods->large_discard(world.engine, tern_slice_of(reference, size));
        assert_ok(world_publish(&world, &error), error);
        assert_ok(world_cut_and_open(&world, 0, seed, &error), error);
        world_check_now(&world);
        world_destroy(&world);
        fault_file_system_destroy(faults);
    }
}

static void put_and_checkpoint(struct engine_world *world, unsigned round) {
    tern_error error = TERN_ERROR_INIT;
    char key[16];
    (void)snprintf(key, sizeof(key), "key %u", round);
    assert_ok(world_put(world, key, "value"), error);
    checkpoint(world);
    world_check_now(world);
}

static void strange_names_harm_no_table(void **state) {
    (void)state;
    static const char *const names[] = {
        "p-0000000000000007.99999999999999999999.lsm",
        "p-0000000000000007.9999999999999999999.lsm",
        "p-0000000000000007.9223372036854775807.val",
        "p-0000000000000007.6000000000000000000.lsm",
        "p-0000000000000007.007.lsm",
        "p-0000000000000007.00000000000000000002.lsm",
    };
    struct engine_world world;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    begin(&world, &options);
    put_and_checkpoint(&world, 0);
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const tern_file_system *system = world.environment.file_system;
        char path[FILE_PATH_BYTES];
        tern_file *file = NULL;
        world_close(&world);
        assert_ok(path_join(path, world.environment.directory, names[i], &error), error);
        assert_ok(system->open(system->context, path, TERN_OPEN_CREATE, &file, &error), error);
        assert_ok(file_close(file, &error), error);
        for (unsigned round = 1; round <= 6; round++) {
            assert_ok(world_open(&world, 0, &error), error);
            put_and_checkpoint(&world, i * 10 + round);
            put_and_checkpoint(&world, i * 10 + round);
            world_close(&world);
        }
        assert_ok(world_open(&world, 0, &error), error);
        world_check_now(&world);
    }
    world_close(&world);
    assert_ok(world.methods->destroy(&world.environment, world.config.id, &error), error);
    world_destroy(&world);
}

#define RUN_BYTES 11u /* of a run of one table with a short number, in a state */

static void a_table_that_is_named_twice_is_refused(void **state) {
    (void)state;
    struct engine_world world;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    struct engine_drained drained;
    struct engine *engine = NULL;
    uint8_t twice[64];
    options.compaction = TERN_COMPACTION_TIERED; /* all runs stay in level 0 */
    begin(&world, &options);
    put_and_checkpoint(&world, 0);
    world_close(&world);
    size_t size = world.manifests[0].size;
    assert_in_range(size, RUN_BYTES + 5, sizeof(twice) - RUN_BYTES);
    memcpy(twice, world.manifests[0].state, size);
    assert_int_equal(twice[size - RUN_BYTES - 1], 1);
    twice[size - RUN_BYTES - 1] = 2;
    memcpy(twice + size, twice + size - RUN_BYTES, RUN_BYTES);
    assert_int_equal(world.methods->open(&world.environment, &world.config,
                                         tern_slice_of(twice, size + RUN_BYTES), &engine, &drained,
                                         &error),
                     TERN_CORRUPTION);
    assert_non_null(strstr(error.message, "malformed"));
    world_destroy(&world);
}

#define RANGES      20000u
#define RANGE_BYTES 500u

static tern_slice long_key(uint8_t *target, unsigned number, char filler) {
    char digits[8];
    memset(target, filler, RANGE_BYTES);
    (void)snprintf(digits, sizeof(digits), "%06u", number);
    memcpy(target, digits, 6);
    return tern_slice_of(target, RANGE_BYTES);
}

/* Together they are longer than one block can be; `keys` lie among them. */
static void drain_range_deletes(unsigned keys) {
    struct engine_world world;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    options.compression = TERN_COMPRESSION_NONE;
    begin(&world, &options);
    assert_ok(world_put(&world, "000003b", "beside"), error);
    assert_ok(world_put(&world, "010000ab", "within"), error);
    checkpoint(&world);
    struct world_change *changes = calloc(RANGES + keys, sizeof(changes[0]));
    uint8_t *bytes = malloc((size_t)(2 * RANGES + keys) * RANGE_BYTES);
    assert_non_null(changes);
    assert_non_null(bytes);
    uint8_t *end = bytes;
    for (unsigned i = 0; i < RANGES; i++) {
        changes[i] = (struct world_change){.kind = CHANGE_DELETE_RANGE, .range_has_end = true};
        changes[i].key = long_key(end, i, 'a');
        changes[i].value = long_key(end + RANGE_BYTES, i, 'b');
        end += (size_t)2 * RANGE_BYTES;
    }
    for (unsigned i = 0; i < keys; i++) {
        /* At the begin of a range, and in the gap behind one. */
        changes[RANGES + i] =
            (struct world_change){.kind = RECORD_PUT, .value = tern_slice_str("value")};
        changes[RANGES + i].key = long_key(end, i * (RANGES / keys), i % 2 == 0 ? 'a' : 'c');
        end += RANGE_BYTES;
    }
    assert_ok(world_commit(&world, changes, RANGES + keys, &error), error);
    assert_ok(world_checkpoint(&world, &error), error);
    world_verify(&world);
    world_check_now(&world);
    world_close(&world);
    assert_ok(world_open(&world, 0, &error), error);
    world_check_now(&world);
    world_destroy(&world);
    free(bytes);
    free(changes);
}

static void any_number_of_range_deletes_can_be_drained(void **state) {
    (void)state;
    drain_range_deletes(0);
    drain_range_deletes(500);
}

static void an_export_overwrites_no_file(void **state) {
    (void)state;
    struct engine_world world;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    struct buffer exported;
    begin(&world, &options);
    const tern_file_system *system = world.environment.file_system;
    put_and_checkpoint(&world, 0);
    buffer_init(&exported, tern_allocator_default());
    assert_ok(system->make_directory(system->context, "/copy", &error), error);
    assert_ok(world.methods->export_base(world.view, "/copy", &exported, &error), error);
    /* The names that are there now are links to the tables. */
    exported.size = 0;
    assert_int_equal(world.methods->export_base(world.view, "/copy", &exported, &error),
                     TERN_EXISTS);
    world_verify(&world);
    world_close(&world);
    assert_ok(world_open(&world, 0, &error), error);
    world_check_now(&world);
    buffer_release(&exported);
    world_destroy(&world);
}

/* Some keys around those that matter, so that nothing can only be moved. */
static void fill_run(struct engine_world *world, unsigned round) {
    tern_error error = TERN_ERROR_INIT;
    char key[16];
    for (unsigned i = 0; i < 10; i++) {
        (void)snprintf(key, sizeof(key), "%c%u.%u", i % 2 == 0 ? 'a' : 'z', round, i);
        assert_ok(world_put(world, key, "v"), error);
    }
}

/* A delete that goes down to a level of several runs stays as long as an older one of them has the
 * key. */
static void a_level_of_several_runs_hides_nothing_that_was_deleted(void **state) {
    (void)state;
    struct engine_world world;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    options.page_bytes = 4096;
    options.compaction = TERN_COMPACTION_TIERED;
    begin(&world, &options);
    change(&world, RECORD_PUT, "key", tern_slice_str("value"), 0, 0);
    for (unsigned i = 0; i < 8; i++) {
        fill_run(&world, i);
        checkpoint(&world); /* and merges each four of them */
    }
    struct lsm_engine *engine = lsm_of(world.engine);
    assert_int_equal(engine->current->version->run_count, 2);
    assert_int_equal(engine->current->version->runs[0].level, 1);
    assert_int_equal(engine->current->version->runs[1].level, 1);
    world.config.options.compaction = TERN_COMPACTION_LEVELED;
    assert_ok(world_delete(&world, "key"), error);
    fill_run(&world, 8);
    assert_ok(world_freeze(&world, &error), error);
    bool idle = false;
    while (!idle) {
        assert_ok(world_drain_step(&world, 1 << 20, &idle, &error), error);
    }
    world.methods->restyle(world.engine, &world.config.options);
    struct compaction_plan *plan = NULL;
    assert_ok(compaction_pick(engine->current->version, LSM_STYLE_LEVELED, false, &engine->memory,
                              &plan, &error),
              error);
    assert_non_null(plan);
    /* Level 0 is not long, so the level of two runs becomes one first. */
    assert_int_equal(plan->run_count, 2);
    assert_int_equal(plan->level, 1);
    compaction_plan_destroy(&engine->lsm, plan);
    for (unsigned i = 9; i < 12; i++) {
        fill_run(&world, i);
        assert_ok(world_freeze(&world, &error), error);
        for (idle = false; !idle;) {
            assert_ok(world_drain_step(&world, 1 << 20, &idle, &error), error);
        }
    }
    /* Now it is: it goes to the newer of the two. */
    assert_ok(compaction_pick(engine->current->version, LSM_STYLE_LEVELED, false, &engine->memory,
                              &plan, &error),
              error);
    assert_true(plan->joins_run);
    assert_int_equal(plan->first_older_run, 5);
    compaction_plan_destroy(&engine->lsm, plan);
    assert_ok(world_maintain(&world, &error), error);
    world_verify(&world);
    world_check_now(&world);
    assert_int_equal(engine->current->version->run_count, 1);
    world_close(&world);
    assert_ok(world_open(&world, 0, &error), error);
    world_check_now(&world);
    world_destroy(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dropping_an_expired_run_brings_no_operand_back),
        cmocka_unit_test(the_longest_pages_are_read_again),
        cmocka_unit_test(names_of_an_earlier_failed_sync_are_synced),
        cmocka_unit_test(strange_names_harm_no_table),
        cmocka_unit_test(a_table_that_is_named_twice_is_refused),
        cmocka_unit_test(any_number_of_range_deletes_can_be_drained),
        cmocka_unit_test(an_export_overwrites_no_file),
        cmocka_unit_test(a_level_of_several_runs_hides_nothing_that_was_deleted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
