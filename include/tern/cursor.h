/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file cursor.h
 * Ordered iteration over a keyspace, forwards and backwards, one by one or in batches.
 *
 * A keyspace of the hash engine has no order. Its cursors go forward only, from the first entry to
 * the last, in an order that means nothing and may be another one next time:
 * - every key of the snapshot that lies within the bounds comes exactly once, with what the
 *   transaction has written to it; keys that only the transaction has written come at the end;
 * - the transaction may write while the cursor is open: keys that were there stay to be shown once
 *   (or not at all, when it deletes them before the cursor has come to them), no key comes twice;
 * - bounds are looked at entry by entry: a short range costs as much as all of the keyspace;
 * - tern_cursor_seek(), tern_cursor_seek_batch(), tern_cursor_seek_previous() and
 *   tern_cursor_previous() give TERN_UNSUPPORTED and leave the cursor where it stands.
 */
#ifndef TERN_CURSOR_H
#define TERN_CURSOR_H

#include <tern/txn.h>

TERN_BEGIN_DECLS

/**
 * A cursor of a transaction: sees its snapshot and its own writes. Belongs to the transaction's
 * thread; must be closed before the transaction ends. Keys and values it returns live until it
 * moves. When a read-only transaction is renewed (tern_txn_renew()), its cursors stay and follow.
 */
typedef struct tern_cursor tern_cursor;

/** Options of a cursor. Zero means default. Bounds are copied. */
typedef struct tern_cursor_options {
    size_t size;             /**< sizeof(tern_cursor_options), set by the initialiser */
    const tern_slice *begin; /**< first key (inclusive); NULL: unbounded */
    const tern_slice *end;   /**< end (exclusive); NULL: unbounded */
    bool keys_only;          /**< values may be left out (empty) */
} tern_cursor_options;

#ifdef __cplusplus
TERN_END_DECLS
static inline tern_cursor_options tern_cursor_options_init() {
    tern_cursor_options options = tern_cursor_options();
    options.size = sizeof(tern_cursor_options);
    return options;
}
#define TERN_CURSOR_OPTIONS_INIT (tern_cursor_options_init())
TERN_BEGIN_DECLS
#else
/** Defaults for tern_cursor_options. */
#define TERN_CURSOR_OPTIONS_INIT ((tern_cursor_options){.size = sizeof(tern_cursor_options)})
#endif

/**
 * Opens a cursor, standing nowhere: tern_cursor_next() goes to the first key,
 * tern_cursor_previous() to the last.
 * @param options NULL for defaults. Detail of a failure is in the transaction.
 */
TERN_API TERN_MUST_CHECK tern_status tern_cursor_open(tern_txn *txn, tern_keyspace *keyspace,
                                                      const tern_cursor_options *options,
                                                      tern_cursor **out_cursor);

/** Goes to the first key >= `key` (within bounds). TERN_NOT_FOUND when there is none.
 * TERN_UNSUPPORTED: the keyspace has no order. */
TERN_API TERN_MUST_CHECK tern_status tern_cursor_seek(tern_cursor *cursor, tern_slice key);

/** Goes to the last key <= `key` (within bounds). TERN_NOT_FOUND when there is none.
 * TERN_UNSUPPORTED: the keyspace has no order. */
TERN_API TERN_MUST_CHECK tern_status tern_cursor_seek_previous(tern_cursor *cursor, tern_slice key);

/** Goes one forward. TERN_NOT_FOUND past the end; then it stands nowhere. */
TERN_API TERN_MUST_CHECK tern_status tern_cursor_next(tern_cursor *cursor);

/** Goes one backward. TERN_NOT_FOUND before the beginning; then it stands nowhere.
 * TERN_UNSUPPORTED: the keyspace has no order. */
TERN_API TERN_MUST_CHECK tern_status tern_cursor_previous(tern_cursor *cursor);

/** Key where it stands; empty when it stands nowhere. Lives until the cursor moves. */
TERN_API tern_slice tern_cursor_key(const tern_cursor *cursor);

/**
 * Value where it stands, whole; values stored apart are read into memory now.
 * @param out_value lives until the cursor moves.
 */
TERN_API TERN_MUST_CHECK tern_status tern_cursor_value(tern_cursor *cursor, tern_slice *out_value);

/** One entry of a batch. */
typedef struct tern_entry {
    tern_slice key;
    tern_slice value;
} tern_entry;

/**
 * Moves forward over up to `capacity` entries and hands them out together: the fastest way to scan.
 * Begins with the entry after where the cursor stands (the first when nowhere); afterwards the
 * cursor stands on the last entry handed out.
 * @param out_count entries handed out, at least 1; they live until the cursor moves.
 * @return TERN_NOT_FOUND past the end.
 */
TERN_API TERN_MUST_CHECK tern_status tern_cursor_next_batch(tern_cursor *cursor,
                                                            tern_entry *out_entries,
                                                            size_t capacity, size_t *out_count);

/**
 * tern_cursor_seek() and tern_cursor_next_batch() in one: hands out up to `capacity` entries that
 * begin with the first key >= `key` (within bounds). The fastest way to scan a short range; a long
 * one goes on with tern_cursor_next_batch().
 * @param key       may be one that this cursor handed out.
 * @param out_count entries handed out, at least 1; they live until the cursor moves.
 * @return TERN_NOT_FOUND when there is no such key. TERN_UNSUPPORTED: the keyspace has no order.
 */
TERN_API TERN_MUST_CHECK tern_status tern_cursor_seek_batch(tern_cursor *cursor, tern_slice key,
                                                            tern_entry *out_entries,
                                                            size_t capacity, size_t *out_count);

/** Detail of the last failure; lives until the next call. Never NULL. */
TERN_API const tern_error *tern_cursor_error(const tern_cursor *cursor);

/** Closes. Accepts NULL. */
TERN_API void tern_cursor_close(tern_cursor *cursor);

TERN_END_DECLS

#endif
