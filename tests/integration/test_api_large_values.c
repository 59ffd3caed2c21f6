/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=600
 *
 * A value far larger than memory may hold is written and read in chunks; the process never takes
 * more than 64 MiB beyond the budget. LARGE_VALUE_MIB says how large (the long test: 1 GiB).
 */
#include <stdlib.h>

#include "api_fixture.h"

#ifndef LARGE_VALUE_MIB
#define LARGE_VALUE_MIB 64u
#endif
#define CHUNK_BYTES  ((size_t)1 << 20)
#define MEMORY_BYTES ((uint64_t)16 << 20)
#define SLACK_BYTES  ((uint64_t)64 << 20)

/* Most memory that the process ever had, in bytes. */
static uint64_t peak_bytes(void) {
    char line[256];
    uint64_t kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    assert_non_null(file);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0) {
            kib = strtoull(line + 6, NULL, 10);
        }
    }
    (void)fclose(file);
    return kib * 1024;
}

static void fill_chunk(uint8_t *chunk, unsigned number) {
    uint32_t mixed = number * 2654435761u + 1;
    for (size_t i = 0; i < CHUNK_BYTES; i += 4) {
        mixed = mixed * 1664525u + 1013904223u;
        memcpy(chunk + i, &mixed, 4);
    }
}

static void write_value(struct api_fixture *fixture, uint8_t *chunk) {
    tern_value_writer *writer;
    tern_txn *txn = api_begin(fixture);
    assert_ok(tern_txn_put_begin(txn, fixture->keyspace, tern_slice_str("huge"), NULL, &writer),
              *tern_txn_error(txn));
    for (unsigned i = 0; i < LARGE_VALUE_MIB; i++) {
        fill_chunk(chunk, i);
        assert_ok(tern_value_writer_append(writer, tern_slice_of(chunk, CHUNK_BYTES)),
                  *tern_txn_error(txn));
    }
    assert_ok(tern_value_writer_finish(writer), *tern_txn_error(txn));
    api_commit(txn);
}

static void check_value(struct api_fixture *fixture, uint8_t *chunk, uint8_t *expected) {
    tern_txn *txn = api_begin_reading(fixture);
    uint64_t whole = 0;
    size_t size = 0;
    for (unsigned i = 0; i < LARGE_VALUE_MIB; i++) {
        size_t got = 0;
        while (got < CHUNK_BYTES) {
            assert_ok(tern_txn_read(txn, fixture->keyspace, tern_slice_str("huge"),
                                    (uint64_t)i * CHUNK_BYTES + got, chunk + got, CHUNK_BYTES - got,
                                    &size, &whole),
                      *tern_txn_error(txn));
            assert_true(size > 0);
            got += size;
        }
        assert_int_equal(whole, (uint64_t)LARGE_VALUE_MIB * CHUNK_BYTES);
        fill_chunk(expected, i);
        assert_memory_equal(chunk, expected, CHUNK_BYTES);
    }
    assert_ok(tern_txn_read(txn, fixture->keyspace, tern_slice_str("huge"), whole, chunk,
                            CHUNK_BYTES, &size, NULL),
              *tern_txn_error(txn));
    assert_int_equal(size, 0);
    tern_txn_free(txn);
}

static void a_huge_value_passes_through_little_memory(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    uint8_t *chunk = malloc(CHUNK_BYTES);
    uint8_t *expected = malloc(CHUNK_BYTES);
    api_fixture_init_closed(&fixture, false);
    fixture.options.memory_bytes = MEMORY_BYTES;
    fixture.options.segment_bytes = (uint64_t)4 << 20;
    uint64_t before = peak_bytes();
    api_fixture_open(&fixture);
    write_value(&fixture, chunk);
    check_value(&fixture, chunk, expected);
    assert_ok(tern_checkpoint(fixture.db, &error), error);
    api_fixture_reopen(&fixture);
    check_value(&fixture, chunk, expected);
    uint64_t taken = peak_bytes() - before;
    print_message("%u MiB passed through %llu MiB\n", LARGE_VALUE_MIB,
                  (unsigned long long)(taken >> 20));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(taken <= MEMORY_BYTES + SLACK_BYTES);
#endif
    assert_ok(tern_delete(fixture.keyspace, tern_slice_str("huge"), NULL, &error), error);
    assert_ok(tern_checkpoint(fixture.db, &error), error);
    api_assert_missing(fixture.keyspace, "huge");
    api_fixture_release(&fixture);
    free(expected);
    free(chunk);
}

static void a_closed_database_with_a_value_apart_opens_for_reading_only(void **state) {
    (void)state;
    struct api_fixture fixture;
    tern_error error = TERN_ERROR_INIT;
    uint8_t *chunk = malloc(CHUNK_BYTES);
    size_t size = 0;
    api_fixture_init(&fixture, false);
    fill_chunk(chunk, 7);
    assert_ok(tern_put(fixture.keyspace, tern_slice_str("apart"), tern_slice_of(chunk, CHUNK_BYTES),
                       NULL, &error),
              error);
    api_put(fixture.keyspace, "small", "v");
    fixture.options.read_only = true;
    api_fixture_reopen(&fixture);
    /* And there is nothing to copy again. */
    assert_true(api_stat(fixture.db, "recovered_changes") <= 1);
    memset(chunk, 0, CHUNK_BYTES);
    assert_ok(
        tern_get(fixture.keyspace, tern_slice_str("apart"), chunk, CHUNK_BYTES, &size, &error),
        error);
    uint8_t *expected = malloc(CHUNK_BYTES);
    fill_chunk(expected, 7);
    assert_int_equal(size, CHUNK_BYTES);
    assert_memory_equal(chunk, expected, CHUNK_BYTES);
    api_assert_value(fixture.keyspace, "small", "v");
    api_fixture_release(&fixture);
    free(expected);
    free(chunk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_huge_value_passes_through_little_memory),
        cmocka_unit_test(a_closed_database_with_a_value_apart_opens_for_reading_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
