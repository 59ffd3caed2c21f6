/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Databases in states that are hard to come by, left by a process that has ended, and read by the
 * book (by_the_book/compare.py): the reader and the library find the same in each.
 *
 * ctest: only=release
 * ctest: timeout=600
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <tern/tern.h>
#include <unistd.h>

#include "support/cmocka_test.h"
#include "support/fault_file_system.h"
#include "support/step_executor.h"
#include "support/temporary_directory.h"
#include "support/virtual_clock.h"

#define KEYS        700u
#define VALUE_BYTES 900u
#define LARGE_BYTES ((size_t)300 << 10)
#define CONVERSIONS 12u

/* What a child leaves in `path`; `number` tells its variants apart. It must not return. */
typedef void (*writer)(const char *path, unsigned number);

static void leave(writer write, const char *directory, unsigned number) {
    char path[1024];
    int status = -1;
    (void)snprintf(path, sizeof(path), "%s/db%u", directory, number);
    pid_t child = fork();
    if (child == 0) {
        write(path, number);
        _exit(1);
    }
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    assert_int_equal(status, 0);
}

/* Runs compare.py over all databases in the directory. */
static void read_by_the_book(const char *directory, const char *traits) {
    const char *source = getenv("TERN_SOURCE_DIR");
    if (getenv("TERN_BINARY") == NULL) {
        print_message("skipped: TERN_BINARY is not set\n");
        skip();
    }
    char *command;
    assert_true(
        asprintf(&command,
                 "cd '%s/tests/compat' && exec python3 -B -m by_the_book.compare %s '%s'/db*",
                 source != NULL ? source : ".", traits, directory) > 0);
    int status = system(command);
    free(command);
    assert_int_equal(status, 0);
}

/* ---- writing ---- */

static tern_db *create(const char *path, tern_db_options *options) {
    tern_error error = TERN_ERROR_INIT;
    tern_db *db;
    options->create_if_missing = true;
    options->memory_bytes = 16 << 20;
    assert_ok(tern_open(path, options, &db, &error), error);
    return db;
}

static tern_keyspace *add_keyspace(tern_db *db, const char *name, tern_engine_kind engine) {
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_keyspace *keyspace;
    options.engine = engine;
    options.page_bytes = 4096;
    assert_ok(tern_keyspace_create(db, name, &options, &keyspace, &error), error);
    return keyspace;
}

/* Every `step`-th key gets a value that tells `version`, every seventh of these a merge. */
static void put_keys(tern_db *db, tern_keyspace *keyspace, unsigned keys, unsigned step,
                     unsigned version) {
    tern_error error = TERN_ERROR_INIT;
    uint8_t value[VALUE_BYTES];
    for (unsigned i = 0; i < keys;) {
        tern_txn *txn;
        assert_ok(tern_txn_begin(db, NULL, &txn, &error), error);
        for (unsigned end = i + 100 * step; i < end && i < keys; i += step) {
            char key[16];
            (void)snprintf(key, sizeof(key), "key %05u", i);
            for (unsigned j = 0; j < VALUE_BYTES; j++) {
                value[j] = (uint8_t)(i * 31 + j * version + j / 7);
            }
            size_t size = VALUE_BYTES - i % 400;
            tern_slice operand = tern_slice_of(value, 5);
            assert_ok(i / step % 7 == 0 ? tern_txn_merge(txn, keyspace, tern_slice_str(key),
                                                         TERN_MERGE_APPEND, operand)
                                        : tern_txn_put(txn, keyspace, tern_slice_str(key),
                                                       tern_slice_of(value, size), NULL),
                      *tern_txn_error(txn));
        }
        assert_ok(tern_txn_commit(txn), *tern_txn_error(txn));
        tern_txn_free(txn);
    }
}

static void put_large(tern_keyspace *keyspace, const char *key, unsigned version) {
    tern_error error = TERN_ERROR_INIT;
    uint8_t *value = malloc(LARGE_BYTES);
    assert_non_null(value);
    for (size_t i = 0; i < LARGE_BYTES; i++) {
        value[i] = (uint8_t)(i * 7 + i / 1000 + version);
    }
    assert_ok(
        tern_put(keyspace, tern_slice_str(key), tern_slice_of(value, LARGE_BYTES), NULL, &error),
        error);
    free(value);
}

static void delete_range(tern_keyspace *keyspace, const char *begin, const char *end) {
    tern_error error = TERN_ERROR_INIT;
    tern_slice from = tern_slice_str(begin);
    tern_slice to = end != NULL ? tern_slice_str(end) : from;
    assert_ok(tern_delete_range(keyspace, &from, end != NULL ? &to : NULL, NULL, &error), error);
}

static void fail_syncs(struct fault_file_system *faults, unsigned first) {
    fault_file_system_arm(faults,
                          &(struct fault_plan){.kinds = FAULT_SYNC, .nth = first, .sticky = true});
}

/* Whether something failed or the fault came too late, what is on disk counts. */
static void end_after_fault(tern_status status, const tern_error *error) {
    bool is_expected =
        status == TERN_OK || status == TERN_IO || status == TERN_POISONED || status == TERN_UNKNOWN;
    if (!is_expected) {
        print_error("%s: %s\n", tern_status_name(status), error->message);
    }
    _exit(is_expected ? 0 : 1);
}

/* ---- checkpoints that are cut off ---- */

/* Before the first publish; behind that of a slice, and within the next; within the last one. */
static const unsigned first_failed_sync[] = {2, 7, 8, 11};
#define CUTS (sizeof(first_failed_sync) / sizeof(first_failed_sync[0]))

/* A checkpoint publishes slices; from one of its syncs on all fail. */
static void write_cut_checkpoint(const char *path, unsigned number) {
    static const tern_engine_kind engines[] = {TERN_ENGINE_BTREE, TERN_ENGINE_HASH,
                                               TERN_ENGINE_LSM};
    /* Of the first as many as make several slices. */
    static const unsigned keys[] = {3000, KEYS, KEYS};
    tern_error error = TERN_ERROR_INIT;
    struct virtual_clock clock;
    virtual_clock_init(&clock);
    struct step_executor *executor = step_executor_create(1, &clock);
    struct fault_file_system *faults = fault_file_system_create(tern_file_system_default());
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    options.file_system = fault_file_system_interface(faults);
    options.clock = virtual_clock_interface(&clock);
    options.executor = step_executor_interface(executor); /* nothing is drained ahead */
    options.durability = TERN_DURABILITY_NONE;
    tern_db *db = create(path, &options);
    tern_keyspace *keyspaces[3];
    for (unsigned i = 0; i < 3; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "keyspace %u", i);
        keyspaces[i] = add_keyspace(db, name, engines[i]);
        put_keys(db, keyspaces[i], keys[i], 3, 1);
        put_large(keyspaces[i], "large", 1);
    }
    assert_ok(tern_checkpoint(db, &error), error);
    for (unsigned i = 0; i < 3; i++) {
        put_keys(db, keyspaces[i], keys[i], i == 0 ? 1 : 2, 2);
        delete_range(keyspaces[i], "key 00300", "key 00444");
        char last[16];
        (void)snprintf(last, sizeof(last), "key %05u", keys[i] - 100);
        delete_range(keyspaces[i], last, NULL);
        put_large(keyspaces[i], "large", 2);
        put_keys(db, keyspaces[i], keys[i], 97, 3);
    }
    fail_syncs(faults, first_failed_sync[number]);
    tern_status status = tern_checkpoint(db, &error);
    end_after_fault(status, &error);
}

static void checkpoints_cut_off_at_any_sync(void **state) {
    (void)state;
    char *directory = temporary_directory_create();
    for (unsigned i = 0; i < CUTS; i++) {
        leave(write_cut_checkpoint, directory, i);
    }
    read_by_the_book(directory, "--needs marks --needs apart");
    temporary_directory_remove(directory);
}

/* ---- conversions ---- */

struct amid {
    tern_db *db;
    tern_keyspace *keyspace;
    bool has_written;
    struct fault_file_system *faults;
    unsigned fault; /* sync that fails behind the writes; 0: none */
};

/* Writes while a conversion copies: it has to catch up. */
static bool write_amid(void *context, const char *phase, uint64_t done, uint64_t total) {
    struct amid *amid = context;
    (void)phase;
    (void)done;
    (void)total;
    if (!amid->has_written) {
        amid->has_written = true;
        put_keys(amid->db, amid->keyspace, KEYS, 5, 4);
        put_large(amid->keyspace, "large", 3);
        delete_range(amid->keyspace, "key 00500", "key 00600");
        if (amid->fault > 0) {
            fail_syncs(amid->faults, amid->fault);
        }
    }
    return true;
}

static void write_conversion(const char *path, unsigned number) {
    static const tern_engine_kind engines[] = {TERN_ENGINE_BTREE, TERN_ENGINE_HASH,
                                               TERN_ENGINE_LSM};
    tern_error error = TERN_ERROR_INIT;
    struct fault_file_system *faults = fault_file_system_create(tern_file_system_default());
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    options.file_system = fault_file_system_interface(faults);
    options.durability = TERN_DURABILITY_NONE;
    tern_db *db = create(path, &options);
    struct amid amid = {.db = db, .faults = faults, .fault = number / 3 * 2};
    amid.keyspace = add_keyspace(db, "converted", engines[number % 3]);
    put_keys(db, amid.keyspace, KEYS, 1, 1);
    put_large(amid.keyspace, "large", 1);
    tern_keyspace_options to = TERN_KEYSPACE_OPTIONS_INIT;
    to.engine = engines[(number + 1) % 3];
    tern_status status = tern_keyspace_convert(amid.keyspace, &to, write_amid, &amid, &error);
    if (amid.fault == 0) {
        put_keys(db, amid.keyspace, KEYS, 11, 5);
    }
    end_after_fault(status, &error);
}

static void conversions_amid_writes_and_cut_off(void **state) {
    (void)state;
    char *directory = temporary_directory_create();
    for (unsigned i = 0; i < CONVERSIONS; i++) {
        leave(write_conversion, directory, i);
    }
    read_by_the_book(directory, "--needs copies --needs building");
    temporary_directory_remove(directory);
}

/* ---- cached pages ---- */

static void write_cached(const char *path, unsigned number) {
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    (void)number;
    options.prewarm = true;
    tern_db *db = create(path, &options);
    tern_keyspace *trees[2] = {add_keyspace(db, "a", TERN_ENGINE_BTREE),
                               add_keyspace(db, "b", TERN_ENGINE_BTREE)};
    for (unsigned i = 0; i < 2; i++) {
        put_keys(db, trees[i], KEYS, 1, i);
    }
    assert_ok(tern_checkpoint(db, &error), error);
    for (unsigned i = 0; i < KEYS; i += 20) {
        char key[16];
        tern_value value = TERN_VALUE_INIT;
        (void)snprintf(key, sizeof(key), "key %05u", i);
        assert_ok(tern_get_pinned(trees[i / 20 % 2], tern_slice_str(key), &value, &error), error);
        tern_value_release(&value);
    }
    assert_ok(tern_close(db, &error), error);
    _exit(0);
}

static void lists_of_cached_pages(void **state) {
    (void)state;
    char *directory = temporary_directory_create();
    leave(write_cached, directory, 0);
    read_by_the_book(directory, "--needs cached");
    temporary_directory_remove(directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checkpoints_cut_off_at_any_sync),
        cmocka_unit_test(conversions_amid_writes_and_cut_off),
        cmocka_unit_test(lists_of_cached_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
