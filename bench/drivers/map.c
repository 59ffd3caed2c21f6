/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash map in the memory of the process: no store, but the bound for stores that find a record by
 * a hash of its key. It keeps nothing, so each phase loads it anew, and it has no order.
 *
 *   table:  | record | record | record | ...     a power of two, about 1.5 to 3 times the records
 *               |next
 *            record -> record                    where several keys fall on one place
 *
 *   record: | next | is_locked | is_used | key | value |    on lines of its own
 *
 * The first record of a chain lies in the table itself, so most lookups touch it and nothing else.
 * With several threads a chain is read and changed under its own lock, which lies on a line that a
 * lookup needs anyway. A removed record stays in its chain, for the next that comes there.
 */
#include "drivers.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define LINE_BYTES      64U
#define PREFETCH_BYTES  256U
#define MULTI_GET_LIMIT 1024U

struct map_record {
    struct map_record *next;
    atomic_bool is_locked; /* the whole chain; of its first record only */
    bool is_used;
    uint8_t bytes[]; /* key, value */
};

struct map_table {
    uint8_t *records; /* zeros are an empty table */
    uint64_t mask;
    size_t size_bytes;
};

struct map_store {
    struct driver_options options;
    size_t record_bytes;
    bool is_shared; /* by several threads */
    pthread_mutex_t transaction_lock;
    struct map_table tables[KEYSPACE_COUNT];
};

struct map_session {
    struct map_store *store;
    struct bench_error *error;
    uint8_t *value; /* of a record that a transaction reads */
    struct map_record *heads[MULTI_GET_LIMIT];
};

static struct map_store *own_store(struct bench_store *store) {
    return (struct map_store *)(void *)store;
}

static struct map_session *own_session(struct bench_session *session) {
    return (struct map_session *)(void *)session;
}

static void map_version(char *out_text, size_t size) {
    snprintf(out_text, size, "in process");
}

static enum compression no_compression(enum compression wanted) {
    (void)wanted;
    return COMPRESSION_NONE;
}

static uint64_t hash_key(const uint8_t *key, size_t size) {
    uint64_t hash = size;
    uint64_t word = 0;
    size_t at = 0;
    for (; at + sizeof(word) <= size; at += sizeof(word)) {
        memcpy(&word, key + at, sizeof(word));
        hash = mix64(hash ^ word);
    }
    if (at < size) {
        word = 0;
        memcpy(&word, key + at, size - at);
        hash = mix64(hash ^ word);
    }
    return hash;
}

static struct map_record *record_at(const struct map_store *store, const struct map_table *table,
                                    uint64_t place) {
    return (struct map_record *)(void *)(table->records + place * store->record_bytes);
}

static struct map_record *head_of(const struct map_store *store, enum keyspace keyspace,
                                  const uint8_t *key) {
    const struct map_table *table = &store->tables[keyspace];
    return record_at(store, table, hash_key(key, store->options.key_bytes) & table->mask);
}

static void lock_chain(const struct map_store *store, struct map_record *head) {
    if (!store->is_shared)
        return;
    while (atomic_exchange_explicit(&head->is_locked, true, memory_order_acquire))
        sched_yield();
}

static void unlock_chain(const struct map_store *store, struct map_record *head) {
    if (store->is_shared)
        atomic_store_explicit(&head->is_locked, false, memory_order_release);
}

static struct map_record *find(const struct map_store *store, struct map_record *head,
                               const uint8_t *key) {
    struct map_record *record = head;
    while (record != NULL &&
           (!record->is_used || memcmp(record->bytes, key, store->options.key_bytes) != 0))
        record = record->next;
    return record;
}

/* A record of the chain that is free, a new one if need be; NULL: out of memory. */
static struct map_record *find_room(const struct map_store *store, struct map_record *head) {
    struct map_record *record = head;
    while (record != NULL && record->is_used)
        record = record->next;
    if (record != NULL)
        return record;
    record = aligned_alloc(LINE_BYTES, store->record_bytes);
    if (record == NULL)
        return NULL;
    memset(record, 0, sizeof(*record));
    record->next = head->next;
    head->next = record;
    return record;
}

static bool make_table(struct map_store *store, uint64_t record_count,
                       struct map_table *out_table) {
    uint64_t places = 16;
    while (places < record_count + record_count / 2)
        places *= 2;
    size_t size_bytes = places * store->record_bytes;
    void *records = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (records == MAP_FAILED)
        return false;
    madvise(records, size_bytes, MADV_HUGEPAGE);
    *out_table = (struct map_table){records, places - 1, size_bytes};
    return true;
}

static void release_table(const struct map_store *store, struct map_table *table) {
    for (uint64_t place = 0; table->records != NULL && place <= table->mask; place++) {
        struct map_record *record = record_at(store, table, place)->next;
        while (record != NULL) {
            struct map_record *next = record->next;
            free(record);
            record = next;
        }
    }
    if (table->records != NULL)
        munmap(table->records, table->size_bytes);
}

static enum bench_result close_store(struct bench_store *bench_store, struct bench_error *error) {
    struct map_store *store = own_store(bench_store);
    (void)error;
    if (store == NULL)
        return BENCH_OK;
    for (int i = 0; i < KEYSPACE_COUNT; i++)
        release_table(store, &store->tables[i]);
    pthread_mutex_destroy(&store->transaction_lock);
    free(store);
    return BENCH_OK;
}

static enum bench_result open_store(const struct driver_options *options, struct bench_error *error,
                                    struct bench_store **out_store) {
    struct map_store *store = calloc(1, sizeof(*store));
    if (store == NULL)
        return bench_fail(error, "map: out of memory");
    size_t bytes = offsetof(struct map_record, bytes) + options->key_bytes + options->value_bytes;
    store->options = *options;
    store->record_bytes = (bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    store->is_shared = options->threads > 1;
    pthread_mutex_init(&store->transaction_lock, NULL);
    if (!make_table(store, options->record_count, &store->tables[KEYSPACE_MAIN]) ||
        !make_table(store, options->record_count / 8, &store->tables[KEYSPACE_SECOND])) {
        close_store((struct bench_store *)(void *)store, error);
        return bench_fail(error, "map: out of memory");
    }
    *out_store = (struct bench_store *)(void *)store;
    return BENCH_OK;
}

static enum bench_result open_session(struct bench_store *store, struct bench_error *error,
                                      struct bench_session **out_session) {
    struct map_session *session = calloc(1, sizeof(*session));
    uint8_t *value = malloc(own_store(store)->options.value_bytes);
    if (session == NULL || value == NULL) {
        free(session);
        free(value);
        return bench_fail(error, "map: out of memory");
    }
    session->store = own_store(store);
    session->error = error;
    session->value = value;
    *out_session = (struct bench_session *)(void *)session;
    return BENCH_OK;
}

static void close_session(struct bench_session *bench_session) {
    struct map_session *session = own_session(bench_session);
    free(session->value);
    free(session);
}

static bool copy_value(const struct map_store *store, struct map_record *head, const uint8_t *key,
                       uint8_t *out_value) {
    lock_chain(store, head);
    const struct map_record *record = find(store, head, key);
    if (record != NULL)
        memcpy(out_value, record->bytes + store->options.key_bytes, store->options.value_bytes);
    unlock_chain(store, head);
    return record != NULL;
}

static enum bench_result get_record(struct bench_session *session, enum keyspace keyspace,
                                    const uint8_t *key, uint8_t *out_value) {
    const struct map_store *store = own_session(session)->store;
    return copy_value(store, head_of(store, keyspace, key), key, out_value) ? BENCH_OK
                                                                            : BENCH_NOT_FOUND;
}

/* Asks for the lines of all of them before it looks at the first. */
static enum bench_result get_many(struct bench_session *bench_session, struct multi_get *request) {
    struct map_session *session = own_session(bench_session);
    const struct map_store *store = session->store;
    size_t ahead = store->record_bytes < PREFETCH_BYTES ? store->record_bytes : PREFETCH_BYTES;
    for (size_t i = 0; i < request->count; i++) {
        const uint8_t *key = request->keys + i * store->options.key_bytes;
        session->heads[i] = head_of(store, KEYSPACE_MAIN, key);
        for (size_t at = 0; at < ahead; at += LINE_BYTES)
            __builtin_prefetch((const uint8_t *)session->heads[i] + at);
    }
    for (size_t i = 0; i < request->count; i++)
        request->found[i] =
            copy_value(store, session->heads[i], request->keys + i * store->options.key_bytes,
                       request->values + i * store->options.value_bytes);
    return BENCH_OK;
}

static enum bench_result put_record(struct bench_session *bench_session, enum keyspace keyspace,
                                    const uint8_t *key, const uint8_t *value) {
    struct map_session *session = own_session(bench_session);
    const struct map_store *store = session->store;
    struct map_record *head = head_of(store, keyspace, key);
    lock_chain(store, head);
    struct map_record *record = find(store, head, key);
    if (record == NULL) {
        record = find_room(store, head);
        if (record != NULL)
            memcpy(record->bytes, key, store->options.key_bytes);
    }
    if (record != NULL) {
        memcpy(record->bytes + store->options.key_bytes, value, store->options.value_bytes);
        record->is_used = true;
    }
    unlock_chain(store, head);
    return record != NULL ? BENCH_OK : bench_fail(session->error, "map: put: out of memory");
}

/* One after another: nothing can come between that would have to undo it. */
static enum bench_result put_batch(struct bench_session *session, enum keyspace keyspace,
                                   const uint8_t *keys, const uint8_t *values, size_t count) {
    const struct driver_options *options = &own_session(session)->store->options;
    for (size_t i = 0; i < count; i++) {
        if (put_record(session, keyspace, keys + i * options->key_bytes,
                       values + i * options->value_bytes) != BENCH_OK)
            return BENCH_FAILED;
    }
    return BENCH_OK;
}

static enum bench_result remove_record(struct bench_session *session, enum keyspace keyspace,
                                       const uint8_t *key) {
    const struct map_store *store = own_session(session)->store;
    struct map_record *head = head_of(store, keyspace, key);
    lock_chain(store, head);
    struct map_record *record = find(store, head, key);
    if (record != NULL)
        record->is_used = false;
    unlock_chain(store, head);
    return record != NULL ? BENCH_OK : BENCH_NOT_FOUND;
}

/* Without an order, from a key on means from where that key lies. */
static enum bench_result scan_records(struct bench_session *session, enum keyspace keyspace,
                                      const uint8_t *start, uint64_t limit,
                                      struct scan_sink *sink) {
    const struct map_store *store = own_session(session)->store;
    const struct map_table *table = &store->tables[keyspace];
    size_t key_bytes = store->options.key_bytes;
    uint64_t place = start == NULL ? 0 : hash_key(start, key_bytes) & table->mask;
    uint64_t taken = 0;
    for (; place <= table->mask && taken < limit; place++) {
        struct map_record *head = record_at(store, table, place);
        lock_chain(store, head);
        for (struct map_record *record = head; record != NULL && taken < limit;
             record = record->next) {
            if (!record->is_used)
                continue;
            scan_take(sink, record->bytes, key_bytes, record->bytes + key_bytes,
                      store->options.value_bytes);
            taken++;
        }
        unlock_chain(store, head);
    }
    return BENCH_OK;
}

/* One transaction at a time. */
static enum bench_result transact(struct bench_session *session, struct transaction_work *work) {
    static const struct single_operations operations = {get_record, put_record};
    const struct map_session *own = own_session(session);
    pthread_mutex_lock(&own->store->transaction_lock);
    enum bench_result result = transaction_of_singles(&operations, session, work, own->value);
    pthread_mutex_unlock(&own->store->transaction_lock);
    return result;
}

const struct driver driver_map = {
    .name = "map",
    .abilities = DRIVER_NO_PERSISTENCE,
    .version = map_version,
    .compression = no_compression,
    .open = open_store,
    .close = close_store,
    .session_open = open_session,
    .session_close = close_session,
    .get = get_record,
    .multi_get = get_many,
    .put = put_record,
    .put_batch = put_batch,
    .remove = remove_record,
    .scan = scan_records,
    .transact = transact,
    .sync_log = NULL,
    .checkpoint = NULL,
    .wait_idle = NULL,
    .counters = NULL,
};
