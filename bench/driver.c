/* SPDX-License-Identifier: Apache-2.0 */
#include "driver.h"

#include <stdio.h>

enum bench_result bench_fail(struct bench_error *error, const char *format, ...) {
    if (error->text[0] != '\0')
        return BENCH_FAILED;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    return BENCH_FAILED;
}

void scan_verify(struct scan_sink *sink, const void *key, size_t key_bytes, const void *value,
                 size_t value_bytes) {
    const struct record_space *records = sink->records;
    if (key_bytes != records->key_bytes) {
        sink->wrong++;
        return;
    }
    uint64_t position = record_key_position(records, key);
    bool in_order = !sink->ordered || sink->entries <= 1 || position > sink->last_position;
    if (!in_order || !record_value_is_right(records, position, value, value_bytes))
        sink->wrong++;
    sink->last_position = position;
    sink->version_sum += record_value_version(records, position, value);
}

void transaction_saw(struct transaction_work *work, const uint8_t *key, const void *value,
                     size_t value_bytes) {
    uint64_t position = record_key_position(work->records, key);
    if (value_bytes != work->records->value_bytes ||
        record_value_version(work->records, position, value) >= VERSION_LIMIT)
        work->wrong++;
}

void transaction_modify(struct transaction_work *work, const uint8_t *key, const void *value,
                        size_t value_bytes) {
    uint64_t position = record_key_position(work->records, key);
    uint64_t version = VERSION_LIMIT;
    if (value_bytes == work->records->value_bytes)
        version = record_value_version(work->records, position, value);
    if (version >= VERSION_LIMIT)
        work->wrong++;
    record_value_write(work->records, position, version + 1, work->new_value);
}

static enum bench_result read_one(const struct single_operations *operations,
                                  struct bench_session *session, enum keyspace keyspace,
                                  struct transaction_work *work, uint8_t *value) {
    const uint8_t *key = work->read_keys[keyspace];
    enum bench_result result = operations->get(session, keyspace, key, value);
    if (result == BENCH_OK)
        transaction_saw(work, key, value, work->records->value_bytes);
    return result;
}

static enum bench_result update_one(const struct single_operations *operations,
                                    struct bench_session *session, enum keyspace keyspace,
                                    struct transaction_work *work, uint8_t *value) {
    const uint8_t *key = work->update_keys[keyspace];
    enum bench_result result = operations->get(session, keyspace, key, value);
    if (result != BENCH_OK)
        return result;
    transaction_modify(work, key, value, work->records->value_bytes);
    return operations->put(session, keyspace, key, work->new_value);
}

enum bench_result transaction_of_singles(const struct single_operations *operations,
                                         struct bench_session *session,
                                         struct transaction_work *work, uint8_t *value) {
    enum bench_result result = BENCH_OK;
    for (int i = 0; i < KEYSPACE_COUNT && result == BENCH_OK; i++)
        result = read_one(operations, session, (enum keyspace)i, work, value);
    for (int i = 0; i < KEYSPACE_COUNT && result == BENCH_OK; i++)
        result = update_one(operations, session, (enum keyspace)i, work, value);
    return result;
}

const char *durability_name(enum durability durability) {
    switch (durability) {
    case DURABILITY_NONE:
        return "none";
    case DURABILITY_INTERVAL:
        return "interval";
    case DURABILITY_FULL:
        return "full";
    }
    return "?";
}

const char *compression_name(enum compression compression) {
    switch (compression) {
    case COMPRESSION_NONE:
        return "none";
    case COMPRESSION_LZ4:
        return "lz4";
    case COMPRESSION_ZSTD:
        return "zstd";
    case COMPRESSION_SNAPPY:
        return "snappy";
    }
    return "?";
}
