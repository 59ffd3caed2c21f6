/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite in WAL mode with prepared statements and a connection for each thread. Connections are
 * kept in a pool: a session that ends gives its own back, so caches stay warm between the phases
 * of a run. Every choice and its reason: ../README.md.
 */
#include "drivers.h"

#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MIB             (1024ULL * 1024)
#define BUSY_TIMEOUT_MS 60000

enum statement {
    STATEMENT_BEGIN,
    STATEMENT_BEGIN_WRITE,
    STATEMENT_COMMIT,
    STATEMENT_ROLLBACK,
    STATEMENT_GET, /* from here on one for each keyspace */
    STATEMENT_PUT = STATEMENT_GET + KEYSPACE_COUNT,
    STATEMENT_REMOVE = STATEMENT_PUT + KEYSPACE_COUNT,
    STATEMENT_SCAN = STATEMENT_REMOVE + KEYSPACE_COUNT,
    STATEMENT_SCAN_ALL = STATEMENT_SCAN + KEYSPACE_COUNT,
    STATEMENT_COUNT = STATEMENT_SCAN_ALL + KEYSPACE_COUNT,
};

static const char *const statement_texts[STATEMENT_COUNT] = {
    [STATEMENT_BEGIN] = "BEGIN",
    [STATEMENT_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [STATEMENT_COMMIT] = "COMMIT",
    [STATEMENT_ROLLBACK] = "ROLLBACK",
    [STATEMENT_GET] = "SELECT v FROM main_records WHERE k = ?1",
    [STATEMENT_GET + 1] = "SELECT v FROM second_records WHERE k = ?1",
    [STATEMENT_PUT] = "REPLACE INTO main_records(k, v) VALUES(?1, ?2)",
    [STATEMENT_PUT + 1] = "REPLACE INTO second_records(k, v) VALUES(?1, ?2)",
    [STATEMENT_REMOVE] = "DELETE FROM main_records WHERE k = ?1",
    [STATEMENT_REMOVE + 1] = "DELETE FROM second_records WHERE k = ?1",
    [STATEMENT_SCAN] = "SELECT k, v FROM main_records WHERE k >= ?1 ORDER BY k",
    [STATEMENT_SCAN + 1] = "SELECT k, v FROM second_records WHERE k >= ?1 ORDER BY k",
    [STATEMENT_SCAN_ALL] = "SELECT k, v FROM main_records ORDER BY k",
    [STATEMENT_SCAN_ALL + 1] = "SELECT k, v FROM second_records ORDER BY k",
};

struct lite_session {
    struct lite_store *store;
    struct bench_error *error;
    sqlite3 *connection;
    sqlite3_stmt *statements[STATEMENT_COUNT];
    struct lite_session *next_idle;
};

struct lite_store {
    struct driver_options options;
    char path[4096];
    int log_fd;
    pthread_mutex_t lock;        /* guards idle */
    pthread_mutex_t writer_lock; /* SQLite has one writer: queue here, its own wait is a sleep */
    struct lite_session *idle;
};

static struct lite_store *own_store(struct bench_store *store) {
    return (struct lite_store *)(void *)store;
}

static struct lite_session *own_session(struct bench_session *session) {
    return (struct lite_session *)(void *)session;
}

static enum bench_result fail(const struct lite_session *session, struct bench_error *error,
                              const char *what) {
    return bench_fail(error, "sqlite: %s: %s", what,
                      session->connection == NULL ? "no connection"
                                                  : sqlite3_errmsg(session->connection));
}

static void lite_version(char *out_text, size_t size) {
    snprintf(out_text, size, "%s", sqlite3_libversion());
}

static enum compression lite_compression(enum compression wanted) {
    (void)wanted;
    return COMPRESSION_NONE;
}

static void disconnect(struct lite_session *session) {
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(session->statements[i]);
    sqlite3_close(session->connection);
    free(session);
}

static const char *synchronous(const struct driver_options *options) {
    switch (options->durability) {
    case DURABILITY_FULL:
        return "FULL";
    case DURABILITY_INTERVAL:
        return "NORMAL";
    case DURABILITY_NONE:
        break;
    }
    return "OFF";
}

static int configure(struct lite_session *session) {
    const struct driver_options *options = &session->store->options;
    /* A row of more than a twentieth of a page is better off in a table with row ids. */
    bool small_rows = options->value_bytes <= 200;
    const char *without = small_rows ? " WITHOUT ROWID" : "";
    unsigned page_bytes = options->value_bytes > 1000 ? 16384 : 4096;
    uint64_t cache_kib = options->memory_bytes / 2 / options->threads / 1024;
    char text[1200];
    snprintf(text, sizeof(text),
             "PRAGMA page_size=%u; PRAGMA locking_mode=%s; PRAGMA journal_mode=WAL;"
             "PRAGMA synchronous=%s; PRAGMA cache_size=-%llu; PRAGMA mmap_size=%lld;"
             "PRAGMA wal_autocheckpoint=%u; PRAGMA temp_store=MEMORY; PRAGMA cache_spill=OFF;"
             "CREATE TABLE IF NOT EXISTS main_records(k BLOB PRIMARY KEY NOT NULL,"
             " v BLOB NOT NULL)%s;"
             "CREATE TABLE IF NOT EXISTS second_records(k BLOB PRIMARY KEY NOT NULL,"
             " v BLOB NOT NULL)%s;",
             page_bytes, options->threads == 1 ? "EXCLUSIVE" : "NORMAL", synchronous(options),
             (unsigned long long)cache_kib, 1LL << 40, (unsigned)(64 * MIB / page_bytes), without,
             without);
    return sqlite3_exec(session->connection, text, NULL, NULL, NULL);
}

static enum bench_result connect_session(struct lite_store *store, struct bench_error *error,
                                         struct lite_session **out_session) {
    struct lite_session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return bench_fail(error, "sqlite: out of memory");
    session->store = store;
    session->error = error;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int code = sqlite3_open_v2(store->path, &session->connection, flags, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_busy_timeout(session->connection, BUSY_TIMEOUT_MS);
    if (code == SQLITE_OK)
        code = configure(session);
    for (int i = 0; i < STATEMENT_COUNT && code == SQLITE_OK; i++)
        code = sqlite3_prepare_v3(session->connection, statement_texts[i], -1,
                                  SQLITE_PREPARE_PERSISTENT, &session->statements[i], NULL);
    if (code != SQLITE_OK) {
        fail(session, error, "connect");
        disconnect(session);
        return BENCH_FAILED;
    }
    *out_session = session;
    return BENCH_OK;
}

static void lite_session_close(struct bench_session *bench_session) {
    struct lite_session *session = own_session(bench_session);
    if (session == NULL)
        return;
    struct lite_store *store = session->store;
    pthread_mutex_lock(&store->lock);
    session->next_idle = store->idle;
    store->idle = session;
    pthread_mutex_unlock(&store->lock);
}

static enum bench_result lite_session_open(struct bench_store *bench_store,
                                           struct bench_error *error,
                                           struct bench_session **out_session) {
    struct lite_store *store = own_store(bench_store);
    pthread_mutex_lock(&store->lock);
    struct lite_session *session = store->idle;
    if (session != NULL)
        store->idle = session->next_idle;
    pthread_mutex_unlock(&store->lock);
    if (session == NULL && connect_session(store, error, &session) != BENCH_OK)
        return BENCH_FAILED;
    session->error = error;
    *out_session = (struct bench_session *)(void *)session;
    return BENCH_OK;
}

static enum bench_result lite_close(struct bench_store *bench_store, struct bench_error *error) {
    (void)error;
    struct lite_store *store = own_store(bench_store);
    if (store == NULL)
        return BENCH_OK;
    while (store->idle != NULL) {
        struct lite_session *session = store->idle;
        store->idle = session->next_idle;
        disconnect(session);
    }
    if (store->log_fd >= 0)
        close(store->log_fd);
    pthread_mutex_destroy(&store->lock);
    pthread_mutex_destroy(&store->writer_lock);
    free(store);
    return BENCH_OK;
}

static enum bench_result lite_open(const struct driver_options *options, struct bench_error *error,
                                   struct bench_store **out_store) {
    struct lite_store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return bench_fail(error, "sqlite: out of memory");
    /* Counting every allocation under a global mutex costs more than it tells. */
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    store->options = *options;
    store->log_fd = -1;
    pthread_mutex_init(&store->lock, NULL);
    pthread_mutex_init(&store->writer_lock, NULL);
    int length = snprintf(store->path, sizeof(store->path), "%s/records.db", options->directory);
    struct bench_session *session = NULL;
    enum bench_result result = BENCH_OK;
    if (length < 0 || (size_t)length >= sizeof(store->path))
        result = bench_fail(error, "sqlite: the path is too long");
    if (result == BENCH_OK)
        result = lite_session_open((struct bench_store *)(void *)store, error, &session);
    if (result == BENCH_OK)
        lite_session_close(session);
    if (result != BENCH_OK) {
        lite_close((struct bench_store *)(void *)store, error);
        return result;
    }
    *out_store = (struct bench_store *)(void *)store;
    return BENCH_OK;
}

/* Runs a statement that yields no rows; leaves it reset. */
static int run(struct lite_session *session, int statement) {
    int code = sqlite3_step(session->statements[statement]);
    int reset = sqlite3_reset(session->statements[statement]);
    return code == SQLITE_DONE ? SQLITE_OK : (reset != SQLITE_OK ? reset : code);
}

static void bind_key(struct lite_session *session, int statement, const uint8_t *key) {
    sqlite3_bind_blob(session->statements[statement], 1, key,
                      (int)session->store->options.key_bytes, SQLITE_STATIC);
}

static void lock_writer(struct lite_session *session) {
    pthread_mutex_lock(&session->store->writer_lock);
}

static void unlock_writer(struct lite_session *session) {
    pthread_mutex_unlock(&session->store->writer_lock);
}

static int put_one(struct lite_session *session, int keyspace, const uint8_t *key,
                   const uint8_t *value) {
    int statement = STATEMENT_PUT + keyspace;
    bind_key(session, statement, key);
    sqlite3_bind_blob(session->statements[statement], 2, value,
                      (int)session->store->options.value_bytes, SQLITE_STATIC);
    return run(session, statement);
}

static enum bench_result lite_get(struct bench_session *bench_session, enum keyspace keyspace,
                                  const uint8_t *key, uint8_t *out_value) {
    struct lite_session *session = own_session(bench_session);
    int statement = STATEMENT_GET + (int)keyspace;
    sqlite3_stmt *select = session->statements[statement];
    bind_key(session, statement, key);
    int code = sqlite3_step(select);
    enum bench_result result = BENCH_NOT_FOUND;
    if (code == SQLITE_ROW) {
        const void *value = sqlite3_column_blob(select, 0);
        int size = sqlite3_column_bytes(select, 0);
        result = BENCH_OK;
        if ((size_t)size != session->store->options.value_bytes)
            result = bench_fail(session->error, "sqlite: get: a value of %d bytes", size);
        else
            memcpy(out_value, value, (size_t)size);
    } else if (code != SQLITE_DONE) {
        result = fail(session, session->error, "get");
    }
    sqlite3_reset(select);
    return result;
}

static enum bench_result lite_multi_get(struct bench_session *bench_session,
                                        struct multi_get *request) {
    struct lite_session *session = own_session(bench_session);
    const struct driver_options *options = &session->store->options;
    if (run(session, STATEMENT_BEGIN) != SQLITE_OK)
        return fail(session, session->error, "begin");
    enum bench_result result = BENCH_OK;
    for (size_t i = 0; i < request->count && result != BENCH_FAILED; i++) {
        result = lite_get(bench_session, KEYSPACE_MAIN, request->keys + i * options->key_bytes,
                          request->values + i * options->value_bytes);
        request->found[i] = result == BENCH_OK;
    }
    if (run(session, STATEMENT_COMMIT) != SQLITE_OK)
        return fail(session, session->error, "commit");
    return result == BENCH_FAILED ? result : BENCH_OK;
}

static enum bench_result lite_put(struct bench_session *bench_session, enum keyspace keyspace,
                                  const uint8_t *key, const uint8_t *value) {
    struct lite_session *session = own_session(bench_session);
    lock_writer(session);
    int code = put_one(session, (int)keyspace, key, value);
    unlock_writer(session);
    return code == SQLITE_OK ? BENCH_OK : fail(session, session->error, "put");
}

static enum bench_result lite_put_batch(struct bench_session *bench_session, enum keyspace keyspace,
                                        const uint8_t *keys, const uint8_t *values, size_t count) {
    struct lite_session *session = own_session(bench_session);
    const struct driver_options *options = &session->store->options;
    lock_writer(session);
    int code = run(session, STATEMENT_BEGIN_WRITE);
    for (size_t i = 0; i < count && code == SQLITE_OK; i++)
        code = put_one(session, (int)keyspace, keys + i * options->key_bytes,
                       values + i * options->value_bytes);
    if (code == SQLITE_OK)
        code = run(session, STATEMENT_COMMIT);
    unlock_writer(session);
    return code == SQLITE_OK ? BENCH_OK : fail(session, session->error, "batch");
}

static enum bench_result lite_remove(struct bench_session *bench_session, enum keyspace keyspace,
                                     const uint8_t *key) {
    struct lite_session *session = own_session(bench_session);
    int statement = STATEMENT_REMOVE + (int)keyspace;
    bind_key(session, statement, key);
    lock_writer(session);
    int code = run(session, statement);
    unlock_writer(session);
    if (code != SQLITE_OK)
        return fail(session, session->error, "delete");
    return sqlite3_changes(session->connection) == 1 ? BENCH_OK : BENCH_NOT_FOUND;
}

static enum bench_result lite_scan(struct bench_session *bench_session, enum keyspace keyspace,
                                   const uint8_t *start, uint64_t limit, struct scan_sink *sink) {
    struct lite_session *session = own_session(bench_session);
    int statement = (start == NULL ? STATEMENT_SCAN_ALL : STATEMENT_SCAN) + (int)keyspace;
    sqlite3_stmt *select = session->statements[statement];
    if (start != NULL)
        bind_key(session, statement, start);
    int code = SQLITE_DONE;
    for (uint64_t taken = 0; taken < limit; taken++) {
        code = sqlite3_step(select);
        if (code != SQLITE_ROW)
            break;
        const void *key = sqlite3_column_blob(select, 0);
        size_t key_size = (size_t)sqlite3_column_bytes(select, 0);
        const void *value = sqlite3_column_blob(select, 1);
        scan_take(sink, key, key_size, value, (size_t)sqlite3_column_bytes(select, 1));
    }
    enum bench_result result = BENCH_OK;
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        result = fail(session, session->error, "scan");
    sqlite3_reset(select);
    return result;
}

static enum bench_result transact_step(struct lite_session *session, int keyspace,
                                       const uint8_t *key, bool will_write,
                                       struct transaction_work *work) {
    int statement = STATEMENT_GET + keyspace;
    sqlite3_stmt *select = session->statements[statement];
    bind_key(session, statement, key);
    if (sqlite3_step(select) != SQLITE_ROW) {
        sqlite3_reset(select);
        return bench_fail(session->error, "sqlite: transaction get: a record is missing");
    }
    const void *value = sqlite3_column_blob(select, 0);
    size_t size = (size_t)sqlite3_column_bytes(select, 0);
    if (will_write)
        transaction_modify(work, key, value, size);
    else
        transaction_saw(work, key, value, size);
    sqlite3_reset(select);
    if (will_write && put_one(session, keyspace, key, work->new_value) != SQLITE_OK)
        return fail(session, session->error, "transaction put");
    return BENCH_OK;
}

static enum bench_result transact_as_writer(struct lite_session *session,
                                            struct transaction_work *work) {
    int code = run(session, STATEMENT_BEGIN_WRITE);
    if (code == SQLITE_BUSY)
        return BENCH_CONFLICT;
    if (code != SQLITE_OK)
        return fail(session, session->error, "begin");
    enum bench_result result = BENCH_OK;
    for (int i = 0; i < KEYSPACE_COUNT && result == BENCH_OK; i++)
        result = transact_step(session, i, work->read_keys[i], false, work);
    for (int i = 0; i < KEYSPACE_COUNT && result == BENCH_OK; i++)
        result = transact_step(session, i, work->update_keys[i], true, work);
    if (result != BENCH_OK) {
        run(session, STATEMENT_ROLLBACK);
        return result;
    }
    code = run(session, STATEMENT_COMMIT);
    return code == SQLITE_OK ? BENCH_OK : fail(session, session->error, "commit");
}

static enum bench_result lite_transact(struct bench_session *bench_session,
                                       struct transaction_work *work) {
    struct lite_session *session = own_session(bench_session);
    lock_writer(session);
    enum bench_result result = transact_as_writer(session, work);
    unlock_writer(session);
    return result;
}

/* SQLite has no call for it, so the log file is opened beside it. No lock lies on that file. */
static enum bench_result lite_sync_log(struct bench_store *bench_store, struct bench_error *error) {
    struct lite_store *store = own_store(bench_store);
    if (store->log_fd < 0) {
        char path[sizeof(store->path) + 8];
        snprintf(path, sizeof(path), "%s-wal", store->path);
        store->log_fd = open(path, O_RDWR | O_CLOEXEC);
    }
    if (store->log_fd < 0 || fdatasync(store->log_fd) != 0)
        return bench_fail(error, "sqlite: cannot sync the log");
    return BENCH_OK;
}

static enum bench_result lite_checkpoint(struct bench_store *bench_store,
                                         struct bench_error *error) {
    struct bench_session *bench_session = NULL;
    if (lite_session_open(bench_store, error, &bench_session) != BENCH_OK)
        return BENCH_FAILED;
    struct lite_session *session = own_session(bench_session);
    int code = sqlite3_wal_checkpoint_v2(session->connection, NULL, SQLITE_CHECKPOINT_TRUNCATE,
                                         NULL, NULL);
    enum bench_result result = code == SQLITE_OK ? BENCH_OK : fail(session, error, "checkpoint");
    lite_session_close(bench_session);
    return result;
}

const struct driver driver_sqlite = {
    .name = "sqlite",
    .abilities = DRIVER_ORDERED | DRIVER_TRANSACTIONS,
    .version = lite_version,
    .compression = lite_compression,
    .open = lite_open,
    .close = lite_close,
    .session_open = lite_session_open,
    .session_close = lite_session_close,
    .get = lite_get,
    .multi_get = lite_multi_get,
    .put = lite_put,
    .put_batch = lite_put_batch,
    .remove = lite_remove,
    .scan = lite_scan,
    .transact = lite_transact,
    .sync_log = lite_sync_log,
    .checkpoint = lite_checkpoint,
    .wait_idle = NULL,
};
