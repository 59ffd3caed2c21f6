/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept of the log, and of what was dropped, and what is let go. */
#include "support/cmocka_test.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <tern/tern.h>
#include <time.h>

#include "support/step_machine.h"
#include "support/temporary_directory.h"

/* The active segment, two that stand ready, and one that is being made ready at that moment. */
#define FILES_AFTER_CHECKPOINT 4
/* More segments than a checkpoint is wanted for: four times the overlays, and four. */
#define LONG_LOG_FILES  ((4 * OVERLAY_BYTES >> 18) + 5)
#define LONG_LOG_ROUNDS 3
#define OVERLAY_BYTES   ((uint64_t)1 << 20)

static tern_db *open_in(const char *path, uint64_t overlay_bytes) {
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    tern_db *db = NULL;
    options.create_if_missing = true;
    options.memory_bytes = (uint64_t)32 << 20;
    options.overlay_bytes = overlay_bytes;
    options.segment_bytes = (uint64_t)256 << 10;
    assert_ok(tern_open(path, &options, &db, &error), error);
    return db;
}

static unsigned count_log_files(const char *path) {
    DIR *directory = opendir(path);
    assert_non_null(directory);
    unsigned count = 0;
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        count += strncmp(entry->d_name, "log-", 4) == 0 ? 1 : 0;
    }
    (void)closedir(directory);
    return count;
}

static uint64_t stat_of(tern_db *db, const char *name) {
    uint64_t value = 0;
    assert_int_equal(tern_stat_get(db, name, &value), TERN_OK);
    return value;
}

static void put_some(tern_keyspace *keyspace, char mark) {
    char key[16];
    char value[100];
    tern_error error = TERN_ERROR_INIT;
    memset(value, mark, sizeof(value));
    for (unsigned i = 0; i < 20000; i++) {
        (void)snprintf(key, sizeof(key), "%08u", i * 7919 % 20000);
        assert_ok(tern_put(keyspace, tern_slice_str(key), tern_slice_of(value, sizeof(value)), NULL,
                           &error),
                  error);
    }
}

static void checkpoint_leaves_the_spares_of_the_log_alone(void **state) {
    (void)state;
    char *path = temporary_directory_create();
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *keyspace = NULL;
    tern_db *db = open_in(path, 0);
    assert_ok(tern_keyspace_create(db, "test", NULL, &keyspace, &error), error);
    for (unsigned round = 0; round < 3; round++) {
        put_some(keyspace, (char)('a' + round));
        assert_true(count_log_files(path) > 2 * FILES_AFTER_CHECKPOINT);
        assert_ok(tern_checkpoint(db, &error), error);
        assert_in_range(count_log_files(path), 1, FILES_AFTER_CHECKPOINT);
    }
    assert_ok(tern_close(db, &error), error);
    db = open_in(path, 0);
    assert_ok(tern_keyspace_open(db, "test", &keyspace, &error), error);
    char found[100];
    size_t size = 0;
    assert_ok(tern_get(keyspace, tern_slice_str("00000042"), found, sizeof(found), &size, &error),
              error);
    assert_int_equal(found[0], 'c');
    assert_ok(tern_close(db, &error), error);
    temporary_directory_remove(path);
}

/* Its chunks are in the log: no checkpoint can let that go before the value is committed. */
static void a_large_value_being_written_keeps_the_log_without_endless_checkpoints(void **state) {
    (void)state;
    char *path = temporary_directory_create();
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *keyspace = NULL;
    tern_value_writer *writer = NULL;
    static char chunk[1 << 20];
    tern_db *db = open_in(path, OVERLAY_BYTES);
    assert_ok(tern_keyspace_create(db, "test", NULL, &keyspace, &error), error);
    tern_txn *txn = NULL;
    assert_ok(tern_txn_begin(db, NULL, &txn, &error), error);
    assert_int_equal(tern_txn_put_begin(txn, keyspace, tern_slice_str("large"), NULL, &writer),
                     TERN_OK);
    memset(chunk, 'x', sizeof(chunk));
    assert_int_equal(tern_value_writer_append(writer, tern_slice_of(chunk, sizeof(chunk))),
                     TERN_OK);
    for (unsigned round = 0; round < LONG_LOG_ROUNDS; round++) {
        put_some(keyspace, (char)('a' + round));
    }
    assert_ok(tern_checkpoint(db, &error), error);
    assert_true(count_log_files(path) > LONG_LOG_FILES);
    uint64_t before = stat_of(db, "checkpoints");
    (void)nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    assert_in_range(stat_of(db, "checkpoints"), before, before + 1);
    assert_int_equal(tern_value_writer_finish(writer), TERN_OK);
    assert_int_equal(tern_txn_commit(txn), TERN_OK);
    tern_txn_free(txn);
    assert_ok(tern_checkpoint(db, &error), error);
    assert_ok(tern_checkpoint(db, &error), error);
    assert_in_range(count_log_files(path), 1, FILES_AFTER_CHECKPOINT);
    assert_ok(tern_close(db, &error), error);
    temporary_directory_remove(path);
}

static void put_large(tern_txn *txn, tern_keyspace *keyspace) {
    static char value[1 << 20];
    memset(value, 'v', sizeof(value));
    assert_int_equal(tern_txn_put(txn, keyspace, tern_slice_str("large"),
                                  tern_slice_of(value, sizeof(value)), NULL),
                     TERN_OK);
}

/* Written and given up in the same transaction, in ways that leave nothing to commit. */
static void large_values_given_up_do_not_keep_the_log(void **state) {
    (void)state;
    for (unsigned way = 0; way < 3; way++) {
        char *path = temporary_directory_create();
        tern_error error = TERN_ERROR_INIT;
        tern_keyspace *keyspace = NULL;
        tern_keyspace *other = NULL;
        tern_txn *txn = NULL;
        uint32_t savepoint = 0;
        tern_db *db = open_in(path, 0);
        assert_ok(tern_keyspace_create(db, "test", NULL, &keyspace, &error), error);
        assert_ok(tern_keyspace_create(db, "dropped", NULL, &other, &error), error);
        assert_ok(tern_txn_begin(db, NULL, &txn, &error), error);
        assert_int_equal(tern_txn_savepoint(txn, &savepoint), TERN_OK);
        if (way == 0) {
            put_large(txn, other);
            assert_int_equal(tern_txn_keyspace_drop(txn, other), TERN_OK);
        } else {
            if (way == 1) {
                assert_int_equal(tern_txn_keyspace_create(txn, "new", NULL, &other), TERN_OK);
            }
            put_large(txn, other);
            assert_int_equal(tern_txn_rollback_to(txn, savepoint), TERN_OK);
        }
        assert_int_equal(tern_txn_commit(txn), TERN_OK);
        tern_txn_free(txn);
        put_some(keyspace, 'a');
        assert_ok(tern_checkpoint(db, &error), error);
        assert_ok(tern_checkpoint(db, &error), error);
        assert_in_range(count_log_files(path), 1, FILES_AFTER_CHECKPOINT);
        assert_ok(tern_close(db, &error), error);
        temporary_directory_remove(path);
    }
}

/* Nothing fills: a few keys are written again and again, and no pause is long enough to notice. */
static void a_long_log_is_let_go_though_overlays_stay_small(void **state) {
    (void)state;
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    char value[1000];
    memset(value, 'v', sizeof(value));
    step_machine_init(&machine, 1);
    machine.options.segment_bytes = 65536;
    machine.options.overlay_bytes = 512 << 10;
    assert_ok(step_machine_open(&machine, &db, &error), error);
    assert_ok(tern_keyspace_create(db, "test", NULL, &keyspace, &error), error);
    uint64_t most = 0;
    for (unsigned i = 0; i < 12000; i++) {
        const char key[2] = {(char)('a' + i % 10), '\0'};
        assert_ok(tern_put(keyspace, tern_slice_str(key), tern_slice_of(value, sizeof(value)), NULL,
                           &error),
                  error);
        if (i % 16 == 0) {
            (void)step_executor_run(machine.executor, 20);
            uint64_t segments = 0;
            assert_int_equal(tern_stat_get(db, "log_segments", &segments), TERN_OK);
            most = segments > most ? segments : most;
        }
    }
    print_message("%llu segments at most\n", (unsigned long long)most);
    assert_in_range(most, 1, 4 * (512 << 10) / 65536 + 8);
    assert_ok(tern_close(db, &error), error);
    step_machine_release(&machine);
}

struct archive {
    bool refuses;
    uint64_t offers, taken, last_id, disorders;
};

static tern_status offer(void *context, const char *path, uint64_t id) {
    struct archive *archive = context;
    (void)path;
    archive->offers++;
    if (archive->refuses) {
        return TERN_IO;
    }
    archive->disorders += archive->taken > 0 && id > archive->last_id + 1 ? 1 : 0;
    archive->last_id = id;
    archive->taken++;
    return TERN_OK;
}

/* The log is kept for it; nobody waits, and it is not asked all the time. */
static void an_archive_that_refuses_stops_nobody(void **state) {
    (void)state;
    struct archive archive = {.refuses = true};
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *keyspace;
    tern_error error = TERN_ERROR_INIT;
    step_machine_init(&machine, 1);
    machine.options.segment_bytes = 65536;
    machine.options.overlay_bytes = 512 << 10;
    machine.options.archive = offer;
    machine.options.archive_context = &archive;
    assert_ok(step_machine_open(&machine, &db, &error), error);
    assert_ok(tern_keyspace_create(db, "test", NULL, &keyspace, &error), error);
    put_some(keyspace, 'a');
    put_some(keyspace, 'b');
    step_machine_idle(&machine, 20);
    uint64_t checkpoints = stat_of(db, "checkpoints");
    assert_true(checkpoints >= 2);
    assert_in_range(stat_of(db, "manifests_written"), 1, 40 * checkpoints);
    assert_true(stat_of(db, "log_release_failures") > 0);
    assert_ok(tern_checkpoint(db, &error), error);
    assert_ok(tern_close(db, &error), error);

    assert_ok(step_machine_open(&machine, &db, &error), error);
    assert_ok(tern_keyspace_open(db, "test", &keyspace, &error), error);
    uint64_t manifests = stat_of(db, "manifests_written");
    uint64_t offers = archive.offers;
    step_machine_idle(&machine, 200);
    assert_in_range(stat_of(db, "manifests_written"), manifests, manifests + 4);
    assert_in_range(archive.offers, offers, offers + 250);
    archive.refuses = false;
    step_machine_idle(&machine, 2000);
    assert_int_equal(archive.disorders, 0);
    assert_true(archive.taken > 40);
    assert_in_range(stat_of(db, "log_segments"), 1, FILES_AFTER_CHECKPOINT);
    assert_ok(tern_close(db, &error), error);
    step_machine_release(&machine);
}

/* Its files go though nothing else is committed, and though a reader saw it at first. */
static void a_dropped_keyspace_gives_its_space_back_when_idle(void **state) {
    (void)state;
    for (int with_reader = 0; with_reader < 2; with_reader++) {
        struct step_machine machine;
        tern_db *db;
        tern_keyspace *keyspace;
        tern_txn *reader = NULL;
        tern_error error = TERN_ERROR_INIT;
        tern_txn_options options = TERN_TXN_OPTIONS_INIT;
        options.read_only = true;
        step_machine_init(&machine, 1);
        assert_ok(step_machine_open(&machine, &db, &error), error);
        assert_ok(tern_keyspace_create(db, "test", NULL, &keyspace, &error), error);
        put_some(keyspace, 'a');
        assert_ok(tern_checkpoint(db, &error), error);
        step_machine_idle(&machine, 20);
        uint64_t used = fault_file_system_used(machine.faults);
        if (with_reader) {
            assert_ok(tern_txn_begin(db, &options, &reader, &error), error);
        }
        assert_ok(tern_keyspace_drop(db, "test", &error), error);
        step_machine_idle(&machine, 50);
        if (with_reader) {
            assert_true(fault_file_system_used(machine.faults) + 1000000 > used);
            tern_txn_free(reader);
            step_machine_idle(&machine, 50);
        }
        assert_true(fault_file_system_used(machine.faults) + 2000000 < used);
        uint64_t manifests = stat_of(db, "manifests_written");
        step_machine_idle(&machine, 50);
        assert_int_equal(stat_of(db, "manifests_written"), manifests);
        assert_ok(tern_close(db, &error), error);
        step_machine_release(&machine);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checkpoint_leaves_the_spares_of_the_log_alone),
        cmocka_unit_test(a_large_value_being_written_keeps_the_log_without_endless_checkpoints),
        cmocka_unit_test(large_values_given_up_do_not_keep_the_log),
        cmocka_unit_test(a_long_log_is_let_go_though_overlays_stay_small),
        cmocka_unit_test(an_archive_that_refuses_stops_nobody),
        cmocka_unit_test(a_dropped_keyspace_gives_its_space_back_when_idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
