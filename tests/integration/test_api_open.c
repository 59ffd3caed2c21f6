/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing: what is created, what is refused, and what the refusal says. */
#include <dirent.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <tern/sys/executor.h>
#include <unistd.h>

#include "api_fixture.h"
#include "base/bytes.h"
#include "db/manifest_codec.h"
#include "simd/hash.h"

static void path_below(const char *directory, const char *name, char path[512]) {
    (void)snprintf(path, 512, "%s/%s", directory, name);
}

static unsigned entries_in(const char *path) {
    unsigned count = 0;
    DIR *directory = opendir(path);
    assert_non_null(directory);
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        count += entry->d_name[0] != '.' ? 1 : 0;
    }
    (void)closedir(directory);
    return count;
}

static void a_missing_database_is_not_found_and_leaves_nothing_behind(void **state) {
    (void)state;
    char path[512];
    tern_db *db = NULL;
    tern_error error = TERN_ERROR_INIT;
    char *directory = temporary_directory_create();
    path_below(directory, "none", path);
    assert_int_equal(tern_open(path, NULL, &db, &error), TERN_NOT_FOUND);
    assert_int_equal(error.status, TERN_NOT_FOUND);
    assert_non_null(strstr(error.message, "create_if_missing"));
    assert_null(db);
    assert_int_equal(access(path, F_OK), -1);
    /* An empty directory is no database either. */
    assert_int_equal(tern_open(directory, NULL, &db, &error), TERN_NOT_FOUND);
    assert_int_equal(entries_in(directory), 0);
    temporary_directory_remove(directory);
}

static void a_database_is_created_only_where_asked_and_where_none_is(void **state) {
    (void)state;
    char path[512];
    tern_db *db;
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    char *directory = temporary_directory_create();
    path_below(directory, "new", path);
    options.create_if_missing = true;
    options.error_if_exists = true;
    assert_ok(tern_open(path, &options, &db, &error), error);
    assert_ok(tern_close(db, &error), error);
    assert_int_equal(tern_open(path, &options, &db, &error), TERN_EXISTS);
    options.error_if_exists = false;
    assert_ok(tern_open(path, &options, &db, &error), error);
    assert_ok(tern_close(db, &error), error);
    assert_ok(tern_open(path, NULL, &db, &error), error);
    assert_ok(tern_close(db, &error), error);
    temporary_directory_remove(directory);
}

static void options_that_exclude_each_other_are_refused(void **state) {
    (void)state;
    const struct {
        tern_db_options options;
        const char *named;
    } wrong[] = {
        {{.size = sizeof(tern_db_options), .error_if_exists = true}, "create_if_missing"},
        {{.size = sizeof(tern_db_options),
          .create_if_missing = true,
          .error_if_exists = true,
          .read_only = true},
         "read_only"},
        {{.size = sizeof(tern_db_options), .create_if_missing = true, .numa_nodes = 1},
         "numa_nodes"},
        {{.size = sizeof(tern_db_options),
          .create_if_missing = true,
          .numa = TERN_NUMA_LOCAL,
          .numa_nodes = 1},
         "numa_nodes"},
    };
    char path[512];
    tern_db *db;
    char *directory = temporary_directory_create();
    path_below(directory, "new", path);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        tern_error error = TERN_ERROR_INIT;
        assert_int_equal(tern_open(path, &wrong[i].options, &db, &error), TERN_INVALID);
        assert_non_null(strstr(error.message, wrong[i].named));
        assert_int_equal(access(path, F_OK), -1);
    }
    temporary_directory_remove(directory);
}

static void a_file_in_the_way_is_an_error(void **state) {
    (void)state;
    char path[512];
    tern_db *db;
    tern_error error = TERN_ERROR_INIT;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    char *directory = temporary_directory_create();
    path_below(directory, "file", path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fclose(file);
    options.create_if_missing = true;
    assert_true(tern_open(path, &options, &db, &error) != TERN_OK);
    assert_true(strlen(error.message) > 0);
    temporary_directory_remove(directory);
}

static void a_second_open_in_the_same_process_is_locked_out(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_db *second;
    tern_error error = TERN_ERROR_INIT;
    char pid[16];
    api_fixture_init(&fixture, false);
    (void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
    assert_int_equal(tern_open(fixture.path, &fixture.options, &second, &error), TERN_LOCKED);
    assert_non_null(strstr(error.message, pid));
    /* The first is none the worse for it. */
    api_put(fixture.keyspace, "a", "1");
    api_fixture_reopen(&fixture);
    api_assert_value(fixture.keyspace, "a", "1");
    api_fixture_release(&fixture);
}

/* In the child: opens, says so, waits to be told to go. */
static _Noreturn void hold_database(const char *path, int ready, int go) {
    tern_db *db;
    char byte = 'x';
    tern_status status = tern_open(path, NULL, &db, NULL);
    if (status != TERN_OK || write(ready, &byte, 1) != 1) {
        _exit(1);
    }
    (void)!read(go, &byte, 1);
    _exit(tern_close(db, NULL) == TERN_OK ? 0 : 1);
}

static void a_database_open_elsewhere_names_the_process(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_db *db;
    tern_error error = TERN_ERROR_INIT;
    int ready[2];
    int go[2];
    char byte;
    char pid[16];
    int status;
    api_fixture_init(&fixture, false);
    api_fixture_close(&fixture);
    assert_int_equal(pipe(ready) | pipe(go), 0);
    pid_t child = fork();
    if (child == 0) {
        hold_database(fixture.path, ready[1], go[0]);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    (void)snprintf(pid, sizeof(pid), "%d", (int)child);
    assert_int_equal(tern_open(fixture.path, NULL, &db, &error), TERN_LOCKED);
    assert_non_null(strstr(error.message, pid));
    assert_int_equal(write(go[1], &byte, 1), 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    api_fixture_open(&fixture);
    for (int i = 0; i < 2; i++) {
        (void)close(ready[i]);
        (void)close(go[i]);
    }
    api_fixture_release(&fixture);
}

static void read_only_reads_what_was_committed_and_refuses_writes(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    api_fixture_init(&fixture, false);
    api_put(fixture.keyspace, "a", "1");
    assert_ok(tern_checkpoint(fixture.db, &error), error);
    api_put(fixture.keyspace, "b", "2");
    api_fixture_close(&fixture);
    unsigned files = entries_in(fixture.path);
    fixture.options.read_only = true;
    api_fixture_open(&fixture);
    api_assert_value(fixture.keyspace, "a", "1");
    api_assert_value(fixture.keyspace, "b", "2");
    assert_int_equal(
        tern_put(fixture.keyspace, tern_slice_str("c"), tern_slice_str("3"), NULL, &error),
        TERN_READ_ONLY);
    assert_int_equal(tern_delete(fixture.keyspace, tern_slice_str("a"), NULL, &error),
                     TERN_READ_ONLY);
    assert_int_equal(tern_keyspace_create(fixture.db, "new", NULL, NULL, &error), TERN_READ_ONLY);
    assert_int_equal(tern_keyspace_drop(fixture.db, "test", &error), TERN_READ_ONLY);
    assert_int_equal(tern_checkpoint(fixture.db, &error), TERN_READ_ONLY);
    tern_txn *txn = api_begin(&fixture);
    assert_int_equal(
        tern_txn_put(txn, fixture.keyspace, tern_slice_str("c"), tern_slice_str("3"), NULL),
        TERN_READ_ONLY);
    tern_txn_free(txn);
    api_assert_sound(fixture.db);
    api_fixture_close(&fixture);
    assert_int_equal(entries_in(fixture.path), files);
    fixture.options.read_only = false;
    api_fixture_open(&fixture);
    api_assert_value(fixture.keyspace, "b", "2");
    api_fixture_release(&fixture);
}

static void wrong_options_are_named(void **state) {
    (void)state;
    char *directory = temporary_directory_create();
    const struct {
        tern_db_options options;
        const char *name;
    } cases[] = {
        {{.size = sizeof(tern_db_options), .memory_bytes = 1000}, "memory_bytes"},
        {{.size = sizeof(tern_db_options), .overlay_bytes = (uint64_t)1 << 40}, "overlay_bytes"},
        {{.size = sizeof(tern_db_options), .segment_bytes = 1000}, "segment_bytes"},
        {{.size = sizeof(tern_db_options), .segment_bytes = ((uint64_t)1 << 30) + 4096},
         "segment_bytes"},
        {{.size = sizeof(tern_db_options), .durability = (tern_durability)9}, "durability"},
        {{.size = sizeof(tern_db_options), .background_threads = 65}, "background_threads"},
        {{.size = 3}, "size"},
        {{.size = sizeof(tern_db_options) * 2}, "size"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        tern_db *db = NULL;
        tern_error error = TERN_ERROR_INIT;
        tern_db_options options = cases[i].options;
        options.create_if_missing = true;
        assert_int_equal(tern_open(directory, &options, &db, &error), TERN_INVALID);
        assert_non_null(strstr(error.message, cases[i].name));
        assert_null(db);
    }
    tern_db *db;
    tern_error error = TERN_ERROR_INIT;
    assert_int_equal(tern_open(NULL, NULL, &db, &error), TERN_INVALID);
    assert_int_equal(tern_open("", NULL, &db, &error), TERN_INVALID);
    assert_int_equal(entries_in(directory), 0);
    temporary_directory_remove(directory);
}

/* Both slots of the root file get these, with checksums that fit. */
static void set_version(const char *directory, uint32_t version, uint32_t features) {
    char path[512];
    uint8_t bytes[MANIFEST_SLOT_BYTES];
    path_below(directory, MANIFEST_FILE_NAME, path);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    for (long slot = 0; slot < MANIFEST_SLOTS; slot++) {
        assert_int_equal(fseek(file, slot * MANIFEST_SLOT_BYTES, SEEK_SET), 0);
        assert_int_equal(fread(bytes, 1, sizeof(bytes), file), sizeof(bytes));
        put_u32(bytes + 8, version);
        put_u32(bytes + 12, features);
        put_u64(bytes + sizeof(bytes) - 8, hash_u64(bytes, sizeof(bytes) - 8, 0));
        assert_int_equal(fseek(file, slot * MANIFEST_SLOT_BYTES, SEEK_SET), 0);
        assert_int_equal(fwrite(bytes, 1, sizeof(bytes), file), sizeof(bytes));
    }
    (void)fclose(file);
}

static void another_format_is_refused_and_says_so(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    api_fixture_init(&fixture, false);
    api_fixture_close(&fixture);
    set_version(fixture.path, MANIFEST_FORMAT_VERSION + 1, 0);
    assert_int_equal(tern_open(fixture.path, &fixture.options, &fixture.db, &error), TERN_VERSION);
    assert_non_null(strstr(error.message, "newer release"));
    set_version(fixture.path, MANIFEST_FORMAT_VERSION, UINT32_C(1) << 31);
    assert_int_equal(tern_open(fixture.path, &fixture.options, &fixture.db, &error), TERN_VERSION);
    assert_non_null(strstr(error.message, "newer release"));
    set_version(fixture.path, MANIFEST_FORMAT_VERSION, 0);
    assert_int_equal(tern_open(fixture.path, &fixture.options, &fixture.db, &error), TERN_OK);
    api_fixture_close(&fixture);
    fixture.db = NULL;
    temporary_directory_remove(fixture.path);
}

static void releases_accept_nothing(void **state) {
    (void)state;
    tern_value value = TERN_VALUE_INIT;
    assert_int_equal(tern_close(NULL, NULL), TERN_OK);
    tern_txn_free(NULL);
    tern_cursor_close(NULL);
    tern_value_writer_abandon(NULL);
    tern_commit_hook_remove(NULL);
    tern_value_release(&value);
    tern_thread_executor_stop(NULL);
}

static void an_error_is_one_line_with_file_and_cause(void **state) {
    (void)state;
    tern_error error = TERN_ERROR_INIT;
    char line[64];
    tern_db *db;
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    options.create_if_missing = true;
    assert_true(tern_open("/proc/no/such/place", &options, &db, &error) != TERN_OK);
    int length = tern_error_format(&error, line, sizeof(line));
    assert_true(length > 0);
    assert_true(strlen(line) < sizeof(line));
    assert_null(strchr(line, '\n'));
    assert_non_null(error.source_file);
    assert_true(error.source_line > 0);
    assert_string_equal(tern_status_name(TERN_LOCKED), "LOCKED");
    assert_int_equal(tern_status_http(TERN_NOT_FOUND), 404);
    assert_string_equal(tern_status_text((tern_status)-999), "unknown status");
    int major;
    int minor;
    int patch;
    assert_int_equal(sscanf(tern_version(), "%d.%d.%d", &major, &minor, &patch), 3);
}

/* The executor is the caller's and outlives the database. */
static void close_leaves_no_task_on_the_executor(void **state) {
    (void)state;
    for (int prewarm = 0; prewarm < 2; prewarm++) {
        struct api_fixture fixture;
        char key[16];
        static const char value[4096];
        tern_error error = TERN_ERROR_INIT;
        api_fixture_init_closed(&fixture, true);
        fixture.options.overlay_bytes = (uint64_t)8 << 20; /* so that closing has much to drain */
        fixture.options.prewarm = prewarm != 0;
        api_fixture_open(&fixture);
        for (unsigned i = 0; i < 512; i++) {
            (void)snprintf(key, sizeof(key), "%06u", i);
            assert_ok(tern_put(fixture.keyspace, tern_slice_str(key),
                               tern_slice_of(value, sizeof(value)), NULL, &error),
                      error);
        }
        api_fixture_pass_ms(&fixture, 10);
        api_fixture_close(&fixture);
        assert_int_equal(step_executor_runnable(fixture.executor), 0);
        assert_int_equal(step_executor_sleeping(fixture.executor), 0);
        assert_int_equal(step_executor_run(fixture.executor, 100), 0);
        api_fixture_open(&fixture);
        api_fixture_release(&fixture);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_missing_database_is_not_found_and_leaves_nothing_behind),
        cmocka_unit_test(a_database_is_created_only_where_asked_and_where_none_is),
        cmocka_unit_test(options_that_exclude_each_other_are_refused),
        cmocka_unit_test(a_file_in_the_way_is_an_error),
        cmocka_unit_test(a_second_open_in_the_same_process_is_locked_out),
        cmocka_unit_test(a_database_open_elsewhere_names_the_process),
        cmocka_unit_test(read_only_reads_what_was_committed_and_refuses_writes),
        cmocka_unit_test(wrong_options_are_named),
        cmocka_unit_test(another_format_is_refused_and_says_so),
        cmocka_unit_test(releases_accept_nothing),
        cmocka_unit_test(close_leaves_no_task_on_the_executor),
        cmocka_unit_test(an_error_is_one_line_with_file_and_cause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
