/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Databases and dumps that were written once and are kept in tests/compat/golden/<format version>/,
 * as compressed archives of their directories. Every release must open them, whole.
 *
 * TERN_WRITE_GOLDEN=1 writes those that are missing, and notes their checksums; it never touches
 * one that is there. golden/README.md says when that is to be done.
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
#include "support/fault_file_system.h"
#include "support/step_executor.h"
#include "support/temporary_directory.h"
#include "support/virtual_clock.h"

#define NEWEST   "v1"
#define CLOSED   NEWEST "/closed"
#define DUMPS    NEWEST "/dumps"
#define DUMPED   "btree lz4" /* the keyspace that stands in the dumps of one alone */
#define CUT_SYNC 3u          /* of the checkpoint: behind the publish of its first slice */

enum ending {
    ENDING_CLOSED,     /* after checkpoints: all in bases */
    ENDING_COMPACTED,  /* the same, after a compaction of all */
    ENDING_UNFINISHED, /* the process ended amid work: bases and log */
    ENDING_LOG,        /* the same without a checkpoint: log alone, but for the conversion */
    ENDING_CONVERTING, /* amid a conversion */
    ENDING_CUT         /* amid a checkpoint that has published a slice of a B+tree */
};

struct golden_file {
    const char *name; /* below golden/, without .tar.gz */
    enum golden_stage stage;
    enum ending ending;
};

static const struct golden_file files[] = {
    {NEWEST "/empty", GOLDEN_EMPTY, ENDING_CLOSED},
    {CLOSED, GOLDEN_FIRST, ENDING_CLOSED},
    {NEWEST "/compacted", GOLDEN_LAST, ENDING_COMPACTED},
    {NEWEST "/unfinished", GOLDEN_LAST, ENDING_UNFINISHED},
    {NEWEST "/log", GOLDEN_LAST, ENDING_LOG},
    {NEWEST "/converting", GOLDEN_FIRST, ENDING_CONVERTING},
    {NEWEST "/cut", GOLDEN_EMPTY, ENDING_CUT},
};
#define FILES (sizeof(files) / sizeof(files[0]))

/* What `tern export` made of the closed one, to be imported by every release. */
static const struct golden_file dumps = {DUMPS, GOLDEN_FIRST, ENDING_CLOSED};

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

static const char *golden_directory(void) {
    static char path[1000];
    const char *source = getenv("TERN_SOURCE_DIR");
    (void)snprintf(path, sizeof(path), "%s/tests/compat/golden", source != NULL ? source : ".");
    return path;
}

static void archive_path(const struct golden_file *file, char path[1024]) {
    (void)snprintf(path, 1024, "%s/%.16s.tar.gz", golden_directory(), file->name);
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

static void check_content(tern_db *db, const struct golden_file *file, enum golden_stage stage) {
    golden_check(db, stage);
    if (file->ending == ENDING_CUT) {
        golden_check_many(db);
    }
}

/* What is in the files, but for the one that is locked. */
static void note_bytes(const char *directory) {
    run(format_two("cd ", directory,
                   " && find db -type f ! -name LOCK -exec sha256sum {} + | sort >", "bytes", ""));
}

static void assert_same_bytes(const char *directory) {
    run(format_two("cd ", directory,
                   " && find db -type f ! -name LOCK -exec sha256sum {} + | sort | cmp - ", "bytes",
                   ""));
}

/* ---- writing ---- */

static tern_db *create(const char *path, tern_db_options *options) {
    tern_error error = TERN_ERROR_INIT;
    tern_db *db;
    options->create_if_missing = true;
    assert_ok(tern_open(path, options, &db, &error), error);
    return db;
}

/* Nothing is drained ahead of the checkpoint, and all its syncs fail from one on. */
static void write_cut(const char *path) {
    tern_error error = TERN_ERROR_INIT;
    struct virtual_clock clock;
    virtual_clock_init(&clock);
    struct step_executor *executor = step_executor_create(1, &clock);
    struct fault_file_system *faults = fault_file_system_create(tern_file_system_default());
    tern_db_options options = golden_db_options();
    options.file_system = fault_file_system_interface(faults);
    options.clock = virtual_clock_interface(&clock);
    options.executor = step_executor_interface(executor);
    options.durability = TERN_DURABILITY_NONE;
    tern_db *db = create(path, &options);
    golden_load_many(db, 1);
    assert_ok(tern_checkpoint(db, &error), error);
    golden_load_many(db, 2);
    assert_ok(tern_sync(db, &error), error);
    fault_file_system_arm(
        faults, &(struct fault_plan){.kinds = FAULT_SYNC, .nth = CUT_SYNC, .sticky = true});
    assert_true(tern_checkpoint(db, &error) != TERN_OK);
    _exit(0);
}

static void write_database(const char *path, const struct golden_file *file) {
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = golden_db_options();
    bool has_checkpoints = file->ending != ENDING_LOG;
    if (file->ending == ENDING_CUT) {
        write_cut(path);
    }
    tern_db *db = create(path, &options);
    if (file->stage != GOLDEN_EMPTY) {
        golden_create_keyspaces(db);
        for (unsigned i = 0; i < GOLDEN_SLICES; i++) {
            golden_load_slice(db, i);
            if (has_checkpoints) {
                assert_ok(tern_checkpoint(db, &error), error);
            }
        }
    }
    if (file->ending == ENDING_CONVERTING) {
        golden_end_amid_conversion(db);
    }
    if (file->stage == GOLDEN_LAST) {
        golden_change(db);
        assert_ok(tern_sync(db, &error), error);
    }
    if (file->ending == ENDING_UNFINISHED || file->ending == ENDING_LOG) {
        _exit(0); /* without tern_close */
    }
    if (file->ending == ENDING_COMPACTED) {
        assert_ok(tern_checkpoint(db, &error), error);
        assert_ok(tern_compact(db, NULL, NULL, &error), error);
        assert_ok(tern_checkpoint(db, &error), error);
    }
    close_db(db);
    if (file->stage != GOLDEN_EMPTY) {
        db = open_at(path);
        golden_check(db, file->stage); /* and so there are pages in the list of cached ones */
        close_db(db);
    }
    _exit(0);
}

/* The directory `name` becomes the archive, and the archive's checksum is noted. */
static void pack(const struct golden_file *file, const char *directory, const char *name) {
    char archive[1024];
    char note[1024];
    archive_path(file, archive);
    (void)snprintf(note, sizeof(note), "%s.tar.gz' >>'%s/SHA256SUMS", file->name, NEWEST);
    run(format_two("cd ", directory,
                   " && tar --sort=name --owner=0 --group=0 --numeric-owner "
                   "--mtime=@0 -cf golden.tar ",
                   name, ""));
    run(format_two("gzip -9nc <", directory, "/golden.tar >", archive, ""));
    run(format_two("cd ", golden_directory(), " && sha256sum ", note, ""));
}

static void write_golden(const struct golden_file *file) {
    char path[1024];
    char *directory = temporary_directory_create();
    int status = -1;
    database_path(directory, path);
    pid_t child = fork();
    if (child == 0) {
        write_database(path, file);
    }
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    assert_int_equal(status, 0);
    pack(file, directory, "db");
    temporary_directory_remove(directory);
}

/* Runs the command tern on the database below the directory, with a word and what follows. */
static void run_tern(const char *directory, const char *arguments) {
    char before[1024];
    (void)snprintf(before, sizeof(before), "cd '%s' && exec '%s' -d db -q ", directory,
                   getenv("TERN_BINARY"));
    run(format_two(before, "", arguments, "", ""));
}

static void write_dumps(void) {
    char *directory = unpack(&files[1]);
    run(format_two("mkdir ", directory, "/dumps", "", ""));
    run_tern(directory, "export --all dumps/all.dump");
    run_tern(directory, "export --all dumps/all.jsonl");
    run_tern(directory, "export '" DUMPED "' dumps/one.csv");
    pack(&dumps, directory, "dumps");
    temporary_directory_remove(directory);
}

static bool is_missing(const struct golden_file *file) {
    char path[1024];
    archive_path(file, path);
    bool is_there = access(path, F_OK) == 0;
    if (is_there) {
        print_message("%s is there, and stays\n", file->name);
    }
    return !is_there;
}

static void write_missing(void) {
    for (size_t i = 0; i < FILES; i++) {
        if (strncmp(files[i].name, NEWEST "/", sizeof(NEWEST)) == 0 && is_missing(&files[i])) {
            write_golden(&files[i]);
        }
    }
    if (is_missing(&dumps)) {
        write_dumps();
    }
}

/* ---- claims ---- */

/* A golden file that is written again is no golden file. */
static void archives_are_the_ones_that_were_written_once(void **state) {
    (void)state;
    run(format_two("cd ", golden_directory(),
                   " && cat */SHA256SUMS | sha256sum --quiet -c && test $(ls */*.tar.gz | wc -l) = "
                   "$(cat */SHA256SUMS | wc -l) && true ",
                   "", ""));
    for (size_t i = 0; i < FILES; i++) {
        char path[1024];
        archive_path(&files[i], path);
        assert_int_equal(access(path, R_OK), 0);
    }
}

static void reads_what_was_written_once(void **state) {
    const struct golden_file *file = *state;
    char path[1024];
    char *directory = unpack(file);
    database_path(directory, path);
    tern_db *db = open_at(path);
    check_content(db, file, file->stage);
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
    note_bytes(directory);
    options.read_only = true;
    assert_ok(tern_open(path, &options, &db, &error), error);
    check_content(db, file, file->stage);
    close_db(db);
    assert_same_bytes(directory);
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
    note_bytes(directory);
    assert_ok(tern_verify_directory(path, NULL, print_finding, NULL, NULL, NULL, &report, &error),
              error);
    assert_int_equal(report.findings, 0);
    assert_same_bytes(directory);
    if (getenv("TERN_BINARY") != NULL) {
        run_tern(directory, "verify >verified");
        assert_same_bytes(directory);
    }
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
    check_content(db, file, stage);
    assert_ok(tern_compact(db, NULL, NULL, &error), error);
    assert_ok(tern_checkpoint(db, &error), error);
    check_content(db, file, stage);
    close_db(db);

    db = open_at(path);
    check_content(db, file, stage);
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
    check_content(db, file, file->stage);
    close_db(db);
    temporary_directory_remove(directory);
}

static void imports_dumps_that_were_written_once(void **state) {
    (void)state;
    static const struct {
        const char *arguments;
        const char *keyspace; /* NULL: all */
    } imports[] = {{"import --all dumps/all.dump", NULL},
                   {"import --all dumps/all.jsonl", NULL},
                   {"import '" DUMPED "' dumps/one.csv --value-column value", DUMPED}};
    if (getenv("TERN_BINARY") == NULL) {
        print_message("skipped: TERN_BINARY is not set\n");
        skip();
    }
    for (size_t i = 0; i < sizeof(imports) / sizeof(imports[0]); i++) {
        char path[1024];
        char *directory = unpack(&dumps);
        database_path(directory, path);
        run_tern(directory, imports[i].arguments);
        tern_db *db = open_at(path);
        if (imports[i].keyspace == NULL) {
            golden_check(db, dumps.stage);
        } else {
            golden_check_keyspace(db, imports[i].keyspace, dumps.stage);
        }
        close_db(db);
        temporary_directory_remove(directory);
    }
}

#define CLAIMS 5u
#define OTHERS 2u

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
    struct CMUnitTest tests[FILES * CLAIMS + OTHERS] = {
        cmocka_unit_test(archives_are_the_ones_that_were_written_once),
        cmocka_unit_test(imports_dumps_that_were_written_once),
    };
    if (getenv("TERN_WRITE_GOLDEN") != NULL) {
        write_missing();
    }
    for (size_t i = 0; i < FILES * CLAIMS; i++) {
        const struct golden_file *file = &files[i / CLAIMS];
        (void)snprintf(names[i], sizeof(names[i]), "%s: %s", file->name, claims[i % CLAIMS].name);
        tests[OTHERS + i] = (struct CMUnitTest){names[i], claims[i % CLAIMS].function, NULL, NULL,
                                                (void *)(uintptr_t)file};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
