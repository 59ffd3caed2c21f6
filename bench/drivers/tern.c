/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tern through its public interface, as any program would use it: single operations for single
 * work, a transaction for a batch, for scans a read-only transaction that is renewed for each, with
 * a cursor that hands out batches.
 * One driver for each engine; only the keyspace's engine differs. tern-all has each record in a
 * keyspace of each engine: a write is one transaction over all, reads go round. Why so:
 * ../README.md.
 */
#include "drivers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tern/tern.h>
#include <unistd.h>

#define SCAN_BATCH  256U
#define ENGINES_MAX 3U
/* Idle: nothing written in so many looks, one after another. */
#define IDLE_LOOKS   6
#define IDLE_LOOK_US 50000
#define IDLE_TRIES   6000

struct tern_store {
    struct driver_options options;
    tern_db *db;
    tern_keyspace *keyspaces[KEYSPACE_COUNT][ENGINES_MAX];
    unsigned engine_count;
    unsigned ordered_count; /* of these, the first have an order */
};

struct tern_session {
    struct tern_store *store;
    struct bench_error *error;
    tern_error detail;
    tern_txn *reader; /* of scans, renewed for each; NULL before the first */
    tern_cursor *cursors[KEYSPACE_COUNT][ENGINES_MAX];
    unsigned turn; /* of the engines that are read */
    tern_get_request requests[1024];
    tern_entry entries[SCAN_BATCH];
};

static struct tern_store *own_store(struct bench_store *store) {
    return (struct tern_store *)(void *)store;
}

static struct tern_session *own_session(struct bench_session *session) {
    return (struct tern_session *)(void *)session;
}

static enum bench_result fail(struct bench_error *error, const char *what, tern_status status,
                              const tern_error *detail) {
    char text[TERN_ERROR_MESSAGE_BYTES];
    tern_error_format(detail, text, sizeof(text));
    return bench_fail(error, "tern: %s: %s: %s", what, tern_status_text(status), text);
}

static void driver_version(char *out_text, size_t size) {
    snprintf(out_text, size, "%s", BENCH_TERN_VERSION);
}

static enum compression driver_compression(enum compression wanted) {
    return wanted;
}

static tern_compression compression_code(enum compression compression) {
    switch (compression) {
    case COMPRESSION_LZ4:
        return TERN_COMPRESSION_LZ4;
    case COMPRESSION_ZSTD:
        return TERN_COMPRESSION_ZSTD;
    case COMPRESSION_SNAPPY:
        return TERN_COMPRESSION_SNAPPY;
    case COMPRESSION_NONE:
        break;
    }
    return TERN_COMPRESSION_NONE;
}

static tern_durability durability_code(enum durability durability) {
    switch (durability) {
    case DURABILITY_FULL:
        return TERN_DURABILITY_FULL;
    case DURABILITY_INTERVAL:
        return TERN_DURABILITY_INTERVAL;
    case DURABILITY_NONE:
        break;
    }
    return TERN_DURABILITY_NONE;
}

static enum bench_result driver_close(struct bench_store *bench_store, struct bench_error *error) {
    struct tern_store *store = own_store(bench_store);
    if (store == NULL)
        return BENCH_OK;
    tern_error detail = TERN_ERROR_INIT;
    tern_status status = tern_close(store->db, &detail);
    free(store);
    return status == TERN_OK ? BENCH_OK : fail(error, "close", status, &detail);
}

static tern_status open_keyspace(struct tern_store *store, tern_engine_kind engine, int index,
                                 tern_keyspace **out_keyspace, tern_error *detail) {
    static const char *const names[KEYSPACE_COUNT] = {"main", "second"};
    static const char *const engines[] = {"", "btree", "hash", "lsm"};
    char name[32];
    tern_keyspace_options options = TERN_KEYSPACE_OPTIONS_INIT;
    options.engine = engine;
    options.compression = compression_code(store->options.compression);
    if (engine == TERN_ENGINE_LSM)
        options.filter_bits =
            store->options.filter_bits > 0 ? store->options.filter_bits : TERN_FILTER_OFF;
    if (engine == TERN_ENGINE_HASH)
        options.expected_keys = store->options.record_count; /* as tkrzw is told, too */
    snprintf(name, sizeof(name), "%s-%s", names[index], engines[engine]);
    tern_status status = tern_keyspace_open(store->db, name, out_keyspace, detail);
    if (status == TERN_NOT_FOUND)
        status = tern_keyspace_create(store->db, name, &options, out_keyspace, detail);
    return status;
}

/* `engines`: those with an order first. */
static enum bench_result open_with(const tern_engine_kind *engines, unsigned engine_count,
                                   const struct driver_options *options, struct bench_error *error,
                                   struct bench_store **out_store) {
    struct tern_store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return bench_fail(error, "tern: out of memory");
    store->options = *options;
    store->engine_count = engine_count;
    tern_error detail = TERN_ERROR_INIT;
    tern_db_options db_options = TERN_DB_OPTIONS_INIT;
    db_options.create_if_missing = true;
    db_options.durability = durability_code(options->durability);
    db_options.sync_interval_ms = INTERVAL_MS;
    db_options.memory_bytes = options->memory_bytes;
    tern_status status = tern_open(options->directory, &db_options, &store->db, &detail);
    for (unsigned e = 0; e < engine_count; e++) {
        store->ordered_count += engines[e] != TERN_ENGINE_HASH;
        for (int i = 0; i < KEYSPACE_COUNT && status == TERN_OK; i++)
            status = open_keyspace(store, engines[e], i, &store->keyspaces[i][e], &detail);
    }
    if (status != TERN_OK) {
        fail(error, "open", status, &detail);
        driver_close((struct bench_store *)(void *)store, error);
        return BENCH_FAILED;
    }
    *out_store = (struct bench_store *)(void *)store;
    return BENCH_OK;
}

static enum bench_result btree_open(const struct driver_options *options, struct bench_error *error,
                                    struct bench_store **out_store) {
    static const tern_engine_kind engine = TERN_ENGINE_BTREE;
    return open_with(&engine, 1, options, error, out_store);
}

static enum bench_result hash_open(const struct driver_options *options, struct bench_error *error,
                                   struct bench_store **out_store) {
    static const tern_engine_kind engine = TERN_ENGINE_HASH;
    return open_with(&engine, 1, options, error, out_store);
}

static enum bench_result lsm_open(const struct driver_options *options, struct bench_error *error,
                                  struct bench_store **out_store) {
    static const tern_engine_kind engine = TERN_ENGINE_LSM;
    return open_with(&engine, 1, options, error, out_store);
}

static enum bench_result all_open(const struct driver_options *options, struct bench_error *error,
                                  struct bench_store **out_store) {
    static const tern_engine_kind engines[ENGINES_MAX] = {TERN_ENGINE_BTREE, TERN_ENGINE_LSM,
                                                          TERN_ENGINE_HASH};
    return open_with(engines, ENGINES_MAX, options, error, out_store);
}

static enum bench_result driver_session_open(struct bench_store *store, struct bench_error *error,
                                             struct bench_session **out_session) {
    struct tern_session *session = calloc(1, sizeof(*session));
    if (session == NULL)
        return bench_fail(error, "tern: out of memory");
    session->store = own_store(store);
    session->error = error;
    session->detail = (tern_error)TERN_ERROR_INIT;
    *out_session = (struct bench_session *)(void *)session;
    return BENCH_OK;
}

static void driver_session_close(struct bench_session *bench_session) {
    struct tern_session *session = own_session(bench_session);
    if (session == NULL)
        return;
    for (int i = 0; i < KEYSPACE_COUNT; i++) {
        for (unsigned e = 0; e < ENGINES_MAX; e++)
            tern_cursor_close(session->cursors[i][e]);
    }
    tern_txn_free(session->reader);
    free(session);
}

static tern_slice key_slice(const struct tern_session *session, const uint8_t *key) {
    return tern_slice_of(key, session->store->options.key_bytes);
}

static tern_slice value_slice(const struct tern_session *session, const uint8_t *value) {
    return tern_slice_of(value, session->store->options.value_bytes);
}

/* The engine that is read next, of the first `count`. */
static unsigned next_engine(struct tern_session *session, unsigned count) {
    return count == 1 ? 0 : session->turn++ % count;
}

static tern_keyspace *to_read(struct tern_session *session, enum keyspace keyspace) {
    const struct tern_store *store = session->store;
    return store->keyspaces[keyspace][next_engine(session, store->engine_count)];
}

static enum bench_result driver_get(struct bench_session *bench_session, enum keyspace keyspace,
                                    const uint8_t *key, uint8_t *out_value) {
    struct tern_session *session = own_session(bench_session);
    size_t capacity = session->store->options.value_bytes;
    size_t size = 0;
    tern_status status = tern_get(to_read(session, keyspace), key_slice(session, key), out_value,
                                  capacity, &size, &session->detail);
    if (status == TERN_NOT_FOUND)
        return BENCH_NOT_FOUND;
    if (status != TERN_OK)
        return fail(session->error, "get", status, &session->detail);
    if (size != capacity)
        return bench_fail(session->error, "tern: get: a value of %zu bytes", size);
    return BENCH_OK;
}

static enum bench_result driver_multi_get(struct bench_session *bench_session,
                                          struct multi_get *request) {
    struct tern_session *session = own_session(bench_session);
    const struct driver_options *options = &session->store->options;
    for (size_t i = 0; i < request->count; i++) {
        session->requests[i] = (tern_get_request){
            .key = key_slice(session, request->keys + i * options->key_bytes),
            .buffer = request->values + i * options->value_bytes,
            .capacity = options->value_bytes,
        };
    }
    tern_status status = tern_multi_get(to_read(session, KEYSPACE_MAIN), session->requests,
                                        request->count, &session->detail);
    if (status != TERN_OK)
        return fail(session->error, "multi-get", status, &session->detail);
    for (size_t i = 0; i < request->count; i++) {
        const tern_get_request *answer = &session->requests[i];
        if (answer->status != TERN_OK && answer->status != TERN_NOT_FOUND)
            return fail(session->error, "multi-get", answer->status, &session->detail);
        request->found[i] = answer->status == TERN_OK && answer->value_size == options->value_bytes;
    }
    return BENCH_OK;
}

/* Lost against another commit, possibly by a false positive: nothing was done, so do it again. */
static bool is_conflict(tern_status status) {
    return status == TERN_CONFLICT || status == TERN_LOCKED;
}

/* A write of some records: into the keyspaces of all engines, or of none. `values` NULL: deletes.
 */
static tern_status write_all(struct tern_session *session, tern_txn *txn, enum keyspace keyspace,
                             const uint8_t *keys, const uint8_t *values, size_t count) {
    const struct driver_options *options = &session->store->options;
    tern_status status = TERN_OK;
    for (unsigned e = 0; e < session->store->engine_count; e++) {
        tern_keyspace *target = session->store->keyspaces[keyspace][e];
        for (size_t i = 0; i < count && status == TERN_OK; i++) {
            tern_slice key = key_slice(session, keys + i * options->key_bytes);
            status =
                values == NULL
                    ? tern_txn_delete(txn, target, key)
                    : tern_txn_put(txn, target, key,
                                   value_slice(session, values + i * options->value_bytes), NULL);
        }
    }
    return status;
}

static enum bench_result transaction_once(struct tern_session *session, enum keyspace keyspace,
                                          const uint8_t *keys, const uint8_t *values,
                                          size_t count) {
    tern_txn *txn = NULL;
    tern_status status = tern_txn_begin(session->store->db, NULL, &txn, &session->detail);
    if (status != TERN_OK)
        return fail(session->error, "begin", status, &session->detail);
    status = write_all(session, txn, keyspace, keys, values, count);
    if (status == TERN_OK)
        status = tern_txn_commit(txn);
    enum bench_result result = BENCH_OK;
    if (is_conflict(status))
        result = BENCH_CONFLICT;
    else if (status != TERN_OK)
        result = fail(session->error, "transaction", status, tern_txn_error(txn));
    tern_txn_free(txn);
    return result;
}

static enum bench_result write_in_transaction(struct tern_session *session, enum keyspace keyspace,
                                              const uint8_t *keys, const uint8_t *values,
                                              size_t count) {
    enum bench_result result = BENCH_CONFLICT;
    while (result == BENCH_CONFLICT)
        result = transaction_once(session, keyspace, keys, values, count);
    return result;
}

static enum bench_result driver_put(struct bench_session *bench_session, enum keyspace keyspace,
                                    const uint8_t *key, const uint8_t *value) {
    struct tern_session *session = own_session(bench_session);
    if (session->store->engine_count > 1)
        return write_in_transaction(session, keyspace, key, value, 1);
    tern_status status = TERN_CONFLICT;
    while (is_conflict(status))
        status = tern_put(session->store->keyspaces[keyspace][0], key_slice(session, key),
                          value_slice(session, value), NULL, &session->detail);
    return status == TERN_OK ? BENCH_OK : fail(session->error, "put", status, &session->detail);
}

static enum bench_result driver_put_batch(struct bench_session *bench_session,
                                          enum keyspace keyspace, const uint8_t *keys,
                                          const uint8_t *values, size_t count) {
    return write_in_transaction(own_session(bench_session), keyspace, keys, values, count);
}

/* A deletion does not say whether there was something: the check after the run does. */
static enum bench_result driver_remove(struct bench_session *bench_session, enum keyspace keyspace,
                                       const uint8_t *key) {
    struct tern_session *session = own_session(bench_session);
    if (session->store->engine_count > 1)
        return write_in_transaction(session, keyspace, key, NULL, 1);
    tern_status status = TERN_CONFLICT;
    while (is_conflict(status))
        status = tern_delete(session->store->keyspaces[keyspace][0], key_slice(session, key), NULL,
                             &session->detail);
    return status == TERN_OK ? BENCH_OK : fail(session->error, "delete", status, &session->detail);
}

/* From `start` on, or (NULL) from the first entry. */
static tern_status scan_with(struct tern_session *session, tern_cursor *cursor,
                             const uint8_t *start, uint64_t limit, struct scan_sink *sink) {
    tern_entry *entries = session->entries;
    uint64_t taken = 0;
    while (taken < limit) {
        uint64_t left = limit - taken;
        size_t capacity = left < SCAN_BATCH ? (size_t)left : SCAN_BATCH;
        size_t count = 0;
        tern_status status = taken == 0 && start != NULL
                                 ? tern_cursor_seek_batch(cursor, key_slice(session, start),
                                                          entries, capacity, &count)
                                 : tern_cursor_next_batch(cursor, entries, capacity, &count);
        if (status == TERN_NOT_FOUND)
            break;
        if (status != TERN_OK)
            return status;
        for (size_t i = 0; i < count; i++)
            scan_take(sink, entries[i].key.data, entries[i].key.size, entries[i].value.data,
                      entries[i].value.size);
        taken += count;
    }
    return TERN_OK;
}

/* The session's reader, at a snapshot of now. */
static enum bench_result renew_reader(struct tern_session *session) {
    if (session->reader != NULL) {
        tern_status status = tern_txn_renew(session->reader);
        return status == TERN_OK
                   ? BENCH_OK
                   : fail(session->error, "renew", status, tern_txn_error(session->reader));
    }
    tern_txn_options options = TERN_TXN_OPTIONS_INIT;
    options.read_only = true;
    tern_status status =
        tern_txn_begin(session->store->db, &options, &session->reader, &session->detail);
    return status == TERN_OK ? BENCH_OK : fail(session->error, "begin", status, &session->detail);
}

static enum bench_result driver_scan(struct bench_session *bench_session, enum keyspace keyspace,
                                     const uint8_t *start, uint64_t limit, struct scan_sink *sink) {
    struct tern_session *session = own_session(bench_session);
    if (renew_reader(session) != BENCH_OK)
        return BENCH_FAILED;
    const struct tern_store *store = session->store;
    unsigned engine =
        next_engine(session, store->ordered_count > 0 ? store->ordered_count : store->engine_count);
    tern_cursor **cursor = &session->cursors[keyspace][engine];
    tern_status status = TERN_OK;
    if (*cursor == NULL)
        status =
            tern_cursor_open(session->reader, store->keyspaces[keyspace][engine], NULL, cursor);
    if (status != TERN_OK)
        return fail(session->error, "open a cursor", status, tern_txn_error(session->reader));
    status = scan_with(session, *cursor, start, limit, sink);
    return status == TERN_OK ? BENCH_OK
                             : fail(session->error, "scan", status, tern_cursor_error(*cursor));
}

static tern_status transact_step(struct tern_session *session, tern_txn *txn,
                                 enum keyspace keyspace, const uint8_t *key, bool will_write,
                                 struct transaction_work *work) {
    tern_value value = TERN_VALUE_INIT;
    tern_status status =
        tern_txn_get_pinned(txn, to_read(session, keyspace), key_slice(session, key), &value);
    if (status != TERN_OK)
        return status;
    if (will_write)
        transaction_modify(work, key, value.bytes.data, value.bytes.size);
    else
        transaction_saw(work, key, value.bytes.data, value.bytes.size);
    tern_value_release(&value);
    if (!will_write)
        return TERN_OK;
    return write_all(session, txn, keyspace, key, work->new_value, 1);
}

static enum bench_result driver_transact(struct bench_session *bench_session,
                                         struct transaction_work *work) {
    struct tern_session *session = own_session(bench_session);
    tern_txn *txn = NULL;
    tern_status status = tern_txn_begin(session->store->db, NULL, &txn, &session->detail);
    if (status != TERN_OK)
        return fail(session->error, "begin", status, &session->detail);
    for (int i = 0; i < KEYSPACE_COUNT && status == TERN_OK; i++)
        status = transact_step(session, txn, (enum keyspace)i, work->read_keys[i], false, work);
    for (int i = 0; i < KEYSPACE_COUNT && status == TERN_OK; i++)
        status = transact_step(session, txn, (enum keyspace)i, work->update_keys[i], true, work);
    if (status == TERN_OK)
        status = tern_txn_commit(txn);
    enum bench_result result = BENCH_OK;
    if (is_conflict(status))
        result = BENCH_CONFLICT;
    else if (status != TERN_OK)
        result = fail(session->error, "transaction", status, tern_txn_error(txn));
    tern_txn_free(txn);
    return result;
}

static enum bench_result driver_sync_log(struct bench_store *store, struct bench_error *error) {
    tern_error detail = TERN_ERROR_INIT;
    tern_status status = tern_sync(own_store(store)->db, &detail);
    return status == TERN_OK ? BENCH_OK : fail(error, "sync", status, &detail);
}

static enum bench_result driver_checkpoint(struct bench_store *store, struct bench_error *error) {
    tern_error detail = TERN_ERROR_INIT;
    tern_status status = tern_checkpoint(own_store(store)->db, &detail);
    return status == TERN_OK ? BENCH_OK : fail(error, "checkpoint", status, &detail);
}

struct wanted_number {
    const char *name;
    uint64_t sum;
};

struct wanted_numbers {
    struct wanted_number *numbers;
    size_t count;
};

static bool take_number(void *context, const tern_stat *stat) {
    struct wanted_numbers *wanted = context;
    for (size_t i = 0; i < wanted->count; i++) {
        if (strcmp(wanted->numbers[i].name, stat->name) == 0)
            wanted->numbers[i].sum += stat->value;
    }
    return true;
}

/* Of the database, and of its keyspaces together. */
static enum bench_result read_numbers(struct tern_store *store, struct bench_error *error,
                                      struct wanted_number *numbers, size_t count) {
    struct wanted_numbers wanted = {numbers, count};
    tern_error detail = TERN_ERROR_INIT;
    tern_status status = tern_stats(store->db, take_number, &wanted, &detail);
    for (unsigned i = 0; i < KEYSPACE_COUNT * store->engine_count && status == TERN_OK; i++)
        status = tern_keyspace_stats(store->keyspaces[i % KEYSPACE_COUNT][i / KEYSPACE_COUNT],
                                     take_number, &wanted, &detail);
    return status == TERN_OK ? BENCH_OK : fail(error, "statistics", status, &detail);
}

static enum bench_result driver_counters(struct bench_store *store, struct bench_error *error,
                                         struct engine_counters *out_counters) {
    struct wanted_number numbers[] = {
        {"reads", 0},           {"read_bytes", 0},         {"written_bytes", 0},
        {"compactions", 0},     {"throttle_waits", 0},     {"throttle_ns", 0},
        {"throttle_max_ns", 0}, {"memory_index_bytes", 0}, {"memory_cache_bytes", 0},
    };
    if (read_numbers(own_store(store), error, numbers, sizeof(numbers) / sizeof(numbers[0])) !=
        BENCH_OK)
        return BENCH_FAILED;
    *out_counters = (struct engine_counters){
        .reads = numbers[0].sum,
        .read_bytes = numbers[1].sum,
        .written_bytes = numbers[2].sum,
        .compactions = numbers[3].sum,
        .pauses = numbers[4].sum,
        .pause_ns = numbers[5].sum,
        .pause_max_ns = numbers[6].sum,
        .index_memory_bytes = numbers[7].sum,
        .cache_memory_bytes = numbers[8].sum,
    };
    return BENCH_OK;
}

/*
 * It does not tell when it has ended: it counts as idle when it has written nothing for a while, or
 * ever since it was opened.
 */
static enum bench_result driver_wait_idle(struct bench_store *store, struct bench_error *error) {
    uint64_t before = 0;
    int quiet = 0;
    for (int tries = 0; quiet < IDLE_LOOKS; tries++) {
        if (tries == IDLE_TRIES)
            return bench_fail(error, "tern: still at work in the background after five minutes");
        struct wanted_number numbers[] = {{"written_bytes", 0},
                                          {"table_moves", 0},
                                          {"shrunk_bytes", 0},
                                          {"manifests_written", 0}};
        if (read_numbers(own_store(store), error, numbers, 4) != BENCH_OK)
            return BENCH_FAILED;
        uint64_t done = numbers[0].sum + numbers[1].sum + numbers[2].sum;
        uint64_t now = done + numbers[3].sum;
        if (done == 0)
            break;
        quiet = now == before ? quiet + 1 : 0;
        before = now;
        if (quiet < IDLE_LOOKS)
            usleep(IDLE_LOOK_US);
    }
    return BENCH_OK;
}

#define TERN_DRIVER(symbol, name_text, order, open_function)                                       \
    const struct driver symbol = {                                                                 \
        .name = name_text,                                                                         \
        .abilities = (order) | DRIVER_TRANSACTIONS | DRIVER_NATIVE_INTERVAL,                       \
        .version = driver_version,                                                                 \
        .compression = driver_compression,                                                         \
        .open = open_function,                                                                     \
        .close = driver_close,                                                                     \
        .session_open = driver_session_open,                                                       \
        .session_close = driver_session_close,                                                     \
        .get = driver_get,                                                                         \
        .multi_get = driver_multi_get,                                                             \
        .put = driver_put,                                                                         \
        .put_batch = driver_put_batch,                                                             \
        .remove = driver_remove,                                                                   \
        .scan = driver_scan,                                                                       \
        .transact = driver_transact,                                                               \
        .sync_log = driver_sync_log,                                                               \
        .checkpoint = driver_checkpoint,                                                           \
        .wait_idle = driver_wait_idle,                                                             \
        .counters = driver_counters,                                                               \
    }

TERN_DRIVER(driver_tern_btree, "tern-btree", DRIVER_ORDERED, btree_open);
TERN_DRIVER(driver_tern_hash, "tern-hash", 0, hash_open);
TERN_DRIVER(driver_tern_lsm, "tern-lsm", DRIVER_ORDERED, lsm_open);
TERN_DRIVER(driver_tern_all, "tern-all", DRIVER_ORDERED, all_open);
