/* SPDX-License-Identifier: Apache-2.0 */
#include "txn/large_value.h"

#include "base/error.h"
#include "log/log.h"
#include "txn/commit_codec.h"
#include "txn/point_read.h"

/* Bytes of one chunk record. */
#define CHUNK_BYTES_MAX ((size_t)256 << 10)

static tern_status hold_engine(struct large_value *large, const tern_keyspace *keyspace,
                               tern_error *error) {
    struct txn_manager *manager = large->manager;
    struct engine_moment moment;
    struct database_view *view;
    tern_status status = TERN_OK;
    struct epoch_slot *epoch = epoch_enter(manager->epoch);
    do {
        view = txn_manager_now(manager, &moment);
    } while (!database_view_try_retain(view));
    epoch_exit(epoch);
    struct engine_view *part = view_part(view, keyspace);
    if (part == NULL) {
        status = keyspace_check_absence(keyspace, error);
        if (status == TERN_OK) {
            status =
                ERROR_SET(error, TERN_NOT_FOUND, "keyspace '%s' is being created", keyspace->name);
        }
        database_view_release(view);
        return status;
    }
    large->view = view;
    large->engine = part->engine;
    return TERN_OK;
}

tern_status large_value_begin(struct txn_manager *manager, const tern_keyspace *keyspace,
                              bool is_own, struct large_value *out_large, tern_error *error) {
    struct large_value large = {.manager = manager, .keyspace = keyspace};
    tern_status status = TERN_OK;
    if (is_own) {
        large.engine = keyspace->engine; /* not converted before it is committed */
    } else {
        status = hold_engine(&large, keyspace, error);
    }
    if (status == TERN_OK) {
        status = large.engine->methods->large_begin(large.engine, &large.writer, error);
    }
    if (status != TERN_OK) {
        database_view_release(large.view);
        return status;
    }
    large.token = atomic_fetch_add_explicit(&manager->next_large_token, 1, memory_order_relaxed);
    *out_large = large;
    return TERN_OK;
}

/* A chunk is one record; small segments take small records. */
static size_t chunk_bytes(const struct large_value *large) {
    size_t limit = log_payload_bytes_max(large->manager->log) - COMMIT_CHUNK_HEADER_BYTES;
    return limit < CHUNK_BYTES_MAX ? limit : CHUNK_BYTES_MAX;
}

tern_status large_value_append(struct large_value *large, tern_slice bytes, tern_error *error) {
    const struct engine_methods *methods = large->engine->methods;
    size_t size_max = chunk_bytes(large);
    while (bytes.size > 0) {
        size_t size = bytes.size < size_max ? bytes.size : size_max;
        tern_slice chunk = tern_slice_of(bytes.data, size);
        tern_status status =
            write_throttle(large->manager, 0, error); /* overlays hold none of it */
        if (status == TERN_OK) {
            status = commit_large_chunk(large->manager, large->engine->id, large->token,
                                        large->size_bytes, chunk, error);
        }
        if (status == TERN_OK) {
            status = methods->large_append(large->writer, chunk.data, chunk.size, error);
        }
        if (status != TERN_OK) {
            return status;
        }
        large->size_bytes += size;
        bytes = tern_slice_of((const uint8_t *)bytes.data + size, bytes.size - size);
    }
    return TERN_OK;
}

tern_status large_value_finish(struct large_value *large, tern_error *error) {
    struct engine_large_writer *writer = large->writer;
    large->writer = NULL; /* freed whatever the status */
    return large->engine->methods->large_finish(writer, large->reference, &large->reference_size,
                                                error);
}

struct engine_change large_value_change(const struct large_value *large, tern_slice key,
                                        uint64_t key_hash, uint64_t ttl_ms) {
    write_note_ttl(large->manager, ttl_ms);
    return (struct engine_change){
        .key = key,
        .key_hash = key_hash,
        .ttl_ms = ttl_ms,
        .record = {.kind = RECORD_LARGE,
                   .value_size = large->size_bytes,
                   .value = tern_slice_of(large->reference, large->reference_size)},
        .large_token = large->token,
        .large_partition = large->engine->id};
}

void large_value_close(struct large_value *large, bool discards) {
    const struct engine_methods *methods = large->engine->methods;
    if (discards) {
        commit_large_forget(large->manager, large->token);
    }
    if (large->writer != NULL) {
        methods->large_abandon(large->writer);
        large->writer = NULL;
    } else if (discards && large->reference_size > 0) {
        methods->large_discard(large->engine,
                               tern_slice_of(large->reference, large->reference_size));
    }
    database_view_release(large->view);
    large->view = NULL;
}

tern_status large_value_write(struct txn_manager *manager, const tern_keyspace *keyspace,
                              bool is_own, tern_slice value, struct large_value *out_large,
                              tern_error *error) {
    struct large_value large;
    tern_status status = large_value_begin(manager, keyspace, is_own, &large, error);
    if (status != TERN_OK) {
        return status;
    }
    status = large_value_append(&large, value, error);
    if (status == TERN_OK) {
        status = large_value_finish(&large, error);
    }
    if (status != TERN_OK) {
        large_value_close(&large, true);
        return status;
    }
    *out_large = large;
    return TERN_OK;
}

bool large_value_is_stale(const struct large_value *large) {
    struct txn_manager *manager = large->manager;
    struct engine_moment moment;
    struct epoch_slot *epoch = epoch_enter(manager->epoch);
    struct engine_view *part = view_part(txn_manager_now(manager, &moment), large->keyspace);
    bool is_stale = part != NULL && part->engine != large->engine;
    epoch_exit(epoch);
    return is_stale;
}

void large_value_discard(struct txn_manager *manager, const tern_keyspace *keyspace, bool is_own,
                         uint64_t token, partition_id partition, tern_slice reference) {
    commit_large_forget(manager, token);
    if (is_own) {
        keyspace->methods->large_discard(keyspace->engine, reference);
        return;
    }
    struct engine_moment moment;
    struct epoch_slot *epoch = epoch_enter(manager->epoch);
    struct engine_view *part = view_part(txn_manager_now(manager, &moment), keyspace);
    /* In a partition that the keyspace has left it goes with all the rest. */
    if (part != NULL && part->engine->id == partition) {
        part->methods->large_discard(part->engine, reference);
    }
    epoch_exit(epoch);
}

/* ---- checks ---- */

tern_status write_check_key(const tern_keyspace *keyspace, tern_slice key, tern_error *error) {
    if (key.size == 0) {
        return ERROR_SET(error, TERN_INVALID,
                         "a key for keyspace '%s' is empty; keys have 1 to %zu "
                         "bytes",
                         keyspace->name, keyspace->key_bytes_max);
    }
    if (key.size > keyspace->key_bytes_max) {
        return ERROR_SET(error, TERN_TOO_LARGE,
                         "a key of %zu bytes for keyspace '%s', which takes 1 to %zu; create the "
                         "keyspace with larger pages, or shorten the key",
                         key.size, keyspace->name, keyspace->key_bytes_max);
    }
    return TERN_OK;
}

tern_status write_check_value(const tern_keyspace *keyspace, uint64_t size_bytes,
                              tern_error *error) {
    if (size_bytes > TERN_VALUE_BYTES_MAX) {
        return ERROR_SET(error, TERN_TOO_LARGE,
                         "a value of %llu bytes for keyspace '%s'; values have at most %llu",
                         (unsigned long long)size_bytes, keyspace->name,
                         (unsigned long long)TERN_VALUE_BYTES_MAX);
    }
    return TERN_OK;
}
