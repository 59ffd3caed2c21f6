/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=120
 *
 * Keyspaces that a transaction creates and then takes back, and those that have become another
 * partition's, or nobody's, before their transaction has cleared up behind itself.
 */
#include <stdlib.h>

#include "api_fixture.h"

#define LARGE_BYTES ((size_t)1 << 20)

static const tern_engine_kind kinds[] = {TERN_ENGINE_BTREE, TERN_ENGINE_HASH, TERN_ENGINE_LSM};
#define ENGINES (sizeof(kinds) / sizeof(kinds[0]))

static uint8_t *large_bytes(uint8_t fill) {
    uint8_t *bytes = malloc(LARGE_BYTES);
    assert_non_null(bytes);
    memset(bytes, fill, LARGE_BYTES);
    return bytes;
}

static tern_keyspace *create_in(tern_txn *txn, tern_engine_kind engine) {
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    tern_keyspace *keyspace;
    options.engine = engine;
    assert_ok(tern_txn_keyspace_create(txn, "new", &options, &keyspace), *tern_txn_error(txn));
    return keyspace;
}

static void put_large(tern_txn *txn, tern_keyspace *keyspace, const char *key, uint8_t fill) {
    uint8_t *bytes = large_bytes(fill);
    assert_ok(
        tern_txn_put(txn, keyspace, tern_slice_str(key), tern_slice_of(bytes, LARGE_BYTES), NULL),
        *tern_txn_error(txn));
    free(bytes);
}

/* How a writer ends whose keyspace has been taken back. */
enum ending { ENDS_ABANDONED, ENDS_FINISHED, ENDS_WITH_THE_TRANSACTION, ENDINGS };

static void a_writer_ends_whose_keyspace_was_taken_back(void **state) {
    (void)state;
    uint8_t *bytes = large_bytes('w');
    for (unsigned i = 0; i < ENGINES * ENDINGS; i++) {
        struct api_fixture fixture;
        tern_value_writer *writer;
        uint32_t savepoint;
        api_fixture_init(&fixture, true);
        tern_txn *txn = api_begin(&fixture);
        assert_ok(tern_txn_savepoint(txn, &savepoint), *tern_txn_error(txn));
        tern_keyspace *keyspace = create_in(txn, kinds[i % ENGINES]);
        assert_ok(tern_txn_put_begin(txn, keyspace, tern_slice_str("k"), NULL, &writer),
                  *tern_txn_error(txn));
        assert_ok(tern_value_writer_append(writer, tern_slice_of(bytes, LARGE_BYTES)),
                  *tern_txn_error(txn));
        assert_ok(tern_txn_rollback_to(txn, savepoint), *tern_txn_error(txn));
        assert_int_equal(tern_value_writer_append(writer, tern_slice_str("more")), TERN_NOT_FOUND);
        switch ((enum ending)(i / ENGINES)) {
        case ENDS_ABANDONED:
            tern_value_writer_abandon(writer);
            break;
        case ENDS_FINISHED:
            assert_int_equal(tern_value_writer_finish(writer), TERN_NOT_FOUND);
            break;
        default:
            tern_txn_rollback(txn);
            tern_value_writer_abandon(writer);
        }
        tern_txn_free(txn);
        api_put(fixture.keyspace, "k", "v");
        api_fixture_reopen(&fixture);
        api_assert_value(fixture.keyspace, "k", "v");
        api_assert_sound(fixture.db);
        api_fixture_release(&fixture);
    }
    free(bytes);
}

static void a_cursor_stands_nowhere_whose_keyspace_was_taken_back(void **state) {
    (void)state;
    for (unsigned i = 0; i < ENGINES; i++) {
        struct api_fixture fixture;
        tern_cursor *cursor;
        tern_slice value;
        uint32_t savepoint;
        api_fixture_init(&fixture, true);
        tern_txn *txn = api_begin(&fixture);
        assert_ok(tern_txn_savepoint(txn, &savepoint), *tern_txn_error(txn));
        tern_keyspace *keyspace = create_in(txn, kinds[i]);
        put_large(txn, keyspace, "k", 'c');
        assert_ok(tern_cursor_open(txn, keyspace, NULL, &cursor), *tern_txn_error(txn));
        assert_ok(tern_cursor_next(cursor), *tern_cursor_error(cursor));
        assert_ok(tern_txn_rollback_to(txn, savepoint), *tern_txn_error(txn));
        assert_int_equal(tern_cursor_value(cursor, &value), TERN_INVALID);
        assert_int_equal(tern_cursor_key(cursor).size, 0);
        assert_int_equal(tern_cursor_next(cursor), TERN_NOT_FOUND);
        tern_cursor_close(cursor);
        tern_txn_free(txn);
        api_fixture_release(&fixture);
    }
}

static void note_status(void *context, tern_status status, const tern_error *error) {
    (void)error;
    *(tern_status *)context = status;
}

static void assert_large(tern_keyspace *keyspace, const char *key, uint8_t fill) {
    tern_error error = TERN_ERROR_INIT;
    uint8_t *bytes = large_bytes(fill);
    uint8_t *read = large_bytes(0);
    size_t size = 0;
    assert_ok(tern_get(keyspace, tern_slice_str(key), read, LARGE_BYTES, &size, &error), error);
    assert_int_equal(size, LARGE_BYTES);
    assert_memory_equal(read, bytes, LARGE_BYTES);
    free(read);
    free(bytes);
}

/*
 * A transaction creates a keyspace and writes a large value twice: the first of the two goes when
 * its callback is called. Until somebody polls for that, the keyspace may be converted, or dropped
 * with all that it was.
 */
static void what_a_late_callback_clears_up_is_its_own_partitions(void **state) {
    (void)state;
    for (unsigned i = 0; i < 2 * ENGINES; i++) {
        bool drops = i >= ENGINES;
        struct api_fixture fixture;
        tern_error error = TERN_ERROR_INIT;
        tern_status status = TERN_CANCELLED;
        tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
        int descriptor;
        options.engine = kinds[(i + 1) % ENGINES];
        api_fixture_init(&fixture, true);
        assert_ok(tern_poll_descriptor(fixture.db, &descriptor, &error), error);
        tern_txn *txn = api_begin(&fixture);
        tern_keyspace *keyspace = create_in(txn, kinds[i % ENGINES]);
        put_large(txn, keyspace, "k", '1');
        put_large(txn, keyspace, "k", '2');
        assert_ok(tern_txn_commit_async(txn, note_status, &status), *tern_txn_error(txn));
        api_fixture_pass_ms(&fixture, 10);
        assert_large(keyspace, "k", '2');
        if (drops) {
            assert_ok(tern_keyspace_drop(fixture.db, "new", &error), error);
        } else {
            assert_ok(tern_keyspace_convert(keyspace, &options, NULL, NULL, &error), error);
        }
        for (int round = 0; round < 3; round++) {
            assert_ok(tern_checkpoint(fixture.db, &error), error);
            api_fixture_pass_ms(&fixture, 300);
        }
        assert_int_equal(status, TERN_CANCELLED);
        assert_true(tern_poll(fixture.db) > 0);
        assert_int_equal(status, TERN_OK);
        if (!drops) {
            assert_large(keyspace, "k", '2');
            txn = api_begin(&fixture);
            put_large(txn, keyspace, "l", '3');
            api_commit(txn);
            assert_large(keyspace, "k", '2');
            api_fixture_reopen(&fixture);
            assert_ok(tern_keyspace_open(fixture.db, "new", &keyspace, &error), error);
            assert_large(keyspace, "k", '2');
            assert_large(keyspace, "l", '3');
        }
        api_assert_sound(fixture.db);
        api_fixture_release(&fixture);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_writer_ends_whose_keyspace_was_taken_back),
        cmocka_unit_test(a_cursor_stands_nowhere_whose_keyspace_was_taken_back),
        cmocka_unit_test(what_a_late_callback_clears_up_is_its_own_partitions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
