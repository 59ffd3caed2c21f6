/* SPDX-License-Identifier: Apache-2.0 */
/* Cursors of the public API: arguments are checked, then src/txn does the work. */
#include "api/api_arguments.h"
#include "txn/txn_cursor.h"

static tern_error *error_of(tern_cursor *cursor) {
    return (tern_error *)(uintptr_t)txn_cursor_error(cursor);
}

tern_status tern_cursor_open(tern_txn *txn, tern_keyspace *keyspace,
                             const tern_cursor_options *options, tern_cursor **out_cursor) {
    tern_cursor_options given = TERN_CURSOR_OPTIONS_INIT;
    REQUIRE(NULL, txn != NULL, "no transaction");
    REQUIRE(&txn->error, keyspace != NULL, "no keyspace");
    REQUIRE(&txn->error, out_cursor != NULL, "no out_cursor");
    REQUIRE(&txn->error,
            options == NULL || options_copy(&given, sizeof(given), options, options->size),
            "options were not initialised with TERN_CURSOR_OPTIONS_INIT");
    REQUIRE(&txn->error, bound_is_valid(given.begin) && bound_is_valid(given.end),
            "bound without data");
    return txn_cursor_open(txn, keyspace, &given, out_cursor);
}

tern_status tern_cursor_seek(tern_cursor *cursor, tern_slice key) {
    REQUIRE(NULL, cursor != NULL, "no cursor");
    REQUIRE(error_of(cursor), slice_is_valid(key), "key without data");
    return txn_cursor_seek(cursor, key, false);
}

tern_status tern_cursor_seek_previous(tern_cursor *cursor, tern_slice key) {
    REQUIRE(NULL, cursor != NULL, "no cursor");
    REQUIRE(error_of(cursor), slice_is_valid(key), "key without data");
    return txn_cursor_seek(cursor, key, true);
}

tern_status tern_cursor_next(tern_cursor *cursor) {
    REQUIRE(NULL, cursor != NULL, "no cursor");
    return txn_cursor_move(cursor, false);
}

tern_status tern_cursor_previous(tern_cursor *cursor) {
    REQUIRE(NULL, cursor != NULL, "no cursor");
    return txn_cursor_move(cursor, true);
}

tern_slice tern_cursor_key(const tern_cursor *cursor) {
    return cursor != NULL ? txn_cursor_key(cursor) : tern_slice_of(NULL, 0);
}

tern_status tern_cursor_value(tern_cursor *cursor, tern_slice *out_value) {
    REQUIRE(NULL, cursor != NULL, "no cursor");
    REQUIRE(error_of(cursor), out_value != NULL, "no out_value");
    return txn_cursor_value(cursor, out_value);
}

tern_status tern_cursor_next_batch(tern_cursor *cursor, tern_entry *out_entries, size_t capacity,
                                   size_t *out_count) {
    REQUIRE(NULL, cursor != NULL, "no cursor");
    REQUIRE(error_of(cursor), out_entries != NULL && capacity > 0, "no room for entries");
    REQUIRE(error_of(cursor), out_count != NULL, "no out_count");
    return txn_cursor_next_batch(cursor, out_entries, capacity, out_count);
}

tern_status tern_cursor_seek_batch(tern_cursor *cursor, tern_slice key, tern_entry *out_entries,
                                   size_t capacity, size_t *out_count) {
    REQUIRE(NULL, cursor != NULL, "no cursor");
    REQUIRE(error_of(cursor), slice_is_valid(key), "key without data");
    REQUIRE(error_of(cursor), out_entries != NULL && capacity > 0, "no room for entries");
    REQUIRE(error_of(cursor), out_count != NULL, "no out_count");
    return txn_cursor_seek_batch(cursor, key, out_entries, capacity, out_count);
}

const tern_error *tern_cursor_error(const tern_cursor *cursor) {
    static const tern_error no_cursor = {
        .status = TERN_INVALID, .offset = -1, .message = "no cursor"};
    return cursor != NULL ? txn_cursor_error(cursor) : &no_cursor;
}

void tern_cursor_close(tern_cursor *cursor) {
    txn_cursor_close(cursor);
}
