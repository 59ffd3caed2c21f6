/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transaction that creates a keyspace and writes large values into it: their chunks are in the
 * log before the commit that tells what the keyspace is.
 */
#include <stdlib.h>

#include "support/cmocka_test.h"
#include "support/step_machine.h"

#define LARGE_BYTES 60000u

static tern_slice large_value(uint8_t *bytes, uint8_t seed) {
    for (size_t i = 0; i < LARGE_BYTES; i++) {
        bytes[i] = (uint8_t)(seed + i / 3);
    }
    return tern_slice_of(bytes, LARGE_BYTES);
}

static tern_txn *begin_with_keyspace(tern_db *db, const char *name, tern_engine_kind engine,
                                     tern_keyspace **out_keyspace) {
    tern_txn *txn;
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_keyspace_options keyspace_options = TERN_KEYSPACE_OPTIONS_INIT;
    options.durability = TERN_DURABILITY_FULL;
    keyspace_options.engine = engine;
    assert_ok(tern_txn_begin(db, &options, &txn, &error), error);
    assert_ok(tern_txn_keyspace_create(txn, name, &keyspace_options, out_keyspace),
              *tern_txn_error(txn));
    return txn;
}

static void put(tern_txn *txn, tern_keyspace *keyspace, const char *key, uint8_t seed) {
    static uint8_t bytes[LARGE_BYTES];
    assert_ok(tern_txn_put(txn, keyspace, tern_slice_str(key), large_value(bytes, seed), NULL),
              *tern_txn_error(txn));
}

static void assert_holds(tern_db *db, const char *name, const char *key, uint8_t seed) {
    static uint8_t expected[LARGE_BYTES];
    static uint8_t found[LARGE_BYTES];
    size_t size = 0;
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    (void)large_value(expected, seed);
    assert_ok(tern_keyspace_open(db, name, &keyspace, &error), error);
    assert_ok(tern_get(keyspace, tern_slice_str(key), found, sizeof(found), &size, &error), error);
    assert_int_equal(size, LARGE_BYTES);
    assert_memory_equal(found, expected, LARGE_BYTES);
}

/* Two keyspaces with values, and a third whose transaction never commits. Cuts the power. */
static void live_and_die(struct step_machine *machine) {
    tern_db *db;
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    static const tern_engine_kind engines[] = {TERN_ENGINE_BTREE, TERN_ENGINE_LSM};
    static const char *const names[] = {"tree", "levels"};
    assert_ok(step_machine_open(machine, &db, &error), error);
    tern_txn *never = begin_with_keyspace(db, "never", TERN_ENGINE_BTREE, &keyspace);
    put(never, keyspace, "lost", 9);
    for (uint8_t i = 0; i < 2; i++) {
        tern_txn *txn = begin_with_keyspace(db, names[i], engines[i], &keyspace);
        put(txn, keyspace, "first", (uint8_t)(1 + i));
        put(txn, keyspace, "second", (uint8_t)(3 + i));
        assert_ok(tern_txn_commit(txn), *tern_txn_error(txn));
        tern_txn_free(txn);
    }
    power_cut_now(machine->disk);
    tern_txn_free(never);
    (void)tern_close(db, NULL);
    step_machine_cut(machine, POWER_CUT_KEEP_NOTHING, 1);
}

static void assert_all_there(tern_db *db) {
    assert_holds(db, "tree", "first", 1);
    assert_holds(db, "tree", "second", 3);
    assert_holds(db, "levels", "first", 2);
    assert_holds(db, "levels", "second", 4);
    assert_int_equal(tern_keyspace_open(db, "never", &(tern_keyspace *){NULL}, NULL),
                     TERN_NOT_FOUND);
}

static void large_values_of_a_new_keyspace_survive_a_power_cut(void **state) {
    (void)state;
    struct step_machine machine;
    tern_db *db;
    tern_error error = TERN_ERROR_INIT;
    step_machine_init(&machine, 1);
    live_and_die(&machine);
    for (int i = 0; i < 2; i++) { /* from the log, then from the bases */
        assert_ok(step_machine_open(&machine, &db, &error), error);
        assert_all_there(db);
        assert_ok(tern_checkpoint(db, &error), error);
        assert_all_there(db);
        assert_ok(tern_close(db, &error), error);
    }
    step_machine_release(&machine);
}

static void large_values_of_a_new_keyspace_are_repaired(void **state) {
    (void)state;
    struct step_machine machine;
    tern_db *db;
    tern_repair_report report;
    tern_error error = TERN_ERROR_INIT;
    step_machine_init(&machine, 1);
    live_and_die(&machine);
    tern_db_options options = step_machine_options(&machine);
    assert_ok(tern_repair(STEP_MACHINE_DIRECTORY, "/repaired", &options, NULL, NULL, NULL, NULL,
                          &report, &error),
              error);
    assert_int_equal(report.keyspaces, 2);
    assert_int_equal(report.lost_records, 0);
    assert_ok(tern_open("/repaired", &options, &db, &error), error);
    assert_all_there(db);
    assert_ok(tern_close(db, &error), error);
    step_machine_release(&machine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_values_of_a_new_keyspace_survive_a_power_cut),
        cmocka_unit_test(large_values_of_a_new_keyspace_are_repaired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
