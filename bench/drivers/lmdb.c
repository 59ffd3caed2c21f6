/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LMDB, twice: as its manual opens it, and with MDB_WRITEMAP, which writes through the map and is
 * much faster until something has to be stable. The main keyspace is the unnamed database, so a
 * read renewed on every operation never has to look a named database up again; the second one is
 * named, and is created only for txn_mixed. Every choice and its reason: ../README.md.
 */
#include "drivers.h"

#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>

#define MAP_BYTES_MIN (16ULL << 30)
#define SECOND_NAME   "second"

struct lmdb_store {
    MDB_env *env;
    MDB_dbi databases[KEYSPACE_COUNT];
    struct driver_options options;
};

struct lmdb_session {
    struct lmdb_store *store;
    struct bench_error *error;
    MDB_txn *reader;                     /* reset between operations, renewed for each */
    MDB_cursor *cursors[KEYSPACE_COUNT]; /* on the reader */
};

static struct lmdb_store *own_store(struct bench_store *store) {
    return (struct lmdb_store *)(void *)store;
}

static struct lmdb_session *own_session(struct bench_session *session) {
    return (struct lmdb_session *)(void *)session;
}

static enum bench_result fail(struct bench_error *error, const char *what, int code) {
    return bench_fail(error, "lmdb: %s: %s", what, mdb_strerror(code));
}

static void lmdb_version(char *out_text, size_t size) {
    int major = 0;
    int minor = 0;
    int patch = 0;
    mdb_version(&major, &minor, &patch);
    snprintf(out_text, size, "%d.%d.%d", major, minor, patch);
}

static enum compression lmdb_compression(enum compression wanted) {
    (void)wanted;
    return COMPRESSION_NONE;
}

static enum bench_result lmdb_close(struct bench_store *bench_store, struct bench_error *error) {
    (void)error;
    struct lmdb_store *store = own_store(bench_store);
    if (store == NULL)
        return BENCH_OK;
    if (store->env != NULL)
        mdb_env_close(store->env);
    free(store);
    return BENCH_OK;
}

static unsigned environment_flags(const struct driver_options *options) {
    unsigned flags = MDB_NOTLS;
    if (options->durability != DURABILITY_FULL)
        flags |= MDB_NOSYNC;
    uint64_t raw_bytes = options->record_count * (options->key_bytes + options->value_bytes);
    if (raw_bytes + raw_bytes / 2 > options->memory_bytes)
        flags |= MDB_NORDAHEAD;
    return flags;
}

static int open_databases(struct lmdb_store *store) {
    MDB_txn *txn = NULL;
    int code = mdb_txn_begin(store->env, NULL, 0, &txn);
    if (code != 0)
        return code;
    code = mdb_dbi_open(txn, NULL, 0, &store->databases[KEYSPACE_MAIN]);
    if (code == 0 && store->options.transactional)
        code = mdb_dbi_open(txn, SECOND_NAME, MDB_CREATE, &store->databases[KEYSPACE_SECOND]);
    if (code != 0) {
        mdb_txn_abort(txn);
        return code;
    }
    return mdb_txn_commit(txn);
}

static enum bench_result open_with(unsigned flags, const struct driver_options *options,
                                   struct bench_error *error, struct bench_store **out_store) {
    struct lmdb_store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return bench_fail(error, "lmdb: out of memory");
    store->options = *options;
    uint64_t raw_bytes = options->record_count * (options->key_bytes + options->value_bytes);
    uint64_t map_bytes = raw_bytes * 8 > MAP_BYTES_MIN ? raw_bytes * 8 : MAP_BYTES_MIN;
    int code = mdb_env_create(&store->env);
    if (code == 0)
        code = mdb_env_set_mapsize(store->env, map_bytes);
    if (code == 0)
        code = mdb_env_set_maxdbs(store->env, KEYSPACE_COUNT);
    if (code == 0)
        code = mdb_env_set_maxreaders(store->env, options->threads + 8);
    if (code == 0)
        code =
            mdb_env_open(store->env, options->directory, flags | environment_flags(options), 0644);
    if (code == 0)
        code = open_databases(store);
    if (code != 0) {
        lmdb_close((struct bench_store *)(void *)store, error);
        return fail(error, "open", code);
    }
    *out_store = (struct bench_store *)(void *)store;
    return BENCH_OK;
}

static enum bench_result lmdb_open(const struct driver_options *options, struct bench_error *error,
                                   struct bench_store **out_store) {
    return open_with(0, options, error, out_store);
}

static enum bench_result writemap_open(const struct driver_options *options,
                                       struct bench_error *error, struct bench_store **out_store) {
    return open_with(MDB_WRITEMAP, options, error, out_store);
}

static void lmdb_session_close(struct bench_session *bench_session) {
    struct lmdb_session *session = own_session(bench_session);
    if (session == NULL)
        return;
    for (int i = 0; i < KEYSPACE_COUNT; i++) {
        if (session->cursors[i] != NULL)
            mdb_cursor_close(session->cursors[i]);
    }
    if (session->reader != NULL)
        mdb_txn_abort(session->reader);
    free(session);
}

static enum bench_result lmdb_session_open(struct bench_store *store, struct bench_error *error,
                                           struct bench_session **out_session) {
    struct lmdb_session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return bench_fail(error, "lmdb: out of memory");
    session->store = own_store(store);
    session->error = error;
    int code = mdb_txn_begin(session->store->env, NULL, MDB_RDONLY, &session->reader);
    int keyspaces = session->store->options.transactional ? KEYSPACE_COUNT : 1;
    for (int i = 0; i < keyspaces && code == 0; i++)
        code = mdb_cursor_open(session->reader, session->store->databases[i], &session->cursors[i]);
    if (code != 0) {
        lmdb_session_close((struct bench_session *)(void *)session);
        return fail(error, "begin a reader", code);
    }
    mdb_txn_reset(session->reader);
    *out_session = (struct bench_session *)(void *)session;
    return BENCH_OK;
}

static MDB_val key_value(const struct lmdb_session *session, const uint8_t *key) {
    /* LMDB's structures are not const, its reads are. */
    return (MDB_val){session->store->options.key_bytes, (void *)(uintptr_t)key};
}

static MDB_val data_value(const struct lmdb_session *session, const uint8_t *value) {
    return (MDB_val){session->store->options.value_bytes, (void *)(uintptr_t)value};
}

static enum bench_result get_one(struct lmdb_session *session, enum keyspace keyspace,
                                 const uint8_t *key, uint8_t *out_value) {
    MDB_val wanted = key_value(session, key);
    MDB_val data;
    int code = mdb_get(session->reader, session->store->databases[keyspace], &wanted, &data);
    if (code == MDB_NOTFOUND)
        return BENCH_NOT_FOUND;
    if (code != 0)
        return fail(session->error, "get", code);
    if (data.mv_size != session->store->options.value_bytes)
        return bench_fail(session->error, "lmdb: get: a value of %zu bytes", data.mv_size);
    memcpy(out_value, data.mv_data, data.mv_size);
    return BENCH_OK;
}

static enum bench_result lmdb_get(struct bench_session *bench_session, enum keyspace keyspace,
                                  const uint8_t *key, uint8_t *out_value) {
    struct lmdb_session *session = own_session(bench_session);
    int code = mdb_txn_renew(session->reader);
    if (code != 0)
        return fail(session->error, "renew", code);
    enum bench_result result = get_one(session, keyspace, key, out_value);
    mdb_txn_reset(session->reader);
    return result;
}

static enum bench_result lmdb_multi_get(struct bench_session *bench_session,
                                        struct multi_get *request) {
    struct lmdb_session *session = own_session(bench_session);
    const struct driver_options *options = &session->store->options;
    int code = mdb_txn_renew(session->reader);
    if (code != 0)
        return fail(session->error, "renew", code);
    enum bench_result result = BENCH_OK;
    for (size_t i = 0; i < request->count && result != BENCH_FAILED; i++) {
        result = get_one(session, KEYSPACE_MAIN, request->keys + i * options->key_bytes,
                         request->values + i * options->value_bytes);
        request->found[i] = result == BENCH_OK;
    }
    mdb_txn_reset(session->reader);
    return result == BENCH_FAILED ? BENCH_FAILED : BENCH_OK;
}

/* A write transaction around `count` puts, or around one deletion when there are no values. */
static enum bench_result write_records(struct lmdb_session *session, enum keyspace keyspace,
                                       const uint8_t *keys, const uint8_t *values, size_t count) {
    const struct driver_options *options = &session->store->options;
    MDB_dbi database = session->store->databases[keyspace];
    unsigned flags = options->ascending_load ? MDB_APPEND : 0;
    MDB_txn *txn = NULL;
    int code = mdb_txn_begin(session->store->env, NULL, 0, &txn);
    if (code != 0)
        return fail(session->error, "begin", code);
    for (size_t i = 0; i < count && code == 0; i++) {
        MDB_val key = key_value(session, keys + i * options->key_bytes);
        if (values == NULL) {
            code = mdb_del(txn, database, &key, NULL);
            continue;
        }
        MDB_val data = data_value(session, values + i * options->value_bytes);
        code = mdb_put(txn, database, &key, &data, flags);
    }
    if (code != 0) {
        mdb_txn_abort(txn);
        return code == MDB_NOTFOUND ? BENCH_NOT_FOUND : fail(session->error, "write", code);
    }
    code = mdb_txn_commit(txn);
    return code == 0 ? BENCH_OK : fail(session->error, "commit", code);
}

static enum bench_result lmdb_put(struct bench_session *session, enum keyspace keyspace,
                                  const uint8_t *key, const uint8_t *value) {
    return write_records(own_session(session), keyspace, key, value, 1);
}

static enum bench_result lmdb_put_batch(struct bench_session *session, enum keyspace keyspace,
                                        const uint8_t *keys, const uint8_t *values, size_t count) {
    return write_records(own_session(session), keyspace, keys, values, count);
}

static enum bench_result lmdb_remove(struct bench_session *session, enum keyspace keyspace,
                                     const uint8_t *key) {
    return write_records(own_session(session), keyspace, key, NULL, 1);
}

static enum bench_result lmdb_scan(struct bench_session *bench_session, enum keyspace keyspace,
                                   const uint8_t *start, uint64_t limit, struct scan_sink *sink) {
    struct lmdb_session *session = own_session(bench_session);
    size_t key_bytes = session->store->options.key_bytes;
    int code = mdb_txn_renew(session->reader);
    if (code != 0)
        return fail(session->error, "renew", code);
    MDB_cursor *cursor = session->cursors[keyspace];
    code = mdb_cursor_renew(session->reader, cursor);
    MDB_val key = {0, NULL};
    MDB_val data;
    if (start != NULL)
        key = key_value(session, start);
    if (code == 0)
        code = mdb_cursor_get(cursor, &key, &data, start == NULL ? MDB_FIRST : MDB_SET_RANGE);
    for (uint64_t taken = 0; code == 0;) {
        /* The record that describes the second keyspace lies in the main one. */
        if (key.mv_size == key_bytes) {
            scan_take(sink, key.mv_data, key.mv_size, data.mv_data, data.mv_size);
            if (++taken == limit)
                break;
        }
        code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    }
    mdb_txn_reset(session->reader);
    if (code != 0 && code != MDB_NOTFOUND)
        return fail(session->error, "scan", code);
    return BENCH_OK;
}

static enum bench_result lmdb_transact(struct bench_session *bench_session,
                                       struct transaction_work *work) {
    struct lmdb_session *session = own_session(bench_session);
    MDB_txn *txn = NULL;
    int code = mdb_txn_begin(session->store->env, NULL, 0, &txn);
    if (code != 0)
        return fail(session->error, "begin", code);
    for (int i = 0; i < KEYSPACE_COUNT && code == 0; i++) {
        MDB_val key = key_value(session, work->read_keys[i]);
        MDB_val data;
        code = mdb_get(txn, session->store->databases[i], &key, &data);
        if (code == 0)
            transaction_saw(work, work->read_keys[i], data.mv_data, data.mv_size);
    }
    for (int i = 0; i < KEYSPACE_COUNT && code == 0; i++) {
        MDB_val key = key_value(session, work->update_keys[i]);
        MDB_val data;
        code = mdb_get(txn, session->store->databases[i], &key, &data);
        if (code != 0)
            break;
        transaction_modify(work, work->update_keys[i], data.mv_data, data.mv_size);
        data = data_value(session, work->new_value);
        code = mdb_put(txn, session->store->databases[i], &key, &data, 0);
    }
    if (code != 0) {
        mdb_txn_abort(txn);
        return fail(session->error, "transaction", code);
    }
    code = mdb_txn_commit(txn);
    return code == 0 ? BENCH_OK : fail(session->error, "commit", code);
}

static enum bench_result lmdb_sync(struct bench_store *store, struct bench_error *error) {
    int code = mdb_env_sync(own_store(store)->env, 1);
    return code == 0 ? BENCH_OK : fail(error, "sync", code);
}

#define LMDB_DRIVER(driver_name, open_function)                                                    \
    {                                                                                              \
        .name = driver_name, .abilities = DRIVER_ORDERED | DRIVER_TRANSACTIONS,                    \
        .version = lmdb_version, .compression = lmdb_compression, .open = open_function,           \
        .close = lmdb_close, .session_open = lmdb_session_open,                                    \
        .session_close = lmdb_session_close, .get = lmdb_get, .multi_get = lmdb_multi_get,         \
        .put = lmdb_put, .put_batch = lmdb_put_batch, .remove = lmdb_remove, .scan = lmdb_scan,    \
        .transact = lmdb_transact, .sync_log = lmdb_sync, .checkpoint = lmdb_sync,                 \
        .wait_idle = NULL,                                                                         \
    }

const struct driver driver_lmdb = LMDB_DRIVER("lmdb", lmdb_open);
const struct driver driver_lmdb_writemap = LMDB_DRIVER("lmdb-writemap", writemap_open);
