/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=300
 *
 * Work in the background: what fails costs little, and nobody's work stops anybody else's.
 */
#include <stdio.h>

#include "db/database_internal.h"
#include "support/cmocka_test.h"
#include "support/keyspace_stat.h"
#include "support/step_machine.h"

#define VALUE_BYTES 900u
#define NS_PER_S    1000000000ull
/* In a minute, with a delay that doubles from a tenth of a second: 0, 0.1, 0.3, ... 51.1 s. */
#define ATTEMPTS_MAX 10u

#define CARE_BYTES      ((uint64_t)1 << 20) /* worked through in one step */
#define TABLE_BYTES_MAX ((uint64_t)128 << 10)

struct fixture {
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *first, *second;
    uint64_t keys;
};

static void set_up_limited(struct fixture *fixture, tern_engine_kind engine, uint64_t limit) {
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    *fixture = (struct fixture){0};
    options.engine = engine;
    options.page_bytes = 4096;
    options.fan_out = engine == TERN_ENGINE_LSM ? 16 : 0;
    options.compression = TERN_COMPRESSION_NONE;
    step_machine_init(&fixture->machine, 1);
    fixture->machine.options.overlay_bytes = (uint64_t)1 << 20;
    fixture->machine.options.compaction_bytes_per_second = limit;
    assert_ok(step_machine_open(&fixture->machine, &fixture->db, &error), error);
    assert_ok(tern_keyspace_create(fixture->db, "first", &options, &fixture->first, &error), error);
    assert_ok(tern_keyspace_create(fixture->db, "second", &options, &fixture->second, &error),
              error);
}

static void set_up(struct fixture *fixture, tern_engine_kind engine) {
    set_up_limited(fixture, engine, 0);
}

static void tear_down(struct fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_close(fixture->db, &error), error);
    step_machine_release(&fixture->machine);
}

static tern_slice key_of(uint64_t number, char key[24]) {
    (void)snprintf(key, 24, "%08llu", (unsigned long long)(number * 2654435761u % 100000000u));
    return tern_slice_str(key);
}

static void put_some(struct fixture *fixture, tern_keyspace *keyspace, uint64_t count) {
    char value[VALUE_BYTES] = {0};
    for (uint64_t i = 0; i < count; i++) {
        char key[24];
        tern_error error = TERN_ERROR_INIT;
        (void)snprintf(value, sizeof(value), "%llu", (unsigned long long)fixture->keys);
        assert_ok(tern_put(keyspace, key_of(fixture->keys++, key),
                           tern_slice_of(value, sizeof(value)), NULL, &error),
                  error);
    }
}

static void checkpoint(struct fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_checkpoint(fixture->db, &error), error);
}

/* As a checkpoint does, but nothing is given back. */
static void drain(struct fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    seq_no visible = atomic_load(&fixture->db->manager.visible_seq);
    assert_ok(maintenance_drain_to(fixture->db, visible, &error), error);
}

static uint64_t now_ns(const struct fixture *fixture) {
    return atomic_load(&fixture->machine.clock.monotonic_ns);
}

static void pass_seconds(struct fixture *fixture, uint64_t seconds) {
    uint64_t end = now_ns(fixture) + seconds * NS_PER_S;
    while (now_ns(fixture) < end) {
        step_machine_idle(&fixture->machine, 1);
    }
}

/* A base of which a copy does not fit, and a level 0 that wants to be merged with it. */
static void fill_disk(struct fixture *fixture, uint64_t room) {
    put_some(fixture, fixture->first, 8000);
    checkpoint(fixture);
    pass_seconds(fixture, 2);
    assert_int_equal(keyspace_stat(fixture->first, "level_0_runs"), 0);
    assert_true(keyspace_stat(fixture->first, "file_bytes") > 2 * room);
    fault_file_system_set_capacity(fixture->machine.faults,
                                   fault_file_system_used(fixture->machine.faults) + room);
    for (unsigned i = 0; i < 4; i++) {
        put_some(fixture, fixture->first, 210); /* so much that they go down to the last level */
        put_some(fixture, fixture->second, 20);
        drain(fixture);
    }
    assert_int_equal(keyspace_stat(fixture->first, "level_0_runs"), 4);
    assert_int_equal(keyspace_stat(fixture->second, "level_0_runs"), 4);
}

static void a_compaction_without_room_is_tried_rarely_and_stops_no_other(void **state) {
    (void)state;
    struct fixture fixture;
    const uint64_t room = (uint64_t)3 << 20;
    set_up(&fixture, TERN_ENGINE_LSM);
    fill_disk(&fixture, room);
    uint64_t written = keyspace_stat(fixture.first, "written_bytes");
    pass_seconds(&fixture, 60);
    uint64_t failures = atomic_load(&fixture.db->counters.compaction_failures);
    assert_in_range(failures, 2, ATTEMPTS_MAX);
    assert_true(keyspace_stat(fixture.first, "written_bytes") - written <= ATTEMPTS_MAX * room);
    assert_int_equal(keyspace_stat(fixture.first, "level_0_runs"), 4);
    assert_int_equal(keyspace_stat(fixture.second, "level_0_runs"), 0);

    fault_file_system_set_capacity(fixture.machine.faults, 0);
    pass_seconds(&fixture, 61);
    assert_int_equal(keyspace_stat(fixture.first, "level_0_runs"), 0);
    tear_down(&fixture);
}

static void a_compaction_without_room_goes_on_as_soon_as_there_is_some(void **state) {
    (void)state;
    struct fixture fixture;
    const uint64_t room = (uint64_t)3 << 20;
    set_up(&fixture, TERN_ENGINE_LSM);
    fill_disk(&fixture, room);
    pass_seconds(&fixture, 60);
    uint64_t failures = atomic_load(&fixture.db->counters.compaction_failures);
    assert_int_equal(keyspace_stat(fixture.first, "level_0_runs"), 4);
    /* Somewhat more, and it is tried once and no more. */
    uint64_t used = fault_file_system_used(fixture.machine.faults);
    fault_file_system_set_capacity(fixture.machine.faults, used + 2 * room);
    pass_seconds(&fixture, 2);
    assert_in_range(atomic_load(&fixture.db->counters.compaction_failures), failures + 1,
                    failures + 2);
    fault_file_system_set_capacity(fixture.machine.faults, used + 20 * room);
    pass_seconds(&fixture, 2);
    assert_int_equal(keyspace_stat(fixture.first, "level_0_runs"), 0);
    tear_down(&fixture);
}

static void overlays_drain_however_long_level_zero_is_while_compaction_fails(void **state) {
    (void)state;
    struct fixture fixture;
    set_up(&fixture, TERN_ENGINE_LSM);
    fill_disk(&fixture, (uint64_t)3 << 20);
    for (unsigned i = 4; i < 40; i++) {
        put_some(&fixture, fixture.first, 5);
        checkpoint(&fixture);
    }
    assert_true(keyspace_stat(fixture.first, "level_0_runs") == 40);
    assert_int_equal(keyspace_stat(fixture.first, "drain_debt_bytes"), 0);
    fault_file_system_set_capacity(fixture.machine.faults, 0);
    pass_seconds(&fixture, 61);
    assert_int_equal(keyspace_stat(fixture.first, "level_0_runs"), 0);
    tear_down(&fixture);
}

/* Damages blocks of keys that are left, near the end of a keyspace's file. */
static void damage(struct fixture *fixture, uint64_t id) {
    const tern_file_system *system = fault_file_system_interface(fixture->machine.faults);
    char path[64];
    tern_file *file = NULL;
    uint64_t size = 0;
    (void)snprintf(path, sizeof(path), "%s/p-%016llx.btree", STEP_MACHINE_DIRECTORY,
                   (unsigned long long)id);
    assert_int_equal(system->open(system->context, path, 0, &file, NULL), TERN_OK);
    assert_int_equal(file->methods->size(file, &size, NULL), TERN_OK);
    for (uint64_t offset = size / 100 * 80; offset < size / 100 * 85; offset += 512) {
        assert_int_equal(file_write(file, offset, "damaged", 7, NULL), TERN_OK);
    }
    assert_int_equal(file_close(file, NULL), TERN_OK);
}

static void a_file_that_cannot_shrink_does_not_keep_those_behind_it_from_shrinking(void **state) {
    (void)state;
    struct fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    const tern_slice end = tern_slice_str("70000000");
    set_up(&fixture, TERN_ENGINE_BTREE);
    put_some(&fixture, fixture.first, 2000);
    put_some(&fixture, fixture.second, 2000);
    checkpoint(&fixture);
    assert_ok(tern_delete_range(fixture.first, NULL, &end, NULL, &error), error);
    assert_ok(tern_delete_range(fixture.second, NULL, &end, NULL, &error), error);
    drain(&fixture);
    uint64_t id = fixture.first->id;
    assert_ok(tern_close(fixture.db, &error), error);
    damage(&fixture, id);
    assert_ok(step_machine_open(&fixture.machine, &fixture.db, &error), error);
    assert_ok(tern_keyspace_open(fixture.db, "first", &fixture.first, &error), error);
    assert_ok(tern_keyspace_open(fixture.db, "second", &fixture.second, &error), error);
    uint64_t first_bytes = keyspace_stat(fixture.first, "file_bytes");
    uint64_t second_bytes = keyspace_stat(fixture.second, "file_bytes");
    pass_seconds(&fixture, 60);
    assert_in_range(atomic_load(&fixture.db->counters.shrink_failures), 2, ATTEMPTS_MAX);
    assert_true(keyspace_stat(fixture.first, "file_bytes") >= first_bytes);
    assert_true(keyspace_stat(fixture.second, "file_bytes") < second_bytes / 2);
    tear_down(&fixture);
}

/* Whatever is done, `first` has something to compact again. */
static void take_turn(struct fixture *fixture) {
    bool more = false;
    while (keyspace_stat(fixture->first, "level_0_runs") < 4) {
        put_some(fixture, fixture->first, 10);
        drain(fixture);
    }
    mutex_lock(&fixture->db->maintenance_mutex);
    care_step(fixture->db, false, &more);
    mutex_unlock(&fixture->db->maintenance_mutex);
    assert_true(more);
}

static void a_keyspace_that_always_has_work_lets_others_have_their_turn(void **state) {
    (void)state;
    struct fixture fixture;
    unsigned turns = 0;
    set_up(&fixture, TERN_ENGINE_LSM);
    for (unsigned i = 0; i < 5; i++) {
        put_some(&fixture, fixture.second, 10);
        drain(&fixture);
    }
    assert_int_equal(keyspace_stat(fixture.second, "level_0_runs"), 5);
    while (keyspace_stat(fixture.second, "level_0_runs") >= 4) {
        take_turn(&fixture);
        assert_true(++turns <= 4);
    }
    tear_down(&fixture);
}

static void files_shrink_though_there_is_always_something_to_compact(void **state) {
    (void)state;
    struct fixture fixture;
    tern_keyspace *third;
    tern_error error = TERN_ERROR_INIT;
    unsigned turns = 0;
    set_up(&fixture, TERN_ENGINE_LSM);
    assert_ok(tern_keyspace_create(fixture.db, "third", NULL, &third, &error), error);
    put_some(&fixture, third, 2000);
    drain(&fixture);
    assert_ok(tern_delete_range(third, NULL, NULL, NULL, &error), error);
    drain(&fixture);
    uint64_t bytes = keyspace_stat(third, "file_bytes");
    while (keyspace_stat(third, "file_bytes") > bytes / 2) {
        take_turn(&fixture);
        assert_true(++turns <= 64);
    }
    tear_down(&fixture);
}

/* Level 0 of the first keyspace wants to be merged with a base of `base` keys. */
static void want_merge(struct fixture *fixture, uint64_t base, unsigned overlays) {
    put_some(fixture, fixture->first, base);
    checkpoint(fixture);
    pass_seconds(fixture, 100);
    assert_int_equal(keyspace_stat(fixture->first, "level_0_runs"), 0);
    for (unsigned i = 0; i < overlays; i++) {
        put_some(fixture, fixture->first, 210);
        drain(fixture);
    }
    assert_int_equal(keyspace_stat(fixture->first, "level_0_runs"), overlays);
}

static void compaction_keeps_to_its_limit(void **state) {
    (void)state;
    struct fixture fixture;
    const uint64_t limit = (uint64_t)512 << 10;
    set_up_limited(&fixture, TERN_ENGINE_LSM, limit);
    want_merge(&fixture, 4000, 4);
    struct database_counters *counters = &fixture.db->counters;
    pass_seconds(&fixture, 1);
    uint64_t begin_ns = now_ns(&fixture);
    uint64_t written = atomic_load(&counters->compacted_bytes);
    while (keyspace_stat(fixture.first, "level_0_runs") > 0) {
        pass_seconds(&fixture, 1);
        uint64_t allowed = (now_ns(&fixture) - begin_ns) / 1000 * limit / 1000000;
        /* What it has not used of the last moment, and a quantum and its last table. */
        assert_true(atomic_load(&counters->compacted_bytes) - written <=
                    allowed + limit / 4 + (CARE_BYTES + TABLE_BYTES_MAX));
        assert_true(now_ns(&fixture) - begin_ns < 60 * NS_PER_S);
    }
    uint64_t seconds = (now_ns(&fixture) - begin_ns) / NS_PER_S;
    assert_true(seconds >= 5);
    assert_true(atomic_load(&counters->compaction_pauses) > 0);
    assert_int_equal(atomic_load(&counters->compaction_unpaced_bytes), 0);
    tear_down(&fixture);
}

static void the_limit_stops_nothing_that_writers_would_wait_for(void **state) {
    (void)state;
    struct fixture fixture;
    set_up_limited(&fixture, TERN_ENGINE_LSM, (uint64_t)64 << 10);
    for (unsigned i = 0; i < 60; i++) {
        put_some(&fixture, fixture.first, 210);
        drain(&fixture);
        pass_seconds(&fixture, 1);
        /* Those that are being taken down, and those that writers begin to pay for. */
        assert_in_range(keyspace_stat(fixture.first, "level_0_runs"), 0, 14);
    }
    assert_true(atomic_load(&fixture.db->counters.compaction_unpaced_bytes) > 0);
    tear_down(&fixture);
}

static bool pass_time(void *context, const char *phase, uint64_t done, uint64_t total) {
    struct fixture *fixture = context;
    (void)phase;
    (void)done;
    (void)total;
    atomic_fetch_add(&fixture->machine.clock.monotonic_ns, NS_PER_S / 50);
    return true;
}

static void compaction_on_request_keeps_to_the_limit(void **state) {
    (void)state;
    struct fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    const uint64_t limit = (uint64_t)512 << 10;
    set_up_limited(&fixture, TERN_ENGINE_LSM, limit);
    put_some(&fixture, fixture.first, 12000);
    checkpoint(&fixture);
    uint64_t begin_ns = now_ns(&fixture);
    uint64_t written = atomic_load(&fixture.db->counters.compacted_bytes);
    assert_ok(tern_compact(fixture.db, pass_time, &fixture, &error), error);
    written = atomic_load(&fixture.db->counters.compacted_bytes) - written;
    assert_true(written > 12000 * VALUE_BYTES);
    /* The last quantum is not waited for. */
    const uint64_t least = (written - 4 * CARE_BYTES - TABLE_BYTES_MAX) / (limit / 1000);
    assert_true((now_ns(&fixture) - begin_ns) / 1000000 >= least - 300);
    tear_down(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compaction_keeps_to_its_limit),
        cmocka_unit_test(the_limit_stops_nothing_that_writers_would_wait_for),
        cmocka_unit_test(compaction_on_request_keeps_to_the_limit),
        cmocka_unit_test(a_keyspace_that_always_has_work_lets_others_have_their_turn),
        cmocka_unit_test(files_shrink_though_there_is_always_something_to_compact),
        cmocka_unit_test(a_file_that_cannot_shrink_does_not_keep_those_behind_it_from_shrinking),
        cmocka_unit_test(a_compaction_without_room_is_tried_rarely_and_stops_no_other),
        cmocka_unit_test(a_compaction_without_room_goes_on_as_soon_as_there_is_some),
        cmocka_unit_test(overlays_drain_however_long_level_zero_is_while_compaction_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
