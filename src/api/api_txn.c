/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions of the public API: arguments are checked, then src/txn does the work. */
#include "api/api_arguments.h"
#include "db/database.h"
#include "txn/commit.h"
#include "txn/txn.h"

/* ---- life ---- */

tern_status tern_txn_begin(tern_db *db, const tern_txn_options *options, tern_txn **out_txn,
                           tern_error *error) {
    tern_txn_options given = TERN_TXN_OPTIONS_INIT;
    REQUIRE(error, db != NULL, "no database");
    REQUIRE(error, out_txn != NULL, "no out_txn");
    REQUIRE(error, options == NULL || options_copy(&given, sizeof(given), options, options->size),
            "options were not initialised with TERN_TXN_OPTIONS_INIT");
    REQUIRE(error, (unsigned)given.isolation <= TERN_ISOLATION_SERIALIZABLE,
            "options.isolation is none of tern_isolation");
    REQUIRE(error, durability_is_valid(given.durability),
            "options.durability is none of tern_durability");
    REQUIRE(error, !given.read_only || !given.pessimistic,
            "options.pessimistic is of no use with options.read_only, which takes no locks: set "
            "one of them");
    return txn_begin(database_manager(db), &given, out_txn, error);
}

tern_status tern_txn_commit(tern_txn *txn) {
    REQUIRE(NULL, txn != NULL, "no transaction");
    return txn_commit(txn);
}

tern_status tern_txn_commit_async(tern_txn *txn, tern_commit_callback callback, void *context) {
    REQUIRE(NULL, txn != NULL, "no transaction");
    REQUIRE(&txn->error, callback != NULL, "no callback");
    return txn_commit_async(txn, callback, context);
}

tern_status tern_poll_descriptor(tern_db *db, int *out_descriptor, tern_error *error) {
    REQUIRE(error, db != NULL, "no database");
    REQUIRE(error, out_descriptor != NULL, "no out_descriptor");
    return commit_poll_descriptor(database_manager(db), out_descriptor, error);
}

size_t tern_poll(tern_db *db) {
    return db != NULL ? commit_poll(database_manager(db)) : 0;
}

void tern_txn_rollback(tern_txn *txn) {
    if (txn != NULL) {
        txn_rollback(txn);
    }
}

void tern_txn_free(tern_txn *txn) {
    txn_free(txn);
}

tern_status tern_txn_restart(tern_txn *txn) {
    REQUIRE(NULL, txn != NULL, "no transaction");
    return txn_restart(txn);
}

tern_status tern_txn_renew(tern_txn *txn) {
    REQUIRE(NULL, txn != NULL, "no transaction");
    return txn_renew(txn);
}

const tern_error *tern_txn_error(const tern_txn *txn) {
    static const tern_error no_transaction = {
        .status = TERN_INVALID, .offset = -1, .message = "no transaction"};
    return txn != NULL ? &txn->error : &no_transaction;
}

uint64_t tern_txn_seq(const tern_txn *txn) {
    return txn != NULL ? txn->seq : 0;
}

tern_status tern_txn_savepoint(tern_txn *txn, uint32_t *out_savepoint) {
    REQUIRE(NULL, txn != NULL, "no transaction");
    REQUIRE(&txn->error, out_savepoint != NULL, "no out_savepoint");
    return txn_savepoint(txn, out_savepoint);
}

tern_status tern_txn_rollback_to(tern_txn *txn, uint32_t savepoint) {
    REQUIRE(NULL, txn != NULL, "no transaction");
    return txn_rollback_to(txn, savepoint);
}

/* ---- reads ---- */

/* What most calls take. */
#define REQUIRE_KEY(txn, keyspace, key)                                                            \
    REQUIRE(NULL, (txn) != NULL, "no transaction");                                                \
    REQUIRE(&(txn)->error, (keyspace) != NULL, "no keyspace");                                     \
    REQUIRE(&(txn)->error, slice_is_valid(key), "key without data")

#define REQUIRE_RANGE(txn, keyspace, begin, end)                                                   \
    REQUIRE(NULL, (txn) != NULL, "no transaction");                                                \
    REQUIRE(&(txn)->error, (keyspace) != NULL, "no keyspace");                                     \
    REQUIRE(&(txn)->error, bound_is_valid(begin) && bound_is_valid(end), "bound without data")

tern_status tern_txn_get(tern_txn *txn, tern_keyspace *keyspace, tern_slice key, void *buffer,
                         size_t capacity, size_t *out_size) {
    REQUIRE_KEY(txn, keyspace, key);
    REQUIRE(&txn->error, buffer != NULL || capacity == 0, "no buffer");
    return txn_get(txn, keyspace, key, buffer, capacity, out_size);
}

tern_status tern_txn_get_pinned(tern_txn *txn, tern_keyspace *keyspace, tern_slice key,
                                tern_value *out_value) {
    REQUIRE_KEY(txn, keyspace, key);
    REQUIRE(&txn->error, out_value != NULL, "no out_value");
    return txn_get_pinned(txn, keyspace, key, out_value);
}

tern_status tern_txn_read(tern_txn *txn, tern_keyspace *keyspace, tern_slice key, uint64_t offset,
                          void *buffer, size_t capacity, size_t *out_size,
                          uint64_t *out_value_size) {
    REQUIRE_KEY(txn, keyspace, key);
    REQUIRE(&txn->error, buffer != NULL || capacity == 0, "no buffer");
    REQUIRE(&txn->error, out_size != NULL, "no out_size");
    return txn_read(txn, keyspace, key, offset, buffer, capacity, out_size, out_value_size);
}

tern_status tern_txn_multi_get(tern_txn *txn, tern_keyspace *keyspace, tern_get_request *requests,
                               size_t count) {
    REQUIRE(NULL, txn != NULL, "no transaction");
    REQUIRE(&txn->error, keyspace != NULL, "no keyspace");
    REQUIRE(&txn->error, requests_are_valid(requests, count), "a request without key or buffer");
    return txn_multi_get(txn, keyspace, requests, count);
}

tern_status tern_txn_count(tern_txn *txn, tern_keyspace *keyspace, const tern_slice *begin,
                           const tern_slice *end, uint64_t *out_count) {
    REQUIRE_RANGE(txn, keyspace, begin, end);
    REQUIRE(&txn->error, out_count != NULL, "no out_count");
    return txn_count(txn, keyspace, begin, end, out_count);
}

tern_status tern_txn_estimate(tern_txn *txn, tern_keyspace *keyspace, const tern_slice *begin,
                              const tern_slice *end, uint64_t *out_count, uint64_t *out_bytes) {
    REQUIRE_RANGE(txn, keyspace, begin, end);
    REQUIRE(&txn->error, out_count != NULL && out_bytes != NULL, "no out_count or out_bytes");
    return txn_estimate(txn, keyspace, begin, end, out_count, out_bytes);
}

/* ---- locks ---- */

static tern_status lock_key(tern_txn *txn, tern_keyspace *keyspace, tern_slice key,
                            tern_lock_mode mode) {
    tern_status status = txn_check_read(txn, keyspace);
    if (status == TERN_OK && txn->is_read_only) {
        status = ERROR_SET(&txn->error, TERN_READ_ONLY,
                           "a read-only transaction takes no locks; begin one that may write");
    }
    if (status == TERN_OK && !key_is_possible(keyspace, key)) {
        status = ERROR_SET(&txn->error, TERN_INVALID,
                           "a key to lock in keyspace '%s' has %zu bytes; keys have 1 to %zu",
                           keyspace->name, key.size, keyspace->key_bytes_max);
    }
    return status == TERN_OK
               ? txn_lock_key(txn, keyspace, key, keyspace_key_hash(keyspace, key), mode)
               : status;
}

tern_status tern_txn_lock(tern_txn *txn, tern_keyspace *keyspace, tern_slice key,
                          tern_lock_mode mode) {
    REQUIRE_KEY(txn, keyspace, key);
    REQUIRE(&txn->error, mode == TERN_LOCK_SHARED || mode == TERN_LOCK_EXCLUSIVE,
            "mode is none of tern_lock_mode");
    return lock_key(txn, keyspace, key, mode);
}

tern_status tern_txn_get_for_update(tern_txn *txn, tern_keyspace *keyspace, tern_slice key,
                                    void *buffer, size_t capacity, size_t *out_size) {
    REQUIRE_KEY(txn, keyspace, key);
    REQUIRE(&txn->error, buffer != NULL || capacity == 0, "no buffer");
    tern_status status = lock_key(txn, keyspace, key, TERN_LOCK_EXCLUSIVE);
    return status == TERN_OK ? txn_get(txn, keyspace, key, buffer, capacity, out_size) : status;
}

/* ---- writes ---- */

tern_status tern_txn_put(tern_txn *txn, tern_keyspace *keyspace, tern_slice key, tern_slice value,
                         const tern_write_options *options) {
    tern_write_options given;
    REQUIRE_KEY(txn, keyspace, key);
    REQUIRE(&txn->error, slice_is_valid(value), "value without data");
    tern_status status = write_options_copy(options, &given, &txn->error);
    return status == TERN_OK ? txn_put(txn, keyspace, key, value, given.ttl_ms) : status;
}

tern_status tern_txn_delete(tern_txn *txn, tern_keyspace *keyspace, tern_slice key) {
    REQUIRE_KEY(txn, keyspace, key);
    return txn_delete(txn, keyspace, key);
}

tern_status tern_txn_delete_range(tern_txn *txn, tern_keyspace *keyspace, const tern_slice *begin,
                                  const tern_slice *end) {
    REQUIRE_RANGE(txn, keyspace, begin, end);
    return txn_delete_range(txn, keyspace, begin, end);
}

tern_status tern_txn_merge(tern_txn *txn, tern_keyspace *keyspace, tern_slice key,
                           tern_merge_kind kind, tern_slice operand) {
    REQUIRE_KEY(txn, keyspace, key);
    REQUIRE(&txn->error, merge_kind_is_valid(kind), "kind is none of tern_merge_kind");
    REQUIRE(&txn->error, slice_is_valid(operand), "operand without data");
    return txn_merge(txn, keyspace, key, kind, operand);
}

tern_status tern_txn_put_begin(tern_txn *txn, tern_keyspace *keyspace, tern_slice key,
                               const tern_write_options *options, tern_value_writer **out_writer) {
    tern_write_options given;
    REQUIRE_KEY(txn, keyspace, key);
    REQUIRE(&txn->error, out_writer != NULL, "no out_writer");
    tern_status status = write_options_copy(options, &given, &txn->error);
    return status == TERN_OK ? txn_put_begin(txn, keyspace, key, given.ttl_ms, out_writer) : status;
}

tern_status tern_value_writer_append(tern_value_writer *writer, tern_slice chunk) {
    REQUIRE(NULL, writer != NULL, "no writer");
    REQUIRE(NULL, slice_is_valid(chunk), "chunk without data");
    return value_writer_append(writer, chunk);
}

tern_status tern_value_writer_finish(tern_value_writer *writer) {
    REQUIRE(NULL, writer != NULL, "no writer");
    return value_writer_finish(writer);
}

void tern_value_writer_abandon(tern_value_writer *writer) {
    value_writer_abandon(writer);
}

/* ---- keyspaces ---- */

static tern_status check_may_change_catalog(tern_txn *txn) {
    tern_status status = txn_check(txn);
    if (status == TERN_OK && txn->is_read_only) {
        status = ERROR_SET(&txn->error, TERN_READ_ONLY,
                           "keyspaces cannot be created or dropped in a read-only transaction");
    }
    return status;
}

/* Names are decided at the commit; what is taken already is told now. */
static tern_status check_name_free(tern_txn *txn, const char *name) {
    tern_keyspace *other;
    bool is_taken = txn_keyspace_created(txn, name) != NULL ||
                    (database_keyspace_find(txn->manager->database, name, &other) == TERN_OK &&
                     txn_keyspace_state(txn, other) != TXN_KEYSPACE_DROPPED);
    return is_taken
               ? ERROR_SET(&txn->error, TERN_EXISTS,
                           "keyspace '%s' exists already; open it, or choose another name", name)
               : TERN_OK;
}

tern_status tern_txn_keyspace_create(tern_txn *txn, const char *name,
                                     const tern_keyspace_options *options,
                                     tern_keyspace **out_keyspace) {
    tern_keyspace *keyspace;
    REQUIRE(NULL, txn != NULL, "no transaction");
    REQUIRE(&txn->error, name != NULL, "no name");
    REQUIRE(&txn->error, out_keyspace != NULL, "no out_keyspace");
    tern_status status = check_may_change_catalog(txn);
    if (status == TERN_OK) {
        status = check_name_free(txn, name);
    }
    if (status == TERN_OK) {
        status = tern_keyspace_check(name, options, &txn->error);
    }
    if (status == TERN_OK) {
        status = database_keyspace_pending(txn->manager->database, name, options, &keyspace,
                                           &txn->error);
    }
    if (status != TERN_OK) {
        return status;
    }
    status = txn_keyspace_add(txn, keyspace, false, database_keyspace_forget);
    if (status != TERN_OK) {
        database_keyspace_forget(keyspace);
        return status;
    }
    *out_keyspace = keyspace;
    return TERN_OK;
}

tern_status tern_txn_keyspace_drop(tern_txn *txn, tern_keyspace *keyspace) {
    REQUIRE(NULL, txn != NULL, "no transaction");
    REQUIRE(&txn->error, keyspace != NULL, "no keyspace");
    tern_status status = check_may_change_catalog(txn);
    if (status == TERN_OK) {
        status = txn_check_write(txn, keyspace);
    }
    return status == TERN_OK ? txn_keyspace_add(txn, keyspace, true, database_keyspace_forget)
                             : status;
}
