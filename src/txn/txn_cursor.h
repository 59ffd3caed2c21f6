/* SPDX-License-Identifier: Apache-2.0 */
/* Cursors of transactions (public type tern_cursor): own writes merged over an engine's cursor. */
#ifndef TERN_TXN_TXN_CURSOR_H
#define TERN_TXN_TXN_CURSOR_H

#include <tern/cursor.h>

#include "txn/txn.h"

/* What closed cursors leave for the next. */
void txn_cursor_spares_init(struct txn_manager *manager);
void txn_cursor_spares_release(struct txn_manager *manager);

TERN_MUST_CHECK tern_status txn_cursor_open(tern_txn *txn, tern_keyspace *keyspace,
                                            const tern_cursor_options *options,
                                            tern_cursor **out_cursor);
TERN_MUST_CHECK tern_status txn_cursor_seek(tern_cursor *cursor, tern_slice key, bool backward);
TERN_MUST_CHECK tern_status txn_cursor_move(tern_cursor *cursor, bool backward);
tern_slice txn_cursor_key(const tern_cursor *cursor);
TERN_MUST_CHECK tern_status txn_cursor_value(tern_cursor *cursor, tern_slice *out_value);
TERN_MUST_CHECK tern_status txn_cursor_next_batch(tern_cursor *cursor, tern_entry *out_entries,
                                                  size_t capacity, size_t *out_count);
TERN_MUST_CHECK tern_status txn_cursor_seek_batch(tern_cursor *cursor, tern_slice key,
                                                  tern_entry *out_entries, size_t capacity,
                                                  size_t *out_count);
const tern_error *txn_cursor_error(const tern_cursor *cursor);
void txn_cursor_close(tern_cursor *cursor);

/* The transaction ends before its cursors: they let go of everything and know it. */
void txn_cursors_orphan(tern_txn *txn);
/* The snapshot of a read-only transaction has moved, and the view that it was on before is still
 * held: they let go of that, and follow. */
void txn_cursors_renew(tern_txn *txn);
/* After a rollback to a savepoint: the numbers of the keys taken back go to others. */
void txn_cursors_rolled_back(tern_txn *txn);
/* The keyspace goes, whose creation is taken back: its cursors stand nowhere. */
void txn_cursors_leave(tern_txn *txn, const tern_keyspace *keyspace);
/* Puts what open cursors have read into the read set. */
TERN_MUST_CHECK tern_status txn_cursors_note_reads(tern_txn *txn);

#endif
