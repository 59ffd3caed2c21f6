/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A database that is opened read-only while its log has large values that no drain has moved: they
 * are read in the log, and nothing is written.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api_fixture.h"

#define LARGE_BYTES 700001u

static uint8_t expected[LARGE_BYTES];

static const uint8_t *fill(unsigned number) {
    uint32_t random = number * 2654435761u + 1;
    for (size_t i = 0; i < LARGE_BYTES; i++) {
        random = random * 1664525u + 1013904223u;
        expected[i] = (uint8_t)(random >> 24);
    }
    return expected;
}

static void put_large(tern_keyspace *keyspace, const char *key, unsigned number) {
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_put(keyspace, tern_slice_str(key), tern_slice_of(fill(number), LARGE_BYTES),
                       NULL, &error),
              error);
}

static void check_pinned(tern_keyspace *keyspace, const char *key, unsigned number) {
    tern_error error = TERN_ERROR_INIT;
    tern_value value = TERN_VALUE_INIT;
    assert_ok(tern_get_pinned(keyspace, tern_slice_str(key), &value, &error), error);
    assert_int_equal(value.bytes.size, LARGE_BYTES);
    assert_memory_equal(value.bytes.data, fill(number), LARGE_BYTES);
    tern_value_release(&value);
}

static void check_parts(struct api_fixture *fixture, const char *key, unsigned number) {
    static uint8_t part[100000];
    tern_txn *txn = api_begin_reading(fixture);
    uint64_t whole = 0;
    size_t size = 0;
    fill(number);
    for (uint64_t offset = 0; offset < LARGE_BYTES; offset += 33333) {
        assert_ok(tern_txn_read(txn, fixture->keyspace, tern_slice_str(key), offset, part,
                                sizeof(part), &size, &whole),
                  *tern_txn_error(txn));
        assert_int_equal(whole, LARGE_BYTES);
        size_t left = LARGE_BYTES - (size_t)offset;
        assert_int_equal(size, left < sizeof(part) ? left : sizeof(part));
        assert_memory_equal(part, expected + offset, size);
    }
    tern_txn_free(txn);
}

static uint64_t hash_file(const char *path) {
    static uint8_t bytes[65536];
    uint64_t hash = 0;
    size_t size = 0;
    FILE *file = fopen(path, "rbe");
    assert_non_null(file);
    while ((size = fread(bytes, 1, sizeof(bytes), file)) > 0) {
        for (size_t i = 0; i < size; i++) {
            hash = hash * 1099511628211u + bytes[i] + 1;
        }
    }
    assert_int_equal(fclose(file), 0);
    return hash;
}

/* Names and bytes of all files but the lock, in a number. */
static uint64_t sum_files(const char *path) {
    DIR *directory = opendir(path);
    uint64_t sum = 0;
    assert_non_null(directory);
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        char whole[600];
        (void)snprintf(whole, sizeof(whole), "%s/%s", path, entry->d_name);
        if (strcmp(entry->d_name, "LOCK") != 0 && entry->d_name[0] != '.') {
            uint64_t hash = hash_file(whole);
            for (const char *c = entry->d_name; *c != '\0'; c++) {
                hash = hash * 31 + (uint8_t)*c;
            }
            sum += hash;
        }
    }
    assert_int_equal(closedir(directory), 0);
    return sum;
}

static void set_up(struct api_fixture *fixture, tern_engine_kind engine) {
    tern_error error = TERN_ERROR_INIT;
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.engine = engine;
    api_fixture_init_closed(fixture, true); /* nothing is drained that is not asked for */
    fixture->options.large_value_bytes = 20000;
    fixture->options.overlay_bytes = (uint64_t)4 << 20;
    assert_ok(tern_open(fixture->path, &fixture->options, &fixture->db, &error), error);
    assert_ok(tern_keyspace_create(fixture->db, "test", &options, &fixture->keyspace, &error),
              error);
    put_large(fixture->keyspace, "drained", 1);
    put_large(fixture->keyspace, "replaced", 2);
    assert_ok(tern_checkpoint(fixture->db, &error), error);
    put_large(fixture->keyspace, "replaced", 3);
    put_large(fixture->keyspace, "new", 4);
    put_large(fixture->keyspace, "deleted", 5);
    put_large(fixture->keyspace, "more", 6);
    assert_ok(tern_delete(fixture->keyspace, tern_slice_str("deleted"), NULL, &error), error);
    assert_ok(tern_merge(fixture->keyspace, tern_slice_str("more"), TERN_MERGE_APPEND,
                         tern_slice_str("!"), NULL, &error),
              error);
    api_put(fixture->keyspace, "small", "value");
    /* As a process that ends here leaves it: a close may drain. */
    char command[600];
    char *image = temporary_directory_create();
    (void)snprintf(command, sizeof(command), "cp -r '%s/.' '%s'", fixture->path, image);
    assert_int_equal(system(command), 0);
    api_fixture_close(fixture);
    temporary_directory_remove(fixture->path);
    fixture->path = image;
}

static void check_all(struct api_fixture *fixture) {
    tern_error error = TERN_ERROR_INIT;
    check_pinned(fixture->keyspace, "drained", 1);
    check_pinned(fixture->keyspace, "replaced", 3);
    check_pinned(fixture->keyspace, "new", 4);
    check_parts(fixture, "new", 4);
    check_parts(fixture, "replaced", 3);
    api_assert_missing(fixture->keyspace, "deleted");
    api_assert_value(fixture->keyspace, "small", "value");
    tern_value value = TERN_VALUE_INIT;
    assert_ok(tern_get_pinned(fixture->keyspace, tern_slice_str("more"), &value, &error), error);
    assert_int_equal(value.bytes.size, LARGE_BYTES + 1);
    assert_memory_equal(value.bytes.data, fill(6), LARGE_BYTES);
    tern_value_release(&value);
    tern_txn *txn = api_begin_reading(fixture);
    tern_cursor *cursor = NULL;
    assert_ok(tern_cursor_open(txn, fixture->keyspace, NULL, &cursor), *tern_txn_error(txn));
    uint64_t bytes = 0;
    tern_entry entries[8];
    size_t count = 0;
    while (tern_cursor_next_batch(cursor, entries, 8, &count) == TERN_OK) {
        for (size_t i = 0; i < count; i++) {
            bytes += entries[i].value.size;
        }
    }
    assert_int_equal(bytes, 4 * LARGE_BYTES + 1 + strlen("value"));
    tern_cursor_close(cursor);
    tern_txn_free(txn);
}

static void large_values_of_the_log_are_read_there(void **state) {
    static const tern_engine_kind engines[] = {TERN_ENGINE_BTREE, TERN_ENGINE_LSM,
                                               TERN_ENGINE_HASH};
    (void)state;
    for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
        struct api_fixture fixture;
        set_up(&fixture, engines[i]);
        uint64_t before = sum_files(fixture.path);
        fixture.options.read_only = true;
        fixture.options.create_if_missing = false;
        api_fixture_open(&fixture);
        check_all(&fixture);
        api_fixture_close(&fixture);
        assert_int_equal(sum_files(fixture.path), before);
        fixture.options.read_only = false;
        api_fixture_open(&fixture);
        check_all(&fixture);
        api_assert_sound(fixture.db);
        api_fixture_release(&fixture);
    }
}

static void overwrite_with(const char *path, size_t offset, uint8_t byte) {
    int descriptor = open(path, O_WRONLY | O_CLOEXEC);
    uint8_t bytes[4096];
    memset(bytes, byte, sizeof(bytes));
    assert_true(descriptor >= 0);
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(pwrite(descriptor, bytes, sizeof(bytes), (off_t)(offset + i * 4096)),
                         sizeof(bytes));
    }
    assert_int_equal(close(descriptor), 0);
}

/* Promise 5: what a checksum has not vouched for is not returned. */
static void what_changes_under_a_reader_is_not_returned(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    set_up(&fixture, TERN_ENGINE_BTREE);
    fixture.options.read_only = true;
    fixture.options.create_if_missing = false;
    api_fixture_open(&fixture);
    check_pinned(fixture.keyspace, "new", 4);
    DIR *directory = opendir(fixture.path);
    assert_non_null(directory);
    for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        if (strncmp(entry->d_name, "log-", 4) == 0) {
            char whole[600];
            (void)snprintf(whole, sizeof(whole), "%s/%s", fixture.path, entry->d_name);
            struct stat status;
            assert_int_equal(stat(whole, &status), 0);
            for (size_t at = 4096; at + 200 * 4096 <= (size_t)status.st_size; at += 200 * 4096) {
                overwrite_with(whole, at, 0x5a);
            }
            if (status.st_size <= 201 * 4096) {
                assert_int_equal(truncate(whole, 4096), 0);
            }
        }
    }
    assert_int_equal(closedir(directory), 0);
    tern_value value = TERN_VALUE_INIT;
    assert_int_equal(tern_get_pinned(fixture.keyspace, tern_slice_str("new"), &value, &error),
                     TERN_CORRUPTION);
    assert_non_null(strstr(error.message, "verify"));
    check_pinned(fixture.keyspace, "drained", 1);
    api_fixture_release(&fixture);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_values_of_the_log_are_read_there),
        cmocka_unit_test(what_changes_under_a_reader_is_not_returned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
