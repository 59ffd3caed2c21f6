/* SPDX-License-Identifier: Apache-2.0 */
/* Reading over long runs of keys that are gone. */
#include <stdio.h>

#include "base/compare.h"
#include "engine/lsm/lsm_cursor.h"
#include "engine/lsm/lsm_engine_internal.h"
#include "support/cmocka_test.h"
#include "support/engine_world.h"

#define KEYS  20000u
#define BATCH 500u

static void name_key(unsigned index, char out_key[16]) {
    (void)snprintf(out_key, 16, "%08u", index);
}

static void commit_keys(struct engine_world *world, enum record_kind kind, unsigned first,
                        unsigned end) {
    static char keys[BATCH][16];
    static struct world_change changes[BATCH];
    tern_error error = TERN_ERROR_INIT;
    for (unsigned i = first; i < end; i += BATCH) {
        unsigned batch = end - i < BATCH ? end - i : BATCH;
        for (unsigned j = 0; j < batch; j++) {
            name_key(i + j, keys[j]);
            changes[j] = (struct world_change){.kind = kind, .key = tern_slice_str(keys[j])};
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

/* All keys in one run; in a newer one all but the first and the last are deleted. */
static void begin(struct engine_world *world) {
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.page_bytes = 4096;
    world_create(world, engine_methods_of(TERN_ENGINE_LSM), &options, (uint64_t)16 << 20, 1,
                 tern_allocator_default());
    assert_ok(world_open(world, 0, &error), error);
    commit_keys(world, RECORD_PUT, 0, KEYS);
    drain(world);
    commit_keys(world, RECORD_DELETE, 1, KEYS - 1);
    drain(world);
    assert_int_equal(lsm_of(world->engine)->current->version->run_count, 2);
}

/* The base's methods, with each move trying to release what is in limbo. */
static struct {
    struct base_cursor_methods inner, methods;
    struct epoch_domain *epoch;
    struct epoch_node limbo;
    unsigned moves;
    bool is_released;
} watch;

static void note_release(struct epoch_node *node) {
    (void)node;
    watch.is_released = true;
}

static void note_move(void) {
    watch.moves++;
    (void)epoch_reclaim(watch.epoch);
}

static tern_status watched_next(struct base_cursor *base, tern_error *error) {
    note_move();
    return watch.inner.next(base, error);
}

static tern_status watched_previous(struct base_cursor *base, tern_error *error) {
    note_move();
    return watch.inner.previous(base, error);
}

/* A cursor over what is drained. */
static struct engine_cursor *open_watched(struct engine_world *world,
                                          const struct engine_cursor_bounds *bounds) {
    tern_error error = TERN_ERROR_INIT;
    struct lsm_view *view = lsm_of(world->engine)->current;
    struct base_cursor *base = NULL;
    struct engine_cursor *cursor = NULL;
    assert_ok(lsm_cursor_open(view->version, world->time_ms, false, &base, &error), error);
    memset(&watch, 0, sizeof(watch));
    watch.inner = watch.methods = *base->methods;
    watch.methods.next = watched_next;
    watch.methods.previous = watched_previous;
    watch.epoch = world->epoch;
    base->methods = &watch.methods;
    const struct merge_cursor_options options = {.allocator = world->allocator,
                                                 .epoch = world->epoch,
                                                 .stack = &view->stack,
                                                 .base = base,
                                                 .moment = {world->seq, world->time_ms},
                                                 .bounds = *bounds,
                                                 .read_large = lsm_value_load,
                                                 .large_context = &lsm_of(world->engine)->lsm};
    assert_ok(merge_cursor_open(&options, &cursor, &error), error);
    struct epoch_slot *slot = epoch_enter(world->epoch);
    epoch_retire(world->epoch, &watch.limbo, note_release);
    epoch_exit(slot);
    return cursor;
}

static void close_watched(struct engine_cursor *cursor) {
    merge_cursor_close(cursor);
    while (!watch.is_released) {
        (void)epoch_reclaim(watch.epoch);
    }
}

static void check_key(struct engine_cursor *cursor, unsigned index) {
    struct engine_entry entry;
    char key[16];
    name_key(index, key);
    merge_cursor_entry(cursor, &entry);
    assert_true(slice_equal(entry.key, tern_slice_str(key)));
}

static void keys_that_are_gone_are_passed_in_slices_that_hold_no_epoch(void **state) {
    (void)state;
    struct engine_world world;
    const struct engine_cursor_bounds all = {0};
    tern_error error = TERN_ERROR_INIT;
    tern_entry entries[8];
    size_t count = 0;
    begin(&world);
    for (unsigned way = 0; way < 3; way++) {
        struct engine_cursor *cursor = open_watched(&world, &all);
        assert_ok(merge_cursor_first(cursor, way == 1, &error), error);
        check_key(cursor, way == 1 ? KEYS - 1 : 0);
        assert_false(watch.is_released);
        watch.moves = 0;
        if (way == 0) {
            assert_ok(merge_cursor_next(cursor, &error), error);
        } else if (way == 1) {
            assert_ok(merge_cursor_previous(cursor, &error), error);
        } else {
            assert_ok(merge_cursor_next_batch(cursor, entries, 8, &count, &error), error);
            assert_int_equal(count, 1);
        }
        check_key(cursor, way == 1 ? 0 : KEYS - 1);
        assert_true(watch.is_released);
        assert_in_range(watch.moves, KEYS / 1000, KEYS / 100);
        tern_status status =
            way == 1 ? merge_cursor_next(cursor, &error) : merge_cursor_previous(cursor, &error);
        assert_ok(status, error);
        check_key(cursor, way == 1 ? KEYS - 1 : 0);
        close_watched(cursor);
    }
    world_destroy(&world);
}

static void a_slice_may_end_on_a_key_that_is_there(void **state) {
    (void)state;
    struct engine_world world;
    const struct engine_cursor_bounds all = {0};
    tern_error error = TERN_ERROR_INIT;
    begin(&world);
    struct engine_cursor *cursor = open_watched(&world, &all);
    for (unsigned gone = 500; gone < 525; gone++) {
        char key[16];
        name_key(KEYS - 1 - gone, key);
        assert_ok(merge_cursor_seek(cursor, tern_slice_str(key), false, &error), error);
        check_key(cursor, KEYS - 1);
        name_key(gone, key);
        assert_ok(merge_cursor_seek(cursor, tern_slice_str(key), true, &error), error);
        check_key(cursor, 0);
    }
    close_watched(cursor);
    world_destroy(&world);
}

static void a_scan_passes_no_more_keys_than_lie_within_its_bounds(void **state) {
    (void)state;
    struct engine_world world;
    struct engine_cursor_bounds bounds = {.has_begin = true, .has_end = true};
    char first[16];
    char end[16];
    name_key(100, first);
    name_key(110, end);
    bounds.begin = tern_slice_str(first);
    bounds.end = tern_slice_str(end);
    begin(&world);
    for (int backward = 0; backward < 2; backward++) {
        struct engine_cursor *cursor = open_watched(&world, &bounds);
        assert_int_equal(merge_cursor_first(cursor, backward != 0, NULL), TERN_NOT_FOUND);
        assert_true(watch.moves <= 1);
        close_watched(cursor);
    }
    world_destroy(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_that_are_gone_are_passed_in_slices_that_hold_no_epoch),
        cmocka_unit_test(a_slice_may_end_on_a_key_that_is_there),
        cmocka_unit_test(a_scan_passes_no_more_keys_than_lie_within_its_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
