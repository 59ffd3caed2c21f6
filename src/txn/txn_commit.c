/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a transaction to a commit request and back.
 *
 * A transaction that has written nothing needs no request, also when it is serializable: what it
 * read was all of one moment, where it stands in the order.
 */
#include "base/error.h"
#include "txn/large_value.h"
#include "txn/txn.h"
#include "txn/txn_cursor.h"

static bool leaves_out(void *txn, const tern_keyspace *keyspace) {
    return txn_keyspace_state(txn, keyspace) == TXN_KEYSPACE_DROPPED;
}

static tern_status make_parts(tern_txn *txn, struct write_summary *out_summary) {
    size_t capacity = txn->writes.part_count;
    if (txn->parts != txn->inline_parts) {
        memory_release(txn->manager->allocator, txn->parts);
        txn->parts = txn->inline_parts;
    }
    if (capacity > TXN_INLINE_PARTS) {
        struct commit_part *parts =
            memory_allocate(txn->manager->allocator, capacity * sizeof(*parts));
        if (parts == NULL) {
            return ERROR_NO_MEMORY(&txn->error, "a commit");
        }
        txn->parts = parts;
    }
    return write_set_commit_parts(&txn->writes, txn->catalog_count > 0 ? leaves_out : NULL, txn,
                                  txn->parts, out_summary, &txn->error);
}

static uint32_t flags_of(const tern_txn *txn) {
    switch (txn->isolation) {
    case TERN_ISOLATION_READ_COMMITTED:
        return 0;
    case TERN_ISOLATION_SERIALIZABLE:
        return COMMIT_VALIDATE_WRITES | COMMIT_VALIDATE_READS;
    case TERN_ISOLATION_DEFAULT:
    case TERN_ISOLATION_SNAPSHOT:
    default:
        return COMMIT_VALIDATE_WRITES;
    }
}

/* The snapshot of a transaction on its way to be committed holds overlays too, but only until it is
 * done: no writer may wait for it. */
static void count_as_payer(tern_txn *txn) {
    txn->is_payer = txn_snapshot(txn) != NULL;
    if (txn->is_payer) {
        atomic_fetch_add_explicit(&txn->manager->paying_snapshots, 1, memory_order_acq_rel);
    }
}

static void uncount_as_payer(tern_txn *txn) {
    if (txn->is_payer) {
        txn->is_payer = false;
        atomic_fetch_sub_explicit(&txn->manager->paying_snapshots, 1, memory_order_acq_rel);
    }
}

static tern_status pay(tern_txn *txn, uint64_t bytes) {
    count_as_payer(txn);
    tern_status status = write_throttle(txn->manager, bytes, &txn->error);
    uncount_as_payer(txn);
    return status;
}

/* Everything that can fail before the queue. */
static tern_status make_request(tern_txn *txn) {
    struct commit_request *request = &txn->request;
    struct write_summary summary;
    tern_status status = txn_cursors_note_reads(txn);
    if (status == TERN_OK) {
        status = make_parts(txn, &summary);
    }
    if (status == TERN_OK) {
        status = txn_catalog_request(txn);
    }
    if (status != TERN_OK) {
        return status;
    }
    request->parts = txn->parts;
    request->part_count = summary.part_count;
    request->change_count = summary.change_count;
    request->bytes = summary.bytes;
    request->flags = flags_of(txn);
    request->durability = txn->durability;
    request->snapshot_seq = txn->seq;
    request->read_hashes = txn->reads.hashes;
    request->read_count = txn->reads.hash_count;
    request->read_ranges = txn->reads.ranges;
    request->range_count = txn->reads.range_count;
    request->owner_id = txn->locks.id;
    request->place.engine = NULL;
    request->place.node = NULL;
    request->on_done = NULL;
    request->on_done_context = NULL;
    request->status = TERN_OK;
    request->error.status = TERN_OK;
    request->error.system_errno = 0;
    request->error.offset = -1;
    request->error.source_file = NULL;
    request->error.source_line = 0;
    request->error.file[0] = request->error.message[0] = '\0';
    request->seq = SEQ_NONE;
    request->next = NULL;
    return pay(txn, summary.bytes);
}

static bool has_something_to_commit(const tern_txn *txn) {
    return !write_set_is_empty(&txn->writes) || txn->catalog_count > 0;
}

/* What the pipeline said; TERN_NO_MEMORY and TERN_DISK_FULL leave the transaction as it was. */
static void take_outcome(tern_txn *txn, bool may_try_again) {
    struct commit_request *request = &txn->request;
    switch (request->status) {
    case TERN_OK:
        txn->seq = request->seq != SEQ_NONE ? request->seq : txn->seq;
        txn_end(txn, TXN_COMMITTED);
        return;
    case TERN_NO_MEMORY:
    case TERN_DISK_FULL:
        error_copy(&txn->error, &request->error);
        if (!may_try_again) {
            txn_end(txn, TXN_ROLLED_BACK);
        }
        return;
    case TERN_UNKNOWN:
        error_copy(&txn->error, &request->error);
        txn_end(txn, TXN_UNKNOWN);
        return;
    default:
        error_copy(&txn->error, &request->error);
        txn_end(txn, TXN_ROLLED_BACK);
        return;
    }
}

/* What failed before the queue ends the transaction too, unless trying again may help. */
static tern_status refuse(tern_txn *txn, tern_status status) {
    if (status != TERN_NO_MEMORY && status != TERN_DISK_FULL) {
        txn_rollback(txn);
    }
    return status;
}

tern_status txn_commit(tern_txn *txn) {
    tern_status status = txn_check(txn);
    if (status != TERN_OK) {
        return refuse(txn, status);
    }
    if (!has_something_to_commit(txn)) {
        txn_end(txn, TXN_NOTHING_TO_DO);
        return TERN_OK;
    }
    status = make_request(txn);
    if (status != TERN_OK) {
        return refuse(txn, status);
    }
    if (txn->request.change_count == 1) {
        commit_find_place(txn->manager, &txn->request);
    }
    status = commit_submit(txn->manager, &txn->request);
    take_outcome(txn, true);
    return status;
}

static void on_done(struct commit_request *request) {
    tern_txn *txn = request->on_done_context;
    tern_status status = request->status;
    txn->state = TXN_ACTIVE;
    uncount_as_payer(txn);
    take_outcome(txn, false);
    txn->callback(txn->callback_context, status, status == TERN_OK ? NULL : &txn->error);
    txn_free(txn);
}

/* Also an empty transaction goes through the queue: callbacks come in commit order. */
tern_status txn_commit_async(tern_txn *txn, tern_commit_callback callback, void *context) {
    tern_status status = txn_check(txn);
    if (status == TERN_OK) {
        status = make_request(txn);
    }
    if (status != TERN_OK) {
        return status;
    }
    if (!has_something_to_commit(txn)) {
        txn->request.flags = 0;
    }
    txn->callback = callback;
    txn->callback_context = context;
    txn->request.on_done = on_done;
    txn->request.on_done_context = txn;
    txn->state = TXN_COMMITTING;
    count_as_payer(txn);
    commit_submit_async(txn->manager, &txn->request);
    return TERN_OK;
}
