/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cloning: a copy of the database as of one snapshot, written as full, ordered pages into a new
 * directory. The copy begins a log of its own.
 */
#include "base/error.h"
#include "db/database_directory.h"
#include "db/database_internal.h"
#include "db/large_copy.h"
#include "txn/point_read.h"

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
        status = large_copy(copy->source, copy->target->engine, &entry.record, copy->chunk,
                            copy->reference, copy->error);
    }
    *out_key = entry.key;
    *out_record = entry.record;
    return status;
}

static tern_status copy_keyspace(const struct snapshot *snapshot, const char *name,
                                 const tern_keyspace_options *options, struct engine_view *part,
                                 struct tern_db *target, tern_progress_function progress,
                                 void *progress_context, tern_error *error) {
    const struct engine_cursor_bounds everything = {0};
    struct copy copy = {.methods = part->methods,
                        .snapshot = snapshot,
                        .source = part->engine,
                        .progress = progress,
                        .progress_context = progress_context,
                        .error = error};
    uint64_t bytes = 0;
    tern_status status = tern_keyspace_create(target, name, options, &copy.target, error);
    if (status == TERN_OK) {
        status = copy.methods->estimate(part, &everything, &copy.total, &bytes, error);
    }
    if (status == TERN_OK) {
        copy.chunk = memory_allocate(target->allocator, LARGE_COPY_BYTES);
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
        /* Dropped or converted meanwhile or not: the handle lives that has the engine now, and
         * the view holds the engine. */
        tern_keyspace *source = NULL;
        mutex_lock(&db->catalog_mutex);
        for (tern_keyspace *keyspace = db->keyspaces; keyspace != NULL; keyspace = keyspace->next) {
            source = keyspace->engine == part->engine ? keyspace : source;
        }
        tern_keyspace_options options_then = source->options;
        /* A conversion was building it; or the snapshot was taken when a conversion or a drop was
         * visible and the view without the partition was not yet there; or when the view with a new
         * one was there, and its creation not visible. */
        bool is_shown = atomic_load(&source->shown_seq) <= snapshot->moment.seq &&
                        atomic_load(&source->created_seq) <= snapshot->moment.seq &&
                        atomic_load(&source->dropped_seq) > snapshot->moment.seq;
        mutex_unlock(&db->catalog_mutex);
        if (!is_shown) {
            continue;
        }
        status = copy_keyspace(snapshot, source->name, &options_then, part, target, progress,
                               progress_context, error);
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
    REQUIRE(error, db != NULL, "no database");
    REQUIRE(error, target_path != NULL && target_path[0] != '\0', "no target_path");
    tern_db_options options = db->options;
    struct snapshot snapshot = {0};
    tern_db *target = NULL;
    options.executor = db->own_executor != NULL ? NULL : db->options.executor;
    tern_status status = snapshot_take(&db->manager, &snapshot, error);
    if (status != TERN_OK) {
        return status;
    }
    status = database_copy_begin(target_path, &options, &target, error);
    if (status == TERN_OK) {
        carry_time(&snapshot, target);
        status = copy_all(db, &snapshot, target, progress, progress_context, error);
        if (status == TERN_OK) {
            mutex_lock(&target->maintenance_mutex);
            status = checkpoint_rewrite_manifest(target, error);
            mutex_unlock(&target->maintenance_mutex);
        }
        status = database_copy_end(target, target_path, options.file_system, status, error);
    }
    snapshot_drop(&db->manager, &snapshot);
    return status;
}
