/* SPDX-License-Identifier: Apache-2.0 */
/* Copies that are cut short, targets that are not empty, and directories whose root file is lost:
 * none of them may be taken for a database, or be lost to one. */
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api_fixture.h"

#define RECORDS 20000

static unsigned entries_in(const char *path) {
    unsigned count = 0;
    DIR *directory = opendir(path);
    assert_non_null(directory);
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 ? 1 : 0;
    }
    (void)closedir(directory);
    return count;
}

static void write_file(const char *directory, const char *name) {
    char path[600];
    (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs("mine\n", file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* A database of its own, and a path for a copy. */
struct copies {
    char *directory;
    char source[512];
    char target[512];
    tern_db *db;
};

static void open_source(struct copies *copies) {
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    options.create_if_missing = true;
    assert_ok(tern_open(copies->source, &options, &copies->db, &error), error);
}

static void close_source(struct copies *copies) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_close(copies->db, &error), error);
    copies->db = NULL;
}

static void fill(tern_db *db) {
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace *keyspace;
    tern_txn *txn;
    char key[16];
    assert_ok(tern_keyspace_create(db, "birds", NULL, &keyspace, &error), error);
    assert_ok(tern_txn_begin(db, NULL, &txn, &error), error);
    for (int i = 0; i < RECORDS; i++) {
        (void)snprintf(key, sizeof(key), "%06d", i);
        assert_int_equal(
            tern_txn_put(txn, keyspace, tern_slice_str(key), tern_slice_str("tern"), NULL),
            TERN_OK);
    }
    api_commit(txn);
    assert_ok(tern_checkpoint(db, &error), error);
}

static void init(struct copies *copies) {
    copies->directory = temporary_directory_create();
    (void)snprintf(copies->source, sizeof(copies->source), "%s/source", copies->directory);
    (void)snprintf(copies->target, sizeof(copies->target), "%s/target", copies->directory);
    open_source(copies);
    fill(copies->db);
}

static void release(struct copies *copies) {
    if (copies->db != NULL) {
        close_source(copies);
    }
    temporary_directory_remove(copies->directory);
}

static void assert_whole(const char *path) {
    tern_error error = TERN_ERROR_INIT;
    tern_db *db;
    tern_keyspace *keyspace;
    tern_txn *txn;
    uint64_t count = 0;
    assert_ok(tern_open(path, NULL, &db, &error), error);
    assert_ok(tern_keyspace_open(db, "birds", &keyspace, &error), error);
    assert_ok(tern_txn_begin(db, NULL, &txn, &error), error);
    assert_int_equal(tern_txn_count(txn, keyspace, NULL, NULL, &count), TERN_OK);
    assert_int_equal(count, RECORDS);
    tern_txn_free(txn);
    assert_ok(tern_close(db, &error), error);
}

static bool stop_early(void *context, const char *phase, uint64_t done, uint64_t total) {
    (void)context;
    (void)phase;
    (void)total;
    return done < RECORDS / 2;
}

static bool die_early(void *context, const char *phase, uint64_t done, uint64_t total) {
    (void)context;
    (void)phase;
    (void)total;
    if (done >= RECORDS / 2) {
        _exit(9);
    }
    return true;
}

static void a_copy_goes_nowhere_but_into_an_empty_directory(void **state) {
    (void)state;
    struct copies copies;
    tern_error error = TERN_ERROR_INIT;
    tern_repair_report report;
    init(&copies);
    assert_int_equal(mkdir(copies.target, 0777), 0);
    write_file(copies.target, "letter.txt");
    assert_int_equal(tern_clone(copies.db, copies.target, NULL, NULL, &error), TERN_EXISTS);
    assert_non_null(strstr(error.message, "letter.txt"));
    assert_int_equal(entries_in(copies.target), 1);
    close_source(&copies);
    assert_int_equal(
        tern_repair(copies.source, copies.target, NULL, NULL, NULL, NULL, NULL, &report, &error),
        TERN_EXISTS);
    assert_int_equal(entries_in(copies.target), 1);
    open_source(&copies);
    (void)snprintf(copies.target, sizeof(copies.target), "%s/empty", copies.directory);
    assert_int_equal(mkdir(copies.target, 0777), 0);
    assert_ok(tern_clone(copies.db, copies.target, NULL, NULL, &error), error);
    assert_whole(copies.target);
    release(&copies);
}

static void a_copy_that_is_cancelled_leaves_nothing_in_the_way(void **state) {
    (void)state;
    struct copies copies;
    tern_error error = TERN_ERROR_INIT;
    tern_repair_report report;
    init(&copies);
    assert_int_equal(tern_clone(copies.db, copies.target, stop_early, NULL, &error),
                     TERN_CANCELLED);
    assert_int_equal(entries_in(copies.target), 0);
    assert_ok(tern_clone(copies.db, copies.target, NULL, NULL, &error), error);
    assert_whole(copies.target);
    close_source(&copies);
    (void)snprintf(copies.target, sizeof(copies.target), "%s/repaired", copies.directory);
    assert_int_equal(tern_repair(copies.source, copies.target, NULL, NULL, NULL, stop_early, NULL,
                                 &report, &error),
                     TERN_CANCELLED);
    assert_int_equal(entries_in(copies.target), 0);
    assert_ok(
        tern_repair(copies.source, copies.target, NULL, NULL, NULL, NULL, NULL, &report, &error),
        error);
    assert_whole(copies.target);
    release(&copies);
}

static void wait_for_death(pid_t child) {
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 9);
}

/* Neither for reading nor for creating, and no repair takes it for its own. */
static void assert_no_database(const char *path) {
    tern_error error = TERN_ERROR_INIT;
    tern_db *db = NULL;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    unsigned files = entries_in(path);
    assert_true(files > 1);
    assert_int_equal(tern_open(path, NULL, &db, &error), TERN_CORRUPTION);
    assert_non_null(strstr(error.message, "tern.root"));
    options.create_if_missing = true;
    assert_int_equal(tern_open(path, &options, &db, &error), TERN_CORRUPTION);
    options.create_if_missing = false;
    options.read_only = true;
    assert_int_equal(tern_open(path, &options, &db, &error), TERN_CORRUPTION);
    assert_null(db);
    assert_true(entries_in(path) >= files);
}

static void a_clone_whose_process_dies_is_no_database(void **state) {
    (void)state;
    struct copies copies;
    tern_error error = TERN_ERROR_INIT;
    init(&copies);
    close_source(&copies);
    pid_t child = fork();
    if (child == 0) {
        tern_db *db;
        if (tern_open(copies.source, NULL, &db, NULL) == TERN_OK) {
            (void)!tern_clone(db, copies.target, die_early, NULL, NULL);
        }
        _exit(1);
    }
    wait_for_death(child);
    assert_no_database(copies.target);
    open_source(&copies);
    assert_int_equal(tern_clone(copies.db, copies.target, NULL, NULL, &error), TERN_EXISTS);
    release(&copies);
}

static void a_repair_whose_process_dies_is_no_database(void **state) {
    (void)state;
    struct copies copies;
    init(&copies);
    close_source(&copies);
    pid_t child = fork();
    if (child == 0) {
        tern_repair_report report;
        (void)!tern_repair(copies.source, copies.target, NULL, NULL, NULL, die_early, NULL, &report,
                           NULL);
        _exit(1);
    }
    wait_for_death(child);
    assert_no_database(copies.target);
    assert_whole(copies.source);
    release(&copies);
}

/* ---- a lost root file ---- */

static bool take_first(void *context, const tern_finding *finding) {
    char *text = context;
    if (text[0] == '\0') {
        (void)snprintf(text, 64, "%s", finding->invariant);
    }
    return true;
}

static bool take_name(void *context, tern_keyspace *keyspace) {
    char *name = context;
    (void)snprintf(name, 64, "%s", tern_keyspace_name(keyspace));
    return true;
}

static void a_database_without_its_root_file_is_not_made_anew_but_repaired(void **state) {
    (void)state;
    struct copies copies;
    char root[600];
    char text[64] = "";
    tern_error error = TERN_ERROR_INIT;
    tern_verify_report verified = {0};
    tern_repair_report report = {0};
    tern_db *db;
    init(&copies);
    close_source(&copies);
    (void)snprintf(root, sizeof(root), "%s/tern.root", copies.source);
    assert_int_equal(unlink(root), 0);
    assert_no_database(copies.source);
    assert_ok(
        tern_verify_directory(copies.source, NULL, take_first, text, NULL, NULL, &verified, &error),
        error);
    assert_int_equal(verified.findings, 1);
    assert_string_equal(text, "manifest");
    text[0] = '\0';
    assert_ok(tern_repair(copies.source, copies.target, NULL, take_first, text, NULL, NULL, &report,
                          &error),
              error);
    assert_string_equal(text, "manifest");
    assert_int_equal(report.records, RECORDS);
    assert_ok(tern_open(copies.target, NULL, &db, &error), error);
    assert_ok(tern_keyspace_list(db, take_name, text, &error), error);
    assert_non_null(strstr(text, "recovered-"));
    assert_ok(tern_close(db, &error), error);
    release(&copies);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_goes_nowhere_but_into_an_empty_directory),
        cmocka_unit_test(a_copy_that_is_cancelled_leaves_nothing_in_the_way),
        cmocka_unit_test(a_clone_whose_process_dies_is_no_database),
        cmocka_unit_test(a_repair_whose_process_dies_is_no_database),
        cmocka_unit_test(a_database_without_its_root_file_is_not_made_anew_but_repaired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
