/* SPDX-License-Identifier: Apache-2.0 */
/* Reads of a transaction: its own writes over its snapshot, or over a moment of now. */
#include "base/error.h"
#include "txn/large_value.h"
#include "txn/multi_read.h"
#include "txn/txn.h"
#include "txn/txn_cursor.h"

/* What a key holds for the transaction; ended with end_read. */
struct key_read {
    struct record record;  /* PUT or LARGE */
    struct engine *engine; /* of LARGE */
    bool is_own;           /* from the write set: bytes live there or in txn->merged */
    bool is_reading;       /* `read` must be ended */
    struct point_read read;
    struct database_view *retained;
};

static void end_read(struct key_read *read) {
    if (read->is_reading) {
        point_read_end(&read->read);
    }
    database_view_release(read->retained);
}

/* Loading an own value stored apart needs the engine alive that it was written to. */
static tern_status hold_own_engine(tern_txn *txn, const tern_keyspace *keyspace,
                                   partition_id partition, struct key_read *read) {
    if (txn_keyspace_is_own(txn, keyspace)) {
        read->engine = keyspace->engine;
        return TERN_OK;
    }
    const struct snapshot *snapshot = txn_snapshot(txn);
    struct engine_view *old = snapshot != NULL ? view_part(snapshot->view, keyspace) : NULL;
    if (old != NULL && old->engine->id == partition) {
        read->engine = old->engine; /* the snapshot holds it, whatever the keyspace is now */
        return TERN_OK;
    }
    struct engine_moment moment;
    struct database_view *view;
    struct epoch_slot *epoch = epoch_enter(txn->manager->epoch);
    do {
        view = txn_manager_now(txn->manager, &moment);
    } while (!database_view_try_retain(view));
    epoch_exit(epoch);
    struct engine_view *part = view_part(view, keyspace);
    if (part == NULL) {
        database_view_release(view);
        return ERROR_SET(&txn->error, TERN_NOT_FOUND, "keyspace '%s' has been dropped",
                         keyspace->name);
    }
    if (part->engine->id != partition) {
        database_view_release(view);
        return keyspace_say_converted(keyspace, &txn->error);
    }
    read->retained = view;
    read->engine = part->engine;
    return TERN_OK;
}

/* Asks the engine; kind NONE when there is nothing. */
static tern_status read_engine(tern_txn *txn, const tern_keyspace *keyspace, tern_slice key,
                               uint64_t key_hash, struct key_read *read) {
    tern_status status = TERN_OK;
    read->record.kind = RECORD_NONE;
    if (txn_keyspace_is_own(txn, keyspace)) {
        return TERN_OK;
    }
    if (txn_tracks_reads(txn)) {
        status = read_set_add_key(&txn->reads, key_hash, &txn->error);
    }
    if (status == TERN_OK) {
        status = point_read_begin(txn->manager, txn_snapshot(txn), keyspace, key, key_hash,
                                  &txn->scratch, &read->read, &txn->error);
    }
    if (status == TERN_OK) {
        read->is_reading = true;
        read->record = read->read.result.record;
        read->engine = read->read.part != NULL ? read->read.part->engine : NULL;
    }
    return status;
}

/* Merge operands over what lies below. */
static tern_status merge_own(tern_txn *txn, const tern_keyspace *keyspace,
                             const struct write_part *part, const struct write_found *found,
                             tern_slice key, uint64_t key_hash, struct key_read *read) {
    tern_status status = TERN_OK;
    read->record = found->record;
    if (found->record.kind == RECORD_NONE) {
        status = read_engine(txn, keyspace, key, key_hash, read);
    } else if (found->record.kind == RECORD_LARGE) {
        status = hold_own_engine(txn, keyspace, found->large_partition, read);
    }
    tern_slice value = read->record.value;
    if (status == TERN_OK && read->record.kind == RECORD_LARGE) {
        status = value_load(read->engine, &read->record, &txn->scratch.value, &txn->error);
        value = buffer_slice(&txn->scratch.value);
    }
    if (status != TERN_OK) {
        return status;
    }
    bool present = read->record.kind == RECORD_PUT || read->record.kind == RECORD_LARGE;
    if (write_part_merge(part, found, present, value, &txn->merged, &txn->merged_spare) !=
        TERN_OK) {
        return ERROR_NO_MEMORY(&txn->error, "a merged value");
    }
    read->record = (struct record){.kind = RECORD_PUT, .value = buffer_slice(&txn->merged)};
    return TERN_OK;
}

static tern_status read_own(tern_txn *txn, const tern_keyspace *keyspace,
                            const struct write_part *part, const struct write_found *found,
                            tern_slice key, uint64_t key_hash, struct key_read *read) {
    read->is_own = true;
    if (found->operand_count > 0) {
        return merge_own(txn, keyspace, part, found, key, key_hash, read);
    }
    /* What expires begins to with the commit. */
    read->record = found->record;
    if (found->record.kind == RECORD_DELETE) {
        read->record.kind = RECORD_NONE;
    }
    return read->record.kind == RECORD_LARGE
               ? hold_own_engine(txn, keyspace, found->large_partition, read)
               : TERN_OK;
}

/* TERN_NOT_FOUND without detail when there is nothing. On failure nothing has to be ended. */
static tern_status begin_read(tern_txn *txn, const tern_keyspace *keyspace, tern_slice key,
                              struct key_read *read) {
    tern_status status = txn_check_read(txn, keyspace);
    if (status != TERN_OK) {
        return status;
    }
    if (!key_is_possible(keyspace, key)) {
        return TERN_NOT_FOUND;
    }
    uint64_t key_hash = keyspace_key_hash(keyspace, key);
    struct write_found found;
    read->is_own = read->is_reading = false;
    read->retained = NULL;
    const struct write_part *part = write_set_part(&txn->writes, keyspace);
    if (part != NULL && write_part_find(part, key, key_hash, &found)) {
        status = read_own(txn, keyspace, part, &found, key, key_hash, read);
    } else {
        status = read_engine(txn, keyspace, key, key_hash, read);
    }
    if (status == TERN_OK && read->record.kind == RECORD_NONE) {
        status = TERN_NOT_FOUND;
    }
    if (status != TERN_OK) {
        end_read(read);
    }
    return status;
}

tern_status txn_get(tern_txn *txn, tern_keyspace *keyspace, tern_slice key, void *buffer,
                    size_t capacity, size_t *out_size) {
    struct key_read read;
    tern_status status = begin_read(txn, keyspace, key, &read);
    if (status == TERN_OK) {
        status = value_copy(read.engine, &read.record, buffer, capacity, out_size, &txn->error);
        end_read(&read);
    }
    return status;
}

static tern_status pin(tern_txn *txn, struct key_read *read, tern_value *out_value) {
    if (read->is_own) {
        return read->record.kind == RECORD_LARGE
                   ? value_own_large(txn->manager, read->engine, &read->record, out_value,
                                     &txn->error)
                   : value_own_copy(txn->manager, read->record.value, out_value, &txn->error);
    }
    if (txn->pins == NULL) {
        tern_status status = pin_account_create(txn->manager, &txn->pins, &txn->error);
        if (status != TERN_OK) {
            return status;
        }
    }
    return value_pin(&read->read, &txn->scratch, txn->pins, out_value, &txn->error);
}

tern_status txn_get_pinned(tern_txn *txn, tern_keyspace *keyspace, tern_slice key,
                           tern_value *out_value) {
    struct key_read read;
    tern_status status = begin_read(txn, keyspace, key, &read);
    if (status == TERN_OK) {
        status = pin(txn, &read, out_value);
        end_read(&read);
    }
    return status;
}

tern_status txn_read(tern_txn *txn, tern_keyspace *keyspace, tern_slice key, uint64_t offset,
                     void *buffer, size_t capacity, size_t *out_size, uint64_t *out_value_size) {
    struct key_read read;
    tern_status status = begin_read(txn, keyspace, key, &read);
    if (status == TERN_OK) {
        status = value_copy_part(read.engine, &read.record, offset, buffer, capacity, out_size,
                                 &txn->error);
        if (status == TERN_OK && out_value_size != NULL) {
            *out_value_size = record_value_bytes(&read.record);
        }
        end_read(&read);
    }
    return status;
}

/* ---- many ---- */

struct own_reads {
    tern_txn *txn;
    tern_keyspace *keyspace;
    const struct write_part *part; /* or NULL */
    tern_status status;
};

/* Own writes are answered one by one; the others are remembered where that is asked for. */
static bool is_answered(void *context, tern_get_request *request, uint64_t key_hash) {
    struct own_reads *own = context;
    tern_txn *txn = own->txn;
    struct write_found found;
    if (own->part != NULL && write_part_find(own->part, request->key, key_hash, &found)) {
        size_t size = 0;
        request->status =
            txn_get(txn, own->keyspace, request->key, request->buffer, request->capacity, &size);
        request->value_size = size;
        return true;
    }
    if (txn_tracks_reads(txn) && own->status == TERN_OK) {
        own->status = read_set_add_key(&txn->reads, key_hash, &txn->error);
    }
    return false;
}

static void find_nothing(void *context, tern_get_request *request) {
    if (!is_answered(context, request,
                     keyspace_key_hash(((struct own_reads *)context)->keyspace, request->key))) {
        request->status = TERN_NOT_FOUND;
        request->value_size = 0;
    }
}

tern_status txn_multi_get(tern_txn *txn, tern_keyspace *keyspace, tern_get_request *requests,
                          size_t count) {
    tern_status status = txn_check_read(txn, keyspace);
    if (status != TERN_OK) {
        return status;
    }
    struct own_reads own = {txn, keyspace, write_set_part(&txn->writes, keyspace), TERN_OK};
    if (txn_keyspace_is_own(txn, keyspace)) {
        for (size_t i = 0; i < count; i++) {
            find_nothing(&own, &requests[i]);
        }
        return TERN_OK;
    }
    bool asks = own.part != NULL || txn_tracks_reads(txn);
    status = multi_read(txn->manager, txn_snapshot(txn), keyspace, requests, count,
                        asks ? is_answered : NULL, &own, &txn->error);
    return status == TERN_OK ? own.status : status;
}

/* ---- counting ---- */

#define COUNT_BATCH 256

tern_status txn_count(tern_txn *txn, tern_keyspace *keyspace, const tern_slice *begin,
                      const tern_slice *end, uint64_t *out_count) {
    tern_cursor_options options = TERN_CURSOR_OPTIONS_INIT;
    tern_entry entries[COUNT_BATCH];
    tern_cursor *cursor;
    uint64_t total = 0;
    options.begin = begin;
    options.end = end;
    options.keys_only = true;
    tern_status status = txn_cursor_open(txn, keyspace, &options, &cursor);
    if (status != TERN_OK) {
        return status;
    }
    while (status == TERN_OK) {
        size_t count = 0;
        status = txn_cursor_next_batch(cursor, entries, COUNT_BATCH, &count);
        total += count;
    }
    if (status == TERN_NOT_FOUND) {
        *out_count = total;
        status = TERN_OK;
    } else {
        error_copy(&txn->error, txn_cursor_error(cursor));
    }
    txn_cursor_close(cursor);
    return status;
}

tern_status txn_estimate(tern_txn *txn, tern_keyspace *keyspace, const tern_slice *begin,
                         const tern_slice *end, uint64_t *out_count, uint64_t *out_bytes) {
    struct engine_cursor_bounds bounds = {.has_begin = begin != NULL, .has_end = end != NULL};
    struct engine_moment moment;
    tern_status status = txn_check_read(txn, keyspace);
    if (status != TERN_OK) {
        return status;
    }
    bounds.begin = begin != NULL ? *begin : bounds.begin;
    bounds.end = end != NULL ? *end : bounds.end;
    const struct snapshot *snapshot = txn_snapshot(txn);
    uint64_t count = 0;
    uint64_t bytes = 0;
    struct epoch_slot *epoch = epoch_enter(txn->manager->epoch);
    const struct database_view *view =
        snapshot != NULL ? snapshot->view : txn_manager_now(txn->manager, &moment);
    struct engine_view *part = view_part(view, keyspace);
    if (part != NULL) {
        status = part->methods->estimate(part, &bounds, &count, &bytes, &txn->error);
    } else if (!txn_keyspace_is_own(txn, keyspace)) {
        status = keyspace_check_absence(keyspace, &txn->error);
    }
    epoch_exit(epoch);
    if (status == TERN_OK) {
        *out_count = count;
        *out_bytes = bytes;
    }
    return status;
}
