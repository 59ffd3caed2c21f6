/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside a transaction's cursor.
 *
 * It stands on an entry of the engine's cursor or on a copy (of an own write, or of the last entry
 * of a batch). Where the engine's cursor stands, seen from there, is in `engine_place`. Own writes
 * are looked up by key at each move, so the transaction may write while the cursor is open.
 */
#ifndef TERN_TXN_TXN_CURSOR_INTERNAL_H
#define TERN_TXN_TXN_CURSOR_INTERNAL_H

#include "txn/txn_cursor.h"

enum cursor_place { CURSOR_NOWHERE, CURSOR_ON_ENGINE, CURSOR_ON_COPY };

enum engine_place {
    ENGINE_UNKNOWN,    /* has to be sought */
    ENGINE_AT_CURRENT, /* on the key where the cursor stands */
    ENGINE_AFTER,      /* on the first entry after it, or at the end */
    ENGINE_BEFORE      /* on the last entry before it, or at the beginning */
};

struct tern_cursor {
    tern_txn *txn; /* NULL once the transaction has ended */
    const tern_allocator *allocator;
    tern_keyspace *keyspace;
    struct tern_cursor *next, *previous; /* of the transaction */
    struct snapshot own_snapshot;        /* read committed: of the time of opening */
    struct engine_view *part;            /* NULL: the keyspace is not in the view */
    const struct engine_methods *methods;
    struct engine_cursor *engine;
    struct engine_cursor_bounds bounds;
    struct buffer bound_bytes;
    bool keys_only;
    uint64_t time_ms; /* as of when expiry is judged */

    enum cursor_place place;
    enum engine_place engine_place;
    bool engine_stands;        /* on an entry */
    struct engine_entry entry; /* where the cursor stands */
    struct engine_entry ahead; /* where the engine's stands, when that is elsewhere */

    struct buffer key;   /* of a copy */
    struct buffer value; /* of a copy; or a value read into memory */
    struct buffer sought, spare;
    bool is_loaded; /* `value` holds the current LARGE value */

    struct engine_entry *batch; /* room for a batch of the engine's */
    struct arena batch_arena;

    /* Serializable: the range read since the last jump, [low, high]. */
    bool tracks, has_range, low_is_bound, high_is_bound;
    struct buffer low, high;

    tern_error error;
};

/*
 * Moves to the next entry in a direction: from where it stands (`key` NULL), or to the first
 * that is >= (backward: <=) `key`. TERN_NOT_FOUND: it stands nowhere.
 */
TERN_MUST_CHECK tern_status cursor_merge_move(tern_cursor *cursor, const tern_slice *key,
                                              bool backward);

/* True when the transaction has written to the keyspace. */
static inline struct write_part *cursor_writes(const tern_cursor *cursor) {
    return write_set_is_empty(&cursor->txn->writes)
               ? NULL
               : write_set_part(&cursor->txn->writes, cursor->keyspace);
}

/* The engine's cursor alone decides. */
static inline bool cursor_passes_through(const tern_cursor *cursor) {
    return cursor->engine != NULL && cursor_writes(cursor) == NULL &&
           (cursor->place == CURSOR_NOWHERE ||
            (cursor->place == CURSOR_ON_ENGINE && cursor->engine_place == ENGINE_AT_CURRENT));
}

/* The engine that holds values stored apart. */
static inline struct engine *cursor_engine(const tern_cursor *cursor) {
    return cursor->part != NULL ? cursor->part->engine : cursor->keyspace->engine;
}

#endif
