/* SPDX-License-Identifier: Apache-2.0 */
/* The option io_mode, by what the statistics show of it. */
#include "support/cmocka_test.h"

#include <stdio.h>
#include <string.h>
#include <tern/sys/file_system.h>
#include <tern/tern.h>

#include "support/temporary_directory.h"

static tern_status open_in(const char *path, tern_io_mode mode, const tern_file_system *files,
                           tern_db **out_db, tern_error *error) {
    tern_db_options options = TERN_DB_OPTIONS_INIT;
    options.create_if_missing = true;
    options.memory_bytes = (uint64_t)16 << 20;
    options.io_mode = mode;
    options.file_system = files;
    return tern_open(path, &options, out_db, error);
}

static uint64_t stat_of(tern_db *db, const char *name) {
    uint64_t value = 0;
    assert_int_equal(tern_stat_get(db, name, &value), TERN_OK);
    return value;
}

/* Some megabytes through a drain, and back. */
static void fill_and_check(tern_db *db) {
    enum { COUNT = 20000 };
    tern_keyspace *keyspace = NULL;
    tern_error error = TERN_ERROR_INIT;
    char key[16];
    char value[200];
    char found[200];
    memset(value, 'v', sizeof(value));
    assert_ok(tern_keyspace_create(db, "test", NULL, &keyspace, &error), error);
    for (unsigned i = 0; i < COUNT; i++) {
        (void)snprintf(key, sizeof(key), "%08u", i * 7919 % COUNT);
        assert_ok(tern_put(keyspace, tern_slice_str(key), tern_slice_of(value, sizeof(value)), NULL,
                           &error),
                  error);
    }
    assert_ok(tern_checkpoint(db, &error), error);
    for (unsigned i = 0; i < COUNT; i += 97) {
        size_t size = 0;
        (void)snprintf(key, sizeof(key), "%08u", i);
        assert_ok(tern_get(keyspace, tern_slice_str(key), found, sizeof(found), &size, &error),
                  error);
        assert_memory_equal(found, value, sizeof(value));
    }
}

static void drains_write_through_a_ring_where_there_is_one(void **state) {
    (void)state;
    char *path = temporary_directory_create();
    tern_error error = TERN_ERROR_INIT;
    tern_db *db = NULL;
    assert_ok(open_in(path, TERN_IO_MODE_DEFAULT, NULL, &db, &error), error);
    fill_and_check(db);
    assert_true(stat_of(db, "io_submitted") > 8);
    assert_int_equal(stat_of(db, "io_submitted"), stat_of(db, "io_completed"));
    if (stat_of(db, "io_ring") == 1) {
        assert_true(stat_of(db, "io_batches") > 0);
        assert_int_equal(stat_of(db, "io_ring_errno"), 0);
    } else {
        assert_int_equal(stat_of(db, "io_batches"), 0);
    }
    assert_ok(tern_close(db, &error), error);
    temporary_directory_remove(path);
}

static void plain_mode_hands_nothing_to_a_ring(void **state) {
    (void)state;
    char *path = temporary_directory_create();
    tern_error error = TERN_ERROR_INIT;
    tern_db *db = NULL;
    assert_ok(open_in(path, TERN_IO_MODE_PLAIN, NULL, &db, &error), error);
    fill_and_check(db);
    assert_int_equal(stat_of(db, "io_ring"), 0);
    assert_int_equal(stat_of(db, "io_ring_errno"), 0);
    assert_int_equal(stat_of(db, "io_batches"), 0);
    assert_true(stat_of(db, "io_submitted") > 8);
    assert_ok(tern_close(db, &error), error);
    temporary_directory_remove(path);
}

/* Pages of one multi-get that are not cached go to the device together. */
static void read_beyond_the_cache(tern_io_mode mode, uint64_t *out_reads, uint64_t *out_batches) {
    enum { COUNT = 60000, ROUND = 64 };
    char *path = temporary_directory_create();
    tern_error error = TERN_ERROR_INIT;
    tern_db *db = NULL;
    tern_keyspace *keyspace = NULL;
    static char keys[ROUND][16];
    static char found[ROUND][300];
    char value[300];
    memset(value, 'v', sizeof(value));
    assert_ok(open_in(path, mode, NULL, &db, &error), error);
    assert_ok(tern_keyspace_create(db, "test", NULL, &keyspace, &error), error);
    for (unsigned i = 0; i < COUNT; i++) {
        (void)snprintf(keys[0], sizeof(keys[0]), "%08u", i);
        memcpy(value, keys[0], 8);
        assert_ok(tern_put(keyspace, tern_slice_str(keys[0]), tern_slice_of(value, sizeof(value)),
                           NULL, &error),
                  error);
    }
    assert_ok(tern_checkpoint(db, &error), error);
    for (unsigned round = 0; round < 50; round++) {
        tern_get_request requests[ROUND];
        memset(requests, 0, sizeof(requests));
        for (unsigned i = 0; i < ROUND; i++) {
            /* Neighbours too, which lie on the same page. */
            unsigned number = (round * 7919 + i / 2 * 1871 + i % 2) % COUNT;
            (void)snprintf(keys[i], sizeof(keys[i]), "%08u", number);
            requests[i].key = tern_slice_str(keys[i]);
            requests[i].buffer = found[i];
            requests[i].capacity = sizeof(found[i]);
        }
        assert_ok(tern_multi_get(keyspace, requests, ROUND, &error), error);
        for (unsigned i = 0; i < ROUND; i++) {
            memcpy(value, keys[i], 8);
            assert_int_equal(requests[i].status, TERN_OK);
            assert_int_equal(requests[i].value_size, sizeof(value));
            assert_memory_equal(found[i], value, sizeof(value));
        }
    }
    *out_reads = stat_of(db, "io_read_submitted");
    *out_batches = stat_of(db, "io_read_batches");
    assert_int_equal(stat_of(db, "io_ring"), *out_reads > 0 ? 1 : 0);
    assert_ok(tern_close(db, &error), error);
    temporary_directory_remove(path);
}

static void multi_get_reads_missing_pages_together(void **state) {
    (void)state;
    uint64_t reads = 0;
    uint64_t batches = 0;
    read_beyond_the_cache(TERN_IO_MODE_PLAIN, &reads, &batches);
    assert_int_equal(reads, 0);
    read_beyond_the_cache(TERN_IO_MODE_DEFAULT, &reads, &batches);
    assert_true(reads == 0 || batches * 4 < reads);
}

static void ring_mode_fails_where_there_is_no_ring(void **state) {
    (void)state;
    char *path = temporary_directory_create();
    tern_error error = TERN_ERROR_INIT;
    tern_db *db = NULL;
    tern_file_system files = *tern_file_system_default();
    files.open_queue = NULL;
    assert_int_equal(open_in(path, TERN_IO_MODE_RING, &files, &db, &error), TERN_UNSUPPORTED);
    assert_non_null(strstr(error.message, "no queues"));
    assert_ok(open_in(path, TERN_IO_MODE_DEFAULT, &files, &db, &error), error);
    assert_int_equal(stat_of(db, "io_ring"), 0);
    assert_ok(tern_close(db, &error), error);
    assert_int_equal(open_in(path, (tern_io_mode)7, NULL, &db, &error), TERN_INVALID);
    temporary_directory_remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drains_write_through_a_ring_where_there_is_one),
        cmocka_unit_test(plain_mode_hands_nothing_to_a_ring),
        cmocka_unit_test(multi_get_reads_missing_pages_together),
        cmocka_unit_test(ring_mode_fails_where_there_is_no_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
