/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a repair saves when it is the log that is damaged: what was written to a keyspace whose
 * creation cannot be read, or whose name was not free for want of a drop. And, without a manifest,
 * from more of the log than recovery would read.
 */
#include <stdio.h>

#include "base/arena.h"
#include "db/manifest.h"
#include "support/cmocka_test.h"
#include "support/step_machine.h"
#include "txn/commit_codec.h"

#define LARGE_BYTES 60000u
#define REPAIRED    "/repaired"

static const tern_engine_kind kinds[] = {TERN_ENGINE_BTREE, TERN_ENGINE_HASH, TERN_ENGINE_LSM};

static void put(tern_keyspace *keyspace, const char *key, const char *value) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_put(keyspace, tern_slice_str(key), tern_slice_str(value), NULL, &error), error);
}

static void assert_value(tern_db *db, const char *name, const char *key, const char *expected) {
    char value[64];
    size_t size = 0;
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_keyspace_open(db, name, &keyspace, &error), error);
    assert_ok(tern_get(keyspace, tern_slice_str(key), value, sizeof(value), &size, &error), error);
    assert_int_equal(size, strlen(expected));
    assert_memory_equal(value, expected, size);
}

static void put_large(tern_keyspace *keyspace, const char *key, int byte) {
    static uint8_t bytes[LARGE_BYTES];
    tern_error error = TERN_ERROR_INIT;
    memset(bytes, byte, sizeof(bytes));
    assert_ok(
        tern_put(keyspace, tern_slice_str(key), tern_slice_of(bytes, sizeof(bytes)), NULL, &error),
        error);
}

static void assert_large(tern_db *db, const char *name, const char *key, int byte) {
    static uint8_t found[LARGE_BYTES];
    size_t size = 0;
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_keyspace_open(db, name, &keyspace, &error), error);
    assert_ok(tern_get(keyspace, tern_slice_str(key), found, sizeof(found), &size, &error), error);
    assert_int_equal(size, LARGE_BYTES);
    assert_int_equal(found[0], byte);
    assert_int_equal(found[LARGE_BYTES - 1], byte);
}

/* ---- damage ---- */

struct wanted {
    enum catalog_change_kind kind;
    unsigned nth; /* of that kind, from 1 on */
    log_position position;
};

static tern_status find_change(void *context, const struct log_record *record, tern_error *error) {
    struct wanted *wanted = context;
    struct arena arena;
    struct decoded_commit commit;
    if (record->kind != LOG_RECORD_COMMIT) {
        return TERN_OK;
    }
    arena_init(&arena, tern_allocator_default(), 4096);
    tern_status status =
        commit_decode(record->payload, record->payload_size, &arena, &commit, error);
    if (status == TERN_OK && commit.catalog_count > 0 && commit.catalog[0].kind == wanted->kind &&
        wanted->nth > 0 && --wanted->nth == 0) {
        wanted->position = record->position;
    }
    arena_release(&arena);
    return status;
}

static void flip_byte(struct step_machine *machine, const char *path, uint64_t offset) {
    const tern_file_system *files = fault_file_system_interface(machine->faults);
    tern_file *file;
    uint8_t byte = 0;
    size_t size;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(files->open(files->context, path, 0, &file, &error), error);
    assert_ok(file->methods->read(file, offset, &byte, 1, &size, &error), error);
    byte ^= 0x10;
    assert_ok(file->methods->write(file, offset, &byte, 1, &error), error);
    assert_ok(file->methods->sync(file, &error), error);
    assert_ok(file->methods->close(file, &error), error);
}

/* Damages the record of the nth creation or drop in the log. */
static void lose_change(struct step_machine *machine, enum catalog_change_kind kind, unsigned nth) {
    char path[64];
    struct wanted wanted = {kind, nth, 0};
    struct log_recovery recovery;
    tern_error error = TERN_ERROR_INIT;
    const struct log_options options = {.directory = STEP_MACHINE_DIRECTORY,
                                        .allocator = tern_allocator_default(),
                                        .file_system = fault_file_system_interface(machine->faults),
                                        .segment_bytes = machine->options.segment_bytes};
    assert_ok(log_scan(&options, 0, false, find_change, &wanted, NULL, NULL, &recovery, &error),
              error);
    assert_true(wanted.position != 0);
    (void)snprintf(path, sizeof(path), "%s/log-%016x", STEP_MACHINE_DIRECTORY,
                   log_position_segment(wanted.position));
    flip_byte(machine, path, log_position_offset(wanted.position) + 30);
}

static tern_db *repair(struct step_machine *machine, tern_repair_report *out_report) {
    tern_db *db;
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = step_machine_options(machine);
    assert_ok(tern_repair(STEP_MACHINE_DIRECTORY, REPAIRED, &options, NULL, NULL, NULL, NULL,
                          out_report, &error),
              error);
    assert_ok(tern_open(REPAIRED, &options, &db, &error), error);
    return db;
}

/* The process ends with the log as it is: closing would move large values out of it. */
static void die(struct step_machine *machine, tern_db *db) {
    power_cut_now(machine->disk);
    (void)tern_close(db, NULL);
    step_machine_cut(machine, POWER_CUT_KEEP_EVERYTHING, 1);
}

/* A new database whose log has everything: commits are durable one by one. */
static tern_db *begin(struct step_machine *machine, uint64_t seed, uint64_t segment_bytes) {
    tern_db *db;
    tern_error error = TERN_ERROR_INIT;
    step_machine_init(machine, seed);
    machine->options.durability = TERN_DURABILITY_FULL;
    if (segment_bytes != 0) {
        machine->options.segment_bytes = segment_bytes;
    }
    assert_ok(step_machine_open(machine, &db, &error), error);
    return db;
}

/* As the engine of `kind` has it. */
static tern_keyspace *create(tern_db *db, const char *name, tern_engine_kind kind) {
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.engine = kind;
    assert_ok(tern_keyspace_create(db, name, &options, &keyspace, &error), error);
    return keyspace;
}

static void end(struct step_machine *machine, tern_db *db) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_close(db, &error), error);
    step_machine_release(machine);
}

/* ---- tests ---- */

static void what_was_written_to_a_keyspace_without_a_creation_is_saved(void **state) {
    (void)state;
    struct step_machine machine;
    tern_keyspace *keyspace;
    tern_repair_report report;
    tern_error error = TERN_ERROR_INIT;
    tern_db *db = begin(&machine, 1, 0);
    keyspace = create(db, "first", TERN_ENGINE_BTREE);
    put(keyspace, "a", "1");
    keyspace = create(db, "second", TERN_ENGINE_BTREE);
    put_large(keyspace, "large", 7);
    put(keyspace, "b", "2");
    put(keyspace, "c", "3");
    assert_int_equal(tern_delete(keyspace, tern_slice_str("c"), NULL, &error), TERN_OK);
    die(&machine, db);
    lose_change(&machine, CATALOG_CREATE, 2);
    assert_int_equal(step_machine_open(&machine, &db, &error), TERN_CORRUPTION);

    db = repair(&machine, &report);
    assert_value(db, "first", "a", "1");
    assert_value(db, "recovered-2", "b", "2");
    assert_large(db, "recovered-2", "large", 7);
    assert_ok(tern_keyspace_open(db, "recovered-2", &keyspace, &error), error);
    assert_int_equal(tern_get(keyspace, tern_slice_str("c"), NULL, 0, NULL, NULL), TERN_NOT_FOUND);
    assert_int_equal(report.keyspaces, 2);
    end(&machine, db);
}

static void a_keyspace_whose_name_is_still_taken_gets_another(void **state) {
    (void)state;
    struct step_machine machine;
    tern_keyspace *keyspace;
    tern_repair_report report;
    tern_error error = TERN_ERROR_INIT;
    tern_db *db = begin(&machine, 1, 0);
    for (int i = 0; i < 2; i++) {
        keyspace = create(db, "same", TERN_ENGINE_BTREE);
        put(keyspace, "a", i == 0 ? "old" : "new");
        if (i == 0) {
            assert_ok(tern_keyspace_drop(db, "same", &error), error);
        }
    }
    assert_ok(tern_close(db, &error), error);
    lose_change(&machine, CATALOG_DROP, 1);
    db = repair(&machine, &report);
    assert_value(db, "same", "a", "old"); /* nothing says that it was dropped */
    assert_value(db, "recovered-2", "a", "new");
    end(&machine, db);
}

/* As when the database has come out of a repair. */
static void a_keyspace_without_a_name_does_not_take_anothers(void **state) {
    (void)state;
    struct step_machine machine;
    tern_keyspace *keyspace;
    tern_repair_report report;
    tern_error error = TERN_ERROR_INIT;
    tern_db *db = begin(&machine, 1, 0);
    keyspace = create(db, "recovered-2", TERN_ENGINE_BTREE);
    put(keyspace, "a", "earlier");
    keyspace = create(db, "second", TERN_ENGINE_BTREE);
    put(keyspace, "a", "later");
    assert_ok(tern_close(db, &error), error);
    lose_change(&machine, CATALOG_CREATE, 2);
    db = repair(&machine, &report);
    assert_value(db, "recovered-2", "a", "earlier");
    assert_value(db, "recovered-2-2", "a", "later");
    end(&machine, db);
}

/* Its chunks come before the commit that creates it; what came of that is not known, nor wanted. */
static void a_drop_of_what_nothing_has_created_is_no_obstacle(void **state) {
    (void)state;
    static uint8_t bytes[LARGE_BYTES];
    struct step_machine machine;
    tern_txn *txn;
    tern_keyspace *first;
    tern_keyspace *gone;
    tern_repair_report report;
    tern_error error = TERN_ERROR_INIT;
    tern_db *db = begin(&machine, 1, 0);
    first = create(db, "first", TERN_ENGINE_BTREE);
    put(first, "a", "before");
    assert_ok(tern_txn_begin(db, NULL, &txn, &error), error);
    assert_ok(tern_txn_keyspace_create(txn, "gone", NULL, &gone), *tern_txn_error(txn));
    assert_ok(
        tern_txn_put(txn, gone, tern_slice_str("large"), tern_slice_of(bytes, sizeof(bytes)), NULL),
        *tern_txn_error(txn));
    assert_ok(tern_txn_commit(txn), *tern_txn_error(txn));
    tern_txn_free(txn);
    assert_ok(tern_keyspace_drop(db, "gone", &error), error);
    put(first, "b", "after");
    assert_ok(tern_close(db, &error), error);
    lose_change(&machine, CATALOG_CREATE, 2);

    db = repair(&machine, &report);
    assert_value(db, "first", "a", "before");
    assert_value(db, "first", "b", "after");
    assert_int_equal(tern_keyspace_open(db, "recovered-2", &gone, &error), TERN_NOT_FOUND);
    assert_int_equal(report.keyspaces, 1);
    end(&machine, db);
}

static void remove_manifests(struct step_machine *machine) {
    for (unsigned i = 0; i < MANIFEST_SLOTS; i++) {
        flip_byte(machine, STEP_MACHINE_DIRECTORY "/" MANIFEST_FILE_NAME, i * 4096u + 24u);
    }
}

/* A value that is never committed: its chunks are in the log. */
static void give_up_large(tern_db *db, tern_keyspace *keyspace) {
    static uint8_t bytes[LARGE_BYTES];
    tern_txn *txn;
    tern_error error = TERN_ERROR_INIT;
    memset(bytes, 99, sizeof(bytes));
    assert_ok(tern_txn_begin(db, NULL, &txn, &error), error);
    assert_ok(tern_txn_put(txn, keyspace, tern_slice_str("never"),
                           tern_slice_of(bytes, sizeof(bytes)), NULL),
              *tern_txn_error(txn));
    tern_txn_free(txn);
}

/* Bases and log. Tokens of large values begin anew where recovery finds none, and the log holds
 * more than recovery reads. */
static void without_a_manifest_all_of_files_and_log_is_saved(void **state) {
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        struct step_machine machine;
        tern_repair_report report;
        char key[24];
        const char *name = "recovered-1";
        tern_error error = TERN_ERROR_INIT;
        tern_db *db = begin(&machine, 1, (uint64_t)1 << 20);
        tern_keyspace *keyspace = create(db, "k", kinds[kind]);
        put(keyspace, "small", "base");
        for (int i = 0; i < 3; i++) {
            (void)snprintf(key, sizeof(key), "large %d", i);
            give_up_large(db, keyspace);
            put_large(keyspace, key, 1 + i);
            assert_ok(tern_checkpoint(db, &error), error);
            assert_ok(tern_close(db, &error), error);
            assert_ok(step_machine_open(&machine, &db, &error), error);
            assert_ok(tern_keyspace_open(db, "k", &keyspace, &error), error);
        }
        put_large(keyspace, "large 3", 4);
        put(keyspace, "late", "log");
        die(&machine, db);
        remove_manifests(&machine);
        assert_int_equal(step_machine_open(&machine, &db, &error), TERN_CORRUPTION);

        db = repair(&machine, &report);
        assert_value(db, name, "small", "base");
        assert_value(db, name, "late", "log");
        for (int i = 0; i < 4; i++) {
            (void)snprintf(key, sizeof(key), "large %d", i);
            assert_large(db, name, key, 1 + i);
        }
        assert_ok(tern_keyspace_open(db, name, &keyspace, &error), error);
        assert_int_equal(tern_get(keyspace, tern_slice_str("never"), NULL, 0, NULL, NULL),
                         TERN_NOT_FOUND);
        end(&machine, db);
    }
}

/* Amid a conversion there are two partitions, and nobody knows which one is the keyspace. */
struct conversion {
    struct step_machine machine;
    uint64_t cut; /* so many calls after the records were copied */
    bool is_armed;
};

static bool cut_later(void *context, const char *phase, uint64_t done, uint64_t total) {
    struct conversion *conversion = context;
    struct power_cut_file_system *disk = conversion->machine.disk;
    (void)phase;
    (void)total;
    if (done > 0 && !conversion->is_armed) {
        conversion->is_armed = true;
        power_cut_arm(disk, power_cut_calls(disk) + conversion->cut);
    }
    return true;
}

/* False: the conversion makes fewer calls. */
static bool repair_amid_conversion(uint64_t cut, tern_engine_kind from, tern_engine_kind to) {
    struct conversion conversion = {.cut = cut};
    struct step_machine *machine = &conversion.machine;
    tern_repair_report report;
    char key[16];
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_db *db = begin(machine, 3, 0);
    tern_keyspace *keyspace = create(db, "k", from);
    for (unsigned i = 0; i < 60; i++) {
        (void)snprintf(key, sizeof(key), "%06u", i);
        put(keyspace, key, key);
    }
    put_large(keyspace, "large", 5);
    assert_ok(tern_checkpoint(db, &error), error);
    put(keyspace, "late", "log");
    options.engine = to;
    tern_status status = tern_keyspace_convert(keyspace, &options, cut_later, &conversion, &error);
    bool was_cut = power_cut_is_off(machine->disk);
    assert_true(was_cut || status == TERN_OK);
    power_cut_now(machine->disk);
    (void)tern_close(db, NULL);
    step_machine_cut(machine, POWER_CUT_KEEP_EVERYTHING, 1);
    remove_manifests(machine);
    db = repair(machine, &report);
    /* The old one while it is there, else the new one. */
    bool is_old = tern_keyspace_open(db, "recovered-1", &keyspace, NULL) == TERN_OK;
    const char *name = is_old ? "recovered-1" : "recovered-2";
    assert_value(db, name, "late", "log");
    assert_large(db, name, "large", 5);
    for (unsigned i = 0; i < 60; i++) {
        (void)snprintf(key, sizeof(key), "%06u", i);
        assert_value(db, name, key, key);
    }
    end(machine, db);
    return was_cut;
}

static void without_a_manifest_amid_a_conversion_nothing_is_lost(void **state) {
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        uint64_t cut = 1;
        while (cut < 100 && repair_amid_conversion(cut, kinds[i], kinds[(i + 1) % 3])) {
            cut++;
        }
        print_message("%llu cuts\n", (unsigned long long)cut);
        assert_true(cut > 5 && cut < 100);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_to_a_keyspace_without_a_creation_is_saved),
        cmocka_unit_test(a_keyspace_whose_name_is_still_taken_gets_another),
        cmocka_unit_test(a_keyspace_without_a_name_does_not_take_anothers),
        cmocka_unit_test(a_drop_of_what_nothing_has_created_is_no_obstacle),
        cmocka_unit_test(without_a_manifest_all_of_files_and_log_is_saved),
        cmocka_unit_test(without_a_manifest_amid_a_conversion_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
