/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transaction's cursor over an engine without order: it goes forward only.
 *
 * First come the entries of the engine at the cursor's snapshot, each with what the transaction has
 * done to its key until then; then the keys that only the transaction has, in the order in which it
 * first wrote them. Which of the two a key belongs to hangs on the snapshot alone, so
 *
 *  U1 no key is shown twice, whatever the transaction writes while the cursor is open, unless a
 *     rollback to a savepoint has taken it back and it was written again;
 *  U2 a key that is there from the first move to the last, written to meanwhile or not, is shown;
 *  U3 a key that the transaction writes first while the cursor is open is shown unless the cursor
 *     has been at its end since.
 */
#include "base/error.h"
#include "txn/txn_cursor_internal.h"

/* Does the engine hold the key at the cursor's snapshot? */
static tern_status is_in_engine(tern_cursor *cursor, const struct write_key *key, bool *out_is_in) {
    const tern_txn *txn = cursor->txn;
    const struct snapshot *snapshot = txn_snapshot(txn);
    struct engine_scratch scratch;
    struct engine_result result;
    *out_is_in = false;
    if (cursor->engine == NULL) {
        return TERN_OK;
    }
    snapshot = snapshot != NULL ? snapshot : &cursor->own_snapshot;
    engine_scratch_init(&scratch, cursor->allocator);
    struct epoch_slot *epoch = epoch_enter(txn->manager->epoch);
    tern_status status = cursor->methods->get(cursor->part, key->key, key->hash, &snapshot->moment,
                                              &scratch, &result, &cursor->error);
    epoch_exit(epoch);
    engine_scratch_release(&scratch);
    if (status == TERN_OK) {
        *out_is_in = result.record.kind != RECORD_NONE;
    }
    return status;
}

/* The next entry of the engine that is left once own writes have been looked at. */
static tern_status next_of_engine(tern_cursor *cursor, const struct write_part *part) {
    bool is_first = cursor->place == CURSOR_NOWHERE;
    for (;;) {
        struct write_found found;
        tern_status status =
            is_first ? cursor->methods->cursor_first(cursor->engine, false, &cursor->error)
                     : cursor->methods->cursor_next(cursor->engine, &cursor->error);
        is_first = false;
        if (status != TERN_OK) {
            return status;
        }
        cursor->methods->cursor_entry(cursor->engine, &cursor->ahead);
        tern_slice key = cursor->ahead.key;
        cursor->engine_place = ENGINE_AT_CURRENT;
        if (part == NULL ||
            !write_part_find(part, key, keyspace_key_hash(cursor->keyspace, key), &found)) {
            cursor->entry = cursor->ahead;
            cursor->place = CURSOR_ON_ENGINE;
            return TERN_OK;
        }
        if (cursor_shows_write(&found)) {
            return cursor_stand_on_write(cursor, part, key, &found, &cursor->ahead.record);
        }
    }
}

/* The next own key that the engine does not have. */
static tern_status next_of_writes(tern_cursor *cursor, const struct write_part *part) {
    while (part != NULL && cursor->next_write < part->key_count) {
        uint32_t number = cursor->next_write++;
        const struct write_key *key = &part->keys[number];
        struct write_found found;
        bool is_in = false;
        if (!cursor_is_within(cursor, key->key)) {
            continue;
        }
        write_part_find_number(part, number, &found);
        if (!cursor_shows_write(&found)) {
            continue;
        }
        tern_status status = is_in_engine(cursor, key, &is_in);
        if (status != TERN_OK) {
            return status;
        }
        if (!is_in) {
            cursor->engine_place = ENGINE_UNKNOWN;
            return cursor_stand_on_write(cursor, part, key->key, &found, NULL);
        }
    }
    return TERN_NOT_FOUND;
}

tern_status cursor_unordered_next(tern_cursor *cursor) {
    const struct write_part *part = cursor_writes(cursor);
    if (cursor->place == CURSOR_NOWHERE) {
        cursor_restart(cursor);
    }
    if (!cursor->has_left_engine) {
        tern_status status = next_of_engine(cursor, part);
        if (status != TERN_NOT_FOUND) {
            return status;
        }
        cursor->has_left_engine = true;
    }
    return next_of_writes(cursor, part);
}
