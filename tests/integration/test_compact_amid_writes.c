/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=300
 *
 * Compaction on request of a keyspace of sorted tables that is written to all the time: it ends,
 * writes what it rewrites once, and no writer waits for it.
 */
#include <stdio.h>

#include "db/database_internal.h"
#include "engine/lsm/lsm_engine_internal.h"
#include "support/cmocka_test.h"
#include "support/keyspace_stat.h"
#include "support/step_machine.h"

#define VALUE_BYTES   900u
#define KEYS          20000u
#define COMPACT_BYTES ((uint64_t)4 << 20) /* worked through in one turn */
/* A drain of an overlay takes that many steps of whoever has no room left. */
#define STEPS_OF_A_PUT_MAX 6u

struct fixture {
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *keyspace;
    unsigned puts;         /* in one turn of the compaction */
    unsigned turns;        /* so far */
    unsigned turns_max;    /* then it is cancelled */
    uint64_t keys;         /* written so far */
    uint64_t longest_help; /* steps run by one put while the whole base is being compacted */
    uint64_t longest_level_zero;
};

static bool is_whole_under_way(const struct fixture *fixture) {
    const struct compaction *compaction = lsm_of(fixture->keyspace->engine)->compaction;
    return compaction != NULL && compaction->plan->is_all;
}

static void put_some(struct fixture *fixture, unsigned count) {
    char value[VALUE_BYTES] = {0};
    for (unsigned i = 0; i < count; i++) {
        char key[24];
        tern_error error = TERN_ERROR_INIT;
        uint64_t number = fixture->keys++ * 2654435761u % 100000000u;
        uint64_t helped = atomic_load(&fixture->db->counters.helped_steps);
        (void)snprintf(key, sizeof(key), "%08llu", (unsigned long long)number);
        assert_ok(tern_put(fixture->keyspace, tern_slice_str(key),
                           tern_slice_of(value, sizeof(value)), NULL, &error),
                  error);
        helped = atomic_load(&fixture->db->counters.helped_steps) - helped;
        if (is_whole_under_way(fixture) && helped > fixture->longest_help) {
            fixture->longest_help = helped;
        }
    }
}

static void set_up(struct fixture *fixture, unsigned puts) {
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    *fixture = (struct fixture){.puts = puts, .turns_max = UINT32_MAX};
    options.engine = TERN_ENGINE_LSM;
    options.page_bytes = 4096;
    options.fan_out = 16;
    options.compression = TERN_COMPRESSION_NONE;
    step_machine_init(&fixture->machine, 1);
    assert_ok(step_machine_open(&fixture->machine, &fixture->db, &error), error);
    assert_ok(tern_keyspace_create(fixture->db, "k", &options, &fixture->keyspace, &error), error);
    put_some(fixture, KEYS);
    assert_ok(tern_checkpoint(fixture->db, &error), error);
    step_machine_idle(&fixture->machine, 20);
    fixture->longest_help = 0;
}

static void tear_down(struct fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    uint64_t count = 0;
    tern_txn *txn;
    assert_ok(tern_txn_begin(fixture->db, NULL, &txn, &error), error);
    assert_ok(tern_txn_count(txn, fixture->keyspace, NULL, NULL, &count), *tern_txn_error(txn));
    assert_int_equal(count, fixture->keys);
    tern_txn_free(txn);
    assert_ok(tern_close(fixture->db, &error), error);
    step_machine_release(&fixture->machine);
}

static bool write_meanwhile(void *context, const char *what, uint64_t done, uint64_t total) {
    struct fixture *fixture = context;
    (void)what;
    if (done < total) {
        put_some(fixture, fixture->puts);
        uint64_t runs = keyspace_stat(fixture->keyspace, "level_0_runs");
        fixture->longest_level_zero =
            runs > fixture->longest_level_zero ? runs : fixture->longest_level_zero;
    }
    return fixture->turns++ < fixture->turns_max;
}

static tern_status compact(struct fixture *fixture) {
    fixture->turns = 0;
    return tern_compact(fixture->db, write_meanwhile, fixture, NULL);
}

static void compaction_ends_though_drains_go_on(void **state) {
    (void)state;
    struct fixture fixture;
    set_up(&fixture, 100); /* half an overlay in each turn */
    uint64_t data = keyspace_stat(fixture.keyspace, "file_bytes");
    uint64_t written = keyspace_stat(fixture.keyspace, "written_bytes");
    fixture.turns_max = 1000;
    assert_int_equal(compact(&fixture), TERN_OK);
    assert_true(fixture.turns <= 8 * (data / COMPACT_BYTES + 3));
    assert_true(keyspace_stat(fixture.keyspace, "written_bytes") - written <= 3 * data);
    tear_down(&fixture);
}

static void no_writer_waits_for_the_whole_compaction(void **state) {
    (void)state;
    struct fixture fixture;
    set_up(&fixture, 1000); /* several overlays in each turn */
    fixture.turns_max = 1000;
    assert_int_equal(compact(&fixture), TERN_OK);
    /* What is being compacted, and as much again: more would have come without merges of level 0
     * itself. */
    assert_in_range(fixture.longest_level_zero, 7, 24);
    assert_true(keyspace_stat(fixture.keyspace, "level_0_merges") > 0);
    assert_in_range(fixture.longest_help, 0, STEPS_OF_A_PUT_MAX);
    tear_down(&fixture);
}

static void what_a_cancelled_compaction_left_does_not_count_for_the_next(void **state) {
    (void)state;
    struct fixture fixture;
    set_up(&fixture, 100);
    fixture.turns_max = 2;
    assert_int_equal(compact(&fixture), TERN_CANCELLED);
    fixture.puts = 0;
    step_machine_idle(&fixture.machine, 20);
    fixture.turns_max = 1000;
    assert_int_equal(compact(&fixture), TERN_OK);
    assert_int_equal(keyspace_stat(fixture.keyspace, "sorted_runs"), 1);
    tear_down(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compaction_ends_though_drains_go_on),
        cmocka_unit_test(no_writer_waits_for_the_whole_compaction),
        cmocka_unit_test(what_a_cancelled_compaction_left_does_not_count_for_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
