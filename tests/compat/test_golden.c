/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Databases that were written once and are kept in tests/compat/golden/<format version>/, as
 * compressed archives of their directories. Every release must open them, whole.
 *
 * TERN_WRITE_GOLDEN=1 writes those of the newest version anew: for as long as it is not released.
 *
 * ctest: timeout=300
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "golden.h"
#include "support/cmocka_test.h"
#include "support/temporary_directory.h"

#define NEWEST "v1"

struct golden_file {
    const char *name; /* below golden/, without .tar.gz */
    enum golden_stage stage;
};

static const struct golden_file files[] = {
    {NEWEST "/empty", GOLDEN_EMPTY},     /* nothing but created and closed */
    {NEWEST "/closed", GOLDEN_FIRST},    /* closed after checkpoints: all in bases */
    {NEWEST "/unfinished", GOLDEN_LAST}, /* the process ended amid work: bases and log */
    {NEWEST "/log", GOLDEN_LAST},        /* no checkpoint ever: log alone, but for the conversion */
};
#define FILES (sizeof(files) / sizeof(files[0]))

/* Runs a command of the shell. */
static void run(char *command) {
    int status = command == NULL ? -1 : system(command);
    if (status != 0) {
        print_error("%s\n", command != NULL ? command : "out of memory");
    }
    free(command);
    assert_int_equal(status, 0);
}

static char *format_two(const char *before, const char *first, const char *between,
                        const char *second, const char *after) {
    char *command;
    return asprintf(&command, "%s'%s'%s'%s'%s", before, first, between, second, after) < 0
               ? NULL
               : command;
}

static void archive_path(const struct golden_file *file, char path[1024]) {
    const char *source = getenv("TERN_SOURCE_DIR");
    (void)snprintf(path, 1024, "%s/tests/compat/golden/%s.tar.gz", source != NULL ? source : ".",
                   file->name);
}

/* An unpacked copy, in a directory of its own. */
static char *unpack(const struct golden_file *file) {
    char path[1024];
    char *directory = temporary_directory_create();
    archive_path(file, path);
    run(format_two("tar -xzf ", path, " -C ", directory, ""));
    return directory;
}

static void database_path(const char *directory, char path[1024]) {
    (void)snprintf(path, 1024, "%s/db", directory);
}

static tern_db *open_at(const char *path) {
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = golden_db_options();
    tern_db *db;
    assert_ok(tern_open(path, &options, &db, &error), error);
    return db;
}

static void close_db(tern_db *db) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_close(db, &error), error);
}

/* ---- writing ---- */

static tern_db *create(const char *path) {
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = golden_db_options();
    tern_db *db;
    options.create_if_missing = true;
    assert_ok(tern_open(path, &options, &db, &error), error);
    return db;
}

static void write_database(const char *path, const struct golden_file *file) {
    tern_error error = TERN_ERROR_INIT;
    bool has_checkpoints = strstr(file->name, "/log") == NULL;
    tern_db *db = create(path);
    if (file->stage != GOLDEN_EMPTY) {
        golden_create_keyspaces(db);
        for (unsigned i = 0; i < GOLDEN_SLICES; i++) {
            golden_load_slice(db, i);
            if (has_checkpoints) {
                assert_ok(tern_checkpoint(db, &error), error);
            }
        }
    }
    if (file->stage == GOLDEN_LAST) {
        golden_change(db);
        assert_ok(tern_sync(db, &error), error);
        _exit(0); /* without tern_close */
    }
    close_db(db);
    _exit(0);
}

static void write_golden(const struct golden_file *file) {
    char path[1024];
    char archive[1024];
    char *directory = temporary_directory_create();
    int status = -1;
    database_path(directory, path);
    archive_path(file, archive);
    pid_t child = fork();
    if (child == 0) {
        write_database(path, file);
    }
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    assert_int_equal(status, 0);
    run(format_two("tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C ", directory,
                   " -c db | gzip -9n >", archive, ""));
    temporary_directory_remove(directory);
}

/* ---- claims ---- */

static void reads_what_was_written_once(void **state) {
    const struct golden_file *file = *state;
    char path[1024];
    char *directory = unpack(file);
    database_path(directory, path);
    tern_db *db = open_at(path);
    golden_check(db, file->stage);
    close_db(db);
    temporary_directory_remove(directory);
}

static void reads_it_without_writing(void **state) {
    const struct golden_file *file = *state;
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = golden_db_options();
    tern_db *db;
    char path[1024];
    char *directory = unpack(file);
    database_path(directory, path);
    options.read_only = true;
    assert_ok(tern_open(path, &options, &db, &error), error);
    golden_check(db, file->stage);
    close_db(db);
    temporary_directory_remove(directory);
}

static bool print_finding(void *context, const tern_finding *finding) {
    (void)context;
    print_error("%s at %lld: %s: %s\n", finding->file, (long long)finding->offset,
                finding->invariant, finding->message);
    return true;
}

static void finds_nothing_wrong(void **state) {
    const struct golden_file *file = *state;
    tern_error error = TERN_ERROR_INIT;
    tern_verify_report report;
    char path[1024];
    char *directory = unpack(file);
    database_path(directory, path);
    assert_ok(tern_verify_directory(path, NULL, print_finding, NULL, NULL, NULL, &report, &error),
              error);
    assert_int_equal(report.findings, 0);
    temporary_directory_remove(directory);
}

/* What this release adds, rewrites and moves stands well beside what is old. */
static void goes_on_writing(void **state) {
    const struct golden_file *file = *state;
    tern_error error = TERN_ERROR_INIT;
    char path[1024];
    char *directory = unpack(file);
    database_path(directory, path);
    tern_db *db = open_at(path);
    tern_keyspace *keyspace;
    assert_ok(tern_keyspace_create(db, "new", NULL, &keyspace, &error), error);
    assert_ok(tern_put(keyspace, tern_slice_str("a"), tern_slice_str("b"), NULL, &error), error);
    if (file->stage == GOLDEN_FIRST) {
        golden_change(db);
    }
    enum golden_stage stage = file->stage == GOLDEN_FIRST ? GOLDEN_LAST : file->stage;
    golden_check(db, stage);
    assert_ok(tern_compact(db, NULL, NULL, &error), error);
    assert_ok(tern_checkpoint(db, &error), error);
    golden_check(db, stage);
    close_db(db);

    db = open_at(path);
    golden_check(db, stage);
    tern_verify_report report;
    assert_ok(tern_verify(db, print_finding, NULL, NULL, NULL, &report, &error), error);
    assert_int_equal(report.findings, 0);
    close_db(db);
    temporary_directory_remove(directory);
}

static void repairs_it_without_a_loss(void **state) {
    const struct golden_file *file = *state;
    tern_error error = TERN_ERROR_INIT;
    tern_repair_report report;
    tern_db_options options = golden_db_options();
    char path[1024];
    char target[1024 + 16];
    char *directory = unpack(file);
    database_path(directory, path);
    (void)snprintf(target, sizeof(target), "%s-repaired", path);
    assert_ok(tern_repair(path, target, &options, print_finding, NULL, NULL, NULL, &report, &error),
              error);
    assert_int_equal(report.lost_pages + report.lost_records, 0);
    tern_db *db = open_at(target);
    golden_check(db, file->stage);
    close_db(db);
    temporary_directory_remove(directory);
}

#define CLAIMS 5u

int main(void) {
    static const struct {
        const char *name;
        CMUnitTestFunction function;
    } claims[CLAIMS] = {
        {"reads_what_was_written_once", reads_what_was_written_once},
        {"reads_it_without_writing", reads_it_without_writing},
        {"finds_nothing_wrong", finds_nothing_wrong},
        {"goes_on_writing", goes_on_writing},
        {"repairs_it_without_a_loss", repairs_it_without_a_loss},
    };
    static char names[FILES * CLAIMS][96];
    struct CMUnitTest tests[FILES * CLAIMS];
    if (getenv("TERN_WRITE_GOLDEN") != NULL) {
        for (size_t i = 0; i < FILES; i++) {
            if (strncmp(files[i].name, NEWEST "/", sizeof(NEWEST)) == 0) {
                write_golden(&files[i]);
            }
        }
    }
    for (size_t i = 0; i < FILES * CLAIMS; i++) {
        const struct golden_file *file = &files[i / CLAIMS];
        (void)snprintf(names[i], sizeof(names[i]), "%s: %s", file->name, claims[i % CLAIMS].name);
        tests[i] = (struct CMUnitTest){names[i], claims[i % CLAIMS].function, NULL, NULL,
                                       (void *)(uintptr_t)file};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
