/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=300
 *
 * The newest manifest that recovery finds may be in the page cache alone: its sync failed, or its
 * writer was killed before it. Recovery begins with it, and the power is cut on the way: at each of
 * its calls, with what was not durable kept or not. There is a manifest then, and nothing is
 * missing.
 */
#include <stdio.h>

#include "support/cmocka_test.h"
#include "support/step_machine.h"

#define KEYS        120u
#define VALUE_BYTES 300u
#define SYNCS_MAX   6u
#define CUTS_MAX    25u
#define SEEDS       8u

static tern_slice key_of(unsigned number, char key[16]) {
    (void)snprintf(key, 16, "%06u", number);
    return tern_slice_str(key);
}

static void write_all(tern_db *db, tern_keyspace *keyspace, uint8_t byte) {
    static uint8_t value[VALUE_BYTES];
    tern_txn *txn;
    tern_error error = TERN_ERROR_INIT;
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    options.durability = TERN_DURABILITY_FULL;
    memset(value, byte, sizeof(value));
    assert_ok(tern_txn_begin(db, &options, &txn, &error), error);
    for (unsigned i = 0; i < KEYS; i++) {
        char key[16];
        assert_ok(
            tern_txn_put(txn, keyspace, key_of(i, key), tern_slice_of(value, sizeof(value)), NULL),
            *tern_txn_error(txn));
    }
    assert_ok(tern_txn_commit(txn), *tern_txn_error(txn));
    tern_txn_free(txn);
}

static void check_all(tern_db *db, uint8_t byte) {
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    uint8_t value[VALUE_BYTES];
    assert_ok(tern_keyspace_open(db, "k", &keyspace, &error), error);
    for (unsigned i = 0; i < KEYS; i++) {
        char key[16];
        size_t size;
        assert_ok(tern_get(keyspace, key_of(i, key), value, sizeof(value), &size, &error), error);
        assert_int_equal(value[VALUE_BYTES - 1], byte);
    }
}

/* The process ends at the `sync`-th sync of a checkpoint: killed before it, or because it failed.
 * True: there are so many. */
static bool stop_at_sync(struct step_machine *machine, tern_db *db, uint64_t sync, bool is_killed) {
    const struct fault_plan plan = {.kinds = FAULT_SYNC, .nth = sync, .sticky = true};
    tern_error error = TERN_ERROR_INIT;
    if (is_killed) {
        fault_file_system_arm(machine->faults, &plan);
    } else {
        power_cut_fail_sync(machine->disk, sync);
    }
    bool has_failed = tern_checkpoint(db, &error) != TERN_OK;
    power_cut_fail_sync(machine->disk, 0);
    (void)tern_close(db, NULL);
    fault_file_system_disarm(machine->faults);
    return has_failed;
}

/* Then the power is cut at the `cut`-th call of the next open. False: there are not so many. */
static bool run(uint64_t sync, bool is_killed, uint64_t cut, uint64_t seed) {
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    step_machine_init(&machine, seed);
    assert_ok(step_machine_open(&machine, &db, &error), error);
    assert_ok(tern_keyspace_create(db, "k", NULL, &keyspace, &error), error);
    write_all(db, keyspace, 1);
    assert_ok(tern_checkpoint(db, &error), error);
    write_all(db, keyspace, 2);
    bool has_failed = stop_at_sync(&machine, db, sync, is_killed);

    power_cut_arm(machine.disk, power_cut_calls(machine.disk) + cut);
    bool is_open = step_machine_open(&machine, &db, &error) == TERN_OK;
    bool was_cut = power_cut_is_off(machine.disk);
    if (is_open) {
        power_cut_now(machine.disk);
        (void)tern_close(db, NULL);
    }
    step_machine_cut(&machine, POWER_CUT_KEEP_RANDOM, seed * 1000 + cut);
    tern_status status = step_machine_open(&machine, &db, &error);
    if (status != TERN_OK) {
        print_error("sync %llu%s, cut %llu, seed %llu: %s\n", (unsigned long long)sync,
                    is_killed ? " (killed)" : "", (unsigned long long)cut, (unsigned long long)seed,
                    error.message);
    }
    assert_int_equal(status, TERN_OK);
    check_all(db, 2);
    assert_ok(tern_close(db, &error), error);
    step_machine_release(&machine);
    return has_failed && was_cut;
}

static void a_cut_while_a_manifest_is_in_the_page_cache_alone_leaves_one(void **state) {
    (void)state;
    unsigned runs = 0;
    for (uint64_t i = 2; i < 2 * SYNCS_MAX + 2; i++) {
        for (uint64_t cut = 1; cut <= CUTS_MAX; cut++) {
            for (uint64_t seed = 1; seed <= SEEDS; seed++) {
                if (!run(i / 2, i % 2 != 0, cut, seed)) {
                    break;
                }
                runs++;
            }
        }
    }
    print_message("%u cuts amid recoveries from what was not durable\n", runs);
    assert_true(runs > 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_while_a_manifest_is_in_the_page_cache_alone_leaves_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
