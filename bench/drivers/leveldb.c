/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LevelDB through its C interface. It has one keyspace, so keys of the second one carry a prefix
 * byte; it has no transactions, so txn_mixed holds one mutex from its first read to its write
 * batch, as its users do. Every choice and its reason: ../README.md.
 */
#include "drivers.h"

#include <leveldb/c.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MIB (1024ULL * 1024)

struct level_store {
    struct driver_options options;
    leveldb_options_t *db_options;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
    leveldb_readoptions_t *read_options;
    leveldb_writeoptions_t *write_options;
    leveldb_t *db;
    pthread_mutex_t transaction_lock;
};

struct level_session {
    struct level_store *store;
    struct bench_error *error;
    leveldb_writebatch_t *batch;
    uint8_t *prefixed_key; /* key_bytes + 1 */
};

static struct level_store *own_store(struct bench_store *store) {
    return (struct level_store *)(void *)store;
}

static struct level_session *own_session(struct bench_session *session) {
    return (struct level_session *)(void *)session;
}

static enum bench_result fail(struct bench_error *error, const char *what, char *text) {
    enum bench_result result = bench_fail(error, "leveldb: %s: %s", what, text);
    leveldb_free(text);
    return result;
}

static void level_version(char *out_text, size_t size) {
    snprintf(out_text, size, "%d.%d", leveldb_major_version(), leveldb_minor_version());
}

static enum compression level_compression(enum compression wanted) {
    return wanted == COMPRESSION_NONE ? COMPRESSION_NONE : COMPRESSION_SNAPPY;
}

static void set_options(struct level_store *store) {
    const struct driver_options *options = &store->options;
    uint64_t buffer_bytes = options->memory_bytes / 16;
    if (buffer_bytes > 64 * MIB)
        buffer_bytes = 64 * MIB;
    if (buffer_bytes < MIB)
        buffer_bytes = MIB;
    /* Two buffers: one is filled while the other is flushed. */
    uint64_t cache_bytes = (options->memory_bytes - 2 * buffer_bytes) / 5 * 4;
    store->cache = leveldb_cache_create_lru(cache_bytes);
    store->db_options = leveldb_options_create();
    leveldb_options_set_create_if_missing(store->db_options, 1);
    leveldb_options_set_write_buffer_size(store->db_options, buffer_bytes);
    leveldb_options_set_cache(store->db_options, store->cache);
    leveldb_options_set_max_file_size(store->db_options, 8 * MIB);
    leveldb_options_set_max_open_files(store->db_options, 10000);
    leveldb_options_set_compression(store->db_options, options->compression == COMPRESSION_NONE
                                                           ? leveldb_no_compression
                                                           : leveldb_snappy_compression);
    if (options->filter_bits > 0) {
        store->filter = leveldb_filterpolicy_create_bloom((int)options->filter_bits);
        leveldb_options_set_filter_policy(store->db_options, store->filter);
    }
    store->read_options = leveldb_readoptions_create();
    store->write_options = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(store->write_options, options->durability == DURABILITY_FULL);
}

static enum bench_result level_close(struct bench_store *bench_store, struct bench_error *error) {
    (void)error;
    struct level_store *store = own_store(bench_store);
    if (store == NULL)
        return BENCH_OK;
    if (store->db != NULL)
        leveldb_close(store->db);
    leveldb_writeoptions_destroy(store->write_options);
    leveldb_readoptions_destroy(store->read_options);
    leveldb_options_destroy(store->db_options);
    if (store->filter != NULL)
        leveldb_filterpolicy_destroy(store->filter);
    leveldb_cache_destroy(store->cache);
    pthread_mutex_destroy(&store->transaction_lock);
    free(store);
    return BENCH_OK;
}

static enum bench_result level_open(const struct driver_options *options, struct bench_error *error,
                                    struct bench_store **out_store) {
    struct level_store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return bench_fail(error, "leveldb: out of memory");
    store->options = *options;
    pthread_mutex_init(&store->transaction_lock, NULL);
    set_options(store);
    char *text = NULL;
    store->db = leveldb_open(store->db_options, options->directory, &text);
    if (text != NULL) {
        level_close((struct bench_store *)(void *)store, error);
        return fail(error, "open", text);
    }
    *out_store = (struct bench_store *)(void *)store;
    return BENCH_OK;
}

static void level_session_close(struct bench_session *bench_session) {
    struct level_session *session = own_session(bench_session);
    if (session == NULL)
        return;
    leveldb_writebatch_destroy(session->batch);
    free(session->prefixed_key);
    free(session);
}

static enum bench_result level_session_open(struct bench_store *store, struct bench_error *error,
                                            struct bench_session **out_session) {
    struct level_session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return bench_fail(error, "leveldb: out of memory");
    session->store = own_store(store);
    session->error = error;
    session->batch = leveldb_writebatch_create();
    session->prefixed_key = malloc(session->store->options.key_bytes + 1);
    if (session->prefixed_key == NULL) {
        level_session_close((struct bench_session *)(void *)session);
        return bench_fail(error, "leveldb: out of memory");
    }
    *out_session = (struct bench_session *)(void *)session;
    return BENCH_OK;
}

/* A key of the second keyspace is one byte longer than one of the main keyspace: a scan that runs
 * into the other keyspace tells them apart by size. */
static const char *stored_key(struct level_session *session, int keyspace, const uint8_t *key,
                              size_t *out_size) {
    size_t key_bytes = session->store->options.key_bytes;
    *out_size = key_bytes;
    if (keyspace == KEYSPACE_MAIN)
        return (const char *)key;
    session->prefixed_key[0] = 0xff;
    memcpy(session->prefixed_key + 1, key, key_bytes);
    *out_size = key_bytes + 1;
    return (const char *)session->prefixed_key;
}

static enum bench_result level_get(struct bench_session *bench_session, enum keyspace keyspace,
                                   const uint8_t *key, uint8_t *out_value) {
    struct level_session *session = own_session(bench_session);
    struct level_store *store = session->store;
    size_t key_size = 0;
    size_t value_size = 0;
    char *text = NULL;
    const char *wanted = stored_key(session, (int)keyspace, key, &key_size);
    char *value = leveldb_get(store->db, store->read_options, wanted, key_size, &value_size, &text);
    if (text != NULL)
        return fail(session->error, "get", text);
    if (value == NULL)
        return BENCH_NOT_FOUND;
    bool fits = value_size == store->options.value_bytes;
    if (fits)
        memcpy(out_value, value, value_size);
    leveldb_free(value);
    if (!fits)
        return bench_fail(session->error, "leveldb: get: a value of %zu bytes", value_size);
    return BENCH_OK;
}

static enum bench_result level_multi_get(struct bench_session *session, struct multi_get *request) {
    const struct driver_options *options = &own_session(session)->store->options;
    for (size_t i = 0; i < request->count; i++) {
        enum bench_result result =
            level_get(session, KEYSPACE_MAIN, request->keys + i * options->key_bytes,
                      request->values + i * options->value_bytes);
        if (result == BENCH_FAILED)
            return result;
        request->found[i] = result == BENCH_OK;
    }
    return BENCH_OK;
}

static enum bench_result level_put(struct bench_session *bench_session, enum keyspace keyspace,
                                   const uint8_t *key, const uint8_t *value) {
    struct level_session *session = own_session(bench_session);
    struct level_store *store = session->store;
    size_t key_size = 0;
    char *text = NULL;
    const char *stored = stored_key(session, (int)keyspace, key, &key_size);
    leveldb_put(store->db, store->write_options, stored, key_size, (const char *)value,
                store->options.value_bytes, &text);
    return text == NULL ? BENCH_OK : fail(session->error, "put", text);
}

static enum bench_result write_batch(struct level_session *session) {
    char *text = NULL;
    leveldb_write(session->store->db, session->store->write_options, session->batch, &text);
    return text == NULL ? BENCH_OK : fail(session->error, "write", text);
}

static enum bench_result level_put_batch(struct bench_session *bench_session,
                                         enum keyspace keyspace, const uint8_t *keys,
                                         const uint8_t *values, size_t count) {
    struct level_session *session = own_session(bench_session);
    const struct driver_options *options = &session->store->options;
    leveldb_writebatch_clear(session->batch);
    for (size_t i = 0; i < count; i++) {
        size_t key_size = 0;
        const char *stored =
            stored_key(session, (int)keyspace, keys + i * options->key_bytes, &key_size);
        leveldb_writebatch_put(session->batch, stored, key_size,
                               (const char *)values + i * options->value_bytes,
                               options->value_bytes);
    }
    return write_batch(session);
}

static enum bench_result level_remove(struct bench_session *bench_session, enum keyspace keyspace,
                                      const uint8_t *key) {
    struct level_session *session = own_session(bench_session);
    struct level_store *store = session->store;
    size_t key_size = 0;
    char *text = NULL;
    const char *stored = stored_key(session, (int)keyspace, key, &key_size);
    leveldb_delete(store->db, store->write_options, stored, key_size, &text);
    return text == NULL ? BENCH_OK : fail(session->error, "delete", text);
}

static enum bench_result level_scan(struct bench_session *bench_session, enum keyspace keyspace,
                                    const uint8_t *start, uint64_t limit, struct scan_sink *sink) {
    struct level_session *session = own_session(bench_session);
    struct level_store *store = session->store;
    size_t prefix_bytes = keyspace == KEYSPACE_MAIN ? 0 : 1;
    size_t wanted_size = store->options.key_bytes + prefix_bytes;
    leveldb_iterator_t *iterator = leveldb_create_iterator(store->db, store->read_options);
    if (start != NULL) {
        size_t size = 0;
        const char *stored = stored_key(session, (int)keyspace, start, &size);
        leveldb_iter_seek(iterator, stored, size);
    } else if (prefix_bytes > 0) {
        leveldb_iter_seek(iterator, "\xff", 1);
    } else {
        leveldb_iter_seek_to_first(iterator);
    }
    for (uint64_t taken = 0; taken < limit && leveldb_iter_valid(iterator);
         leveldb_iter_next(iterator)) {
        size_t key_size = 0;
        size_t value_size = 0;
        const char *key = leveldb_iter_key(iterator, &key_size);
        if (key_size != wanted_size)
            continue;
        const char *value = leveldb_iter_value(iterator, &value_size);
        scan_take(sink, key + prefix_bytes, key_size - prefix_bytes, value, value_size);
        taken++;
    }
    char *text = NULL;
    leveldb_iter_get_error(iterator, &text);
    leveldb_iter_destroy(iterator);
    return text == NULL ? BENCH_OK : fail(session->error, "scan", text);
}

static enum bench_result transact_step(struct level_session *session, int keyspace,
                                       const uint8_t *key, const leveldb_readoptions_t *options,
                                       bool will_write, struct transaction_work *work) {
    struct level_store *store = session->store;
    size_t key_size = 0;
    size_t value_size = 0;
    char *text = NULL;
    const char *stored = stored_key(session, keyspace, key, &key_size);
    char *value = leveldb_get(store->db, options, stored, key_size, &value_size, &text);
    if (text != NULL)
        return fail(session->error, "transaction get", text);
    if (value == NULL)
        return bench_fail(session->error, "leveldb: transaction get: a record is missing");
    if (will_write) {
        transaction_modify(work, key, value, value_size);
        leveldb_writebatch_put(session->batch, stored, key_size, (const char *)work->new_value,
                               store->options.value_bytes);
    } else {
        transaction_saw(work, key, value, value_size);
    }
    leveldb_free(value);
    return BENCH_OK;
}

/* With all writers under one mutex nothing changes between the reads: no snapshot is needed. */
static enum bench_result level_transact(struct bench_session *bench_session,
                                        struct transaction_work *work) {
    struct level_session *session = own_session(bench_session);
    struct level_store *store = session->store;
    leveldb_writebatch_clear(session->batch);
    enum bench_result result = BENCH_OK;
    pthread_mutex_lock(&store->transaction_lock);
    for (int i = 0; i < KEYSPACE_COUNT && result == BENCH_OK; i++)
        result = transact_step(session, i, work->read_keys[i], store->read_options, false, work);
    for (int i = 0; i < KEYSPACE_COUNT && result == BENCH_OK; i++)
        result = transact_step(session, i, work->update_keys[i], store->read_options, true, work);
    if (result == BENCH_OK)
        result = write_batch(session);
    pthread_mutex_unlock(&store->transaction_lock);
    return result;
}

/* A synced write makes all that was logged before it stable too. */
static enum bench_result level_sync_log(struct bench_store *bench_store,
                                        struct bench_error *error) {
    struct level_store *store = own_store(bench_store);
    leveldb_writeoptions_t *options = leveldb_writeoptions_create();
    leveldb_writebatch_t *empty = leveldb_writebatch_create();
    leveldb_writeoptions_set_sync(options, 1);
    char *text = NULL;
    leveldb_write(store->db, options, empty, &text);
    leveldb_writebatch_destroy(empty);
    leveldb_writeoptions_destroy(options);
    return text == NULL ? BENCH_OK : fail(error, "sync the log", text);
}

static uint64_t bytes_written_by_process(void) {
    unsigned long long written = 0;
    FILE *file = fopen("/proc/self/io", "re");
    if (file == NULL)
        return 0;
    char line[128];
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "wchar: %llu", &written) == 1)
            break;
    }
    fclose(file);
    return written;
}

/* LevelDB does not tell whether it compacts: wait until it has written nothing for 200 ms. */
static enum bench_result level_wait_idle(struct bench_store *store, struct bench_error *error) {
    (void)store;
    (void)error;
    uint64_t before = bytes_written_by_process();
    for (int quiet = 0; quiet < 4; quiet++) {
        usleep(50000);
        uint64_t now = bytes_written_by_process();
        if (now != before)
            quiet = -1;
        before = now;
    }
    return BENCH_OK;
}

const struct driver driver_leveldb = {
    .name = "leveldb",
    .abilities = DRIVER_ORDERED,
    .version = level_version,
    .compression = level_compression,
    .open = level_open,
    .close = level_close,
    .session_open = level_session_open,
    .session_close = level_session_close,
    .get = level_get,
    .multi_get = level_multi_get,
    .put = level_put,
    .put_batch = level_put_batch,
    .remove = level_remove,
    .scan = level_scan,
    .transact = level_transact,
    .sync_log = level_sync_log,
    .checkpoint = level_sync_log,
    .wait_idle = level_wait_idle,
};
