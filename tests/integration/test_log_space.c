/* SPDX-License-Identifier: Apache-2.0 */
/* What a checkpoint leaves of the log. */
#include "support/cmocka_test.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <tern/tern.h>

#include "support/temporary_directory.h"

/* The active segment, two that stand ready, and one that is being made ready at that moment. */
#define FILES_AFTER_CHECKPOINT 4

static tern_db *open_in(const char *path) {
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    tern_error error = TERN_ERROR_INIT;
    tern_db *db = NULL;
    options.create_if_missing = true;
    options.memory_bytes = (uint64_t)32 << 20;
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
    tern_db *db = open_in(path);
    assert_ok(tern_keyspace_create(db, "test", NULL, &keyspace, &error), error);
    for (unsigned round = 0; round < 3; round++) {
        put_some(keyspace, (char)('a' + round));
        assert_true(count_log_files(path) > 2 * FILES_AFTER_CHECKPOINT);
        assert_ok(tern_checkpoint(db, &error), error);
        assert_in_range(count_log_files(path), 1, FILES_AFTER_CHECKPOINT);
    }
    assert_ok(tern_close(db, &error), error);
    db = open_in(path);
    assert_ok(tern_keyspace_open(db, "test", &keyspace, &error), error);
    char found[100];
    size_t size = 0;
    assert_ok(tern_get(keyspace, tern_slice_str("00000042"), found, sizeof(found), &size, &error),
              error);
    assert_int_equal(found[0], 'c');
    assert_ok(tern_close(db, &error), error);
    temporary_directory_remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checkpoint_leaves_the_spares_of_the_log_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
