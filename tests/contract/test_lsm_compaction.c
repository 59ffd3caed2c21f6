/* SPDX-License-Identifier: Apache-2.0 */
/* What an LSM partition merges, when, and beside what. */
#include <stdio.h>
#include <tern/txn.h>

#include "engine/lsm/lsm_engine_internal.h"
#include "support/cmocka_test.h"
#include "support/engine_world.h"

#define BATCH 200u

static void begin(struct engine_world *world, tern_compaction compaction) {
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.page_bytes = 4096;
    options.fan_out = 16;
    options.compaction = compaction;
    world_create(world, engine_methods_of(TERN_ENGINE_LSM), &options, (uint64_t)4 << 20, 1,
                 tern_allocator_default());
    assert_ok(world_open(world, 0, &error), error);
}

/* Changes of the keys from `first` on, `step` apart; values of 200 bytes. */
static void change_keys(struct engine_world *world, enum record_kind kind, unsigned first,
                        unsigned count, unsigned step, uint64_t expires_ms) {
    static char keys[BATCH][16];
    static struct world_change changes[BATCH];
    char value[200];
    memset(value, 'v', sizeof(value));
    for (unsigned i = 0; i < count; i += BATCH) {
        tern_error error = TERN_ERROR_INIT;
        unsigned batch = count - i < BATCH ? count - i : BATCH;
        for (unsigned j = 0; j < batch; j++) {
            (void)snprintf(keys[j], sizeof(keys[j]), "%08u", first + (i + j) * step);
            changes[j] = (struct world_change){
                .kind = kind,
                .key = tern_slice_str(keys[j]),
                .value = tern_slice_of(value, kind == RECORD_DELETE ? 0 : sizeof(value)),
                .expires_ms = expires_ms};
        }
        assert_ok(world_commit(world, changes, batch, &error), error);
    }
}

/* Without the merging that a checkpoint of the world does besides. */
static void drain(struct engine_world *world) {
    tern_error error = TERN_ERROR_INIT;
    bool idle = false;
    assert_ok(world_freeze(world, &error), error);
    while (!idle) {
        assert_ok(world_drain_step(world, 1 << 20, &idle, &error), error);
    }
}

static const struct lsm_version *version_of(const struct engine_world *world) {
    return lsm_of(world->engine)->current->version;
}

static void count_records(const struct engine_world *world, uint64_t *out_records,
                          uint64_t *out_deletes) {
    const struct lsm_version *version = version_of(world);
    *out_records = *out_deletes = 0;
    for (uint32_t i = 0; i < version->run_count; i++) {
        for (uint32_t j = 0; j < version->runs[i].count; j++) {
            *out_records += version->runs[i].tables[j]->numbers.records;
            *out_deletes += version->runs[i].tables[j]->numbers.deletes;
        }
    }
}

static void tables_of_deletes_go_down_before_their_level_is_full(void **state) {
    (void)state;
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    uint64_t records, deletes;
    begin(&world, TERN_COMPACTION_LEVELED);
    change_keys(&world, RECORD_PUT, 0, 8000, 1, 0);
    assert_ok(world_checkpoint(&world, &error), error);
    assert_ok(world_compact(&world, &error), error);
    for (unsigned i = 0; i < 4; i++) {
        change_keys(&world, RECORD_DELETE, i, 500, 10, 0);
        drain(&world);
    }
    count_records(&world, &records, &deletes);
    assert_int_equal(records, 10000);
    assert_int_equal(deletes, 2000);
    assert_ok(world_maintain(&world, &error), error);
    count_records(&world, &records, &deletes);
    assert_int_equal(records, 6000);
    assert_int_equal(deletes, 0);
    world_verify(&world);
    world_check_now(&world);
    world_destroy(&world);
}

static void records_that_have_expired_go_without_being_written_over(void **state) {
    (void)state;
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    uint64_t records, deletes;
    begin(&world, TERN_COMPACTION_LEVELED);
    change_keys(&world, RECORD_PUT, 0, 3000, 1, world.time_ms + 1000);
    change_keys(&world, RECORD_PUT, 3000, 5000, 1, 0);
    assert_ok(world_checkpoint(&world, &error), error);
    assert_ok(world_compact(&world, &error), error);
    uint64_t bytes = version_file_bytes(version_of(&world));
    world.time_ms += 500;
    assert_ok(world_put(&world, "tick", "1"), error);
    assert_ok(world_checkpoint(&world, &error), error);
    count_records(&world, &records, &deletes);
    assert_true(records >= 8001); /* nothing has expired yet */
    world.time_ms += 1000;
    assert_ok(world_put(&world, "tick", "2"), error);
    assert_ok(world_checkpoint(&world, &error), error);
    count_records(&world, &records, &deletes);
    /* But for those that share a table with others. */
    assert_in_range(records, 5001, 5600);
    assert_true(version_file_bytes(version_of(&world)) < bytes / 4 * 3);
    world_verify(&world);
    world_check_now(&world);
    world_destroy(&world);
}

static void level_zero_goes_down_when_nobody_has_written_for_long(void **state) {
    (void)state;
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    static _Atomic bool is_at_rest;
    begin(&world, TERN_COMPACTION_LEVELED);
    world.environment.is_at_rest = &is_at_rest;
    atomic_store(&is_at_rest, false);
    change_keys(&world, RECORD_PUT, 0, 8000, 1, 0);
    assert_ok(world_checkpoint(&world, &error), error);
    assert_ok(world_compact(&world, &error), error);
    for (unsigned part = 1; part <= 3; part += 2) { /* an eighth, then three more */
        change_keys(&world, RECORD_PUT, part, 1000 * part, part == 1 ? 8 : 2, 0);
        drain(&world);
        assert_ok(world_maintain(&world, &error), error);
        assert_int_equal(version_of(&world)->run_count, part == 1 ? 2 : 3);
        atomic_store(&is_at_rest, true);
        assert_ok(world_maintain(&world, &error), error);
        assert_int_equal(version_of(&world)->run_count, part == 1 ? 2 : 1);
        atomic_store(&is_at_rest, false);
    }
    /* Much less, but all of it in one place. */
    change_keys(&world, RECORD_PUT, 5000, 300, 1, 0);
    drain(&world);
    assert_ok(world_maintain(&world, &error), error);
    assert_int_equal(version_of(&world)->run_count, 2);
    uint64_t compactions = atomic_load(&lsm_of(world.engine)->compactions);
    atomic_store(&is_at_rest, true);
    for (unsigned i = 0; i < 3; i++) { /* once */
        assert_ok(world_maintain(&world, &error), error);
        assert_int_equal(version_of(&world)->run_count, 1);
        assert_int_equal(atomic_load(&lsm_of(world.engine)->compactions), compactions + 1);
    }
    world_verify(&world);
    world_check_now(&world);
    world_destroy(&world);
}

/* A merge gives no room back, so it waits until it is worth more. */
static void level_zero_of_new_keys_may_be_twice_as_large_as_all_below(void **state) {
    (void)state;
    static const struct {
        unsigned first;
        uint32_t runs;
    } rounds[] = {
        {1, 2}, /* new keys, some more than below */
        {2, 1}, /* and as many again */
        {0, 2}, /* a third of what is there now, overwritten */
        {1, 3}, /* two thirds */
        {2, 1}, /* all */
    };
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    begin(&world, TERN_COMPACTION_LEVELED);
    change_keys(&world, RECORD_PUT, 0, 4000, 4, 0);
    assert_ok(world_checkpoint(&world, &error), error);
    assert_ok(world_compact(&world, &error), error);
    for (size_t i = 0; i < sizeof(rounds) / sizeof(rounds[0]); i++) {
        change_keys(&world, RECORD_PUT, rounds[i].first, 4500, 4, 0);
        drain(&world);
        assert_ok(world_maintain(&world, &error), error);
        assert_int_equal(version_of(&world)->run_count, rounds[i].runs);
    }
    world_verify(&world);
    world_check_now(&world);
    world_destroy(&world);
}

/* Or writers would stand still, their room used up, while it waits for the device. */
static void what_is_written_and_not_shown_is_still_owed(void **state) {
    (void)state;
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    enum engine_drain_state more = ENGINE_DRAIN_MORE;
    bool idle = false;
    bool changed = false;
    begin(&world, TERN_COMPACTION_LEVELED);
    change_keys(&world, RECORD_PUT, 0, 4000, 4, 0);
    assert_ok(world_freeze(&world, &error), error);
    const struct overlay_stack *stack = &lsm_of(world.engine)->current->stack;
    assert_int_equal(stack->frozen_count, 1);
    uint64_t bytes = overlay_bytes(stack->frozen[0]->overlay);
    assert_true(world.methods->drain_debt(world.engine) >= bytes);
    while (more == ENGINE_DRAIN_MORE) {
        assert_ok(world.methods->drain_step(world.engine, 1 << 20, &more, &error), error);
    }
    assert_int_equal(more, ENGINE_DRAIN_SLICE);
    assert_in_range(world.methods->drain_debt(world.engine), bytes / 64, bytes / 16);
    assert_ok(world.methods->seal(world.engine, &changed, &error), error);
    assert_in_range(world.methods->drain_debt(world.engine), bytes / 64, bytes / 16);
    while (!idle) {
        assert_ok(world_drain_step(&world, 1 << 20, &idle, &error), error);
    }
    assert_int_equal(world.methods->drain_debt(world.engine), 0);
    world_destroy(&world);
}

static void what_level_zero_replaces_is_looked_up_a_few_keys_a_step(void **state) {
    (void)state;
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    enum engine_drain_state more = ENGINE_DRAIN_MORE;
    unsigned steps = 0;
    begin(&world, TERN_COMPACTION_LEVELED);
    change_keys(&world, RECORD_PUT, 0, 4000, 4, 0);
    assert_ok(world_checkpoint(&world, &error), error);
    assert_ok(world_compact(&world, &error), error);
    change_keys(&world, RECORD_PUT, 1, 4500, 4, 0);
    drain(&world);
    struct lsm_engine *engine = lsm_of(world.engine);
    for (; more != ENGINE_DRAIN_IDLE; steps++) {
        uint64_t reads = atomic_load(&engine->lsm.reads);
        assert_ok(world.methods->maintain_step(world.engine, 1 << 20, &more, &error), error);
        /* Four keys; a filter, an index and a block of each at most. */
        assert_true(atomic_load(&engine->lsm.reads) - reads <= 12);
        assert_null(engine->compaction);
    }
    assert_in_range(steps, 4, 32);
    /* Once: the next step has nothing to look up. */
    uint64_t reads = atomic_load(&engine->lsm.reads);
    assert_ok(world.methods->maintain_step(world.engine, 1 << 20, &more, &error), error);
    assert_int_equal(more, ENGINE_DRAIN_IDLE);
    assert_int_equal(atomic_load(&engine->lsm.reads), reads);
    world_destroy(&world);
}

static void keys_that_only_ascend_are_not_written_again(void **state) {
    (void)state;
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    begin(&world, TERN_COMPACTION_LEVELED);
    for (unsigned i = 0; i < 9; i++) {
        change_keys(&world, RECORD_PUT, i * 1000, 1000, 1, 0);
        drain(&world);
        if (i % 3 == 2) { /* three runs wait for it */
            assert_ok(world_maintain(&world, &error), error);
            assert_int_equal(version_of(&world)->run_count, 1);
        }
    }
    const struct lsm_engine *engine = lsm_of(world.engine);
    assert_int_equal(atomic_load(&engine->compactions), 0);
    assert_int_equal(atomic_load(&engine->moves), 9);
    world_verify(&world);
    world_check_now(&world);
    world_destroy(&world);
}

/* Runs of level 0 that the compaction under way does not take. */
static uint32_t fresh_runs(const struct engine_world *world) {
    const struct lsm_engine *engine = lsm_of(world->engine);
    const struct lsm_version *version = version_of(world);
    uint32_t count = 0;
    while (count < version->run_count && version->runs[count].level == 0 &&
           version->runs[count].tables[0] !=
               (engine->compaction != NULL ? engine->compaction->plan->inputs[0] : NULL)) {
        count++;
    }
    return count;
}

/* All kinds of changes, some of them to what was there before. */
static void change_something(struct engine_world *world, unsigned round) {
    tern_error error = TERN_ERROR_INIT;
    char key[16];
    uint64_t one = 1;
    struct world_change merge = {.kind = RECORD_MERGE,
                                 .merge_kind = TERN_MERGE_ADD,
                                 .key = tern_slice_str("counter"),
                                 .value = tern_slice_of(&one, sizeof(one))};
    struct world_change range = {.kind = CHANGE_DELETE_RANGE, .range_has_end = true};
    char end[16];
    change_keys(world, RECORD_PUT, round * 37, 30, 7, round % 3 == 0 ? world->time_ms + 5 : 0);
    change_keys(world, RECORD_DELETE, round * 53, 10, 11, 0);
    assert_ok(world_commit(world, &merge, 1, &error), error);
    (void)snprintf(key, sizeof(key), "%08u", round * 71);
    (void)snprintf(end, sizeof(end), "%08u", round * 71 + 5);
    range.key = tern_slice_str(key);
    range.value = tern_slice_str(end);
    assert_ok(world_commit(world, &range, 1, &error), error);
    world->time_ms += 2;
}

/* Takes a long compaction to its end, a little at a time, with an overlay drained after each. */
static void write_beside(struct engine_world *world, unsigned rounds, bool is_asked) {
    tern_error error = TERN_ERROR_INIT;
    unsigned most = 0;
    for (unsigned round = 0; round < rounds; round++) {
        enum engine_drain_state done = ENGINE_DRAIN_IDLE;
        change_something(world, round);
        drain(world);
        most = fresh_runs(world) > most ? fresh_runs(world) : most;
        tern_status status = is_asked && round % 2 == 0
                                 ? world->methods->compact_step(world->engine, 1, &done, &error)
                                 : world->methods->maintain_step(world->engine, 1, &done, &error);
        assert_ok(status, error);
        if (done == ENGINE_DRAIN_SLICE) {
            assert_ok(world_publish(world, &error), error);
        }
        if (round % 20 == 0) {
            world_snapshot_take(world);
            world_verify(world);
            world_check_now(world);
            world_check_snapshots(world);
        }
        if (round % 20 == 19 && world->snapshot_count > 3) {
            world_snapshot_drop(world, 0);
        }
    }
    assert_in_range(most, 7, 12);
}

static void level_zero_stays_short_beside_a_compaction_of_all(void **state) {
    (void)state;
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    enum engine_drain_state done = ENGINE_DRAIN_IDLE;
    begin(&world, TERN_COMPACTION_LEVELED);
    change_keys(&world, RECORD_PUT, 0, 8000, 1, 0);
    assert_ok(world_checkpoint(&world, &error), error);
    change_keys(&world, RECORD_PUT, 0, 4000, 2, 0);
    drain(&world);
    assert_ok(world.methods->compact_step(world.engine, 1, &done, &error), error);
    assert_int_equal(done, ENGINE_DRAIN_MORE);
    assert_true(lsm_of(world.engine)->compaction->plan->is_all);
    write_beside(&world, 60, true);
    assert_true(atomic_load(&lsm_of(world.engine)->side_merges) > 0);
    assert_ok(world_maintain(&world, &error), error);
    world_verify(&world);
    world_check_now(&world);
    world_check_snapshots(&world);
    world_close(&world);
    assert_ok(world_open(&world, 0, &error), error);
    world_check_now(&world);
    world_destroy(&world);
}

/* The merge of a level of two long runs, after a change of style, takes as long. */
static void level_zero_stays_short_beside_a_merge_of_a_level(void **state) {
    (void)state;
    struct engine_world world;
    tern_error error = TERN_ERROR_INIT;
    enum engine_drain_state done = ENGINE_DRAIN_IDLE;
    begin(&world, TERN_COMPACTION_TIERED);
    for (unsigned i = 0; i < 8; i++) {
        change_keys(&world, RECORD_PUT, i * 500, 2000, 1, 0);
        drain(&world);
        assert_ok(world_maintain(&world, &error), error);
    }
    assert_int_equal(version_of(&world)->run_count, 2);
    world.config.options.compaction = TERN_COMPACTION_LEVELED;
    world.methods->restyle(world.engine, &world.config.options);
    assert_ok(world.methods->maintain_step(world.engine, 1, &done, &error), error);
    assert_int_equal(done, ENGINE_DRAIN_MORE);
    assert_true(lsm_of(world.engine)->compaction->plan->is_long);
    write_beside(&world, 30, false);
    assert_true(atomic_load(&lsm_of(world.engine)->side_merges) > 0);
    assert_ok(world_maintain(&world, &error), error);
    world_verify(&world);
    world_check_now(&world);
    world_destroy(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_of_deletes_go_down_before_their_level_is_full),
        cmocka_unit_test(records_that_have_expired_go_without_being_written_over),
        cmocka_unit_test(level_zero_goes_down_when_nobody_has_written_for_long),
        cmocka_unit_test(level_zero_of_new_keys_may_be_twice_as_large_as_all_below),
        cmocka_unit_test(what_is_written_and_not_shown_is_still_owed),
        cmocka_unit_test(what_level_zero_replaces_is_looked_up_a_few_keys_a_step),
        cmocka_unit_test(keys_that_only_ascend_are_not_written_again),
        cmocka_unit_test(level_zero_stays_short_beside_a_compaction_of_all),
        cmocka_unit_test(level_zero_stays_short_beside_a_merge_of_a_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
