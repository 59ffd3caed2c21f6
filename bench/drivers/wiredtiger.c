/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WiredTiger: row-store tables with raw keys and values, its log switched on, one session and one
 * cached cursor a keyspace for each thread. Every choice and its reason: ../README.md.
 */
#include "drivers.h"

#include <stdio.h>
#include <stdlib.h>
#include <wiredtiger.h>

#define MIB (1024ULL * 1024)

struct tiger_store {
    struct driver_options options;
    WT_CONNECTION *connection;
    WT_SESSION *session; /* for schema, checkpoints and log flushes */
};

struct tiger_session {
    struct tiger_store *store;
    struct bench_error *error;
    WT_SESSION *session;
    WT_CURSOR *cursors[KEYSPACE_COUNT];
};

static const char *const table_names[KEYSPACE_COUNT] = {"table:main", "table:second"};

static struct tiger_store *own_store(struct bench_store *store) {
    return (struct tiger_store *)(void *)store;
}

static struct tiger_session *own_session(struct bench_session *session) {
    return (struct tiger_session *)(void *)session;
}

static enum bench_result fail(struct bench_error *error, const char *what, int code) {
    return bench_fail(error, "wiredtiger: %s: %s", what, wiredtiger_strerror(code));
}

static void tiger_version(char *out_text, size_t size) {
    int major = 0;
    int minor = 0;
    int patch = 0;
    wiredtiger_version(&major, &minor, &patch);
    snprintf(out_text, size, "%d.%d.%d", major, minor, patch);
}

static enum compression tiger_compression(enum compression wanted) {
    return wanted == COMPRESSION_NONE ? COMPRESSION_NONE : COMPRESSION_SNAPPY;
}

static enum bench_result tiger_close(struct bench_store *bench_store, struct bench_error *error) {
    struct tiger_store *store = own_store(bench_store);
    if (store == NULL)
        return BENCH_OK;
    int code = 0;
    if (store->connection != NULL)
        code = store->connection->close(store->connection, NULL);
    free(store);
    return code == 0 ? BENCH_OK : fail(error, "close", code);
}

static void connection_text(const struct driver_options *options, char *out_text, size_t size) {
    /* The log is written with a system call at each commit, so that it outlives the process. */
    const char *sync = "enabled=true,method=none";
    if (options->durability == DURABILITY_FULL)
        sync = "enabled=true,method=fsync";
    /* Opening reads a preallocated log file to its end, so small budgets get small files. */
    uint64_t log_mib = options->memory_bytes / 20 / MIB;
    log_mib = log_mib > 100 ? 100 : (log_mib < 4 ? 4 : log_mib);
    char extension[300] = "";
    if (options->compression != COMPRESSION_NONE)
        snprintf(extension, sizeof(extension), ",extensions=[%s]", BENCH_WT_SNAPPY_PATH);
    snprintf(out_text, size,
             "create,cache_size=%lluMB,session_max=%u,"
             "eviction=(threads_min=1,threads_max=4),"
             "log=(enabled=true,file_max=%lluMB,prealloc=true,archive=true),"
             "transaction_sync=(%s),checkpoint=(wait=60,log_size=2GB),statistics=(none)%s",
             (unsigned long long)(options->memory_bytes / 5 * 4 / MIB), options->threads + 32,
             (unsigned long long)log_mib, sync, extension);
}

static int create_tables(struct tiger_store *store) {
    char text[256];
    const char *compressor = store->options.compression == COMPRESSION_NONE ? "none" : "snappy";
    snprintf(text, sizeof(text),
             "key_format=u,value_format=u,leaf_page_max=16KB,internal_page_max=16KB,"
             "leaf_value_max=64MB,memory_page_max=10MB,split_pct=90,block_compressor=%s",
             compressor);
    int code = store->session->create(store->session, table_names[KEYSPACE_MAIN], text);
    if (code == 0)
        code = store->session->create(store->session, table_names[KEYSPACE_SECOND], text);
    return code;
}

static enum bench_result tiger_open(const struct driver_options *options, struct bench_error *error,
                                    struct bench_store **out_store) {
    struct tiger_store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return bench_fail(error, "wiredtiger: out of memory");
    store->options = *options;
    char text[1024];
    connection_text(options, text, sizeof(text));
    int code = wiredtiger_open(options->directory, NULL, text, &store->connection);
    if (code == 0)
        code = store->connection->open_session(store->connection, NULL, NULL, &store->session);
    if (code == 0)
        code = create_tables(store);
    if (code != 0) {
        tiger_close((struct bench_store *)(void *)store, error);
        return fail(error, "open", code);
    }
    *out_store = (struct bench_store *)(void *)store;
    return BENCH_OK;
}

static void tiger_session_close(struct bench_session *bench_session) {
    struct tiger_session *session = own_session(bench_session);
    if (session == NULL)
        return;
    if (session->session != NULL)
        session->session->close(session->session, NULL);
    free(session);
}

static enum bench_result tiger_session_open(struct bench_store *bench_store,
                                            struct bench_error *error,
                                            struct bench_session **out_session) {
    struct tiger_store *store = own_store(bench_store);
    struct tiger_session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return bench_fail(error, "wiredtiger: out of memory");
    session->store = store;
    session->error = error;
    int code = store->connection->open_session(store->connection, NULL, "isolation=snapshot",
                                               &session->session);
    for (int i = 0; i < KEYSPACE_COUNT && code == 0; i++)
        code = session->session->open_cursor(session->session, table_names[i], NULL, NULL,
                                             &session->cursors[i]);
    if (code != 0) {
        tiger_session_close((struct bench_session *)(void *)session);
        return fail(error, "open a session", code);
    }
    *out_session = (struct bench_session *)(void *)session;
    return BENCH_OK;
}

static void set_key(const struct tiger_session *session, WT_CURSOR *cursor, const uint8_t *key) {
    WT_ITEM item = {.data = key, .size = session->store->options.key_bytes};
    cursor->set_key(cursor, &item);
}

static void set_value(const struct tiger_session *session, WT_CURSOR *cursor,
                      const uint8_t *value) {
    WT_ITEM item = {.data = value, .size = session->store->options.value_bytes};
    cursor->set_value(cursor, &item);
}

/* The cursor is reset after each operation: it would pin its page otherwise. */
static enum bench_result tiger_get(struct bench_session *bench_session, enum keyspace keyspace,
                                   const uint8_t *key, uint8_t *out_value) {
    struct tiger_session *session = own_session(bench_session);
    WT_CURSOR *cursor = session->cursors[keyspace];
    set_key(session, cursor, key);
    WT_ITEM item;
    int code = cursor->search(cursor);
    if (code == WT_NOTFOUND)
        return BENCH_NOT_FOUND;
    if (code == 0)
        code = cursor->get_value(cursor, &item);
    if (code != 0)
        return fail(session->error, "search", code);
    if (item.size != session->store->options.value_bytes)
        return bench_fail(session->error, "wiredtiger: get: a value of %zu bytes", item.size);
    memcpy(out_value, item.data, item.size);
    code = cursor->reset(cursor);
    return code == 0 ? BENCH_OK : fail(session->error, "reset", code);
}

static enum bench_result tiger_multi_get(struct bench_session *bench_session,
                                         struct multi_get *request) {
    struct tiger_session *session = own_session(bench_session);
    const struct driver_options *options = &session->store->options;
    int code = session->session->begin_transaction(session->session, NULL);
    if (code != 0)
        return fail(session->error, "begin", code);
    enum bench_result result = BENCH_OK;
    for (size_t i = 0; i < request->count && result != BENCH_FAILED; i++) {
        result = tiger_get(bench_session, KEYSPACE_MAIN, request->keys + i * options->key_bytes,
                           request->values + i * options->value_bytes);
        request->found[i] = result == BENCH_OK;
    }
    code = session->session->rollback_transaction(session->session, NULL);
    if (code != 0)
        return fail(session->error, "end of a read", code);
    return result == BENCH_FAILED ? result : BENCH_OK;
}

static enum bench_result tiger_put(struct bench_session *bench_session, enum keyspace keyspace,
                                   const uint8_t *key, const uint8_t *value) {
    struct tiger_session *session = own_session(bench_session);
    WT_CURSOR *cursor = session->cursors[keyspace];
    int code = 0;
    /* A single operation outside a transaction is retried by its caller, says the manual. */
    do {
        set_key(session, cursor, key);
        set_value(session, cursor, value);
        code = cursor->insert(cursor);
    } while (code == WT_ROLLBACK);
    return code == 0 ? BENCH_OK : fail(session->error, "insert", code);
}

static enum bench_result tiger_put_batch(struct bench_session *bench_session,
                                         enum keyspace keyspace, const uint8_t *keys,
                                         const uint8_t *values, size_t count) {
    struct tiger_session *session = own_session(bench_session);
    const struct driver_options *options = &session->store->options;
    WT_CURSOR *cursor = session->cursors[keyspace];
    int code = 0;
    do {
        code = session->session->begin_transaction(session->session, NULL);
        if (code != 0)
            return fail(session->error, "begin", code);
        for (size_t i = 0; i < count && code == 0; i++) {
            set_key(session, cursor, keys + i * options->key_bytes);
            set_value(session, cursor, values + i * options->value_bytes);
            code = cursor->insert(cursor);
        }
        if (code == 0)
            code = session->session->commit_transaction(session->session, NULL);
        else
            session->session->rollback_transaction(session->session, NULL);
    } while (code == WT_ROLLBACK);
    return code == 0 ? BENCH_OK : fail(session->error, "batch", code);
}

static enum bench_result tiger_remove(struct bench_session *bench_session, enum keyspace keyspace,
                                      const uint8_t *key) {
    struct tiger_session *session = own_session(bench_session);
    WT_CURSOR *cursor = session->cursors[keyspace];
    int code = 0;
    do {
        set_key(session, cursor, key);
        code = cursor->remove(cursor);
    } while (code == WT_ROLLBACK);
    if (code == WT_NOTFOUND)
        return BENCH_NOT_FOUND;
    return code == 0 ? BENCH_OK : fail(session->error, "remove", code);
}

static enum bench_result tiger_scan(struct bench_session *bench_session, enum keyspace keyspace,
                                    const uint8_t *start, uint64_t limit, struct scan_sink *sink) {
    struct tiger_session *session = own_session(bench_session);
    WT_CURSOR *cursor = session->cursors[keyspace];
    int code = 0;
    if (start == NULL) {
        code = cursor->next(cursor);
    } else {
        int order = 0;
        set_key(session, cursor, start);
        code = cursor->search_near(cursor, &order);
        if (code == 0 && order < 0)
            code = cursor->next(cursor);
    }
    for (uint64_t taken = 0; code == 0; code = cursor->next(cursor)) {
        WT_ITEM key;
        WT_ITEM value;
        code = cursor->get_key(cursor, &key);
        if (code == 0)
            code = cursor->get_value(cursor, &value);
        if (code != 0)
            break;
        scan_take(sink, key.data, key.size, value.data, value.size);
        if (++taken == limit)
            break;
    }
    int reset = cursor->reset(cursor);
    if (code != 0 && code != WT_NOTFOUND)
        return fail(session->error, "scan", code);
    return reset == 0 ? BENCH_OK : fail(session->error, "reset", reset);
}

static int transact_step(struct tiger_session *session, int keyspace, const uint8_t *key,
                         bool will_write, struct transaction_work *work) {
    WT_CURSOR *cursor = session->cursors[keyspace];
    WT_ITEM item;
    set_key(session, cursor, key);
    int code = cursor->search(cursor);
    if (code == 0)
        code = cursor->get_value(cursor, &item);
    if (code != 0)
        return code;
    if (!will_write) {
        transaction_saw(work, key, item.data, item.size);
        return cursor->reset(cursor);
    }
    transaction_modify(work, key, item.data, item.size);
    set_value(session, cursor, work->new_value);
    return cursor->update(cursor);
}

static enum bench_result tiger_transact(struct bench_session *bench_session,
                                        struct transaction_work *work) {
    struct tiger_session *session = own_session(bench_session);
    WT_SESSION *wt_session = session->session;
    int code = wt_session->begin_transaction(wt_session, NULL);
    if (code != 0)
        return fail(session->error, "begin", code);
    for (int i = 0; i < KEYSPACE_COUNT && code == 0; i++)
        code = transact_step(session, i, work->read_keys[i], false, work);
    for (int i = 0; i < KEYSPACE_COUNT && code == 0; i++)
        code = transact_step(session, i, work->update_keys[i], true, work);
    if (code == 0)
        code = wt_session->commit_transaction(wt_session, NULL);
    else
        wt_session->rollback_transaction(wt_session, NULL);
    if (code == WT_ROLLBACK)
        return BENCH_CONFLICT;
    return code == 0 ? BENCH_OK : fail(session->error, "transaction", code);
}

static enum bench_result tiger_sync_log(struct bench_store *store, struct bench_error *error) {
    WT_SESSION *session = own_store(store)->session;
    int code = session->log_flush(session, "sync=on");
    return code == 0 ? BENCH_OK : fail(error, "flush the log", code);
}

static enum bench_result tiger_checkpoint(struct bench_store *store, struct bench_error *error) {
    WT_SESSION *session = own_store(store)->session;
    int code = session->checkpoint(session, NULL);
    return code == 0 ? BENCH_OK : fail(error, "checkpoint", code);
}

const struct driver driver_wiredtiger = {
    .name = "wiredtiger",
    .abilities = DRIVER_ORDERED | DRIVER_TRANSACTIONS,
    .version = tiger_version,
    .compression = tiger_compression,
    .open = tiger_open,
    .close = tiger_close,
    .session_open = tiger_session_open,
    .session_close = tiger_session_close,
    .get = tiger_get,
    .multi_get = tiger_multi_get,
    .put = tiger_put,
    .put_batch = tiger_put_batch,
    .remove = tiger_remove,
    .scan = tiger_scan,
    .transact = tiger_transact,
    .sync_log = tiger_sync_log,
    .checkpoint = tiger_checkpoint,
    .wait_idle = NULL,
};
