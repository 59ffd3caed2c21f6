/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tkrzw through its C interface: HashDBM (tkrzw-hash) and TreeDBM (tkrzw-tree), a file for each
 * keyspace. It has neither log nor transactions: a batch is a row of single sets and txn_mixed
 * holds one mutex, so neither is all or nothing after a crash. Reads run a processor on the record
 * in place, which spares the copy that tkrzw_dbm_get would make first. Why so: ../README.md.
 */
#include "drivers.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <tkrzw_langc.h>

struct tkrzw_store {
    struct driver_options options;
    TkrzwDBM *databases[KEYSPACE_COUNT];
    pthread_mutex_t transaction_lock;
};

struct tkrzw_session {
    struct tkrzw_store *store;
    struct bench_error *error;
};

static struct tkrzw_store *own_store(struct bench_store *store) {
    return (struct tkrzw_store *)(void *)store;
}

static struct tkrzw_session *own_session(struct bench_session *session) {
    return (struct tkrzw_session *)(void *)session;
}

static enum bench_result fail(struct bench_error *error, const char *what) {
    return bench_fail(error, "tkrzw: %s: %s", what, tkrzw_get_last_status_message());
}

static void tkrzw_version(char *out_text, size_t size) {
    snprintf(out_text, size, "%s", TKRZW_PACKAGE_VERSION);
}

static enum compression no_compression(enum compression wanted) {
    (void)wanted;
    return COMPRESSION_NONE;
}

static enum bench_result close_store(struct bench_store *bench_store, struct bench_error *error) {
    struct tkrzw_store *store = own_store(bench_store);
    enum bench_result result = BENCH_OK;
    if (store == NULL)
        return BENCH_OK;
    for (int i = 0; i < KEYSPACE_COUNT; i++) {
        if (store->databases[i] != NULL && !tkrzw_dbm_close(store->databases[i]))
            result = fail(error, "close");
    }
    pthread_mutex_destroy(&store->transaction_lock);
    free(store);
    return result;
}

/* The parameters are those that its documentation recommends when the number of records is known:
 * twice as many buckets as records, and pages of the tree within the memory given. */
static enum bench_result open_as(bool is_tree, const struct driver_options *options,
                                 struct bench_error *error, struct bench_store **out_store) {
    static const char *const names[KEYSPACE_COUNT] = {"main", "second"};
    struct tkrzw_store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return bench_fail(error, "tkrzw: out of memory");
    store->options = *options;
    pthread_mutex_init(&store->transaction_lock, NULL);
    for (int i = 0; i < KEYSPACE_COUNT; i++) {
        char path[1200];
        char parameters[300];
        unsigned long long buckets =
            is_tree ? options->record_count / 20 + 1000 : options->record_count * 2 + 1000;
        snprintf(path, sizeof(path), "%s/%s.%s", options->directory, names[i],
                 is_tree ? "tkt" : "tkh");
        int size = snprintf(parameters, sizeof(parameters), "dbm=%s,num_buckets=%llu",
                            is_tree ? "TreeDBM" : "HashDBM", buckets);
        if (is_tree)
            snprintf(parameters + size, sizeof(parameters) - (size_t)size, ",max_cached_pages=%llu",
                     (unsigned long long)(options->memory_bytes / 2 / 10000) + 100);
        store->databases[i] = tkrzw_dbm_open(path, true, parameters);
        if (store->databases[i] == NULL) {
            fail(error, "open");
            close_store((struct bench_store *)(void *)store, error);
            return BENCH_FAILED;
        }
    }
    *out_store = (struct bench_store *)(void *)store;
    return BENCH_OK;
}

static enum bench_result open_hash(const struct driver_options *options, struct bench_error *error,
                                   struct bench_store **out_store) {
    return open_as(false, options, error, out_store);
}

static enum bench_result open_tree(const struct driver_options *options, struct bench_error *error,
                                   struct bench_store **out_store) {
    return open_as(true, options, error, out_store);
}

static enum bench_result open_session(struct bench_store *store, struct bench_error *error,
                                      struct bench_session **out_session) {
    struct tkrzw_session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return bench_fail(error, "tkrzw: out of memory");
    session->store = own_store(store);
    session->error = error;
    *out_session = (struct bench_session *)(void *)session;
    return BENCH_OK;
}

static void close_session(struct bench_session *session) {
    free(own_session(session));
}

/* What a processor is to fill. */
struct wanted_value {
    uint8_t *value;
    size_t size;
    bool is_found, has_size;
};

static const char *copy_record(void *argument, const char *key, int32_t key_size, const char *value,
                               int32_t value_size, int32_t *new_size) {
    struct wanted_value *wanted = argument;
    (void)key;
    (void)key_size;
    (void)new_size;
    if (value != NULL) {
        wanted->is_found = true;
        wanted->has_size = (size_t)value_size == wanted->size;
        if (wanted->has_size)
            memcpy(wanted->value, value, wanted->size);
    }
    return TKRZW_REC_PROC_NOOP;
}

static enum bench_result get_record(struct bench_session *bench_session, enum keyspace keyspace,
                                    const uint8_t *key, uint8_t *out_value) {
    struct tkrzw_session *session = own_session(bench_session);
    const struct driver_options *options = &session->store->options;
    struct wanted_value wanted = {out_value, options->value_bytes, false, false};
    if (!tkrzw_dbm_process(session->store->databases[keyspace], (const char *)key,
                           (int32_t)options->key_bytes, copy_record, &wanted, false))
        return fail(session->error, "get");
    if (!wanted.is_found)
        return BENCH_NOT_FOUND;
    return wanted.has_size ? BENCH_OK
                           : bench_fail(session->error, "tkrzw: get: a value of another size");
}

static enum bench_result get_many(struct bench_session *session, struct multi_get *request) {
    const struct driver_options *options = &own_session(session)->store->options;
    for (size_t i = 0; i < request->count; i++) {
        enum bench_result result =
            get_record(session, KEYSPACE_MAIN, request->keys + i * options->key_bytes,
                       request->values + i * options->value_bytes);
        if (result == BENCH_FAILED)
            return result;
        request->found[i] = result == BENCH_OK;
    }
    return BENCH_OK;
}

static bool make_stable(TkrzwDBM *database) {
    return tkrzw_dbm_synchronize(database, true, NULL, NULL, "");
}

static bool set_record(struct tkrzw_store *store, enum keyspace keyspace, const uint8_t *key,
                       const uint8_t *value) {
    return tkrzw_dbm_set(store->databases[keyspace], (const char *)key,
                         (int32_t)store->options.key_bytes, (const char *)value,
                         (int32_t)store->options.value_bytes, true);
}

static enum bench_result put_batch(struct bench_session *bench_session, enum keyspace keyspace,
                                   const uint8_t *keys, const uint8_t *values, size_t count) {
    struct tkrzw_session *session = own_session(bench_session);
    struct tkrzw_store *store = session->store;
    for (size_t i = 0; i < count; i++) {
        if (!set_record(store, keyspace, keys + i * store->options.key_bytes,
                        values + i * store->options.value_bytes))
            return fail(session->error, "set");
    }
    if (store->options.durability == DURABILITY_FULL && !make_stable(store->databases[keyspace]))
        return fail(session->error, "synchronize");
    return BENCH_OK;
}

static enum bench_result put_record(struct bench_session *session, enum keyspace keyspace,
                                    const uint8_t *key, const uint8_t *value) {
    return put_batch(session, keyspace, key, value, 1);
}

static enum bench_result remove_record(struct bench_session *bench_session, enum keyspace keyspace,
                                       const uint8_t *key) {
    struct tkrzw_session *session = own_session(bench_session);
    const struct tkrzw_store *store = session->store;
    bool is_removed = tkrzw_dbm_remove(store->databases[keyspace], (const char *)key,
                                       (int32_t)store->options.key_bytes);
    if (!is_removed && tkrzw_get_last_status_code() != TKRZW_STATUS_NOT_FOUND_ERROR)
        return fail(session->error, "remove");
    if (store->options.durability == DURABILITY_FULL && !make_stable(store->databases[keyspace]))
        return fail(session->error, "synchronize");
    return BENCH_OK;
}

/* HashDBM has no order: from a key on means from where that key lies. */
static enum bench_result scan_records(struct bench_session *bench_session, enum keyspace keyspace,
                                      const uint8_t *start, uint64_t limit,
                                      struct scan_sink *sink) {
    const struct tkrzw_store *store = own_session(bench_session)->store;
    TkrzwDBMIter *iterator = tkrzw_dbm_make_iterator(store->databases[keyspace]);
    bool stands = start == NULL ? tkrzw_dbm_iter_first(iterator)
                                : tkrzw_dbm_iter_jump(iterator, (const char *)start,
                                                      (int32_t)store->options.key_bytes);
    for (uint64_t taken = 0; stands && taken < limit; taken++) {
        char *key = NULL;
        char *value = NULL;
        int32_t key_size = 0;
        int32_t value_size = 0;
        if (!tkrzw_dbm_iter_get(iterator, &key, &key_size, &value, &value_size))
            break;
        scan_take(sink, key, (size_t)key_size, value, (size_t)value_size);
        free(key);
        free(value);
        stands = tkrzw_dbm_iter_next(iterator);
    }
    tkrzw_dbm_iter_free(iterator);
    return BENCH_OK;
}

static enum bench_result transact(struct bench_session *session, struct transaction_work *work) {
    static const struct single_operations operations = {get_record, put_record};
    const struct tkrzw_session *own = own_session(session);
    uint8_t *value = malloc(own->store->options.value_bytes);
    if (value == NULL)
        return bench_fail(own->error, "tkrzw: out of memory");
    pthread_mutex_lock(&own->store->transaction_lock);
    enum bench_result result = transaction_of_singles(&operations, session, work, value);
    pthread_mutex_unlock(&own->store->transaction_lock);
    free(value);
    return result;
}

static enum bench_result make_all_stable(struct bench_store *store, struct bench_error *error) {
    for (int i = 0; i < KEYSPACE_COUNT; i++) {
        if (!make_stable(own_store(store)->databases[i]))
            return fail(error, "synchronize");
    }
    return BENCH_OK;
}

#define TKRZW_DRIVER(symbol, name_text, order, open_function)                                      \
    const struct driver symbol = {                                                                 \
        .name = name_text,                                                                         \
        .abilities = (order),                                                                      \
        .version = tkrzw_version,                                                                  \
        .compression = no_compression,                                                             \
        .open = open_function,                                                                     \
        .close = close_store,                                                                      \
        .session_open = open_session,                                                              \
        .session_close = close_session,                                                            \
        .get = get_record,                                                                         \
        .multi_get = get_many,                                                                     \
        .put = put_record,                                                                         \
        .put_batch = put_batch,                                                                    \
        .remove = remove_record,                                                                   \
        .scan = scan_records,                                                                      \
        .transact = transact,                                                                      \
        .sync_log = make_all_stable,                                                               \
        .checkpoint = make_all_stable,                                                             \
        .wait_idle = NULL,                                                                         \
    }

TKRZW_DRIVER(driver_tkrzw_hash, "tkrzw-hash", 0, open_hash);
TKRZW_DRIVER(driver_tkrzw_tree, "tkrzw-tree", DRIVER_ORDERED, open_tree);
