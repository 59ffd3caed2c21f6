/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copying what has changed since a partition was built.
 *
 * The capture names keys and deleted ranges in commit order. A range is deleted in the target as it
 * was in the source. Of a key the target gets what the source holds at a snapshot that is younger
 * than the note: so merges, expiries and the order of commits are the source's business, and a key
 * may be copied as often as one likes. After the last note has been copied with nobody committing,
 * the target holds what the source holds:
 *
 *  C1  A key that no note names is as the build's snapshots, younger than the capture, had it.
 *
 *  C2  Of the notes that cover a key the last one is copied last, from a snapshot that shows what
 *      the noted commit did to the key, and everything after it that no note has told yet.
 *
 *  C3  A range is deleted before any key that is noted after it is copied.
 *
 * Copies are commits of the target: logged, so that they need no care of their own, and marked so
 * that commit hooks pass over them (COMMIT_COPY).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/compare.h"
#include "base/error.h"
#include "db/convert_internal.h"
#include "txn/commit_queue.h"
#include "txn/large_value.h"
#include "txn/point_read.h"

/* A commit's worth. */
#define BATCH_KEYS  512u
#define BATCH_BYTES ((size_t)512 << 10)
/* What is moved to the backlog at once, and read from it. */
#define RELIEVE_BYTES ((uint64_t)1 << 20)
/* Each waits for a tenth of a second when there is no room for changes. */
#define ROOM_TRIES 50
/* What may be copied while everybody waits: a few milliseconds. */
#define FINISH_BYTES ((size_t)16 << 10)
/* So much, of keys and values, may be copied at once that nobody has made room for. */
#define UNPAID_BYTES_MAX ((size_t)1 << 20)

struct batch {
    struct conversion *conversion;
    bool is_leading; /* in the applier role */
    struct arena arena;
    struct engine_scratch scratch;
    tern_slice keys[BATCH_KEYS]; /* borrowed */
    size_t key_count;
    struct engine_change changes[BATCH_KEYS];
    size_t change_count;
    size_t bytes;
    size_t unpaid_bytes;         /* of all changes, where room cannot be waited for */
    uint64_t tokens[BATCH_KEYS]; /* of values apart that no commit carries yet */
    size_t token_count;
};

/* ---- the backlog ---- */

void convert_backlog_close(struct convert_backlog *backlog) {
    tern_status status = file_close(backlog->file, NULL);
    (void)status;
    *backlog = (struct convert_backlog){0};
}

/* Two conversions may open one at the same time. */
static tern_status open_backlog(struct conversion *conversion) {
    struct tern_db *db = conversion->db;
    const tern_file_system *file_system = db->options.file_system;
    char path[FILE_PATH_BYTES];
    tern_file *file = NULL;
    tern_status status = path_join(path, db->path, CONVERT_FILE_NAME, conversion->error);
    if (status != TERN_OK) {
        return status;
    }
    mutex_lock(&db->spill_mutex);
    status = file_system->open(file_system->context, path, TERN_OPEN_CREATE | TERN_OPEN_TRUNCATE,
                               &file, conversion->error);
    if (status == TERN_OK) {
        status = file_system->remove(file_system->context, path, conversion->error);
    }
    mutex_unlock(&db->spill_mutex);
    if (status != TERN_OK) {
        tern_status closed = file_close(file, NULL);
        (void)closed;
        return status;
    }
    conversion->backlog.file = file;
    return TERN_OK;
}

static tern_status take(struct conversion *conversion, struct buffer *out_taken) {
    struct txn_manager *manager = &conversion->db->manager;
    commit_applier_lock(manager);
    tern_status status = change_capture_take(&conversion->capture, out_taken, conversion->error);
    commit_applier_unlock(manager);
    return status;
}

/* Each piece in the file: u64 size, bytes. */
static tern_status push(struct conversion *conversion, tern_slice bytes) {
    struct convert_backlog *backlog = &conversion->backlog;
    uint64_t size = bytes.size;
    tern_status status = backlog->file != NULL ? TERN_OK : open_backlog(conversion);
    if (status == TERN_OK) {
        status = file_write(backlog->file, backlog->end, &size, sizeof(size), conversion->error);
    }
    if (status == TERN_OK) {
        status = file_write(backlog->file, backlog->end + sizeof(size), bytes.data, bytes.size,
                            conversion->error);
    }
    backlog->end += status == TERN_OK ? sizeof(size) + size : 0;
    return status;
}

tern_status convert_relieve(struct conversion *conversion) {
    struct buffer taken;
    if (atomic_load_explicit(&conversion->capture.size, memory_order_relaxed) < RELIEVE_BYTES) {
        return TERN_OK;
    }
    tern_status status = take(conversion, &taken);
    if (status == TERN_OK) {
        status = push(conversion, buffer_slice(&taken));
        change_capture_give_back(&conversion->capture, &taken);
    }
    return status;
}

/* ---- copying ---- */

static int compare_keys(const void *left, const void *right) {
    return slice_compare(*(const tern_slice *)left, *(const tern_slice *)right);
}

/* Old snapshots may keep overlays in memory for a while: a conversion has more time than a commit.
 */
static tern_status wait_for_room(struct conversion *conversion, size_t bytes) {
    tern_status status = TERN_NO_MEMORY;
    for (int i = 0; status == TERN_NO_MEMORY && i < ROOM_TRIES; i++) {
        status = maintenance_make_room(conversion->db, bytes, conversion->error);
        if (status == TERN_NO_MEMORY && convert_report(conversion) != TERN_OK) {
            return TERN_CANCELLED;
        }
    }
    return status;
}

static tern_status commit(struct batch *batch, struct engine_change *changes, size_t count,
                          size_t bytes) {
    struct conversion *conversion = batch->conversion;
    struct txn_manager *manager = &conversion->db->manager;
    struct commit_part part = {conversion->target, changes, count};
    struct commit_request request = {.parts = &part,
                                     .part_count = 1,
                                     .change_count = count,
                                     .bytes = bytes,
                                     .flags = COMMIT_COPY,
                                     .durability = TERN_DURABILITY_NONE};
    if (!batch->is_leading && !conversion->has_maintenance) {
        tern_status status = wait_for_room(conversion, bytes);
        if (status != TERN_OK) {
            return status;
        }
    }
    tern_status status = batch->is_leading ? commit_submit_leading(manager, &request)
                                           : commit_submit(manager, &request);
    if (status != TERN_OK) {
        error_copy(conversion->error, &request.error);
    }
    return status;
}

static tern_status delete_range(struct batch *batch, const struct captured_change *captured) {
    struct engine_change change = {.key = captured->key,
                                   .record = {.kind = CHANGE_DELETE_RANGE, .value = captured->end},
                                   .range_has_end = captured->has_end};
    return commit(batch, &change, 1, captured->key.size + captured->end.size);
}

static tern_status append_piece(void *context, tern_slice piece, tern_error *error) {
    return large_value_append(context, piece, error);
}

/* Through the log, as every large value. */
static tern_status copy_value_apart(struct batch *batch, struct engine *source,
                                    const struct record *record, struct engine_change *change) {
    struct conversion *conversion = batch->conversion;
    struct large_value large;
    tern_status status = large_value_begin(&conversion->db->manager, conversion->target, true,
                                           &large, conversion->error);
    if (status != TERN_OK) {
        return status;
    }
    status = large_copy_pieces(source, record, conversion->chunk, append_piece, &large,
                               conversion->error);
    if (status == TERN_OK) {
        status = large_value_finish(&large, conversion->error);
    }
    if (status == TERN_OK) {
        /* It expires when the one that is copied does: no time to live that begins now. */
        *change = large_value_change(&large, change->key, change->key_hash, 0);
        change->record.expires_ms = record->expires_ms;
        change->record.value = arena_copy(&batch->arena, change->record.value);
        batch->tokens[batch->token_count++] = large.token;
        if (change->record.value.data == NULL) {
            status = ERROR_NO_MEMORY(conversion->error, "a conversion");
        }
    }
    large_value_close(&large, status != TERN_OK);
    return status;
}

/* What the source holds of a key now becomes a change. *out_done false: not while others wait. */
static tern_status copy_key(struct batch *batch, const struct snapshot *snapshot, tern_slice key,
                            bool *out_done) {
    struct conversion *conversion = batch->conversion;
    const tern_keyspace *keyspace = conversion->keyspace;
    uint64_t hash = keyspace_key_hash(keyspace, key);
    struct engine_change change = {.key = key,
                                   .key_hash = keyspace_key_hash(conversion->target, key),
                                   .record = {.kind = RECORD_DELETE}};
    struct point_read read;
    *out_done = true;
    if (conversion->checks_keys && key.size > conversion->key_bytes_max) {
        return convert_say_too_long(conversion, key.size);
    }
    tern_status status = point_read_begin(&conversion->db->manager, snapshot, keyspace, key, hash,
                                          &batch->scratch, &read, conversion->error);
    if (status != TERN_OK) {
        return status;
    }
    const struct record *record = &read.result.record;
    if (read.part == NULL) {
        status = ERROR_SET(conversion->error, TERN_NOT_FOUND,
                           "keyspace '%s' was dropped while it was converted", keyspace->name);
    } else if (record->kind == RECORD_LARGE && batch->is_leading) {
        *out_done = false;
    } else if (record->kind == RECORD_LARGE) {
        status = copy_value_apart(batch, read.part->engine, record, &change);
    } else if (record->kind == RECORD_PUT) {
        change.record = *record;
        change.record.value = arena_copy(&batch->arena, record->value);
        if (record->value.size > 0 && change.record.value.data == NULL) {
            status = ERROR_NO_MEMORY(conversion->error, "a conversion");
        }
    }
    point_read_end(&read);
    if (status == TERN_OK && *out_done) {
        size_t bytes = key.size + change.record.value.size;
        batch->changes[batch->change_count++] = change;
        batch->bytes += bytes;
        batch->unpaid_bytes += batch->is_leading || conversion->has_maintenance ? bytes : 0;
        *out_done = batch->unpaid_bytes <= UNPAID_BYTES_MAX;
    }
    return status;
}

/* Values apart in changes that were not committed are not wanted in the log. */
static void forget_changes(struct batch *batch, bool are_committed) {
    for (size_t i = 0; i < batch->token_count && !are_committed; i++) {
        commit_large_forget(&batch->conversion->db->manager, batch->tokens[i]);
    }
    batch->token_count = 0;
    batch->change_count = 0;
    batch->bytes = 0;
    arena_reset(&batch->arena);
}

static tern_status commit_changes(struct batch *batch) {
    tern_status status = TERN_OK;
    if (batch->change_count > 0) {
        status = commit(batch, batch->changes, batch->change_count, batch->bytes);
    }
    forget_changes(batch, status == TERN_OK || status == TERN_UNKNOWN);
    return status;
}

/* The keys collected so far, each once. */
static tern_status copy_keys(struct batch *batch, bool *out_done) {
    struct txn_manager *manager = &batch->conversion->db->manager;
    struct snapshot snapshot = {0};
    *out_done = true;
    if (batch->key_count == 0) {
        return TERN_OK;
    }
    tern_status status = snapshot_take(manager, &snapshot, batch->conversion->error);
    if (status != TERN_OK) {
        return status;
    }
    qsort(batch->keys, batch->key_count, sizeof(batch->keys[0]), compare_keys);
    for (size_t i = 0; status == TERN_OK && *out_done && i < batch->key_count; i++) {
        if (i > 0 && compare_keys(&batch->keys[i - 1], &batch->keys[i]) == 0) {
            continue;
        }
        status = copy_key(batch, &snapshot, batch->keys[i], out_done);
        if (status == TERN_OK && batch->bytes >= BATCH_BYTES) {
            status = commit_changes(batch);
        }
    }
    snapshot_drop(manager, &snapshot);
    batch->key_count = 0;
    if (status == TERN_OK) {
        return commit_changes(batch); /* what was copied is right, also where it was not all */
    }
    forget_changes(batch, false);
    return status;
}

/* Copies what is noted in `bytes`. *out_done false: all of it is to be copied again, some other
 * time. */
static tern_status copy_noted(struct conversion *conversion, tern_slice bytes, bool is_leading,
                              bool *out_done) {
    const tern_allocator *allocator = conversion->db->allocator;
    struct captured_change captured;
    size_t position = 0;
    struct batch *batch = memory_allocate(allocator, sizeof(*batch));
    if (batch == NULL) {
        return ERROR_NO_MEMORY(conversion->error, "a conversion");
    }
    batch->conversion = conversion;
    batch->is_leading = is_leading;
    batch->key_count = batch->change_count = batch->token_count = 0;
    batch->bytes = batch->unpaid_bytes = 0;
    arena_init(&batch->arena, allocator, 65536);
    engine_scratch_init(&batch->scratch, allocator);
    tern_status status = TERN_OK;
    *out_done = true;
    while (status == TERN_OK && *out_done && change_capture_next(bytes, &position, &captured)) {
        if (captured.is_range) {
            status = delete_range(batch, &captured); /* C3 */
            continue;
        }
        batch->keys[batch->key_count++] = captured.key;
        if (batch->key_count == BATCH_KEYS) {
            status = copy_keys(batch, out_done);
            if (status == TERN_OK && !is_leading) {
                status = convert_report(conversion);
            }
        }
    }
    if (status == TERN_OK && *out_done) {
        status = copy_keys(batch, out_done);
    }
    engine_scratch_release(&batch->scratch);
    arena_release(&batch->arena);
    memory_release(allocator, batch);
    return status;
}

/* ---- rounds ---- */

/* The oldest piece of the backlog. */
static tern_status copy_piece(struct conversion *conversion, uint64_t *bytes, bool *out_done) {
    struct convert_backlog *backlog = &conversion->backlog;
    struct buffer piece;
    uint64_t size = 0;
    buffer_init(&piece, conversion->db->allocator);
    tern_status status = file_read_exact(backlog->file, CONVERT_FILE_NAME, backlog->begin, &size,
                                         sizeof(size), conversion->error);
    if (status == TERN_OK && buffer_reserve(&piece, (size_t)size) != TERN_OK) {
        status = ERROR_NO_MEMORY(conversion->error, "a conversion");
    }
    if (status == TERN_OK) {
        status = file_read_exact(backlog->file, CONVERT_FILE_NAME, backlog->begin + sizeof(size),
                                 piece.data, (size_t)size, conversion->error);
    }
    if (status == TERN_OK) {
        status = copy_noted(conversion, tern_slice_of(piece.data, (size_t)size), false, out_done);
        backlog->begin += status == TERN_OK && *out_done ? sizeof(size) + size : 0;
        *bytes += size;
    }
    buffer_release(&piece);
    return status;
}

bool convert_is_behind(const struct conversion *conversion, uint64_t bytes) {
    return conversion->backlog.begin < conversion->backlog.end ||
           atomic_load_explicit(&conversion->capture.size, memory_order_relaxed) > bytes;
}

tern_status convert_catch_up(struct conversion *conversion, uint64_t *out_bytes) {
    struct convert_backlog *backlog = &conversion->backlog;
    struct buffer taken;
    uint64_t bytes = 0;
    bool done = true;
    tern_status status = TERN_OK;
    while (status == TERN_OK && done && backlog->begin < backlog->end) {
        /* What comes meanwhile stays in memory, so that there is an end to it: when that is much,
         * writers are held back. */
        status = copy_piece(conversion, &bytes, &done);
    }
    if (backlog->begin == backlog->end) {
        convert_backlog_close(backlog);
    }
    if (status == TERN_OK && done) {
        status = take(conversion, &taken);
        if (status == TERN_OK) {
            bytes += taken.size;
            status = copy_noted(conversion, buffer_slice(&taken), false, &done);
            if (status == TERN_OK && !done) {
                status = push(conversion, buffer_slice(&taken));
            }
            change_capture_give_back(&conversion->capture, &taken);
        }
    }
    *out_bytes = bytes;
    return status;
}

tern_status convert_finish(struct conversion *conversion, bool *out_done) {
    struct buffer taken;
    struct change_capture *capture = &conversion->capture;
    *out_done = false;
    if (capture->bytes.size > FINISH_BYTES || conversion->backlog.begin < conversion->backlog.end) {
        return TERN_OK;
    }
    tern_status status = change_capture_take(capture, &taken, conversion->error);
    if (status != TERN_OK) {
        return status;
    }
    status = copy_noted(conversion, buffer_slice(&taken), true, out_done);
    if (status == TERN_OK && !*out_done) {
        /* Some may have been copied: once more does no harm. Nothing was noted meanwhile. */
        struct buffer empty = capture->bytes;
        capture->bytes = taken;
        taken = empty;
        atomic_store_explicit(&capture->size, capture->bytes.size, memory_order_relaxed);
    }
    change_capture_give_back(capture, &taken);
    return status;
}
