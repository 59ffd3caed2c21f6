/* SPDX-License-Identifier: Apache-2.0 */
/* Keyspaces created and dropped inside a transaction. */
#include "base/error.h"
#include "txn/growth.h"
#include "txn/txn.h"

enum txn_keyspace_state txn_keyspace_state(const tern_txn *txn, const tern_keyspace *keyspace) {
    for (size_t i = txn->catalog_count; i-- > 0;) {
        if (txn->catalog[i].change.keyspace == keyspace) {
            return txn->catalog[i].change.is_drop ? TXN_KEYSPACE_DROPPED : TXN_KEYSPACE_CREATED;
        }
    }
    return TXN_KEYSPACE_UNTOUCHED;
}

tern_keyspace *txn_keyspace_created(const tern_txn *txn, const char *name) {
    for (size_t i = txn->catalog_count; i-- > 0;) {
        tern_keyspace *keyspace = txn->catalog[i].change.keyspace;
        if (strcmp(keyspace->name, name) == 0 &&
            txn_keyspace_state(txn, keyspace) == TXN_KEYSPACE_CREATED) {
            return keyspace;
        }
    }
    return NULL;
}

static bool was_created_here(const tern_txn *txn, const tern_keyspace *keyspace) {
    for (size_t i = 0; i < txn->catalog_count; i++) {
        if (txn->catalog[i].change.keyspace == keyspace && !txn->catalog[i].change.is_drop) {
            return true;
        }
    }
    return false;
}

bool txn_keyspace_came_and_went(const tern_txn *txn, const tern_keyspace *keyspace) {
    return txn_keyspace_state(txn, keyspace) == TXN_KEYSPACE_DROPPED &&
           was_created_here(txn, keyspace);
}

tern_status txn_keyspace_add(tern_txn *txn, tern_keyspace *keyspace, bool is_drop,
                             void (*forget)(tern_keyspace *keyspace)) {
    if (!GROWTH_RESERVE(txn->manager->allocator, txn->catalog, txn->catalog_capacity,
                        txn->catalog_count + 1)) {
        return ERROR_NO_MEMORY(&txn->error, "a change of keyspaces");
    }
    txn->forget_keyspace = forget;
    txn->catalog[txn->catalog_count++] = (struct txn_catalog_change){
        {.keyspace = keyspace, .is_drop = is_drop}, (uint32_t)txn->writes.savepoint_count};
    return TERN_OK;
}

void txn_catalog_undo(tern_txn *txn, uint32_t savepoint, bool forget) {
    while (txn->catalog_count > 0 &&
           txn->catalog[txn->catalog_count - 1].savepoint_count >= savepoint) {
        struct catalog_change *change = &txn->catalog[--txn->catalog_count].change;
        if (forget && !change->is_drop) {
            txn->forget_keyspace(change->keyspace);
        }
    }
}

void txn_catalog_committed(tern_txn *txn) {
    for (size_t i = 0; i < txn->catalog_count; i++) {
        struct catalog_change *change = &txn->catalog[i].change;
        if (!change->is_drop && txn_keyspace_came_and_went(txn, change->keyspace)) {
            txn->forget_keyspace(change->keyspace);
        }
    }
    txn->catalog_count = 0;
}

tern_status txn_catalog_request(tern_txn *txn) {
    struct commit_request *request = &txn->request;
    request->catalog = NULL;
    request->catalog_count = 0;
    if (txn->catalog_count == 0) {
        return TERN_OK;
    }
    memory_release(txn->manager->allocator, txn->catalog_request);
    txn->catalog_request = memory_allocate(txn->manager->allocator,
                                           txn->catalog_count * sizeof(*txn->catalog_request));
    if (txn->catalog_request == NULL) {
        return ERROR_NO_MEMORY(&txn->error, "a change of keyspaces");
    }
    for (size_t i = 0; i < txn->catalog_count; i++) {
        if (!txn_keyspace_came_and_went(txn, txn->catalog[i].change.keyspace)) {
            txn->catalog_request[request->catalog_count++] = txn->catalog[i].change;
        }
    }
    request->catalog = txn->catalog_request;
    return TERN_OK;
}
