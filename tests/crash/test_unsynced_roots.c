/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=600
 *
 * No manifest names a root that was not synced: neither after the sync of one file has failed and
 * another file is shrunk, nor after a publish that got no further than sealing. Then the power
 * goes.
 */
#include <stdio.h>

#include "db/database_internal.h"
#include "support/cmocka_test.h"
#include "support/fault_allocator.h"
#include "support/step_machine.h"

#define KEYS        2000u
#define VALUE_BYTES 500u
#define KEEP_EVERY  10u
#define KEEP_ALL    1u
#define KEEP_NONE   (KEYS + 1)
/* More than a checkpoint of this has: log, bases, manifest. */
#define SYNCS_MAX       16u
#define ALLOCATIONS_MAX 60u

static tern_slice key_of(unsigned number, char key[16]) {
    (void)snprintf(key, 16, "%08u", number * 2654435761u % 100000000u);
    return tern_slice_str(key);
}

static bool is_kept(unsigned number, unsigned keep_every) {
    return number % keep_every == keep_every - 1;
}

/* All keys, or deletes those that are not kept. */
static void write_all(tern_db *db, tern_keyspace *keyspace, unsigned keys, unsigned keep_every) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn *txn;
    char key[16];
    char value[VALUE_BYTES];
    for (unsigned i = 0; i < keys;) {
        assert_ok(tern_txn_begin(db, NULL, &txn, &error), error);
        for (unsigned end = i + 100; i < end && i < keys; i++) {
            memset(value, (int)(i % 251), sizeof(value));
            tern_status status = TERN_OK;
            if (keep_every == KEEP_ALL) {
                status = tern_txn_put(txn, keyspace, key_of(i, key),
                                      tern_slice_of(value, sizeof(value)), NULL);
            } else if (!is_kept(i, keep_every)) {
                status = tern_txn_delete(txn, keyspace, key_of(i, key));
            }
            assert_ok(status, *tern_txn_error(txn));
        }
        assert_ok(tern_txn_commit(txn), *tern_txn_error(txn));
        tern_txn_free(txn);
    }
}

static void check_keyspace(tern_db *db, const char *name, unsigned keys, unsigned keep_every) {
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_keyspace_open(db, name, &keyspace, &error), error);
    for (unsigned i = 0; i < keys; i++) {
        char key[16];
        uint8_t value[VALUE_BYTES];
        size_t size = 0;
        tern_status status =
            tern_get(keyspace, key_of(i, key), value, sizeof(value), &size, &error);
        assert_int_equal(status, is_kept(i, keep_every) ? TERN_OK : TERN_NOT_FOUND);
        if (status == TERN_OK) {
            assert_int_equal(size, VALUE_BYTES);
            assert_int_equal(value[size - 1], i % 251);
        }
    }
}

/* The power goes; everything was acknowledged, and nothing that was not synced is kept. */
static void cut_and_check(struct step_machine *machine, tern_db *db, unsigned keys,
                          const unsigned keep_every[2]) {
    tern_verify_report found;
    tern_error error = TERN_ERROR_INIT;
    power_cut_now(machine->disk);
    (void)tern_close(db, NULL);
    step_machine_cut(machine, POWER_CUT_KEEP_NOTHING, 1);
    assert_ok(step_machine_open(machine, &db, &error), error);
    check_keyspace(db, "a", keys, keep_every[0]);
    check_keyspace(db, "b", keys, keep_every[1]);
    assert_ok(tern_verify(db, NULL, NULL, NULL, NULL, &found, &error), error);
    assert_int_equal(found.findings, 0);
    assert_ok(tern_close(db, &error), error);
}

static void set_up(struct step_machine *machine, const tern_allocator *allocator, tern_db **out_db,
                   tern_keyspace *out_keyspaces[2]) {
    tern_error error = TERN_ERROR_INIT;
    step_machine_init(machine, 1);
    machine->allocator = allocator;
    machine->options.durability = TERN_DURABILITY_FULL;
    machine->options.overlay_bytes = (uint64_t)8 << 20;
    machine->options.memory_bytes = (uint64_t)32 << 20;
    assert_ok(step_machine_open(machine, out_db, &error), error);
    assert_ok(tern_keyspace_create(*out_db, "a", NULL, &out_keyspaces[0], &error), error);
    assert_ok(tern_keyspace_create(*out_db, "b", NULL, &out_keyspaces[1], &error), error);
}

/*
 * The nth sync of a checkpoint that shrinks b fails. All of a has been deleted, but a reader holds
 * it; when the reader has gone, a has a free tail and nothing to move.
 */
static bool fail_sync(uint64_t nth) {
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *keyspaces[2];
    tern_txn *reader;
    tern_error error = TERN_ERROR_INIT;
    static const unsigned keep_every[2] = {KEEP_NONE, KEEP_EVERY};
    set_up(&machine, NULL, &db, keyspaces);
    write_all(db, keyspaces[0], KEYS, KEEP_ALL);
    assert_ok(tern_checkpoint(db, &error), error);
    tern_txn_options reads = TERN_TXN_OPTIONS_INIT;
    assert_ok(tern_txn_begin(db, &reads, &reader, &error), error);
    write_all(db, keyspaces[0], KEYS, KEEP_NONE);
    write_all(db, keyspaces[1], KEYS, KEEP_ALL);
    assert_ok(tern_checkpoint(db, &error), error);
    write_all(db, keyspaces[1], KEYS, KEEP_EVERY);
    power_cut_fail_sync(machine.disk, nth);
    tern_status status = tern_checkpoint(db, NULL);
    (void)status; /* shrinking fails silently */
    bool has_failed = db->maintenance.has_failed;
    uint64_t generation = db->maintenance.manifest_generation;
    tern_txn_free(reader);
    for (int i = 0; i < 3; i++) {
        status = i < 2 ? tern_checkpoint(db, NULL) : tern_compact(db, NULL, NULL, NULL);
        step_machine_idle(&machine, 20);
    }
    if (has_failed) {
        assert_int_equal(db->maintenance.manifest_generation, generation);
    }
    cut_and_check(&machine, db, KEYS, keep_every);
    step_machine_release(&machine);
    return has_failed;
}

static void nothing_is_published_after_a_base_failed_to_sync(void **state) {
    (void)state;
    unsigned failed = 0;
    for (uint64_t nth = 1; nth <= SYNCS_MAX; nth++) {
        failed += fail_sync(nth) ? 1 : 0;
    }
    assert_true(failed > 0);
}

/* The nth allocation of a checkpoint fails; then both manifests are brought up to date, as after
 * compaction. */
static bool fail_allocation(struct fault_allocator *allocator, uint64_t nth) {
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *keyspaces[2];
    tern_error error = TERN_ERROR_INIT;
    bool is_sealed = false;
    static const unsigned keep_every[2] = {KEEP_ALL, KEEP_ALL};
    set_up(&machine, fault_allocator_interface(allocator), &db, keyspaces);
    write_all(db, keyspaces[0], KEYS / 10, KEEP_ALL);
    write_all(db, keyspaces[1], KEYS / 10, KEEP_ALL);
    fault_allocator_fail(allocator, nth, false);
    mutex_lock(&db->maintenance_mutex);
    bool more = true;
    tern_status status = checkpoint_begin(db, NULL);
    while (status == TERN_OK && more) {
        status = checkpoint_step(db, false, &more, NULL);
    }
    fault_allocator_fail(allocator, 0, false);
    for (int i = 0; i < 2; i++) {
        is_sealed = is_sealed || keyspaces[i]->is_sealed;
    }
    assert_ok(space_settle(db, &error), error);
    mutex_unlock(&db->maintenance_mutex);
    cut_and_check(&machine, db, KEYS / 10, keep_every);
    step_machine_release(&machine);
    return is_sealed;
}

static void sealed_roots_are_synced_before_manifests_are_settled(void **state) {
    (void)state;
    unsigned sealed = 0;
    for (uint64_t nth = 1; nth <= ALLOCATIONS_MAX; nth++) {
        struct fault_allocator *allocator = fault_allocator_create();
        sealed += fail_allocation(allocator, nth) ? 1 : 0;
        fault_allocator_destroy(allocator);
    }
    assert_true(sealed > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_published_after_a_base_failed_to_sync),
        cmocka_unit_test(sealed_roots_are_synced_before_manifests_are_settled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
