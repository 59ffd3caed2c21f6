/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cloning: a copy of the database as of one snapshot, written as full, ordered pages into a new
 * directory. The copy begins a log of its own.
 */
#include "base/error.h"
#include "db/database_internal.h"
#include "txn/point_read.h"

#define COPY_BYTES     ((size_t)256 << 10)
#define PROGRESS_EVERY 4096

/* Streams one keyspace of a snapshot into the ingest of another database's engine. */
struct copy {
    const struct engine_methods *methods;
    const struct snapshot *snapshot;
    struct engine *source;
    struct engine_cursor *cursor;
    tern_keyspace *target;
    uint8_t *chunk;
    uint8_t reference[ENGINE_LARGE_REFERENCE_BYTES_MAX];
    uint64_t done;
    uint64_t total;
    tern_progress_function progress;
    void *progress_context;
    bool has_expiring;
    tern_error *error;
};

/* Copies a value stored apart in pieces; the record then refers to the copy. */
static tern_status copy_large(struct copy *copy, struct record *record) {
    const struct engine_methods *methods = copy->target->methods;
    struct engine_large_writer *writer;
    uint64_t offset = 0;
    tern_status status = methods->large_begin(copy->target->engine, &writer, copy->error);
    if (status != TERN_OK) {
        return status;
    }
    while (status == TERN_OK && offset < record->value_size) {
        size_t size = 0;
        status = copy->methods->large_read(copy->source, record->value, offset, copy->chunk,
                                           COPY_BYTES, &size, copy->error);
        if (status == TERN_OK && size == 0) {
            status = ERROR_SET(copy->error, TERN_CORRUPTION, "a large value ends early");
        }
        if (status == TERN_OK) {
            status = methods->large_append(writer, copy->chunk, size, copy->error);
            offset += size;
        }
    }
    if (status != TERN_OK) {
        methods->large_abandon(writer);
        return status;
    }
    size_t size = 0;
    status = methods->large_finish(writer, copy->reference, &size, copy->error);
    record->value = tern_slice_of(copy->reference, size);
    return status;
}

static tern_status next_record(void *context, tern_slice *out_key, struct record *out_record) {
    struct copy *copy = context;
    struct engine_entry entry;
    tern_status status = copy->methods->cursor_next(copy->cursor, copy->error);
    if (status == TERN_CANCELLED) {
        return snapshot_say_too_old(&copy->snapshot->moment, copy->error);
    }
    if (status != TERN_OK) {
        return status;
    }
    copy->methods->cursor_entry(copy->cursor, &entry);
    if (copy->progress != NULL && copy->done % PROGRESS_EVERY == 0 &&
        !copy->progress(copy->progress_context, copy->target->name, copy->done, copy->total)) {
        return ERROR_SET(copy->error, TERN_CANCELLED, "the clone was cancelled");
    }
    copy->done++;
    copy->has_expiring = copy->has_expiring || entry.record.expires_ms != 0;
    if (entry.record.kind == RECORD_LARGE) {
        status = copy_large(copy, &entry.record);
    }
    *out_key = entry.key;
    *out_record = entry.record;
    return status;
}

static tern_status copy_keyspace(const struct snapshot *snapshot, tern_keyspace *source,
                                 struct engine_view *part, struct tern_db *target,
                                 tern_progress_function progress, void *progress_context,
                                 tern_error *error) {
    const struct engine_cursor_bounds everything = {0};
    struct copy copy = {.methods = source->methods,
                        .snapshot = snapshot,
                        .source = source->engine,
                        .progress = progress,
                        .progress_context = progress_context,
                        .error = error};
    uint64_t bytes = 0;
    tern_status status =
        tern_keyspace_create(target, source->name, &source->options, &copy.target, error);
    if (status == TERN_OK) {
        status = copy.methods->estimate(part, &everything, &copy.total, &bytes, error);
    }
    if (status == TERN_OK) {
        copy.chunk = memory_allocate(target->allocator, COPY_BYTES);
        status = copy.chunk != NULL ? TERN_OK : ERROR_NO_MEMORY(error, "a clone");
    }
    if (status == TERN_OK) {
        status = copy.methods->cursor_open(part, &snapshot->moment, &everything, false,
                                           &copy.cursor, error);
    }
    if (status == TERN_OK) {
        mutex_lock(&target->maintenance_mutex);
        status = copy.target->methods->ingest(copy.target->engine, next_record, &copy, error);
        if (status == TERN_OK) {
            status = checkpoint_publish(target, false, error);
        }
        mutex_unlock(&target->maintenance_mutex);
        copy.methods->cursor_close(copy.cursor);
    }
    if (copy.has_expiring) {
        atomic_store(&target->manager.has_expiring, true);
    }
    memory_release(target->allocator, copy.chunk);
    return status;
}

static tern_status copy_all(struct tern_db *db, const struct snapshot *snapshot,
                            struct tern_db *target, tern_progress_function progress,
                            void *progress_context, tern_error *error) {
    tern_status status = TERN_OK;
    for (uint32_t i = 0; status == TERN_OK && i < snapshot->view->slot_count; i++) {
        struct engine_view *part = snapshot->view->parts[i];
        if (part == NULL) {
            continue;
        }
        /* Dropped meanwhile or not: the handle lives, and the view holds the engine. */
        tern_keyspace *source = NULL;
        mutex_lock(&db->catalog_mutex);
        for (tern_keyspace *keyspace = db->keyspaces; keyspace != NULL; keyspace = keyspace->next) {
            source = atomic_load(&keyspace->slot) == i ? keyspace : source;
        }
        mutex_unlock(&db->catalog_mutex);
        status = copy_keyspace(snapshot, source, part, target, progress, progress_context, error);
    }
    return status;
}

/* The copy's clock must not be behind what its records were judged by. */
static void carry_time(const struct snapshot *snapshot, struct tern_db *target) {
    if (atomic_load(&target->manager.visible_time_ms) < snapshot->moment.time_ms) {
        atomic_store(&target->manager.visible_time_ms, snapshot->moment.time_ms);
    }
}

tern_status tern_clone(tern_db *db, const char *target_path, tern_progress_function progress,
                       void *progress_context, tern_error *error) {
    tern_db_options options = db->options;
    struct snapshot snapshot = {0};
    tern_db *target = NULL;
    options.create_if_missing = true;
    options.error_if_exists = true;
    options.read_only = false;
    options.archive = NULL;
    options.executor = db->own_executor != NULL ? NULL : db->options.executor;
    tern_status status = snapshot_take(&db->manager, &snapshot, error);
    if (status != TERN_OK) {
        return status;
    }
    status = tern_open(target_path, &options, &target, error);
    if (status == TERN_OK) {
        carry_time(&snapshot, target);
        status = copy_all(db, &snapshot, target, progress, progress_context, error);
        if (status == TERN_OK) {
            mutex_lock(&target->maintenance_mutex);
            status = checkpoint_rewrite_manifest(target, error);
            mutex_unlock(&target->maintenance_mutex);
        }
        tern_status closed = tern_close(target, status == TERN_OK ? error : NULL);
        status = status == TERN_OK ? closed : status;
    }
    snapshot_drop(&db->manager, &snapshot);
    return status;
}
