/* SPDX-License-Identifier: Apache-2.0 */
/* Writes of a transaction: checked, locked where asked for, and kept in the write set. */
#include "base/error.h"
#include "txn/large_value.h"
#include "txn/txn.h"

/* Checks state, keyspace and key, and takes the lock of a pessimistic write. */
static tern_status prepare(tern_txn *txn, tern_keyspace *keyspace, tern_slice key,
                           uint64_t *out_hash) {
    tern_status status = txn_check_write(txn, keyspace);
    if (status == TERN_OK) {
        status = write_check_key(keyspace, key, &txn->error);
    }
    if (status != TERN_OK) {
        return status;
    }
    *out_hash = keyspace_key_hash(keyspace, key);
    if (!txn->is_pessimistic) {
        conflict_table_prefetch(txn->manager->conflicts, *out_hash);
        return TERN_OK;
    }
    return txn_lock_key(txn, keyspace, key, *out_hash, TERN_LOCK_EXCLUSIVE);
}

static tern_status put_large(tern_txn *txn, tern_keyspace *keyspace, tern_slice key,
                             uint64_t key_hash, tern_slice value, uint64_t ttl_ms) {
    struct large_value large;
    tern_status status = large_value_write(
        txn->manager, keyspace, txn_keyspace_is_own(txn, keyspace), value, &large, &txn->error);
    if (status == TERN_OK) {
        struct engine_change change = large_value_change(&large, key, key_hash, ttl_ms);
        status = write_set_add(&txn->writes, keyspace, &change, &txn->error);
        large_value_close(&large, status != TERN_OK);
    }
    return txn_fail(txn, status);
}

tern_status txn_put(tern_txn *txn, tern_keyspace *keyspace, tern_slice key, tern_slice value,
                    uint64_t ttl_ms) {
    uint64_t key_hash;
    tern_status status = prepare(txn, keyspace, key, &key_hash);
    if (status == TERN_OK) {
        status = write_check_value(keyspace, value.size, &txn->error);
    }
    if (status != TERN_OK) {
        return status;
    }
    if (value.size > txn->manager->large_value_bytes) {
        return put_large(txn, keyspace, key, key_hash, value, ttl_ms);
    }
    write_note_ttl(txn->manager, ttl_ms);
    struct engine_change change = {.key = key,
                                   .key_hash = key_hash,
                                   .record = {.kind = RECORD_PUT, .value = value},
                                   .ttl_ms = ttl_ms};
    return write_set_add(&txn->writes, keyspace, &change, &txn->error);
}

tern_status txn_put_change(tern_txn *txn, tern_keyspace *keyspace,
                           const struct engine_change *change) {
    tern_status status = txn_check_write(txn, keyspace);
    return status == TERN_OK ? write_set_add(&txn->writes, keyspace, change, &txn->error) : status;
}

tern_status txn_delete(tern_txn *txn, tern_keyspace *keyspace, tern_slice key) {
    uint64_t key_hash;
    tern_status status = prepare(txn, keyspace, key, &key_hash);
    if (status != TERN_OK) {
        return status;
    }
    struct engine_change change = {
        .key = key, .key_hash = key_hash, .record = {.kind = RECORD_DELETE}};
    return write_set_add(&txn->writes, keyspace, &change, &txn->error);
}

tern_status txn_merge(tern_txn *txn, tern_keyspace *keyspace, tern_slice key, tern_merge_kind kind,
                      tern_slice operand) {
    uint64_t key_hash;
    tern_status status = prepare(txn, keyspace, key, &key_hash);
    if (status != TERN_OK) {
        return status;
    }
    struct engine_change change = {
        .key = key,
        .key_hash = key_hash,
        .record = {.kind = RECORD_MERGE, .merge_kind = (uint32_t)kind, .value = operand}};
    return write_set_add(&txn->writes, keyspace, &change, &txn->error);
}

/* Ranges are not locked: a range delete fails at commit when somebody holds a key inside. */
tern_status txn_delete_range(tern_txn *txn, tern_keyspace *keyspace, const tern_slice *begin,
                             const tern_slice *end) {
    tern_status status = txn_check_write(txn, keyspace);
    if (status != TERN_OK) {
        return status;
    }
    struct engine_change change = {
        .key = begin != NULL ? *begin : tern_slice_of("", 0),
        .record = {.kind = CHANGE_DELETE_RANGE, .value = end != NULL ? *end : tern_slice_of("", 0)},
        .range_has_end = end != NULL};
    return write_set_add(&txn->writes, keyspace, &change, &txn->error);
}
