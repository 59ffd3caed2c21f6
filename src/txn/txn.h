/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transaction (public type tern_txn). The functions here are what include/tern/txn.h promises,
 * after the arguments were checked by src/api.
 *
 * States: ACTIVE -> ENDED (committed or rolled back) -> ACTIVE (restart); ACTIVE -> COMMITTING
 * (asynchronous; freed after the callback). `failed` set: ACTIVE, but only good for being ended.
 */
#ifndef TERN_TXN_TXN_H
#define TERN_TXN_TXN_H

#include <tern/txn.h>

#include "txn/point_read.h"
#include "txn/read_set.h"
#include "txn/write_set.h"

enum txn_state { TXN_ACTIVE, TXN_COMMITTING, TXN_ENDED };

/* Creation or drop of a keyspace, not yet committed. */
struct txn_catalog_change {
    struct catalog_change change;
    uint32_t savepoint_count; /* savepoints that were set before it */
};

/* Parts of a commit that need no memory of their own. */
#define TXN_INLINE_PARTS 4

struct tern_txn {
    struct txn_manager *manager;
    tern_isolation isolation;   /* resolved */
    tern_durability durability; /* resolved */
    uint32_t lock_timeout_ms;   /* resolved */
    bool is_read_only;
    bool is_pessimistic;
    bool is_live_writer; /* counted in manager->live_writers */
    enum txn_state state;
    tern_status failed;       /* what made it fail, or TERN_OK */
    seq_no seq;               /* of the snapshot; after a commit, its own */
    struct snapshot snapshot; /* empty for read committed */
    bool is_payer;            /* counted in paying_snapshots */
    struct write_set writes;
    struct read_set reads;
    struct lock_owner locks; /* its id is the transaction's */
    struct engine_scratch scratch;
    struct buffer merged, merged_spare; /* of merges over what the engine has */
    struct pin_account *pins;
    struct tern_cursor *cursors;       /* open ones */
    struct tern_value_writer *writers; /* open ones */

    /* Large values that were undone by rollback_to: given up when the transaction ends. */
    struct abandoned_value *abandoned;

    struct txn_catalog_change *catalog;
    size_t catalog_count, catalog_capacity;
    struct catalog_change *catalog_request;           /* what the request points to */
    void (*forget_keyspace)(tern_keyspace *keyspace); /* creation rolled back */

    struct commit_request request;
    struct commit_part inline_parts[TXN_INLINE_PARTS];
    struct commit_part *parts; /* of the request; inline_parts or allocated */
    tern_commit_callback callback;
    void *callback_context;
    tern_error error;
};

/* ---- life (txn.c, txn_commit.c) ---- */

/* The spare handles of a manager: its allocator is set; none is in use any more. */
void txn_spares_init(struct txn_manager *manager);
void txn_spares_release(struct txn_manager *manager);

TERN_MUST_CHECK tern_status txn_begin(struct txn_manager *manager, const tern_txn_options *options,
                                      tern_txn **out_txn, tern_error *error);
TERN_MUST_CHECK tern_status txn_restart(tern_txn *txn);
TERN_MUST_CHECK tern_status txn_renew(tern_txn *txn);
void txn_rollback(tern_txn *txn);
void txn_free(tern_txn *txn);
TERN_MUST_CHECK tern_status txn_commit(tern_txn *txn);
TERN_MUST_CHECK tern_status txn_commit_async(tern_txn *txn, tern_commit_callback callback,
                                             void *context);
TERN_MUST_CHECK tern_status txn_savepoint(tern_txn *txn, uint32_t *out_savepoint);
TERN_MUST_CHECK tern_status txn_rollback_to(tern_txn *txn, uint32_t savepoint);

/* How a transaction ends. */
enum txn_outcome {
    TXN_NOTHING_TO_DO, /* committed, without a request */
    TXN_COMMITTED,
    TXN_ROLLED_BACK,
    TXN_UNKNOWN /* perhaps committed: nothing that the commit carried may be given up */
};

/* Lets go of snapshot, locks, cursors, and memory but for a little; the state becomes ENDED. */
void txn_end(tern_txn *txn, enum txn_outcome outcome);

/* Gives up a value stored apart that nothing refers to. */
void txn_discard_large(void *txn, tern_keyspace *keyspace, const struct engine_change *change);

/* ---- keyspaces (txn_catalog.c) ---- */

/* The name of a keyspace created or dropped here. */
enum txn_keyspace_state { TXN_KEYSPACE_UNTOUCHED, TXN_KEYSPACE_CREATED, TXN_KEYSPACE_DROPPED };
enum txn_keyspace_state txn_keyspace_state(const tern_txn *txn, const tern_keyspace *keyspace);
/* The keyspace of that name created here and not dropped since, or NULL. */
tern_keyspace *txn_keyspace_created(const tern_txn *txn, const char *name);
/* Takes part in the transaction from now on. `forget` is called when it is rolled back. */
TERN_MUST_CHECK tern_status txn_keyspace_add(tern_txn *txn, tern_keyspace *keyspace, bool is_drop,
                                             void (*forget)(tern_keyspace *keyspace));
/* Undoes creations and drops that came after the savepoint; 0: all. `forget`: what was created. */
void txn_catalog_undo(tern_txn *txn, uint32_t savepoint, bool forget);
/* They were committed; what came and went is forgotten now. */
void txn_catalog_committed(tern_txn *txn);
/* What the commit carries: creations and drops, without keyspaces that came and went. */
TERN_MUST_CHECK tern_status txn_catalog_request(tern_txn *txn);
/* A creation that was dropped again in the same transaction. */
bool txn_keyspace_came_and_went(const tern_txn *txn, const tern_keyspace *keyspace);

/* ---- use (txn.c) ---- */

/* TERN_OK when calls make sense: active and not failed. */
TERN_MUST_CHECK tern_status txn_check(tern_txn *txn);
/* The same, and the keyspace belongs to the database and was not dropped here. */
TERN_MUST_CHECK tern_status txn_check_read(tern_txn *txn, const tern_keyspace *keyspace);
/* The same, and it may write. */
TERN_MUST_CHECK tern_status txn_check_write(tern_txn *txn, const tern_keyspace *keyspace);
/* Remembers a failure that leaves nothing but ending; returns `status`. */
tern_status txn_fail(tern_txn *txn, tern_status status);

/* The snapshot that reads use, or NULL for read committed. */
static inline const struct snapshot *txn_snapshot(const tern_txn *txn) {
    return txn->snapshot.slot != NULL ? &txn->snapshot : NULL;
}

/* Writes to it are in the keyspace's part of the write set only; there is nothing in any view. */
static inline bool txn_keyspace_is_own(const tern_txn *txn, const tern_keyspace *keyspace) {
    return txn->catalog_count > 0 && txn_keyspace_state(txn, keyspace) == TXN_KEYSPACE_CREATED;
}

static inline bool txn_tracks_reads(const tern_txn *txn) {
    return txn->isolation == TERN_ISOLATION_SERIALIZABLE && !txn->is_read_only;
}

/* ---- locks (txn_lock.c) ---- */

/* Locks a key until the end and makes sure that it has not changed since the snapshot. */
TERN_MUST_CHECK tern_status txn_lock_key(tern_txn *txn, tern_keyspace *keyspace, tern_slice key,
                                         uint64_t key_hash, tern_lock_mode mode);

/* Waits until no commit that was validated before this call is still invisible. */
void txn_wait_for_commits(struct txn_manager *manager);

/* ---- reads (txn_read.c) ---- */

TERN_MUST_CHECK tern_status txn_get(tern_txn *txn, tern_keyspace *keyspace, tern_slice key,
                                    void *buffer, size_t capacity, size_t *out_size);
TERN_MUST_CHECK tern_status txn_get_pinned(tern_txn *txn, tern_keyspace *keyspace, tern_slice key,
                                           tern_value *out_value);
TERN_MUST_CHECK tern_status txn_read(tern_txn *txn, tern_keyspace *keyspace, tern_slice key,
                                     uint64_t offset, void *buffer, size_t capacity,
                                     size_t *out_size, uint64_t *out_value_size);
TERN_MUST_CHECK tern_status txn_multi_get(tern_txn *txn, tern_keyspace *keyspace,
                                          tern_get_request *requests, size_t count);
TERN_MUST_CHECK tern_status txn_count(tern_txn *txn, tern_keyspace *keyspace,
                                      const tern_slice *begin, const tern_slice *end,
                                      uint64_t *out_count);
TERN_MUST_CHECK tern_status txn_estimate(tern_txn *txn, tern_keyspace *keyspace,
                                         const tern_slice *begin, const tern_slice *end,
                                         uint64_t *out_count, uint64_t *out_bytes);

/* ---- writes (txn_write.c, value_writer.c) ---- */

TERN_MUST_CHECK tern_status txn_put(tern_txn *txn, tern_keyspace *keyspace, tern_slice key,
                                    tern_slice value, uint64_t ttl_ms);
TERN_MUST_CHECK tern_status txn_delete(tern_txn *txn, tern_keyspace *keyspace, tern_slice key);
TERN_MUST_CHECK tern_status txn_delete_range(tern_txn *txn, tern_keyspace *keyspace,
                                             const tern_slice *begin, const tern_slice *end);
TERN_MUST_CHECK tern_status txn_merge(tern_txn *txn, tern_keyspace *keyspace, tern_slice key,
                                      tern_merge_kind kind, tern_slice operand);
/* Checks, then puts a finished value that is stored apart. */
TERN_MUST_CHECK tern_status txn_put_change(tern_txn *txn, tern_keyspace *keyspace,
                                           const struct engine_change *change);
TERN_MUST_CHECK tern_status txn_put_begin(tern_txn *txn, tern_keyspace *keyspace, tern_slice key,
                                          uint64_t ttl_ms, tern_value_writer **out_writer);
TERN_MUST_CHECK tern_status value_writer_append(tern_value_writer *writer, tern_slice chunk);
TERN_MUST_CHECK tern_status value_writer_finish(tern_value_writer *writer);
void value_writer_abandon(tern_value_writer *writer);
/* The transaction ends before its writers: they give up their values and know it. */
void txn_writers_orphan(tern_txn *txn);
/* The keyspace goes, whose creation is taken back: what was written to it is given up. */
void txn_writers_leave(tern_txn *txn, const tern_keyspace *keyspace);

#endif
