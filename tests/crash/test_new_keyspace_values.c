/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transaction that creates a keyspace and writes large values into it: their chunks are in the
 * log before the commit that tells what the keyspace is.
 */
#include <stdio.h>
#include <stdlib.h>

#include "db/database.h"
#include "support/cmocka_test.h"
#include "support/fault_allocator.h"
#include "support/step_machine.h"
#include "txn/commit.h"

#define LARGE_BYTES 60000u
#define LATE_TOKEN  1000u

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

static void repair(struct step_machine *machine, tern_db **out_db, tern_repair_report *out_report) {
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = step_machine_options(machine);
    assert_ok(tern_repair(STEP_MACHINE_DIRECTORY, "/repaired", &options, NULL, NULL, NULL, NULL,
                          out_report, &error),
              error);
    assert_ok(tern_open("/repaired", &options, out_db, &error), error);
}

static void die(struct step_machine *machine, tern_db *db, tern_txn *open_txn) {
    power_cut_now(machine->disk);
    tern_txn_free(open_txn);
    (void)tern_close(db, NULL);
    step_machine_cut(machine, POWER_CUT_KEEP_NOTHING, 1);
}

/* One transaction drops a keyspace and creates another of its name. */
static void live_with_a_replaced_keyspace(struct step_machine *machine) {
    tern_db *db;
    tern_keyspace *old;
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(step_machine_open(machine, &db, &error), error);
    tern_txn *txn = begin_with_keyspace(db, "tree", TERN_ENGINE_BTREE, &old);
    put(txn, old, "old", 1);
    assert_ok(tern_txn_commit(txn), *tern_txn_error(txn));
    tern_txn_free(txn);
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    tern_keyspace_options keyspace_options = TERN_KEYSPACE_OPTIONS_INIT;
    options.durability = TERN_DURABILITY_FULL;
    assert_ok(tern_txn_begin(db, &options, &txn, &error), error);
    assert_ok(tern_txn_keyspace_drop(txn, old), *tern_txn_error(txn));
    assert_ok(tern_txn_keyspace_create(txn, "tree", &keyspace_options, &keyspace),
              *tern_txn_error(txn));
    put(txn, keyspace, "new", 2);
    assert_ok(tern_txn_commit(txn), *tern_txn_error(txn));
    die(machine, db, txn);
}

static void assert_replaced(tern_db *db) {
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    assert_holds(db, "tree", "new", 2);
    assert_ok(tern_keyspace_open(db, "tree", &keyspace, &error), error);
    assert_int_equal(tern_get(keyspace, tern_slice_str("old"), NULL, 0, NULL, NULL),
                     TERN_NOT_FOUND);
}

static void a_keyspace_replaced_in_one_transaction_is_recovered_and_repaired(void **state) {
    (void)state;
    for (int repairs = 0; repairs < 2; repairs++) {
        struct step_machine machine;
        tern_db *db;
        tern_repair_report report;
        tern_error error = TERN_ERROR_INIT;
        step_machine_init(&machine, 1);
        live_with_a_replaced_keyspace(&machine);
        if (repairs != 0) {
            repair(&machine, &db, &report);
            assert_int_equal(report.lost_records, 0);
        } else {
            assert_ok(step_machine_open(&machine, &db, &error), error);
        }
        assert_replaced(db);
        assert_ok(tern_checkpoint(db, &error), error);
        assert_replaced(db);
        assert_ok(tern_close(db, &error), error);
        step_machine_release(&machine);
    }
}

/* Chunks for a keyspace that was created and dropped in the same log; they are never committed. */
static void live_with_a_late_value(struct step_machine *machine) {
    tern_db *db;
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(step_machine_open(machine, &db, &error), error);
    tern_txn *txn = begin_with_keyspace(db, "gone", TERN_ENGINE_BTREE, &keyspace);
    put(txn, keyspace, "old", 1);
    assert_ok(tern_txn_commit(txn), *tern_txn_error(txn));
    tern_txn_free(txn);
    static uint8_t bytes[LARGE_BYTES];
    struct txn_manager *manager = database_manager(db);
    assert_ok(tern_keyspace_drop(db, "gone", &error), error);
    /* As a value does whose chunk is being logged while the keyspace is dropped. */
    assert_ok(commit_large_chunk(manager, keyspace->partition, LATE_TOKEN, 0, large_value(bytes, 9),
                                 &error),
              error);
    commit_large_forget(manager, LATE_TOKEN);
    assert_ok(tern_sync(db, &error), error);
    die(machine, db, NULL);
}

static bool count_base(void *context, const char *name) {
    *(unsigned *)context += strncmp(name, "p-", 2) == 0 ? 1 : 0;
    return true;
}

static unsigned count_bases(struct step_machine *machine, const char *path) {
    unsigned count = 0;
    tern_error error = TERN_ERROR_INIT;
    const tern_file_system *file_system = fault_file_system_interface(machine->faults);
    assert_ok(file_system->list(file_system->context, path, count_base, &count, &error), error);
    return count;
}

static void a_dropped_keyspace_does_not_come_back_for_a_late_value(void **state) {
    (void)state;
    struct step_machine machine;
    tern_db *db;
    tern_repair_report report;
    tern_error error = TERN_ERROR_INIT;
    step_machine_init(&machine, 1);
    live_with_a_late_value(&machine);
    repair(&machine, &db, &report);
    assert_int_equal(report.lost_records, 0);
    assert_int_equal(tern_keyspace_open(db, "gone", &(tern_keyspace *){NULL}, NULL),
                     TERN_NOT_FOUND);
    assert_ok(tern_close(db, &error), error);

    assert_ok(step_machine_open(&machine, &db, &error), error);
    assert_int_equal(tern_keyspace_open(db, "gone", &(tern_keyspace *){NULL}, NULL),
                     TERN_NOT_FOUND);
    step_machine_idle(&machine, 20);
    assert_int_equal(count_bases(&machine, STEP_MACHINE_DIRECTORY), 0);
    assert_ok(tern_close(db, &error), error);
    step_machine_release(&machine);
}

static void a_repair_that_fails_tells_why(void **state) {
    (void)state;
    unsigned failed = 0;
    for (uint64_t nth = 1; nth < 2000; nth += 7) {
        struct step_machine machine;
        tern_repair_report report;
        tern_error error = TERN_ERROR_INIT;
        struct fault_allocator *allocator = fault_allocator_create();
        step_machine_init(&machine, 1);
        live_and_die(&machine);
        machine.allocator = fault_allocator_interface(allocator);
        tern_db_options options = step_machine_options(&machine);
        fault_allocator_fail(allocator, nth, true);
        tern_status status = tern_repair(STEP_MACHINE_DIRECTORY, "/repaired", &options, NULL, NULL,
                                         NULL, NULL, &report, &error);
        uint64_t failures = fault_allocator_failures(allocator);
        if (status != TERN_OK) {
            failed++;
            assert_int_equal(error.status, status);
            assert_true(strlen(error.message) > 0);
        }
        fault_allocator_fail(allocator, 0, false);
        step_machine_release(&machine);
        fault_allocator_destroy(allocator);
        if (failures == 0) {
            break;
        }
    }
    assert_true(failed > 20);
}

/* Reads of an open after so many transactions that wrote to a keyspace of their own and did not
 * commit. */
static uint64_t count_reads(unsigned transactions) {
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *keyspace;
    char name[16];
    tern_error error = TERN_ERROR_INIT;
    step_machine_init(&machine, 1);
    assert_ok(step_machine_open(&machine, &db, &error), error);
    for (unsigned i = 0; i < transactions; i++) {
        (void)snprintf(name, sizeof(name), "%u", i);
        tern_txn *txn = begin_with_keyspace(db, name, TERN_ENGINE_BTREE, &keyspace);
        put(txn, keyspace, "never", (uint8_t)i);
        tern_txn_free(txn);
    }
    tern_txn *last = begin_with_keyspace(db, "last", TERN_ENGINE_LSM, &keyspace);
    put(last, keyspace, "kept", 7);
    assert_ok(tern_txn_commit(last), *tern_txn_error(last));
    tern_txn_free(last);
    power_cut_now(machine.disk);
    (void)tern_close(db, NULL);
    step_machine_cut(&machine, POWER_CUT_KEEP_NOTHING, 1);
    uint64_t before = fault_file_system_calls(machine.faults, FAULT_READ);
    assert_ok(step_machine_open(&machine, &db, &error), error);
    uint64_t reads = fault_file_system_calls(machine.faults, FAULT_READ) - before;
    assert_holds(db, "last", "kept", 7);
    assert_ok(tern_close(db, &error), error);
    step_machine_release(&machine);
    return reads;
}

/* Not once for each of them: a crash amid many would leave hours of recovery. */
static void the_log_is_looked_through_once_for_creations(void **state) {
    (void)state;
    uint64_t few = count_reads(8);
    uint64_t many = count_reads(64);
    print_message("%llu reads after 8, %llu after 64\n", (unsigned long long)few,
                  (unsigned long long)many);
    assert_true(many < 10 * few);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_values_of_a_new_keyspace_survive_a_power_cut),
        cmocka_unit_test(large_values_of_a_new_keyspace_are_repaired),
        cmocka_unit_test(the_log_is_looked_through_once_for_creations),
        cmocka_unit_test(a_keyspace_replaced_in_one_transaction_is_recovered_and_repaired),
        cmocka_unit_test(a_dropped_keyspace_does_not_come_back_for_a_late_value),
        cmocka_unit_test(a_repair_that_fails_tells_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
