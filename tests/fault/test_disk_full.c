/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=300
 * ctest: more=release TERN_FAULTS=all 1800
 *
 * Promise 8: on a full disk writes fail cleanly, reads go on, nothing is lost, and space freed
 * later lets writes go on without a restart.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fault_body.h"
#include "support/cmocka_test.h"

#define ROUNDS_DEFAULT 12
#define VALUE_BYTES    3000u

static void key_of(unsigned number, char key[16]) {
    (void)snprintf(key, 16, "%08u", number * 2654435761u % 100000000u);
}

static tern_status put_number(tern_txn *txn, tern_keyspace *keyspace, unsigned number) {
    char key[16];
    uint8_t value[VALUE_BYTES];
    memset(value, (int)(number % 251), sizeof(value));
    key_of(number, key);
    return tern_txn_put(txn, keyspace, tern_slice_str(key), tern_slice_of(value, sizeof(value)),
                        NULL);
}

static void check_numbers(tern_keyspace *keyspace, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        char key[16];
        uint8_t value[VALUE_BYTES];
        size_t size = 0;
        tern_error error = TERN_ERROR_INIT;
        key_of(i, key);
        assert_ok(tern_get(keyspace, tern_slice_str(key), value, sizeof(value), &size, &error),
                  error);
        assert_int_equal(size, VALUE_BYTES);
        assert_int_equal(value[0], i % 251);
        assert_int_equal(value[size - 1], i % 251);
    }
}

static void a_refused_commit_can_be_tried_again_once_there_is_space(void **state) {
    (void)state;
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *keyspace;
    tern_txn *txn;
    tern_error error = TERN_ERROR_INIT;
    unsigned count = 0;
    step_machine_init(&machine, 2);
    assert_ok(step_machine_open(&machine, &db, &error), error);
    assert_ok(tern_keyspace_create(db, "k", NULL, &keyspace, &error), error);
    fault_file_system_set_capacity(machine.faults,
                                   fault_file_system_used(machine.faults) + 3000000);
    tern_status status = TERN_OK;
    assert_ok(tern_txn_begin(db, NULL, &txn, &error), error);
    for (;; count++) {
        assert_true(count < 10000);
        assert_ok(put_number(txn, keyspace, count), *tern_txn_error(txn));
        status = tern_txn_commit(txn);
        if (status != TERN_OK) {
            break;
        }
        assert_ok(tern_txn_restart(txn), *tern_txn_error(txn));
    }
    assert_int_equal(status, TERN_DISK_FULL);
    assert_int_equal(tern_txn_error(txn)->status, TERN_DISK_FULL);
    assert_true(count > 100);
    check_numbers(keyspace, count);
    assert_int_equal(tern_txn_commit(txn), TERN_DISK_FULL);
    step_machine_idle(&machine, 20); /* a checkpoint may make room by letting go of the log */
    check_numbers(keyspace, count);

    fault_file_system_set_capacity(machine.faults, 0);
    assert_ok(tern_txn_commit(txn), *tern_txn_error(txn));
    tern_txn_free(txn);
    check_numbers(keyspace, count + 1);
    assert_ok(tern_checkpoint(db, &error), error);
    assert_ok(tern_close(db, &error), error);

    assert_ok(step_machine_open(&machine, &db, &error), error);
    assert_ok(tern_keyspace_open(db, "k", &keyspace, &error), error);
    check_numbers(keyspace, count + 1);
    assert_ok(tern_close(db, &error), error);
    step_machine_release(&machine);
}

static void a_full_disk_can_be_freed_by_deleting(void **state) {
    (void)state;
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    step_machine_init(&machine, 3);
    assert_ok(step_machine_open(&machine, &db, &error), error);
    assert_ok(tern_keyspace_create(db, "k", NULL, &keyspace, &error), error);
    fault_file_system_set_capacity(machine.faults,
                                   fault_file_system_used(machine.faults) + 3000000);
    uint8_t value[VALUE_BYTES] = {1};
    tern_status status = TERN_OK;
    unsigned count = 0;
    for (; status == TERN_OK && count < 10000; count++) {
        char key[16];
        key_of(count, key);
        status = tern_put(keyspace, tern_slice_str(key), tern_slice_of(value, sizeof(value)), NULL,
                          &error);
    }
    assert_int_equal(status, TERN_DISK_FULL);
    /* A little more room than the reserve, as an administrator would find, then delete. */
    fault_file_system_set_capacity(machine.faults,
                                   fault_file_system_used(machine.faults) + 1500000);
    assert_ok(tern_delete_range(keyspace, NULL, NULL, NULL, &error), error);
    assert_ok(tern_checkpoint(db, &error), error);
    for (unsigned i = 0; i < 100; i++) {
        char key[16];
        key_of(i, key);
        assert_ok(tern_put(keyspace, tern_slice_str(key), tern_slice_of(value, sizeof(value)), NULL,
                           &error),
                  error);
    }
    assert_ok(tern_close(db, &error), error);
    step_machine_release(&machine);
}

/* Its chunks are in the log, and find no more room at the next open than they did before. */
static void a_large_value_that_did_not_fit_keeps_nobody_from_opening(void **state) {
    (void)state;
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    size_t size = (size_t)3 << 20;
    uint8_t *large = calloc(1, size);
    assert_non_null(large);
    step_machine_init(&machine, 4);
    assert_ok(step_machine_open(&machine, &db, &error), error);
    assert_ok(tern_keyspace_create(db, "k", NULL, &keyspace, &error), error);
    tern_txn *txn;
    assert_ok(tern_txn_begin(db, NULL, &txn, &error), error);
    for (unsigned i = 0; i < 20; i++) {
        assert_ok(put_number(txn, keyspace, i), *tern_txn_error(txn));
    }
    assert_ok(tern_txn_commit(txn), *tern_txn_error(txn));
    tern_txn_free(txn);
    fault_file_system_set_capacity(machine.faults,
                                   fault_file_system_used(machine.faults) + 1000000);
    assert_int_equal(
        tern_put(keyspace, tern_slice_str("large"), tern_slice_of(large, size), NULL, &error),
        TERN_DISK_FULL);
    check_numbers(keyspace, 20);
    assert_ok(tern_close(db, &error), error);
    for (int writes = 0; writes < 2; writes++) {
        tern_db_options options = step_machine_options(&machine);
        options.read_only = writes == 0;
        assert_ok(tern_open(STEP_MACHINE_DIRECTORY, &options, &db, &error), error);
        assert_ok(tern_keyspace_open(db, "k", &keyspace, &error), error);
        check_numbers(keyspace, 20);
        assert_int_equal(tern_get(keyspace, tern_slice_str("large"), NULL, 0, NULL, &error),
                         TERN_NOT_FOUND);
        assert_ok(tern_close(db, &error), error);
    }
    free(large);
    step_machine_release(&machine);
}

static bool is_expected(tern_status status) {
    return status == TERN_DISK_FULL;
}

/* Full, freed, full again, with everything going on. */
static void run_round(uint64_t seed, uint64_t *failed_calls) {
    struct fault_body body;
    tern_db *db;
    tern_error error = TERN_ERROR_INIT;
    fault_body_init(&body, seed);
    body.is_expected = is_expected;
    (void)snprintf(body.context, sizeof(body.context), "a small disk");
    assert_ok(step_machine_open(&body.machine, &db, &error), error);
    for (unsigned round = 0; round < 5; round++) {
        uint64_t used = fault_file_system_used(body.machine.faults);
        uint64_t room = seeded_random_below(&body.work.random, 300000);
        fault_file_system_set_capacity(body.machine.faults, used + room);
        for (unsigned i = 0; i < 60; i++) {
            assert_true(fault_body_step(&body, db, false) || body.failed_calls > 0);
        }
        fault_body_scan(&body, db);
        fault_file_system_set_capacity(body.machine.faults, 0);
        for (unsigned i = 0; i < 10; i++) {
            assert_true(fault_body_step(&body, db, true));
        }
    }
    assert_ok(tern_close(db, &error), error);
    fault_body_check(&body);
    *failed_calls += body.failed_calls;
    fault_body_release(&body);
}

static void work_goes_on_whenever_there_is_space(void **state) {
    (void)state;
    const char *wanted = getenv("TERN_FAULTS");
    uint64_t rounds =
        wanted != NULL && strcmp(wanted, "all") == 0 ? 20u * ROUNDS_DEFAULT : ROUNDS_DEFAULT;
    uint64_t seed = seeded_random_seed("disk_full");
    uint64_t failed_calls = 0;
    for (uint64_t i = 0; i < rounds; i++) {
        run_round(seed + i, &failed_calls);
    }
    print_message("%llu calls found the disk full\n", (unsigned long long)failed_calls);
    assert_true(failed_calls > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_commit_can_be_tried_again_once_there_is_space),
        cmocka_unit_test(a_full_disk_can_be_freed_by_deleting),
        cmocka_unit_test(a_large_value_that_did_not_fit_keeps_nobody_from_opening),
        cmocka_unit_test(work_goes_on_whenever_there_is_space),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
