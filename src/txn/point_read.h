/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading one key: entering the epoch, finding a view and a moment that fit, asking the engine, and
 * getting the value to the caller by copy, in parts, or pinned.
 */
#ifndef TERN_TXN_POINT_READ_H
#define TERN_TXN_POINT_READ_H

#include <tern/value.h>

#include "txn/txn_manager.h"

/* A read under way. What `result` points to lives until point_read_end. */
struct point_read {
    struct txn_manager *manager;
    struct epoch_slot *epoch; /* NULL once left */
    struct database_view
        *retained; /* released at the end; NULL: a snapshot or the epoch holds it */
    struct engine_view *part;
    struct engine_moment moment;
    struct engine_result result;
    uint8_t reference[ENGINE_LARGE_REFERENCE_BYTES_MAX];
};

/*
 * Reads `key` at the snapshot, or (NULL) at a moment of now. TERN_OK also when there is nothing
 * (record.kind NONE). For LARGE the epoch has been left and the view is held instead.
 * TERN_NOT_FOUND with detail: the keyspace is gone. TERN_SNAPSHOT_TOO_OLD. On failure nothing has
 * to be ended.
 */
TERN_MUST_CHECK tern_status point_read_begin(struct txn_manager *manager,
                                             const struct snapshot *snapshot,
                                             const tern_keyspace *keyspace, tern_slice key,
                                             uint64_t key_hash, struct engine_scratch *scratch,
                                             struct point_read *out_read, tern_error *error);

static inline void point_read_end(struct point_read *read) {
    if (read->epoch != NULL) {
        epoch_exit(read->epoch);
    }
    database_view_release(read->retained);
}

/* A key that no keyspace can hold is simply not there. */
static inline bool key_is_possible(const tern_keyspace *keyspace, tern_slice key) {
    return key.size > 0 && key.size <= keyspace->read_key_bytes_max;
}

/* Why a keyspace is missing from a view: TERN_OK when it is only younger than the view. */
TERN_MUST_CHECK tern_status keyspace_check_absence(const tern_keyspace *keyspace,
                                                   tern_error *error);

/* Said of what a transaction cannot do because of a conversion since. */
TERN_MUST_CHECK tern_status keyspace_say_converted(const tern_keyspace *keyspace,
                                                   tern_error *error);
/* Said of a read at a snapshot that the engine could not answer any more. */
TERN_MUST_CHECK tern_status snapshot_say_too_old(const struct engine_moment *moment,
                                                 tern_error *error);

/* Makes a reference of a view found in an epoch; false when it is on its way out. */
bool database_view_try_retain(struct database_view *view);

/* ---- the value ---- */

/* Whole size of a PUT or LARGE record's value. */
static inline uint64_t record_value_bytes(const struct record *record) {
    return record->kind == RECORD_LARGE ? record->value_size : record->value.size;
}

/* Copies what fits; TERN_BUFFER_TOO_SMALL. For reads that found something. */
TERN_MUST_CHECK tern_status value_copy(struct engine *engine, const struct record *record,
                                       void *buffer, size_t capacity, size_t *out_size,
                                       tern_error *error);

/* Copies up to `capacity` bytes from `offset` on. */
TERN_MUST_CHECK tern_status value_copy_part(struct engine *engine, const struct record *record,
                                            uint64_t offset, void *buffer, size_t capacity,
                                            size_t *out_size, tern_error *error);

/* Reads the whole value of a LARGE record, replacing what *out holds. */
TERN_MUST_CHECK tern_status value_load(struct engine *engine, const struct record *record,
                                       struct buffer *out, tern_error *error);

/* Counts the pins of a transaction; outlives it while there are some. */
struct pin_account;
TERN_MUST_CHECK tern_status pin_account_create(struct txn_manager *manager,
                                               struct pin_account **out_account, tern_error *error);
/* The transaction lets go of it. Accepts NULL. */
void pin_account_release(struct pin_account *account);

/* A value with a copy of its own. */
TERN_MUST_CHECK tern_status value_own_copy(struct txn_manager *manager, tern_slice bytes,
                                           tern_value *out_value, tern_error *error);
/* A value with the whole of what is stored apart. */
TERN_MUST_CHECK tern_status value_own_large(struct txn_manager *manager, struct engine *engine,
                                            const struct record *record, tern_value *out_value,
                                            tern_error *error);

/*
 * Pins what a read found. Frames are pinned; bytes of an overlay are copied, since their memory may
 * be used again once no snapshot selects them; scratch memory is handed over. `account` NULL: not
 * counted. TERN_NO_MEMORY and what loading a LARGE value gives.
 */
TERN_MUST_CHECK tern_status value_pin(struct point_read *read, struct engine_scratch *scratch,
                                      struct pin_account *account, tern_value *out_value,
                                      tern_error *error);

/* tern_value_release. */
void value_release(tern_value *value);

#endif
