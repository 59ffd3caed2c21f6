/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=600
 *
 * The power is cut while a file is being shrunk: at random calls of the moving of blocks, the
 * manifests that settle it, and the cutting off of the tail; and again while the database comes up.
 * Nothing is lost, and the file ends up small. TERN_CRASHES says how many cuts.
 */
#include <stdio.h>
#include <stdlib.h>

#include "support/cmocka_test.h"
#include "support/step_machine.h"

#define CUTS_DEFAULT 40u
#define KEYS         3000u
#define VALUE_BYTES  500u
#define KEEP_EVERY   10u
#define CALLS_MAX    28u
#define FILE_BYTES   (KEYS / KEEP_EVERY * VALUE_BYTES * 13 / 10 + ((uint64_t)768 << 10))

static tern_slice key_of(unsigned number, char key[16]) {
    (void)snprintf(key, 16, "%08u", number * 2654435761u % 100000000u);
    return tern_slice_str(key);
}

static void write_all(tern_db *db, tern_keyspace *keyspace, bool deletes) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn *txn = NULL;
    char key[16];
    char value[VALUE_BYTES];
    for (unsigned i = 0; i < KEYS; i++) {
        if (txn == NULL) {
            assert_ok(tern_txn_begin(db, NULL, &txn, &error), error);
        }
        memset(value, (int)(i % 251), sizeof(value));
        tern_status status = TERN_OK;
        if (!deletes) {
            status = tern_txn_put(txn, keyspace, key_of(i, key),
                                  tern_slice_of(value, sizeof(value)), NULL);
        } else if (i % KEEP_EVERY != 0) {
            status = tern_txn_delete(txn, keyspace, key_of(i, key));
        }
        assert_ok(status, *tern_txn_error(txn));
        if (i % 100 == 99) {
            assert_ok(tern_txn_commit(txn), *tern_txn_error(txn));
            tern_txn_free(txn);
            txn = NULL;
        }
    }
}

static void check_all(tern_db *db, tern_keyspace *keyspace) {
    tern_verify_report found;
    tern_error error = TERN_ERROR_INIT;
    for (unsigned i = 0; i < KEYS; i++) {
        char key[16];
        uint8_t value[VALUE_BYTES];
        size_t size = 0;
        tern_status status =
            tern_get(keyspace, key_of(i, key), value, sizeof(value), &size, &error);
        assert_int_equal(status, i % KEEP_EVERY == 0 ? TERN_OK : TERN_NOT_FOUND);
        if (status == TERN_OK) {
            assert_int_equal(size, VALUE_BYTES);
            assert_int_equal(value[0], i % 251);
            assert_int_equal(value[size - 1], i % 251);
        }
    }
    assert_ok(tern_verify(db, NULL, NULL, NULL, NULL, &found, &error), error);
    assert_int_equal(found.findings, 0);
}

static bool match_file_bytes(void *context, const tern_stat *stat) {
    if (strcmp(stat->name, "file_bytes") == 0) {
        *(uint64_t *)context = stat->value;
    }
    return true;
}

static uint64_t file_bytes(tern_keyspace *keyspace) {
    uint64_t bytes = 0;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_keyspace_stats(keyspace, match_file_bytes, &bytes, &error), error);
    return bytes;
}

/* Comes up, maybe with the power cut again on the way. */
static tern_db *come_up(struct step_machine *machine, struct seeded_random *random) {
    for (unsigned attempt = 0;; attempt++) {
        tern_db *db;
        tern_error error = TERN_ERROR_INIT;
        bool cuts = attempt == 0 && seeded_random_below(random, 2) == 0;
        power_cut_arm(machine->disk,
                      cuts ? power_cut_calls(machine->disk) + 1 + seeded_random_below(random, 12)
                           : 0);
        tern_status status = step_machine_open(machine, &db, &error);
        if (!power_cut_is_off(machine->disk)) {
            assert_ok(status, error);
            power_cut_arm(machine->disk, 0);
            return db;
        }
        if (status == TERN_OK) {
            (void)tern_close(db, NULL);
        }
        step_machine_cut(machine, POWER_CUT_KEEP_RANDOM, seeded_random_next(random));
    }
}

static void run_round(uint64_t seed, uint64_t *cut_amid) {
    struct step_machine machine;
    struct seeded_random random;
    tern_db *db;
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    step_machine_init(&machine, seed);
    seeded_random_init(&random, seed);
    machine.options.durability = TERN_DURABILITY_FULL;
    assert_ok(step_machine_open(&machine, &db, &error), error);
    assert_ok(tern_keyspace_create(db, "k", NULL, &keyspace, &error), error);
    write_all(db, keyspace, false);
    assert_ok(tern_checkpoint(db, &error), error);
    uint64_t before = file_bytes(keyspace);
    write_all(db, keyspace, true);
    power_cut_arm(machine.disk,
                  power_cut_calls(machine.disk) + 1 + seeded_random_below(&random, CALLS_MAX));
    if (seeded_random_below(&random, 2) == 0) {
        tern_status status = tern_checkpoint(db, NULL);
        (void)status; /* the power may be off */
    }
    step_machine_idle(&machine, 60);
    *cut_amid += power_cut_is_off(machine.disk) ? 1 : 0;
    (void)tern_close(db, NULL);
    step_machine_cut(&machine, POWER_CUT_KEEP_RANDOM, seeded_random_next(&random));
    db = come_up(&machine, &random);
    assert_ok(tern_keyspace_open(db, "k", &keyspace, &error), error);
    check_all(db, keyspace);
    assert_ok(tern_checkpoint(db, &error), error);
    step_machine_idle(&machine, 60);
    assert_true(file_bytes(keyspace) < before / 2);
    assert_true(file_bytes(keyspace) <= FILE_BYTES);
    check_all(db, keyspace);
    assert_ok(tern_close(db, &error), error);
    step_machine_release(&machine);
}

static void a_power_cut_while_a_file_shrinks_loses_nothing(void **state) {
    (void)state;
    const char *wanted = getenv("TERN_CRASHES");
    uint64_t cuts = wanted != NULL ? strtoull(wanted, NULL, 10) / 10 + 1 : CUTS_DEFAULT;
    uint64_t seed = seeded_random_seed("shrink_power_cut");
    uint64_t cut_amid = 0;
    for (uint64_t i = 0; i < cuts; i++) {
        run_round(seed + i, &cut_amid);
    }
    print_message("%llu of %llu cuts came in between\n", (unsigned long long)cut_amid,
                  (unsigned long long)cuts);
    assert_true(cut_amid * 2 > cuts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_power_cut_while_a_file_shrinks_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
