/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside a transaction's cursor.
 *
 * A cursor whose transaction was renewed goes on with its engine's cursor where that reads the same
 * view of the partition; else it lets go of it, and opens another one before its next move.
 *
 * It stands on an entry of the engine's cursor or on a copy (of an own write, or of the last entry
 * of a batch). Where the engine's cursor stands, seen from there, is in `engine_place`. Own writes
 * are looked up by key at each move, so the transaction may write while the cursor is open.
 *
 * Over an engine without order (cursor_unordered.c) it goes forward only: the engine's entries
 * first, then the own keys that the engine does not have.
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

#define SHORT_BOUNDS_BYTES 64

struct tern_cursor {
    tern_txn *txn; /* NULL once the transaction has ended */
    const tern_allocator *allocator;
    tern_keyspace *keyspace;
    struct tern_cursor *next, *previous; /* of the transaction */
    struct snapshot own_snapshot;        /* read committed: of the time of opening */
    struct engine_view *part;            /* NULL: the keyspace is not in the view */
    const struct engine_methods *methods;
    struct engine_cursor *engine;
    bool is_stale; /* renewed, and the engine's cursor is to be opened */
    struct engine_cursor_bounds bounds;
    struct buffer bound_bytes; /* of bounds that `short_bounds` has no room for */
    bool keys_only;

    enum cursor_place place;
    enum engine_place engine_place;
    bool engine_stands;        /* on an entry */
    struct engine_entry entry; /* where the cursor stands */
    struct engine_entry ahead; /* where the engine's stands, when that is elsewhere */

    /* Without order. */
    bool is_unordered;
    bool has_left_engine; /* its entries are through; own keys follow */
    uint32_t next_write;  /* number of the own key to look at then */

    struct buffer key;   /* of a copy */
    struct buffer value; /* of a copy; or a value read into memory */
    struct buffer sought, spare;
    bool is_loaded; /* `value` holds the current LARGE value */

    struct arena batch_arena;

    /* Serializable: the range read since the last jump, [low, high]. */
    bool tracks, has_range, low_is_bound, high_is_bound;
    struct buffer low, high;

    tern_error error; /* the last: filled when there is something to say */
    uint8_t short_bounds[SHORT_BOUNDS_BYTES];
};

/*
 * Moves to the next entry in a direction: from where it stands (`key` NULL), or to the first
 * that is >= (backward: <=) `key`. TERN_NOT_FOUND: it stands nowhere.
 */
TERN_MUST_CHECK tern_status cursor_merge_move(tern_cursor *cursor, const tern_slice *key,
                                              bool backward);

/* The same without order: the next entry, or the first when it stands nowhere. */
TERN_MUST_CHECK tern_status cursor_unordered_next(tern_cursor *cursor);

/* ---- an own write, for both ---- */

/* Something is left to show: no delete. (What expires begins to with the commit.) */
bool cursor_shows_write(const struct write_found *found);
/*
 * Stands on a copy of an own write, over the engine's record (`base`, may be NULL) when it merges.
 * The caller says where the engine's cursor stands.
 */
TERN_MUST_CHECK tern_status cursor_stand_on_write(tern_cursor *cursor,
                                                  const struct write_part *part, tern_slice key,
                                                  const struct write_found *found,
                                                  const struct record *base);
bool cursor_is_within(const tern_cursor *cursor, tern_slice key);

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

/* Without order: a move from nowhere begins with the engine's entries again. */
static inline void cursor_restart(tern_cursor *cursor) {
    cursor->has_left_engine = cursor->engine == NULL;
    cursor->next_write = 0;
}

/* The engine that holds values stored apart. */
static inline struct engine *cursor_engine(const tern_cursor *cursor) {
    return cursor->part != NULL ? cursor->part->engine : cursor->keyspace->engine;
}

#endif
