/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds the maintenance role for long makes room for writers first. No background task runs
 * here: what is done is done by the caller.
 */
#include <stdio.h>

#include "db/database_internal.h"
#include "support/cmocka_test.h"
#include "support/step_machine.h"

#define KEYS        2000u
#define VALUE_BYTES 500u

struct fixture {
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *keyspace;
    seq_no wanted;
};

static void set_up(struct fixture *fixture) {
    char key[16];
    char value[VALUE_BYTES] = {0};
    tern_error error = TERN_ERROR_INIT;
    *fixture = (struct fixture){0};
    step_machine_init(&fixture->machine, 1);
    fixture->machine.options.overlay_bytes = (uint64_t)8 << 20;
    fixture->machine.options.memory_bytes = (uint64_t)32 << 20;
    assert_ok(step_machine_open(&fixture->machine, &fixture->db, &error), error);
    assert_ok(tern_keyspace_create(fixture->db, "k", NULL, &fixture->keyspace, &error), error);
    for (unsigned i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof(key), "%08u", i);
        assert_ok(tern_put(fixture->keyspace, tern_slice_str(key),
                           tern_slice_of(value, sizeof(value)), NULL, &error),
                  error);
    }
    assert_ok(tern_checkpoint(fixture->db, &error), error);
    assert_ok(
        tern_delete_range(fixture->keyspace, NULL, &(tern_slice){"00001500", 8}, NULL, &error),
        error);
    assert_ok(
        maintenance_drain_to(fixture->db, atomic_load(&fixture->db->manager.visible_seq), &error),
        error);
}

static void tear_down(struct fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_close(fixture->db, &error), error);
    step_machine_release(&fixture->machine);
}

/* As a writer does that finds no room left. */
static void want_room(struct fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_put(fixture->keyspace, tern_slice_str("9"), tern_slice_str("new"), NULL, &error),
              error);
    fixture->wanted = atomic_load(&fixture->db->manager.visible_seq);
    atomic_store(&fixture->db->checkpoint_wanted, fixture->wanted);
}

static bool want_room_once(void *context, const char *what, uint64_t done, uint64_t total) {
    struct fixture *fixture = context;
    (void)what;
    (void)done;
    (void)total;
    if (fixture->wanted == 0) {
        want_room(fixture);
    }
    return true;
}

static void compaction_drains_first_when_writers_want_room(void **state) {
    (void)state;
    struct fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    set_up(&fixture);
    assert_ok(tern_compact(fixture.db, want_room_once, &fixture, &error), error);
    assert_true(fixture.wanted > 0);
    assert_true(atomic_load(&fixture.db->checkpoint_done) >= fixture.wanted);
    tear_down(&fixture);
}

static void giving_space_back_drains_first_when_writers_want_room(void **state) {
    (void)state;
    struct fixture fixture;
    set_up(&fixture);
    want_room(&fixture);
    space_give_back(fixture.db);
    assert_true(atomic_load(&fixture.db->checkpoint_done) >= fixture.wanted);
    assert_true(atomic_load(&fixture.db->counters.shrunk_bytes) > 0);
    tear_down(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compaction_drains_first_when_writers_want_room),
        cmocka_unit_test(giving_space_back_drains_first_when_writers_want_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
