/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Beginning, ending, savepoints.
 *
 * Who validates at commit is counted in manager->live_writers from before its snapshot to after its
 * end: while the count is 0 the commit leader keeps no record of writers, and moves the horizon
 * below which nobody can be validated. A leader that saw 0 just before may publish after our
 * snapshot; then we wait for it once and take the snapshot again, instead of failing at commit.
 */
#include "txn/txn.h"

#include "base/assert.h"
#include "base/error.h"
#include "txn/large_value.h"
#include "txn/txn_cursor.h"
#include "txn/txn_cursor_internal.h"

struct abandoned_value {
    struct abandoned_value *next;
    tern_keyspace *keyspace;
    bool is_own;
    partition_id partition;
    size_t reference_size;
    uint8_t reference[ENGINE_LARGE_REFERENCE_BYTES_MAX];
};

static bool validates(const tern_txn *txn) {
    return !txn->is_read_only && txn->isolation != TERN_ISOLATION_READ_COMMITTED;
}

static tern_status take_snapshot(tern_txn *txn, tern_error *error) {
    struct txn_manager *manager = txn->manager;
    tern_status status = snapshot_take(manager, &txn->snapshot, error);
    if (status == TERN_OK && txn->is_live_writer &&
        txn->snapshot.moment.seq < conflict_table_horizon(manager->conflicts)) {
        snapshot_drop(manager, &txn->snapshot);
        txn_wait_for_commits(manager);
        status = snapshot_take(manager, &txn->snapshot, error);
    }
    return status;
}

static tern_status start(tern_txn *txn, tern_error *error) {
    struct txn_manager *manager = txn->manager;
    txn->failed = TERN_OK;
    if (!txn->is_read_only) {
        txn->locks.id = atomic_fetch_add_explicit(&manager->next_txn_id, 1, memory_order_relaxed);
    }
    if (validates(txn)) {
        atomic_fetch_add_explicit(&manager->live_writers, 1, memory_order_seq_cst);
        txn->is_live_writer = true;
    }
    if (txn->isolation != TERN_ISOLATION_READ_COMMITTED || txn->is_read_only) {
        tern_status status = take_snapshot(txn, error);
        if (status != TERN_OK) {
            txn_end(txn, TXN_ROLLED_BACK);
            return status;
        }
        txn->seq = txn->snapshot.moment.seq;
    } else {
        txn->seq = atomic_load_explicit(&manager->visible_seq, memory_order_acquire);
    }
    txn->state = TXN_ACTIVE;
    return TERN_OK;
}

static void resolve_options(tern_txn *txn, const tern_txn_options *options) {
    const struct txn_manager *manager = txn->manager;
    tern_txn_options given = options != NULL ? *options : TERN_TXN_OPTIONS_INIT;
    txn->isolation =
        given.isolation != TERN_ISOLATION_DEFAULT ? given.isolation : TERN_ISOLATION_SNAPSHOT;
    txn->durability = given.durability != TERN_DURABILITY_DEFAULT ? given.durability
                                                                  : manager->default_durability;
    txn->lock_timeout_ms =
        given.lock_timeout_ms != 0 ? given.lock_timeout_ms : manager->lock_timeout_ms;
    txn->is_read_only = given.read_only || manager->read_only;
    txn->is_pessimistic = given.pessimistic;
}

void txn_spares_init(struct txn_manager *manager) {
    spares_init(&manager->txns, manager->allocator, sizeof(struct tern_txn));
    txn_cursor_spares_init(manager);
}

void txn_spares_release(struct txn_manager *manager) {
    spares_release(&manager->txns);
    txn_cursor_spares_release(manager);
}

tern_status txn_begin(struct txn_manager *manager, const tern_txn_options *options,
                      tern_txn **out_txn, tern_error *error) {
    tern_txn *txn = spares_take(&manager->txns);
    if (txn == NULL) {
        return ERROR_NO_MEMORY(error, "a transaction");
    }
    /* The request and its error are filled when it commits. */
    memset(txn, 0, offsetof(struct tern_txn, request));
    txn->manager = manager;
    txn->parts = txn->inline_parts;
    txn->error = (tern_error)TERN_ERROR_INIT;
    txn->state = TXN_ENDED;
    resolve_options(txn, options);
    write_set_init(&txn->writes, manager->allocator, manager->budget,
                   manager->transaction_bytes_max);
    read_set_init(&txn->reads, manager->allocator, manager->budget, manager->transaction_bytes_max);
    engine_scratch_init(&txn->scratch, manager->allocator);
    buffer_init(&txn->merged, manager->allocator);
    buffer_init(&txn->merged_spare, manager->allocator);
    tern_status status = start(txn, error);
    if (status != TERN_OK) {
        txn_free(txn);
        return status;
    }
    *out_txn = txn;
    return TERN_OK;
}

tern_status txn_restart(tern_txn *txn) {
    if (txn->state == TXN_ACTIVE) {
        txn_rollback(txn);
    }
    return start(txn, &txn->error);
}

tern_status txn_renew(tern_txn *txn) {
    if (txn->state != TXN_ACTIVE) {
        return ERROR_SET(&txn->error, TERN_CLOSED,
                         "the transaction has ended; restart it or begin another");
    }
    if (!txn->is_read_only) {
        return ERROR_SET(&txn->error, TERN_INVALID,
                         "the transaction may write; only one begun read-only can be renewed");
    }
    struct database_view *former = snapshot_renew(txn->manager, &txn->snapshot);
    txn->failed = TERN_OK;
    txn->seq = txn->snapshot.moment.seq;
    txn_cursors_renew(txn);
    database_view_release(former);
    return TERN_OK;
}

/* ---- values stored apart that are not wanted any more ---- */

/*
 * The keyspace has the engine that the transaction wrote to, and nobody else knows of it. From its
 * commit on it may be dropped or converted like any other, also before a late callback has the
 * transaction end.
 */
static bool is_private(const tern_txn *txn, const tern_keyspace *keyspace) {
    return txn_keyspace_is_own(txn, keyspace) &&
           atomic_load_explicit(&keyspace->state, memory_order_acquire) == KEYSPACE_PENDING;
}

void txn_discard_large(void *context, tern_keyspace *keyspace, const struct engine_change *change) {
    tern_txn *txn = context;
    large_value_discard(txn->manager, keyspace, is_private(txn, keyspace), change->large_token,
                        change->large_partition, change->record.value);
}

/* The log need not keep it any more. Its blocks go at the end, for a cursor may stand on it;
 * without memory they stay until the next open finds that nothing refers to them. */
static void abandon_large(void *context, tern_keyspace *keyspace,
                          const struct engine_change *change) {
    tern_txn *txn = context;
    commit_large_forget(txn->manager, change->large_token);
    struct abandoned_value *value = memory_allocate(txn->manager->allocator, sizeof(*value));
    if (value == NULL) {
        return;
    }
    value->next = txn->abandoned;
    value->keyspace = keyspace;
    value->is_own = txn_keyspace_is_own(txn, keyspace);
    value->partition = change->large_partition;
    value->reference_size = change->record.value.size;
    memcpy(value->reference, change->record.value.data, value->reference_size);
    txn->abandoned = value;
}

/* Values of a keyspace whose creation was undone went with it. */
static void discard_abandoned(tern_txn *txn) {
    while (txn->abandoned != NULL) {
        struct abandoned_value *value = txn->abandoned;
        txn->abandoned = value->next;
        if (value->is_own == txn_keyspace_is_own(txn, value->keyspace)) {
            large_value_discard(txn->manager, value->keyspace, is_private(txn, value->keyspace), 0,
                                value->partition,
                                tern_slice_of(value->reference, value->reference_size));
        }
        memory_release(txn->manager->allocator, value);
    }
}

/* ---- ending ---- */

static void drop_request(tern_txn *txn) {
    if (txn->parts != txn->inline_parts) {
        memory_release(txn->manager->allocator, txn->parts);
        txn->parts = txn->inline_parts;
    }
    memory_release(txn->manager->allocator, txn->catalog_request);
    txn->catalog_request = NULL;
}

static void end_writes(tern_txn *txn, enum txn_outcome outcome) {
    if (!write_set_is_empty(&txn->writes)) {
        if (outcome == TXN_ROLLED_BACK || outcome == TXN_COMMITTED) {
            write_set_visit_large(&txn->writes, outcome == TXN_COMMITTED, txn_discard_large, txn);
        }
        write_set_reset(&txn->writes);
    } else if (txn->writes.savepoint_count > 0) {
        write_set_reset(&txn->writes);
    }
}

void txn_end(tern_txn *txn, enum txn_outcome outcome) {
    struct txn_manager *manager = txn->manager;
    txn_writers_orphan(txn);
    txn_cursors_orphan(txn);
    discard_abandoned(txn);
    end_writes(txn, outcome);
    if (txn->reads.hash_count > 0 || txn->reads.range_count > 0) {
        read_set_reset(&txn->reads);
    }
    if (txn->catalog_count > 0) {
        if (outcome == TXN_ROLLED_BACK) {
            txn_catalog_undo(txn, 0, true);
        } else {
            txn_catalog_committed(txn);
        }
    }
    drop_request(txn);
    lock_manager_release_all(manager->locks, &txn->locks);
    snapshot_drop(manager, &txn->snapshot);
    if (txn->is_live_writer) {
        txn->is_live_writer = false;
        atomic_fetch_sub_explicit(&manager->live_writers, 1, memory_order_seq_cst);
    }
    txn->state = TXN_ENDED;
}

void txn_rollback(tern_txn *txn) {
    if (txn->state == TXN_ACTIVE) {
        if (!write_set_is_empty(&txn->writes)) {
            atomic_fetch_add_explicit(&txn->manager->rollbacks, 1, memory_order_relaxed);
        }
        txn_end(txn, TXN_ROLLED_BACK);
    }
}

void txn_free(tern_txn *txn) {
    if (txn == NULL) {
        return;
    }
    ASSERT(txn->state != TXN_COMMITTING);
    struct txn_manager *manager = txn->manager;
    txn_rollback(txn);
    write_set_release(&txn->writes);
    read_set_release(&txn->reads);
    engine_scratch_release(&txn->scratch);
    buffer_release(&txn->merged);
    buffer_release(&txn->merged_spare);
    pin_account_release(txn->pins);
    memory_release(manager->allocator, txn->catalog);
    spares_give(&manager->txns, txn);
}

/* ---- checks ---- */

tern_status txn_fail(tern_txn *txn, tern_status status) {
    switch (status) {
    case TERN_CONFLICT:
    case TERN_DEADLOCK:
    case TERN_SNAPSHOT_TOO_OLD:
    case TERN_IO:
    case TERN_CORRUPTION:
        txn->failed = status;
        break;
    default:
        break;
    }
    return status;
}

tern_status txn_check(tern_txn *txn) {
    if (txn->state != TXN_ACTIVE) {
        return ERROR_SET(&txn->error, TERN_CLOSED,
                         "the transaction has ended; restart it or begin another");
    }
    /* The detail of what made it fail is still there. */
    return txn->failed;
}

tern_status txn_check_read(tern_txn *txn, const tern_keyspace *keyspace) {
    tern_status status = txn_check(txn);
    if (__builtin_expect(status != TERN_OK, 0)) {
        return status;
    }
    if (keyspace->manager != txn->manager) {
        return ERROR_SET(&txn->error, TERN_INVALID,
                         "keyspace '%s' belongs to another database than the transaction",
                         keyspace->name);
    }
    if (__builtin_expect(txn->catalog_count > 0, 0) &&
        txn_keyspace_state(txn, keyspace) == TXN_KEYSPACE_DROPPED) {
        return ERROR_SET(&txn->error, TERN_NOT_FOUND,
                         "keyspace '%s' was dropped earlier in this transaction", keyspace->name);
    }
    return TERN_OK;
}

tern_status txn_check_write(tern_txn *txn, const tern_keyspace *keyspace) {
    tern_status status = txn_check_read(txn, keyspace);
    if (__builtin_expect(status != TERN_OK, 0)) {
        return status;
    }
    if (txn->is_read_only) {
        return ERROR_SET(&txn->error, TERN_READ_ONLY,
                         txn->manager->read_only
                             ? "the database was opened read-only, keyspace '%s' cannot be written"
                             : "the transaction was begun read-only, keyspace '%s' cannot be "
                               "written in it",
                         keyspace->name);
    }
    if (atomic_load_explicit(&keyspace->state, memory_order_acquire) != KEYSPACE_LIVE &&
        !txn_keyspace_is_own(txn, keyspace)) {
        return keyspace_check_absence(keyspace, &txn->error);
    }
    return TERN_OK;
}

/* ---- savepoints ---- */

tern_status txn_savepoint(tern_txn *txn, uint32_t *out_savepoint) {
    tern_status status = txn_check(txn);
    return status == TERN_OK ? write_set_savepoint(&txn->writes, out_savepoint, &txn->error)
                             : status;
}

/* The engines of keyspaces that are taken back go, and with them what stands on them. */
static void leave_taken_back(tern_txn *txn, uint32_t savepoint) {
    for (size_t i = txn->catalog_count; i-- > 0;) {
        const struct txn_catalog_change *change = &txn->catalog[i];
        if (change->savepoint_count < savepoint) {
            return;
        }
        if (!change->change.is_drop) {
            txn_writers_leave(txn, change->change.keyspace);
            txn_cursors_leave(txn, change->change.keyspace);
        }
    }
}

tern_status txn_rollback_to(tern_txn *txn, uint32_t savepoint) {
    tern_status status = txn_check(txn);
    if (status != TERN_OK) {
        return status;
    }
    if (savepoint == 0 || savepoint > txn->writes.savepoint_count) {
        return ERROR_SET(&txn->error, TERN_INVALID, "there is no savepoint %u, only 1 to %zu",
                         savepoint, txn->writes.savepoint_count);
    }
    write_set_rollback_to(&txn->writes, savepoint, abandon_large, txn);
    txn_cursors_rolled_back(txn);
    leave_taken_back(txn, savepoint);
    txn_catalog_undo(txn, savepoint, true);
    return TERN_OK;
}
