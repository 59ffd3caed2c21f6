/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store must be able to do to be compared. One file in drivers/ fills one struct driver;
 * drivers/registry.c lists them. All keys of a run have the same size and all values too, so a
 * key is a pointer and an array of keys is contiguous.
 *
 * Results: BENCH_OK, BENCH_NOT_FOUND and BENCH_CONFLICT are answers; BENCH_FAILED comes with a
 * text in the error that was given to open or session_open.
 *
 * Threads: a store is shared, a session belongs to the thread that opened it.
 */
#ifndef BENCH_DRIVER_H
#define BENCH_DRIVER_H

#include "records.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum bench_result {
    BENCH_OK = 0,
    BENCH_NOT_FOUND = 1,
    BENCH_CONFLICT = 2,
    BENCH_FAILED = -1,
};

enum durability {
    DURABILITY_NONE,     /* survives the process, not the machine */
    DURABILITY_INTERVAL, /* and loses at most INTERVAL_MS with the machine */
    DURABILITY_FULL,     /* acknowledged means on stable storage */
};

#define INTERVAL_MS 100U

enum compression { COMPRESSION_NONE, COMPRESSION_LZ4, COMPRESSION_ZSTD, COMPRESSION_SNAPPY };

enum keyspace { KEYSPACE_MAIN, KEYSPACE_SECOND, KEYSPACE_COUNT };

struct bench_error {
    char text[512];
};

/* Writes the text if there is none yet, and returns BENCH_FAILED. */
enum bench_result bench_fail(struct bench_error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

struct driver_options {
    const char *directory; /* exists; the driver's alone */
    uint64_t memory_bytes;
    enum durability durability;
    enum compression compression;
    unsigned filter_bits;
    unsigned threads;
    uint64_t record_count;
    size_t key_bytes;
    size_t value_bytes;
    bool ascending_load; /* one thread will put keys in ascending order into an empty store */
    bool transactional;  /* transact() will be called: needed so that others can open lighter */
};

/* Where a scan puts what it finds. */
struct scan_sink {
    uint64_t entries;
    uint64_t bytes;
    uint64_t checksum;
    /* Only when `records` is set is every entry checked against its key, and the order too. */
    const struct record_space *records;
    bool ordered;
    uint64_t wrong;
    uint64_t version_sum;
    uint64_t last_position;
};

void scan_verify(struct scan_sink *sink, const void *key, size_t key_bytes, const void *value,
                 size_t value_bytes);

/* Touches key and value, as a program that scans would: for drivers, once for each entry. */
static inline void scan_take(struct scan_sink *sink, const void *key, size_t key_bytes,
                             const void *value, size_t value_bytes) {
    uint64_t key_word = 0;
    uint64_t value_word = 0;
    memcpy(&key_word, key, sizeof(key_word));
    memcpy(&value_word, value, sizeof(value_word));
    sink->entries++;
    sink->bytes += key_bytes + value_bytes;
    sink->checksum += key_word ^ value_word;
    if (__builtin_expect(sink->records != NULL, 0))
        scan_verify(sink, key, key_bytes, value, value_bytes);
}

struct multi_get {
    size_t count;
    const uint8_t *keys;                /* count * key_bytes */
    const uint8_t *const *key_pointers; /* the same keys, for those who want pointers */
    uint8_t *values;                    /* count * value_bytes, filled where found */
    bool *found;                        /* count */
};

/* txn_mixed: read one key of each keyspace, read and rewrite another one of each. */
struct transaction_work {
    const struct record_space *records;
    const uint8_t *read_keys[KEYSPACE_COUNT];
    const uint8_t *update_keys[KEYSPACE_COUNT];
    uint8_t *new_value;
    uint64_t wrong;
};

/* For drivers: checks a value that was read inside the transaction. */
void transaction_saw(struct transaction_work *work, const uint8_t *key, const void *value,
                     size_t value_bytes);
/* For drivers: checks the old value and leaves its successor in work->new_value. */
void transaction_modify(struct transaction_work *work, const uint8_t *key, const void *value,
                        size_t value_bytes);

struct bench_session;

/*
 * For drivers of stores without transactions, which let one at a time in: single operations.
 * `value`: room for one, overwritten.
 */
struct single_operations {
    enum bench_result (*get)(struct bench_session *session, enum keyspace keyspace,
                             const uint8_t *key, uint8_t *out_value);
    enum bench_result (*put)(struct bench_session *session, enum keyspace keyspace,
                             const uint8_t *key, const uint8_t *value);
};
enum bench_result transaction_of_singles(const struct single_operations *operations,
                                         struct bench_session *session,
                                         struct transaction_work *work, uint8_t *value);

/* What a store itself counts, since it was opened unless said otherwise. */
struct engine_counters {
    uint64_t reads; /* of its data files, wherever the kernel took it from */
    uint64_t read_bytes;
    uint64_t written_bytes; /* to its data files: the log is not in it */
    uint64_t compactions;
    uint64_t pauses; /* times that a writer had to wait for background work, or to help with it */
    uint64_t pause_ns;
    uint64_t pause_max_ns;
    uint64_t index_memory_bytes; /* now */
    uint64_t cache_memory_bytes; /* now */
};

struct bench_store; /* each driver casts this and struct bench_session to its own */

enum driver_ability {
    DRIVER_ORDERED = 1,         /* scan() goes by key order */
    DRIVER_TRANSACTIONS = 2,    /* transact() is isolated as snapshot isolation or better */
    DRIVER_NATIVE_INTERVAL = 4, /* DURABILITY_INTERVAL needs no outside help */
    DRIVER_NO_PERSISTENCE = 8,  /* a bound, not a store: loses all with its process */
};

struct driver {
    const char *name;
    unsigned abilities;
    void (*version)(char *out_text, size_t size);
    /* The algorithm really used where `wanted` is not offered. */
    enum compression (*compression)(enum compression wanted);

    enum bench_result (*open)(const struct driver_options *options, struct bench_error *error,
                              struct bench_store **out_store);
    enum bench_result (*close)(struct bench_store *store, struct bench_error *error);
    enum bench_result (*session_open)(struct bench_store *store, struct bench_error *error,
                                      struct bench_session **out_session);
    void (*session_close)(struct bench_session *session);

    /* Copies into out_value, which has value_bytes; another size of value is a failure. */
    enum bench_result (*get)(struct bench_session *session, enum keyspace keyspace,
                             const uint8_t *key, uint8_t *out_value);
    enum bench_result (*multi_get)(struct bench_session *session, struct multi_get *request);
    enum bench_result (*put)(struct bench_session *session, enum keyspace keyspace,
                             const uint8_t *key, const uint8_t *value);
    /* All or nothing. */
    enum bench_result (*put_batch)(struct bench_session *session, enum keyspace keyspace,
                                   const uint8_t *keys, const uint8_t *values, size_t count);
    enum bench_result (*remove)(struct bench_session *session, enum keyspace keyspace,
                                const uint8_t *key);
    /* From `start` (NULL: the first key) on, at most `limit` entries. */
    enum bench_result (*scan)(struct bench_session *session, enum keyspace keyspace,
                              const uint8_t *start, uint64_t limit, struct scan_sink *sink);
    enum bench_result (*transact)(struct bench_session *session, struct transaction_work *work);

    /* Makes what is logged stable; for DURABILITY_INTERVAL, from a thread of its own. */
    enum bench_result (*sync_log)(struct bench_store *store, struct bench_error *error);
    /* Brings everything into its lasting place (flush, checkpoint) and makes it stable. */
    enum bench_result (*checkpoint)(struct bench_store *store, struct bench_error *error);
    /* Returns when background work (compaction) has ended; NULL where there is none. */
    enum bench_result (*wait_idle)(struct bench_store *store, struct bench_error *error);
    /* NULL where the store tells nothing of the kind. */
    enum bench_result (*counters)(struct bench_store *store, struct bench_error *error,
                                  struct engine_counters *out_counters);
};

static inline bool keeps_nothing(const struct driver *driver) {
    return (driver->abilities & DRIVER_NO_PERSISTENCE) != 0;
}

/* Every driver this build knows, in the order of the list; `driver` is NULL if not built in. */
struct driver_entry {
    const char *name;
    const struct driver *driver;
    const char *remedy; /* what to install to have it built in */
};

const struct driver_entry *driver_entries(size_t *out_count);
const struct driver_entry *driver_find(const char *name);

const char *durability_name(enum durability durability);
const char *compression_name(enum compression compression);

#endif
