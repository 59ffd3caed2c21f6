/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a value apart: its bytes go to blocks of the engine and, as chunk records, to the log;
 * what the commit carries is the reference and the token that names the chunks.
 */
#ifndef TERN_TXN_LARGE_VALUE_H
#define TERN_TXN_LARGE_VALUE_H

#include "txn/commit.h"

/* One being written. One thread at a time. */
struct large_value {
    struct txn_manager *manager;
    const tern_keyspace *keyspace;
    struct database_view *view; /* keeps the engine; NULL when `engine` is the caller's to keep */
    struct engine *engine;
    struct engine_large_writer *writer; /* NULL once it failed */
    uint64_t token;
    uint64_t size_bytes;
    uint8_t reference[ENGINE_LARGE_REFERENCE_BYTES_MAX];
    size_t reference_size;
};

/* `is_own`: the keyspace is one that the calling transaction creates. */
TERN_MUST_CHECK tern_status large_value_begin(struct txn_manager *manager,
                                              const tern_keyspace *keyspace, bool is_own,
                                              struct large_value *out_large, tern_error *error);
TERN_MUST_CHECK tern_status large_value_append(struct large_value *large, tern_slice bytes,
                                               tern_error *error);
/* Completes: `reference` is filled. The view is held until large_value_close. */
TERN_MUST_CHECK tern_status large_value_finish(struct large_value *large, tern_error *error);
/* The change that a commit has to carry for it. Points into `large`. */
struct engine_change large_value_change(const struct large_value *large, tern_slice key,
                                        uint64_t key_hash, uint64_t ttl_ms);
/* Gives up what has not been finished, discards what has when `discards`; lets go of the view. */
void large_value_close(struct large_value *large, bool discards);

/* The whole of it, from memory. */
TERN_MUST_CHECK tern_status large_value_write(struct txn_manager *manager,
                                              const tern_keyspace *keyspace, bool is_own,
                                              tern_slice value, struct large_value *out_large,
                                              tern_error *error);

/* The keyspace was converted since: no commit can carry it any more (TERN_CONFLICT). */
bool large_value_is_stale(const struct large_value *large);

/* Gives up a finished value of `partition` that no commit carries. */
void large_value_discard(struct txn_manager *manager, const tern_keyspace *keyspace, bool is_own,
                         uint64_t token, partition_id partition, tern_slice reference);

/* ---- checks and times that all writes share ---- */

TERN_MUST_CHECK tern_status write_check_key(const tern_keyspace *keyspace, tern_slice key,
                                            tern_error *error);
TERN_MUST_CHECK tern_status write_check_value(const tern_keyspace *keyspace, uint64_t size_bytes,
                                              tern_error *error);
/* A record that expires after `ttl_ms` (0: never) is on its way. */
static inline void write_note_ttl(struct txn_manager *manager, uint64_t ttl_ms) {
    if (ttl_ms != 0 && !atomic_load_explicit(&manager->has_expiring, memory_order_relaxed)) {
        atomic_store_explicit(&manager->has_expiring, true, memory_order_relaxed);
    }
}

/* Pays for background work before a commit. */
TERN_MUST_CHECK static inline tern_status write_throttle(struct txn_manager *manager,
                                                         uint64_t bytes, tern_error *error) {
    return manager->callbacks.throttle != NULL
               ? manager->callbacks.throttle(manager->callbacks.context, bytes, error)
               : TERN_OK;
}

#endif
