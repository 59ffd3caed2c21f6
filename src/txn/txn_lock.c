/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks of transactions, and what holding one means.
 *
 * A committer respects locks that it sees when it is validated; one that was validated just before
 * the lock was granted is still to become visible. So whoever is granted a lock waits for the
 * commits under way; from then on nobody else changes the key, and what is read is current.
 * Under snapshot isolation the key must also be as the snapshot has it: TERN_CONFLICT tells at once
 * what the commit would find.
 */
#include "base/compare.h"
#include "base/error.h"
#include "txn/commit_queue.h"
#include "txn/txn.h"

void txn_wait_for_commits(struct txn_manager *manager) {
    commit_applier_lock(manager);
    commit_applier_unlock(manager);
}

static bool is_same(const struct record *left, const struct record *right) {
    return left->kind == right->kind && left->expires_ms == right->expires_ms &&
           slice_equal(left->value, right->value);
}

/* Compares the key now with the key at the snapshot. What it misses (changed, and changed back) the
 * commit finds. */
static tern_status compare_with_now(tern_txn *txn, const tern_keyspace *keyspace, tern_slice key,
                                    uint64_t key_hash, bool *out_is_same) {
    struct engine_scratch scratch;
    struct point_read now;
    struct point_read then;
    engine_scratch_init(&scratch, txn->manager->allocator);
    tern_status status = point_read_begin(txn->manager, &txn->snapshot, keyspace, key, key_hash,
                                          &txn->scratch, &then, &txn->error);
    if (status == TERN_OK) {
        status = point_read_begin(txn->manager, NULL, keyspace, key, key_hash, &scratch, &now,
                                  &txn->error);
        if (status == TERN_OK) {
            *out_is_same = is_same(&then.result.record, &now.result.record);
            point_read_end(&now);
        }
        point_read_end(&then);
    }
    engine_scratch_release(&scratch);
    return status;
}

static tern_status check_unchanged(tern_txn *txn, const tern_keyspace *keyspace, tern_slice key,
                                   uint64_t key_hash) {
    bool same = true;
    if (atomic_load_explicit(&txn->manager->visible_seq, memory_order_acquire) ==
        txn->snapshot.moment.seq) {
        return TERN_OK;
    }
    tern_status status = compare_with_now(txn, keyspace, key, key_hash, &same);
    if (status == TERN_OK && !same) {
        atomic_fetch_add_explicit(&txn->manager->conflicts_found, 1, memory_order_relaxed);
        status = ERROR_SET(&txn->error, TERN_CONFLICT,
                           "a key locked in keyspace '%s' changed after the snapshot of this "
                           "transaction; begin it again",
                           keyspace->name);
    }
    return status;
}

tern_status txn_lock_key(tern_txn *txn, tern_keyspace *keyspace, tern_slice key, uint64_t key_hash,
                         tern_lock_mode mode) {
    struct txn_manager *manager = txn->manager;
    uint64_t held_before = txn->locks.held_count;
    tern_status status = lock_manager_lock(manager->locks, &txn->locks, keyspace->id, key, mode,
                                           txn->lock_timeout_ms, &txn->error);
    if (status != TERN_OK) {
        if (status == TERN_DEADLOCK) {
            atomic_fetch_add_explicit(&manager->deadlocks, 1, memory_order_relaxed);
        }
        return txn_fail(txn, status);
    }
    /* A keyspace of our own nobody else knows; a lock held before was checked then. */
    if (txn->locks.held_count == held_before || txn_keyspace_is_own(txn, keyspace)) {
        return TERN_OK;
    }
    txn_wait_for_commits(manager);
    if (txn_snapshot(txn) != NULL) {
        status = txn_fail(txn, check_unchanged(txn, keyspace, key, key_hash));
    }
    if (status != TERN_OK && txn->failed == TERN_OK) {
        /* Whoever asks for it again must not find it held, and so take it for checked. */
        lock_manager_release_newest(manager->locks, &txn->locks);
    }
    return status;
}
