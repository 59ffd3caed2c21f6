/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A value written in chunks. It collects up to large_value_bytes in memory; what stays below is an
 * ordinary put, what grows beyond goes apart piece by piece.
 */
#include "base/error.h"
#include "txn/large_value.h"
#include "txn/txn.h"

struct tern_value_writer {
    tern_txn *txn; /* NULL once the transaction has ended */
    const tern_allocator *allocator;
    tern_keyspace *keyspace;
    struct tern_value_writer *next, *previous;
    uint64_t ttl_ms;
    struct buffer collected; /* not in `large` yet */
    struct large_value large;
    bool is_large; /* `large` was begun */
    bool has_failed;
    uint64_t size_bytes;
    uint64_t key_hash;
    size_t key_size;
    uint8_t key[];
};

/* Bytes collected before they are passed on. */
#define PIECE_BYTES ((size_t)256 << 10)

static tern_status check_begin(tern_txn *txn, tern_keyspace *keyspace, tern_slice key) {
    tern_status status = txn_check_write(txn, keyspace);
    return status == TERN_OK ? write_check_key(keyspace, key, &txn->error) : status;
}

tern_status txn_put_begin(tern_txn *txn, tern_keyspace *keyspace, tern_slice key, uint64_t ttl_ms,
                          tern_value_writer **out_writer) {
    tern_status status = check_begin(txn, keyspace, key);
    if (status != TERN_OK) {
        return status;
    }
    uint64_t key_hash = keyspace_key_hash(keyspace, key);
    if (txn->is_pessimistic) {
        status = txn_lock_key(txn, keyspace, key, key_hash, TERN_LOCK_EXCLUSIVE);
        if (status != TERN_OK) {
            return status;
        }
    }
    const tern_allocator *allocator = txn->manager->allocator;
    tern_value_writer *writer = memory_allocate(allocator, sizeof(*writer) + key.size);
    if (writer == NULL) {
        return ERROR_NO_MEMORY(&txn->error, "a value writer");
    }
    *writer = (tern_value_writer){.txn = txn,
                                  .allocator = allocator,
                                  .keyspace = keyspace,
                                  .next = txn->writers,
                                  .ttl_ms = ttl_ms,
                                  .key_hash = key_hash,
                                  .key_size = key.size};
    buffer_init(&writer->collected, allocator);
    memcpy(writer->key, key.data, key.size);
    if (txn->writers != NULL) {
        txn->writers->previous = writer;
    }
    txn->writers = writer;
    *out_writer = writer;
    return TERN_OK;
}

static tern_status flush(tern_value_writer *writer) {
    tern_txn *txn = writer->txn;
    tern_status status = TERN_OK;
    if (!writer->is_large) {
        status = large_value_begin(txn->manager, writer->keyspace,
                                   txn_keyspace_is_own(txn, writer->keyspace), &writer->large,
                                   &txn->error);
        writer->is_large = status == TERN_OK;
    }
    if (status == TERN_OK) {
        status = large_value_append(&writer->large, buffer_slice(&writer->collected), &txn->error);
        writer->collected.size = 0;
    }
    return status;
}

static tern_status check_writer(const tern_value_writer *writer) {
    if (writer->txn == NULL) {
        return TERN_CLOSED;
    }
    tern_status status = txn_check_write(writer->txn, writer->keyspace);
    if (status == TERN_OK && writer->has_failed) {
        return ERROR_SET(&writer->txn->error, TERN_INVALID,
                         "an earlier chunk of this value failed; abandon it and begin again");
    }
    return status;
}

/* How much is collected before it is passed on; a value that may still turn out small is kept. */
static size_t piece_bytes(const tern_value_writer *writer) {
    uint64_t small = writer->txn->manager->large_value_bytes;
    return writer->is_large || small < PIECE_BYTES ? PIECE_BYTES : (size_t)small + 1;
}

static tern_status collect(tern_value_writer *writer, tern_slice chunk) {
    const uint8_t *bytes = chunk.data;
    size_t left = chunk.size;
    while (left > 0) {
        size_t room = piece_bytes(writer) - writer->collected.size;
        size_t size = left < room ? left : room;
        if (buffer_append(&writer->collected, bytes, size) != TERN_OK) {
            return ERROR_NO_MEMORY(&writer->txn->error, "a chunk of a value");
        }
        bytes += size;
        left -= size;
        writer->size_bytes += size;
        if (size == room) {
            tern_status status = flush(writer);
            if (status != TERN_OK) {
                return status;
            }
        }
    }
    return TERN_OK;
}

tern_status value_writer_append(tern_value_writer *writer, tern_slice chunk) {
    tern_status status = check_writer(writer);
    if (status == TERN_OK) {
        status = write_check_value(writer->keyspace, writer->size_bytes + chunk.size,
                                   &writer->txn->error);
    }
    if (status == TERN_OK) {
        status = txn_fail(writer->txn, collect(writer, chunk));
        writer->has_failed = status != TERN_OK;
    }
    return status;
}

static tern_status store(tern_value_writer *writer) {
    tern_txn *txn = writer->txn;
    tern_slice key = tern_slice_of(writer->key, writer->key_size);
    if (!writer->is_large && writer->size_bytes <= txn->manager->large_value_bytes) {
        return txn_put(txn, writer->keyspace, key, buffer_slice(&writer->collected),
                       writer->ttl_ms);
    }
    tern_status status = flush(writer);
    if (status == TERN_OK) {
        status = large_value_finish(&writer->large, &txn->error);
    }
    if (status == TERN_OK) {
        struct engine_change change =
            large_value_change(&writer->large, key, writer->key_hash, writer->ttl_ms);
        status = txn_put_change(txn, writer->keyspace, &change);
    }
    return txn_fail(txn, status);
}

static void unlink_writer(tern_value_writer *writer) {
    if (writer->txn == NULL) {
        return;
    }
    if (writer->previous != NULL) {
        writer->previous->next = writer->next;
    } else {
        writer->txn->writers = writer->next;
    }
    if (writer->next != NULL) {
        writer->next->previous = writer->previous;
    }
    writer->txn = NULL;
}

static void close_large(tern_value_writer *writer, bool discards) {
    if (writer->is_large) {
        large_value_close(&writer->large, discards);
        writer->is_large = false;
    }
}

static void free_writer(tern_value_writer *writer) {
    unlink_writer(writer);
    buffer_release(&writer->collected);
    memory_release(writer->allocator, writer);
}

tern_status value_writer_finish(tern_value_writer *writer) {
    tern_status status = check_writer(writer);
    if (status == TERN_OK) {
        status = store(writer);
    }
    close_large(writer, status != TERN_OK);
    free_writer(writer);
    return status;
}

void value_writer_abandon(tern_value_writer *writer) {
    if (writer != NULL) {
        close_large(writer, true);
        free_writer(writer);
    }
}

void txn_writers_orphan(tern_txn *txn) {
    while (txn->writers != NULL) {
        tern_value_writer *writer = txn->writers;
        close_large(writer, true);
        unlink_writer(writer);
    }
}

void txn_writers_leave(tern_txn *txn, const tern_keyspace *keyspace) {
    for (tern_value_writer *writer = txn->writers; writer != NULL; writer = writer->next) {
        if (writer->keyspace == keyspace) {
            close_large(writer, true);
            writer->has_failed = true;
        }
    }
}
