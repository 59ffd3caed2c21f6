/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=300
 * ctest: more=release TERN_FAULTS=all 1800
 *
 * A sync that fails once and then succeeds, while the system drops the data and calls its pages
 * clean, as Linux does. Promise 7: nothing later is acknowledged, what was waiting is unknown,
 * reads go on, and recovery does not trust the page cache.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fault_body.h"
#include "support/cmocka_test.h"

#define ROUNDS_DEFAULT 60

static tern_write_options full(void) {
    return (tern_write_options){.size = sizeof(tern_write_options),
                                .durability = TERN_DURABILITY_FULL};
}

static tern_status put(tern_keyspace *keyspace, const char *key, const char *value,
                       tern_error *error) {
    tern_write_options options = full();
    return tern_put(keyspace, tern_slice_str(key), tern_slice_str(value), &options, error);
}

static void assert_value(tern_keyspace *keyspace, const char *key, const char *expected) {
    char value[32];
    size_t size;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_get(keyspace, tern_slice_str(key), value, sizeof(value), &size, &error), error);
    assert_int_equal(size, strlen(expected));
    assert_memory_equal(value, expected, size);
}

static void poison(struct step_machine *machine, tern_keyspace *keyspace) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(put(keyspace, "before", "kept", &error), error);
    power_cut_fail_sync(machine->disk, 1);
    assert_int_equal(put(keyspace, "during", "perhaps", &error), TERN_UNKNOWN);
    assert_int_equal(error.status, TERN_UNKNOWN);
}

static void after_a_failed_sync_writes_are_refused_and_reads_go_on(void **state) {
    (void)state;
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    uint64_t is_poisoned = 0;
    step_machine_init(&machine, 1);
    assert_ok(step_machine_open(&machine, &db, &error), error);
    assert_ok(tern_keyspace_create(db, "k", NULL, &keyspace, &error), error);
    poison(&machine, keyspace);

    assert_int_equal(put(keyspace, "after", "no", &error), TERN_POISONED);
    assert_int_equal(
        tern_put(keyspace, tern_slice_str("after"), tern_slice_str("no"), NULL, &error),
        TERN_POISONED);
    assert_true(strlen(error.message) > 0);
    assert_int_equal(tern_sync(db, &error), TERN_POISONED);
    assert_int_equal(tern_checkpoint(db, &error), TERN_POISONED);
    assert_int_equal(tern_keyspace_create(db, "other", NULL, NULL, &error), TERN_POISONED);
    assert_value(keyspace, "before", "kept");
    assert_int_equal(tern_get(keyspace, tern_slice_str("after"), NULL, 0, NULL, &error),
                     TERN_NOT_FOUND);
    assert_int_equal(tern_stat_get(db, "log_poisoned", &is_poisoned), TERN_OK);
    assert_int_equal(is_poisoned, 1);
    step_machine_idle(&machine, 5);
    assert_value(keyspace, "before", "kept");
    tern_status closed = tern_close(db, &error);
    assert_true(closed != TERN_OK); /* not everything committed is durable */
    step_machine_release(&machine);
}

/* What a commit whose sync failed has left in the overlays is in no view, also when there is so
 * much of it that a checkpoint is wanted. */
static void no_checkpoint_begins_over_a_commit_in_doubt(void **state) {
    (void)state;
    static uint8_t value[8000];
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *keyspace;
    tern_txn *txn;
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    char key[16];
    options.durability = TERN_DURABILITY_FULL;
    step_machine_init(&machine, 1);
    machine.options.overlay_bytes = (uint64_t)1 << 20;
    assert_ok(step_machine_open(&machine, &db, &error), error);
    assert_ok(tern_keyspace_create(db, "k", NULL, &keyspace, &error), error);
    assert_ok(put(keyspace, "before", "kept", &error), error);
    assert_ok(tern_txn_begin(db, &options, &txn, &error), error);
    for (uint64_t bytes = 0; bytes < machine.options.overlay_bytes * 7 / 10;
         bytes += sizeof(value)) {
        (void)snprintf(key, sizeof(key), "%08u", (unsigned)bytes);
        assert_ok(tern_txn_put(txn, keyspace, tern_slice_str(key),
                               tern_slice_of(value, sizeof(value)), NULL),
                  *tern_txn_error(txn));
    }
    power_cut_fail_sync(machine.disk, 1);
    assert_int_equal(tern_txn_commit(txn), TERN_UNKNOWN);
    tern_txn_free(txn);
    step_machine_idle(&machine, 20);
    assert_value(keyspace, "before", "kept");
    assert_int_equal(tern_get(keyspace, tern_slice_str(key), NULL, 0, NULL, &error),
                     TERN_NOT_FOUND);
    assert_true(tern_close(db, &error) != TERN_OK);
    step_machine_release(&machine);
}

/* What recovery finds in the page cache it may show only after making it durable itself. */
static void what_recovery_showed_survives_the_next_power_cut(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct step_machine machine;
        tern_db *db;
        tern_keyspace *keyspace;
        tern_error error = TERN_ERROR_INIT;
        step_machine_init(&machine, seed);
        assert_ok(step_machine_open(&machine, &db, &error), error);
        assert_ok(tern_keyspace_create(db, "k", NULL, &keyspace, &error), error);
        poison(&machine, keyspace);
        (void)tern_close(db, NULL);

        assert_ok(step_machine_open(&machine, &db, &error), error);
        assert_ok(tern_keyspace_open(db, "k", &keyspace, &error), error);
        assert_value(keyspace, "before", "kept");
        tern_status shown = tern_get(keyspace, tern_slice_str("during"), NULL, 0, NULL, &error);
        assert_ok(put(keyspace, "after", "kept", &error), error);
        power_cut_now(machine.disk);
        (void)tern_close(db, NULL);
        step_machine_cut(&machine, POWER_CUT_KEEP_NOTHING, seed);

        assert_ok(step_machine_open(&machine, &db, &error), error);
        assert_ok(tern_keyspace_open(db, "k", &keyspace, &error), error);
        assert_value(keyspace, "before", "kept");
        assert_value(keyspace, "after", "kept");
        assert_int_equal(tern_get(keyspace, tern_slice_str("during"), NULL, 0, NULL, &error),
                         shown);
        assert_ok(tern_close(db, &error), error);
        step_machine_release(&machine);
    }
}

static bool is_expected(tern_status status) {
    return status == TERN_IO || status == TERN_UNKNOWN || status == TERN_POISONED;
}

/* The durable ones, after power was lost as well. */
static void check_after_cut(struct fault_body *body, size_t durable) {
    char text[600] = "";
    tern_db *db;
    tern_error error = TERN_ERROR_INIT;
    tern_verify_report found;
    assert_ok(step_machine_open(&body->machine, &db, &error), error);
    body->work.durable = durable;
    if (!random_workload_find_state(&body->work, db, text, sizeof(text))) {
        print_error("seed %llu, %s: %s\n", (unsigned long long)body->seed, body->context, text);
        fail();
    }
    assert_ok(tern_verify(db, NULL, NULL, NULL, NULL, &found, &error), error);
    assert_int_equal(found.findings, 0);
    assert_ok(tern_close(db, &error), error);
}

static bool run_round(uint64_t seed) {
    struct fault_body body;
    tern_db *db;
    tern_error error = TERN_ERROR_INIT;
    bool goes_on = true;
    fault_body_init(&body, seed);
    body.is_expected = is_expected;
    body.may_poison = true;
    assert_ok(step_machine_open(&body.machine, &db, &error), error);
    uint64_t nth = 1 + seeded_random_below(&body.work.random, 40);
    (void)snprintf(body.context, sizeof(body.context), "sync %llu fails once",
                   (unsigned long long)nth);
    power_cut_fail_sync(body.machine.disk, nth);
    for (unsigned i = 0; goes_on && i < 80; i++) {
        goes_on = fault_body_step(&body, db, false);
    }
    fault_body_scan(&body, db);
    size_t durable = body.work.durable;
    power_cut_fail_sync(body.machine.disk, 0); /* this life may have had fewer */
    if (seeded_random_below(&body.work.random, 2) == 0) {
        (void)tern_close(db, NULL);
        fault_body_check(&body);
    } else {
        power_cut_now(body.machine.disk);
        (void)tern_close(db, NULL);
        step_machine_cut(&body.machine, POWER_CUT_KEEP_RANDOM, seed);
        check_after_cut(&body, durable);
    }
    bool has_failed = body.failed_calls > 0;
    fault_body_release(&body);
    return has_failed;
}

static void a_sync_that_fails_once_loses_nothing_acknowledged(void **state) {
    (void)state;
    const char *wanted = getenv("TERN_FAULTS");
    uint64_t rounds =
        wanted != NULL && strcmp(wanted, "all") == 0 ? 20u * ROUNDS_DEFAULT : ROUNDS_DEFAULT;
    uint64_t seed = seeded_random_seed("failed_sync");
    uint64_t failed = 0;
    for (uint64_t i = 0; i < rounds; i++) {
        failed += run_round(seed + i) ? 1 : 0;
    }
    print_message("%llu of %llu lives ended by a failed sync\n", (unsigned long long)failed,
                  (unsigned long long)rounds);
    assert_true(failed > rounds / 4);
}

/* Nothing is in doubt while no flush was tried: what could not be opened is opened again. */
static void what_could_not_be_opened_for_a_checkpoint_is_tried_again(void **state) {
    (void)state;
    static const int engines[] = {TERN_ENGINE_BTREE, TERN_ENGINE_LSM, TERN_ENGINE_HASH};
    struct step_machine machine;
    tern_db *db;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *keyspaces[3];
    step_machine_init(&machine, 1);
    assert_ok(step_machine_open(&machine, &db, &error), error);
    for (size_t i = 0; i < 3; i++) {
        tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
        const char name[] = {(char)('a' + i), '\0'};
        options.engine = engines[i];
        assert_ok(tern_keyspace_create(db, name, &options, &keyspaces[i], &error), error);
    }
    uint64_t refused = 0;
    bool has_failed = true;
    for (uint64_t nth = 1; has_failed; nth++) {
        char value[32];
        (void)snprintf(value, sizeof(value), "%llu", (unsigned long long)nth);
        for (size_t i = 0; i < 3; i++) {
            assert_ok(put(keyspaces[i], "key", value, &error), error);
        }
        const struct fault_plan plan = {.kinds = FAULT_OPEN, .nth = nth, .status = TERN_DISK_FULL};
        uint64_t failures = fault_file_system_failures(machine.faults);
        fault_file_system_arm(machine.faults, &plan);
        tern_status status = tern_checkpoint(db, &error);
        has_failed = fault_file_system_failures(machine.faults) > failures;
        fault_file_system_disarm(machine.faults);
        if (status != TERN_OK) {
            assert_int_equal(status, TERN_DISK_FULL);
            refused++;
        }
        assert_ok(tern_checkpoint(db, &error), error);
        for (size_t i = 0; i < 3; i++) {
            assert_value(keyspaces[i], "key", value);
        }
    }
    assert_true(refused > 0);
    assert_ok(tern_close(db, &error), error);
    step_machine_release(&machine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_failed_sync_writes_are_refused_and_reads_go_on),
        cmocka_unit_test(no_checkpoint_begins_over_a_commit_in_doubt),
        cmocka_unit_test(what_recovery_showed_survives_the_next_power_cut),
        cmocka_unit_test(a_sync_that_fails_once_loses_nothing_acknowledged),
        cmocka_unit_test(what_could_not_be_opened_for_a_checkpoint_is_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
