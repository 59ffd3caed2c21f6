/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RocksDB through its C interface. Keyspaces are column families. For txn_mixed the directory is
 * opened as an optimistic transaction database, whose snapshot-validated transactions are what
 * RocksDB offers for snapshot isolation. Every choice and its reason: ../README.md.
 */
#include "drivers.h"

#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MIB           (1024ULL * 1024)
#define MULTI_GET_MAX 1024U

struct rocks_store {
    struct driver_options options;
    rocksdb_options_t *db_options;
    rocksdb_block_based_table_options_t *table_options;
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *read_options;
    rocksdb_writeoptions_t *write_options;
    rocksdb_optimistictransaction_options_t *transaction_options;
    rocksdb_optimistictransactiondb_t *transaction_db;
    rocksdb_t *db;
    rocksdb_column_family_handle_t *families[KEYSPACE_COUNT];
};

struct rocks_session {
    struct rocks_store *store;
    struct bench_error *error;
    rocksdb_writebatch_t *batch;
    rocksdb_readoptions_t *snapshot_options;
    rocksdb_transaction_t *transaction;
    size_t sizes[MULTI_GET_MAX];
    rocksdb_pinnableslice_t *slices[MULTI_GET_MAX];
    char *errors[MULTI_GET_MAX];
};

static struct rocks_store *own_store(struct bench_store *store) {
    return (struct rocks_store *)(void *)store;
}

static struct rocks_session *own_session(struct bench_session *session) {
    return (struct rocks_session *)(void *)session;
}

static enum bench_result fail(struct bench_error *error, const char *what, char *text) {
    enum bench_result result = bench_fail(error, "rocksdb: %s: %s", what, text);
    rocksdb_free(text);
    return result;
}

static void rocks_version(char *out_text, size_t size) {
    snprintf(out_text, size, "%s", BENCH_ROCKSDB_VERSION);
}

static enum compression rocks_compression(enum compression wanted) {
    return wanted;
}

static int compression_code(enum compression compression) {
    switch (compression) {
    case COMPRESSION_LZ4:
        return rocksdb_lz4_compression;
    case COMPRESSION_ZSTD:
        return rocksdb_zstd_compression;
    case COMPRESSION_SNAPPY:
        return rocksdb_snappy_compression;
    case COMPRESSION_NONE:
        break;
    }
    return rocksdb_no_compression;
}

/* A quarter of the budget for write buffers, four fifths of the rest for the block cache: the
 * remainder is for index and filter blocks of open tables and for the allocator's slack. */
static uint64_t write_buffer_bytes(const struct driver_options *options) {
    uint64_t bytes = options->memory_bytes / 16;
    if (bytes > 128 * MIB)
        bytes = 128 * MIB;
    return bytes < MIB ? MIB : bytes;
}

static void set_table_options(struct rocks_store *store) {
    const struct driver_options *options = &store->options;
    uint64_t cache_bytes = (options->memory_bytes - 4 * write_buffer_bytes(options)) / 5 * 4;
    store->cache = rocksdb_cache_create_lru(cache_bytes);
    store->table_options = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(store->table_options, store->cache);
    /* Large blocks read and scan faster once they are cached; small ones waste less of a cache. */
    uint64_t raw_bytes = options->record_count * (options->key_bytes + options->value_bytes);
    bool fits = raw_bytes + raw_bytes / 5 <= cache_bytes;
    rocksdb_block_based_options_set_block_size(store->table_options, fits ? 16384 : 4096);
    rocksdb_block_based_options_set_format_version(store->table_options, 5);
    rocksdb_block_based_options_set_data_block_index_type(
        store->table_options,
        rocksdb_block_based_table_data_block_index_type_binary_search_and_hash);
    rocksdb_block_based_options_set_data_block_hash_ratio(store->table_options, 0.75);
    if (options->filter_bits > 0)
        rocksdb_block_based_options_set_filter_policy(
            store->table_options,
            rocksdb_filterpolicy_create_bloom_full((double)options->filter_bits));
    /* The database takes ownership of the policy, a copy of the rest. */
    rocksdb_options_set_block_based_table_factory(store->db_options, store->table_options);
}

static void set_db_options(struct rocks_store *store) {
    const struct driver_options *options = &store->options;
    rocksdb_options_t *db_options = rocksdb_options_create();
    store->db_options = db_options;
    rocksdb_options_set_create_if_missing(db_options, 1);
    rocksdb_options_set_create_missing_column_families(db_options, 1);
    rocksdb_options_set_compression(db_options, compression_code(options->compression));
    rocksdb_options_set_write_buffer_size(db_options, write_buffer_bytes(options));
    rocksdb_options_set_max_write_buffer_number(db_options, 4);
    rocksdb_options_set_db_write_buffer_size(db_options, 4 * write_buffer_bytes(options));
    rocksdb_options_set_level_compaction_dynamic_level_bytes(db_options, 1);
    rocksdb_options_set_max_bytes_for_level_base(db_options, 4 * write_buffer_bytes(options));
    rocksdb_options_set_max_background_jobs(db_options, 2);
    rocksdb_options_set_bytes_per_sync(db_options, MIB);
    rocksdb_options_set_recycle_log_file_num(db_options, 4);
    rocksdb_options_set_max_open_files(db_options, -1);
    rocksdb_options_set_memtable_whole_key_filtering(db_options, 1);
    rocksdb_options_set_memtable_prefix_bloom_size_ratio(db_options, 0.02);
    rocksdb_options_set_stats_dump_period_sec(db_options, 0);
    rocksdb_options_set_keep_log_file_num(db_options, 2);
    set_table_options(store);
}

static enum bench_result rocks_close(struct bench_store *bench_store, struct bench_error *error) {
    (void)error;
    struct rocks_store *store = own_store(bench_store);
    if (store == NULL)
        return BENCH_OK;
    for (int i = 0; i < KEYSPACE_COUNT; i++) {
        if (store->families[i] != NULL)
            rocksdb_column_family_handle_destroy(store->families[i]);
    }
    if (store->transaction_db != NULL) {
        rocksdb_optimistictransactiondb_close_base_db(store->db);
        rocksdb_optimistictransactiondb_close(store->transaction_db);
    } else if (store->db != NULL) {
        rocksdb_close(store->db);
    }
    rocksdb_optimistictransaction_options_destroy(store->transaction_options);
    rocksdb_writeoptions_destroy(store->write_options);
    rocksdb_readoptions_destroy(store->read_options);
    rocksdb_block_based_options_destroy(store->table_options);
    rocksdb_options_destroy(store->db_options);
    rocksdb_cache_destroy(store->cache);
    free(store);
    return BENCH_OK;
}

static enum bench_result rocks_open(const struct driver_options *options, struct bench_error *error,
                                    struct bench_store **out_store) {
    static const char *const names[KEYSPACE_COUNT] = {"default", "second"};
    struct rocks_store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return bench_fail(error, "rocksdb: out of memory");
    store->options = *options;
    set_db_options(store);
    store->read_options = rocksdb_readoptions_create();
    store->write_options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(store->write_options, options->durability == DURABILITY_FULL);
    store->transaction_options = rocksdb_optimistictransaction_options_create();
    rocksdb_optimistictransaction_options_set_set_snapshot(store->transaction_options, 1);
    const rocksdb_options_t *const family_options[KEYSPACE_COUNT] = {store->db_options,
                                                                     store->db_options};
    char *text = NULL;
    if (options->transactional) {
        store->transaction_db = rocksdb_optimistictransactiondb_open_column_families(
            store->db_options, options->directory, KEYSPACE_COUNT, names, family_options,
            store->families, &text);
        if (text == NULL)
            store->db = rocksdb_optimistictransactiondb_get_base_db(store->transaction_db);
    } else {
        store->db =
            rocksdb_open_column_families(store->db_options, options->directory, KEYSPACE_COUNT,
                                         names, family_options, store->families, &text);
    }
    if (text != NULL) {
        rocks_close((struct bench_store *)(void *)store, error);
        return fail(error, "open", text);
    }
    *out_store = (struct bench_store *)(void *)store;
    return BENCH_OK;
}

static void rocks_session_close(struct bench_session *bench_session) {
    struct rocks_session *session = own_session(bench_session);
    if (session == NULL)
        return;
    if (session->transaction != NULL)
        rocksdb_transaction_destroy(session->transaction);
    rocksdb_writebatch_destroy(session->batch);
    rocksdb_readoptions_destroy(session->snapshot_options);
    free(session);
}

static enum bench_result rocks_session_open(struct bench_store *store, struct bench_error *error,
                                            struct bench_session **out_session) {
    struct rocks_session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return bench_fail(error, "rocksdb: out of memory");
    session->store = own_store(store);
    session->error = error;
    session->batch = rocksdb_writebatch_create();
    session->snapshot_options = rocksdb_readoptions_create();
    for (size_t i = 0; i < MULTI_GET_MAX; i++)
        session->sizes[i] = session->store->options.key_bytes;
    *out_session = (struct bench_session *)(void *)session;
    return BENCH_OK;
}

static enum bench_result take_slice(struct rocks_session *session, rocksdb_pinnableslice_t *slice,
                                    uint8_t *out_value) {
    size_t size = 0;
    const char *data = rocksdb_pinnableslice_value(slice, &size);
    bool fits = size == session->store->options.value_bytes;
    if (fits)
        memcpy(out_value, data, size);
    rocksdb_pinnableslice_destroy(slice);
    if (!fits)
        return bench_fail(session->error, "rocksdb: get: a value of %zu bytes", size);
    return BENCH_OK;
}

static enum bench_result rocks_get(struct bench_session *bench_session, enum keyspace keyspace,
                                   const uint8_t *key, uint8_t *out_value) {
    struct rocks_session *session = own_session(bench_session);
    struct rocks_store *store = session->store;
    char *text = NULL;
    rocksdb_pinnableslice_t *slice =
        rocksdb_get_pinned_cf(store->db, store->read_options, store->families[keyspace],
                              (const char *)key, store->options.key_bytes, &text);
    if (text != NULL)
        return fail(session->error, "get", text);
    return slice == NULL ? BENCH_NOT_FOUND : take_slice(session, slice, out_value);
}

static enum bench_result rocks_multi_get(struct bench_session *bench_session,
                                         struct multi_get *request) {
    struct rocks_session *session = own_session(bench_session);
    struct rocks_store *store = session->store;
    size_t value_bytes = store->options.value_bytes;
    if (request->count > MULTI_GET_MAX)
        return bench_fail(session->error, "rocksdb: at most %u keys at once", MULTI_GET_MAX);
    rocksdb_batched_multi_get_cf(store->db, store->read_options, store->families[KEYSPACE_MAIN],
                                 request->count,
                                 (const char *const *)(const void *)request->key_pointers,
                                 session->sizes, session->slices, session->errors, false);
    enum bench_result result = BENCH_OK;
    for (size_t i = 0; i < request->count; i++) {
        if (session->errors[i] != NULL)
            result = fail(session->error, "multi-get", session->errors[i]);
        request->found[i] = session->slices[i] != NULL;
        if (request->found[i] &&
            take_slice(session, session->slices[i], request->values + i * value_bytes) != BENCH_OK)
            result = BENCH_FAILED;
    }
    return result;
}

static enum bench_result rocks_put(struct bench_session *bench_session, enum keyspace keyspace,
                                   const uint8_t *key, const uint8_t *value) {
    struct rocks_session *session = own_session(bench_session);
    struct rocks_store *store = session->store;
    char *text = NULL;
    rocksdb_put_cf(store->db, store->write_options, store->families[keyspace], (const char *)key,
                   store->options.key_bytes, (const char *)value, store->options.value_bytes,
                   &text);
    return text == NULL ? BENCH_OK : fail(session->error, "put", text);
}

static enum bench_result rocks_put_batch(struct bench_session *bench_session,
                                         enum keyspace keyspace, const uint8_t *keys,
                                         const uint8_t *values, size_t count) {
    struct rocks_session *session = own_session(bench_session);
    struct rocks_store *store = session->store;
    size_t key_bytes = store->options.key_bytes;
    size_t value_bytes = store->options.value_bytes;
    rocksdb_writebatch_clear(session->batch);
    for (size_t i = 0; i < count; i++)
        rocksdb_writebatch_put_cf(session->batch, store->families[keyspace],
                                  (const char *)keys + i * key_bytes, key_bytes,
                                  (const char *)values + i * value_bytes, value_bytes);
    char *text = NULL;
    rocksdb_write(store->db, store->write_options, session->batch, &text);
    return text == NULL ? BENCH_OK : fail(session->error, "write", text);
}

static enum bench_result rocks_remove(struct bench_session *bench_session, enum keyspace keyspace,
                                      const uint8_t *key) {
    struct rocks_session *session = own_session(bench_session);
    struct rocks_store *store = session->store;
    char *text = NULL;
    rocksdb_delete_cf(store->db, store->write_options, store->families[keyspace], (const char *)key,
                      store->options.key_bytes, &text);
    return text == NULL ? BENCH_OK : fail(session->error, "delete", text);
}

static enum bench_result rocks_scan(struct bench_session *bench_session, enum keyspace keyspace,
                                    const uint8_t *start, uint64_t limit, struct scan_sink *sink) {
    struct rocks_session *session = own_session(bench_session);
    struct rocks_store *store = session->store;
    rocksdb_iterator_t *iterator =
        rocksdb_create_iterator_cf(store->db, store->read_options, store->families[keyspace]);
    if (start == NULL)
        rocksdb_iter_seek_to_first(iterator);
    else
        rocksdb_iter_seek(iterator, (const char *)start, store->options.key_bytes);
    for (uint64_t taken = 0; taken < limit && rocksdb_iter_valid(iterator); taken++) {
        size_t key_size = 0;
        size_t value_size = 0;
        const char *key = rocksdb_iter_key(iterator, &key_size);
        const char *value = rocksdb_iter_value(iterator, &value_size);
        scan_take(sink, key, key_size, value, value_size);
        rocksdb_iter_next(iterator);
    }
    char *text = NULL;
    rocksdb_iter_get_error(iterator, &text);
    rocksdb_iter_destroy(iterator);
    return text == NULL ? BENCH_OK : fail(session->error, "scan", text);
}

static enum bench_result read_in(struct rocks_session *session, int keyspace, const uint8_t *key,
                                 bool will_write, struct transaction_work *work) {
    struct rocks_store *store = session->store;
    char *text = NULL;
    rocksdb_pinnableslice_t *slice = rocksdb_transaction_get_pinned_cf(
        session->transaction, session->snapshot_options, store->families[keyspace],
        (const char *)key, store->options.key_bytes, &text);
    if (text != NULL)
        return fail(session->error, "transaction get", text);
    if (slice == NULL)
        return bench_fail(session->error, "rocksdb: transaction get: a record is missing");
    size_t size = 0;
    const char *data = rocksdb_pinnableslice_value(slice, &size);
    if (will_write)
        transaction_modify(work, key, data, size);
    else
        transaction_saw(work, key, data, size);
    rocksdb_pinnableslice_destroy(slice);
    if (!will_write)
        return BENCH_OK;
    rocksdb_transaction_put_cf(session->transaction, store->families[keyspace], (const char *)key,
                               store->options.key_bytes, (const char *)work->new_value,
                               store->options.value_bytes, &text);
    return text == NULL ? BENCH_OK : fail(session->error, "transaction put", text);
}

static enum bench_result commit(struct rocks_session *session) {
    char *text = NULL;
    rocksdb_transaction_commit(session->transaction, &text);
    if (text == NULL)
        return BENCH_OK;
    /* The C interface has no codes: "Resource busy" is a conflict, "try again" a memtable whose
     * history was trimmed, so that the conflict check could not be made. */
    bool conflict = strstr(text, "Resource busy") != NULL || strstr(text, "ry again") != NULL;
    if (!conflict)
        return fail(session->error, "commit", text);
    rocksdb_free(text);
    text = NULL;
    rocksdb_transaction_rollback(session->transaction, &text);
    return text == NULL ? BENCH_CONFLICT : fail(session->error, "rollback", text);
}

static enum bench_result rocks_transact(struct bench_session *bench_session,
                                        struct transaction_work *work) {
    struct rocks_session *session = own_session(bench_session);
    struct rocks_store *store = session->store;
    session->transaction =
        rocksdb_optimistictransaction_begin(store->transaction_db, store->write_options,
                                            store->transaction_options, session->transaction);
    const rocksdb_snapshot_t *snapshot = rocksdb_transaction_get_snapshot(session->transaction);
    rocksdb_readoptions_set_snapshot(session->snapshot_options, snapshot);
    enum bench_result result = BENCH_OK;
    for (int i = 0; i < KEYSPACE_COUNT && result == BENCH_OK; i++)
        result = read_in(session, i, work->read_keys[i], false, work);
    for (int i = 0; i < KEYSPACE_COUNT && result == BENCH_OK; i++)
        result = read_in(session, i, work->update_keys[i], true, work);
    if (result == BENCH_OK)
        result = commit(session);
    rocksdb_readoptions_set_snapshot(session->snapshot_options, NULL);
    rocksdb_free((void *)(uintptr_t)snapshot);
    return result;
}

static enum bench_result rocks_sync_log(struct bench_store *store, struct bench_error *error) {
    char *text = NULL;
    rocksdb_flush_wal(own_store(store)->db, 1, &text);
    return text == NULL ? BENCH_OK : fail(error, "sync the log", text);
}

static enum bench_result rocks_checkpoint(struct bench_store *bench_store,
                                          struct bench_error *error) {
    struct rocks_store *store = own_store(bench_store);
    rocksdb_flushoptions_t *options = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(options, 1);
    char *text = NULL;
    for (int i = 0; i < KEYSPACE_COUNT && text == NULL; i++)
        rocksdb_flush_cf(store->db, options, store->families[i], &text);
    rocksdb_flushoptions_destroy(options);
    if (text != NULL)
        return fail(error, "flush", text);
    return rocks_sync_log(bench_store, error);
}

static bool has_work(const struct rocks_store *store) {
    static const char *const properties[] = {
        "rocksdb.num-running-compactions", "rocksdb.compaction-pending",
        "rocksdb.num-running-flushes", "rocksdb.mem-table-flush-pending"};
    for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++) {
        for (int family = 0; family < KEYSPACE_COUNT; family++) {
            uint64_t value = 0;
            if (rocksdb_property_int_cf(store->db, store->families[family], properties[i],
                                        &value) == 0 &&
                value > 0)
                return true;
        }
    }
    return false;
}

static enum bench_result rocks_wait_idle(struct bench_store *store, struct bench_error *error) {
    (void)error;
    /* A compaction that ends may schedule the next one a moment later: ask five times. */
    for (int quiet = 0; quiet < 5; quiet++) {
        if (has_work(own_store(store)))
            quiet = 0;
        usleep(20000);
    }
    return BENCH_OK;
}

const struct driver driver_rocksdb = {
    .name = "rocksdb",
    .abilities = DRIVER_ORDERED | DRIVER_TRANSACTIONS,
    .version = rocks_version,
    .compression = rocks_compression,
    .open = rocks_open,
    .close = rocks_close,
    .session_open = rocks_session_open,
    .session_close = rocks_session_close,
    .get = rocks_get,
    .multi_get = rocks_multi_get,
    .put = rocks_put,
    .put_batch = rocks_put_batch,
    .remove = rocks_remove,
    .scan = rocks_scan,
    .transact = rocks_transact,
    .sync_log = rocks_sync_log,
    .checkpoint = rocks_checkpoint,
    .wait_idle = rocks_wait_idle,
};
