/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spare segments: preparing them ahead, recycling released ones, handing finished ones to the
 * archive.
 *
 * A spare bears its final name, "log-<id>", with a blank header, and both are durable before it is
 * handed out. So to begin a segment is to write its header.
 *
 * Invariants:
 * 1. Ids grow in the order in which spares become ready; an id is above those of all segments
 *    begun before. Hence the one in preparation is finished before another id is given out.
 * 2. One spare is held back: appends other than marks never take the last, so that a checkpoint
 *    that frees space, or a recovery on a full disk, finds one.
 * 3. A failure leaves the lists as they were and no file behind.
 *
 * A fresh segment may be written once ahead, so that no sync of it has extents to convert. That
 * doubles what the log writes until segments are recycled, so it is done only while there are many
 * syncs to a segment.
 */
#include "log/log_internal.h"

#define PAGE_BYTES ((uint64_t)4096)
/* Made ready ahead at a time: what is appended until the next time, and as much again. */
#define TOUCH_BYTES              (2 * LOG_STAGE_BYTES)
#define TOUCH_UNSYNCED_BYTES_MIN (4 * LOG_STAGE_BYTES)
/* Recyclable files kept beyond the spares wanted. */
#define RECYCLABLE_EXTRA_MAX 4u

static tern_status sync_names(struct log *log, tern_error *error) {
    const tern_file_system *file_system = log->options.file_system;
    return file_system->sync_directory(file_system->context, log->directory, error);
}

static void push_spare(struct log *log, struct log_segment *segment) {
    mutex_lock(&log->lock);
    struct log_segment **link = &log->spares;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    segment->next = NULL;
    *link = segment;
    atomic_fetch_add_explicit(&log->spare_count, 1, memory_order_release);
    mutex_unlock(&log->lock);
}

static uint32_t spare_count(const struct log *log) {
    return atomic_load_explicit(&log->spare_count, memory_order_acquire);
}

static struct log_segment *pop_spare(struct log *log, uint32_t left_behind) {
    struct log_segment *segment = NULL;
    mutex_lock(&log->lock);
    if (spare_count(log) > left_behind) {
        segment = log->spares;
        log->spares = segment->next;
        segment->next = NULL;
        atomic_fetch_sub_explicit(&log->spare_count, 1, memory_order_release);
    }
    mutex_unlock(&log->lock);
    return segment;
}

void log_note_recyclable(struct log *log, uint32_t id) {
    if (log->recyclable_count == log->recyclable_capacity) {
        size_t capacity = log->recyclable_capacity == 0 ? 16 : log->recyclable_capacity * 2;
        uint32_t *ids = memory_resize(log->options.allocator, log->recyclable,
                                      capacity * sizeof(*log->recyclable));
        if (ids == NULL) {
            return;
        }
        log->recyclable = ids;
        log->recyclable_capacity = capacity;
    }
    log->recyclable[log->recyclable_count++] = id;
}

tern_status log_remove_file(struct log *log, uint32_t id, tern_error *error) {
    char path[FILE_PATH_BYTES];
    tern_status status = log_segment_path(&log->options, id, path, error);
    if (status == TERN_OK) {
        const tern_file_system *file_system = log->options.file_system;
        status = file_system->remove(file_system->context, path, error);
    }
    return status == TERN_NOT_FOUND ? TERN_OK : status;
}

static tern_status take_id(struct log *log, uint32_t *out_id, tern_error *error) {
    if (log->next_id == UINT32_MAX) {
        return ERROR_SET(error, TERN_UNSUPPORTED, "the log has run out of segment ids");
    }
    *out_id = log->next_id++;
    return TERN_OK;
}

/* Makes the header blank, durably, so that the file means nothing under whatever name. */
static tern_status wipe_header(struct log *log, struct log_segment *segment, tern_error *error) {
    uint8_t *zeros = memory_allocate_zeroed(log->options.allocator, LOG_HEADER_BYTES);
    if (zeros == NULL) {
        return ERROR_NO_MEMORY(error, "recycling a log segment");
    }
    tern_status status = file_write(segment->file, 0, zeros, LOG_HEADER_BYTES, error);
    if (status == TERN_OK) {
        status = file_sync(segment->file, error);
    }
    memory_release(log->options.allocator, zeros);
    return status;
}

static tern_status rename_segment(struct log *log, struct log_segment *segment, tern_error *error) {
    const tern_file_system *file_system = log->options.file_system;
    char old_path[FILE_PATH_BYTES];
    char new_path[FILE_PATH_BYTES];
    uint32_t id = 0;
    tern_status status = take_id(log, &id, error);
    if (status == TERN_OK) {
        status = log_segment_path(&log->options, segment->id, old_path, error);
    }
    if (status == TERN_OK) {
        status = log_segment_path(&log->options, id, new_path, error);
    }
    if (status == TERN_OK) {
        status = file_system->rename(file_system->context, old_path, new_path, error);
    }
    if (status == TERN_OK) {
        segment->id = id;
    }
    return status;
}

/* Makes a file that is no longer needed blank and gives it a new name; NULL when it is of no use
 * and gone. */
static tern_status recycle(struct log *log, uint32_t old_id, struct log_segment **out_segment,
                           tern_error *error) {
    struct log_segment *segment = NULL;
    uint64_t bytes = 0;
    tern_status status =
        log_segment_open(&log->options, old_id, log->options.segment_bytes, 0, &segment, error);
    if (status != TERN_OK) {
        return status;
    }
    status = segment->file->methods->size(segment->file, &bytes, error);
    if (status == TERN_OK && bytes != log->options.segment_bytes) {
        log_segment_drop(&log->options, segment);
        *out_segment = NULL;
        return TERN_OK;
    }
    if (status == TERN_OK) {
        status = wipe_header(log, segment, error);
    }
    if (status == TERN_OK) {
        status = rename_segment(log, segment, error);
    }
    if (status != TERN_OK) {
        log_segment_close(&log->options, segment);
        return status;
    }
    *out_segment = segment;
    return TERN_OK;
}

/* The last steps to a spare; on failure it is gone. */
static tern_status finish_spare(struct log *log, struct log_segment *segment, tern_error *error) {
    tern_status status = log_segment_map(segment, error);
    if (status == TERN_OK) {
        status = sync_names(log, error);
    }
    if (status != TERN_OK) {
        log_segment_drop(&log->options, segment);
        return status;
    }
    push_spare(log, segment);
    return TERN_OK;
}

/* Turns one recyclable file into a spare; *out_done is false when there was none of use. */
static tern_status recycle_one(struct log *log, bool *out_done, tern_error *error) {
    *out_done = false;
    while (log->recyclable_count > 0) {
        uint32_t id = log->recyclable[log->recyclable_count - 1];
        struct log_segment *segment = NULL;
        tern_status status = recycle(log, id, &segment, error);
        if (status == TERN_OK || status == TERN_NOT_FOUND) {
            log->recyclable_count--;
        }
        if (status == TERN_NOT_FOUND || (status == TERN_OK && segment == NULL)) {
            continue;
        }
        if (status == TERN_OK) {
            status = finish_spare(log, segment, error);
        }
        if (status == TERN_OK) {
            log_count(&log->recycled_segments, 1);
            *out_done = true;
        }
        return status;
    }
    return TERN_OK;
}

static tern_status begin_preparing(struct log *log, tern_error *error) {
    uint32_t id = 0;
    tern_status status = take_id(log, &id, error);
    if (status == TERN_OK) {
        status = log_segment_create(&log->options, id, &log->preparing, error);
    }
    return status;
}

static bool prewriting_pays(struct log *log) {
    uint64_t syncs = atomic_load_explicit(&log->syncs, memory_order_relaxed);
    bool pays = syncs - log->syncs_seen >= log->options.prewrite_syncs;
    log->syncs_seen = syncs;
    return pays;
}

static tern_status finish_preparing(struct log *log, tern_error *error) {
    struct log_segment *segment = log->preparing;
    log->preparing = NULL;
    return finish_spare(log, segment, error);
}

/* One spare more, without writing it once: the caller waits. */
static tern_status prepare_quickly(struct log *log, tern_error *error) {
    if (log->preparing != NULL) {
        return finish_preparing(log, error);
    }
    bool done;
    tern_status status = recycle_one(log, &done, error);
    if (status != TERN_OK || done) {
        return status;
    }
    status = begin_preparing(log, error);
    if (status == TERN_OK) {
        status = finish_preparing(log, error);
    }
    return status;
}

tern_status log_ensure_spares(struct log *log, uint32_t count, tern_error *error) {
    if (spare_count(log) >= count) {
        return TERN_OK;
    }
    tern_status status = TERN_OK;
    mutex_lock(&log->prepare_lock);
    while (status == TERN_OK && spare_count(log) < count) {
        log_count(&log->inline_prepares, 1);
        status = prepare_quickly(log, error);
    }
    mutex_unlock(&log->prepare_lock);
    return status;
}

tern_status log_take_spare(struct log *log, bool may_take_last, struct log_segment **out_segment,
                           tern_error *error) {
    uint32_t left_behind = may_take_last ? 0 : 1;
    struct log_segment *segment = pop_spare(log, left_behind);
    while (segment == NULL) {
        tern_status status = log_ensure_spares(log, left_behind + 1, error);
        if (status != TERN_OK) {
            return status;
        }
        segment = pop_spare(log, left_behind);
    }
    *out_segment = segment;
    return TERN_OK;
}

struct log_segment *log_next_spare(struct log *log) {
    struct log_segment *segment = NULL;
    mutex_lock(&log->lock);
    if (spare_count(log) > 1) {
        segment = log->spares;
    }
    mutex_unlock(&log->lock);
    return segment;
}

/* While a direct segment is new, one spare suffices: what a checkpoint releases meanwhile need not
 * be written once, and to write a fresh one would hold up syncs that are waited for. */
bool log_wants_prepare(const struct log *log) {
    uint32_t count = spare_count(log);
    return !log->is_read_only && !log_is_poisoned(log) && count < log_spares_wanted(log) &&
           (count == 0 || !log_direct_has_time(log));
}

static void advise_away(const struct log_segment *segment) {
    segment->file->methods->advise(segment->file, 0, segment->bytes, false);
}

/*
 * Where syncs are far apart the next one, which a checkpoint waits for, would find all of it to
 * write; so a segment is sent on its way as it is finished. By the time the next one is, most of it
 * has been written, and what it takes of the page cache is of more use to the segments to come.
 */
static void send_off(const struct log *log, struct log_segment *segment,
                     const struct log_segment *before) {
    if (segment->file->methods->advise != NULL &&
        log_position_segment(log_durable_position(log)) < segment->id) {
        advise_away(segment);
        segment->is_sent_off = true;
    }
    if (before != NULL && before->is_sent_off) {
        advise_away(before);
    }
}

/* Finished segments need no mapping. Skipped when a release is under way, which does the same; the
 * lock keeps the segments. */
static void unmap_finished(struct log *log) {
    for (;;) {
        const struct log_segment *before = NULL;
        mutex_lock(&log->lock);
        struct log_segment *segment = log->segments;
        while (segment != NULL && segment->memory == NULL) {
            before = segment;
            segment = segment->next;
        }
        if (segment == log->active) {
            segment = NULL;
        }
        mutex_unlock(&log->lock);
        if (segment == NULL) {
            return;
        }
        log_segment_unmap(segment);
        send_off(log, segment, before);
    }
}

/* A slice: recycles one file, or writes a part of a fresh one. */
static tern_status prepare_slice(struct log *log, tern_error *error) {
    if (log->preparing == NULL) {
        bool done;
        tern_status status = recycle_one(log, &done, error);
        if (status == TERN_OK && !done) {
            status = begin_preparing(log, error);
        }
        if (status != TERN_OK || done) {
            return status;
        }
        if (!prewriting_pays(log)) {
            return finish_preparing(log, error);
        }
    }
    struct log_segment *segment = log->preparing;
    tern_status status =
        log_segment_prewrite(&log->options, segment, LOG_PREWRITE_SLICE_BYTES, error);
    if (status != TERN_OK) {
        log->preparing = NULL;
        log_segment_drop(&log->options, segment);
    } else if (segment->prewritten == segment->bytes) {
        status = finish_preparing(log, error);
    }
    return status;
}

/*
 * The lock keeps the segment mapped, should appends leave it meanwhile. What is touched is written
 * with the next sync, used or not: so where syncs follow each other closely nothing is.
 */
void log_touch_ahead(struct log *log) {
    if (!mutex_try_lock(&log->release_lock)) {
        return;
    }
    log_position end = log_end_position(log);
    mutex_lock(&log->lock);
    struct log_segment *segment = log->active;
    mutex_unlock(&log->lock);
    uint64_t offset = log_position_offset(end) + (PAGE_BYTES - 1);
    offset -= offset % PAGE_BYTES;
    if (segment != NULL && segment->id == log_position_segment(end) && segment->memory != NULL &&
        segment->file->methods->touch != NULL && offset < segment->bytes &&
        end - log_durable_position(log) >= TOUCH_UNSYNCED_BYTES_MIN) {
        uint64_t left = segment->bytes - offset;
        segment->file->methods->touch(segment->file, segment->memory, offset,
                                      (size_t)(left < TOUCH_BYTES ? left : TOUCH_BYTES));
    }
    mutex_unlock(&log->release_lock);
}

tern_status log_prepare(struct log *log, tern_error *error) {
    if (mutex_try_lock(&log->release_lock)) {
        unmap_finished(log);
        mutex_unlock(&log->release_lock);
    }
    if (!log_wants_prepare(log)) {
        return TERN_OK;
    }
    tern_status status = TERN_OK;
    mutex_lock(&log->prepare_lock);
    if (log_wants_prepare(log)) {
        status = prepare_slice(log, error);
    }
    mutex_unlock(&log->prepare_lock);
    return status;
}

/* The oldest segment, when it is finished and nothing from it on is needed below `position`. */
static struct log_segment *find_released(struct log *log, log_position position) {
    mutex_lock(&log->lock);
    struct log_segment *segment = log->segments;
    uint32_t needed = log_position_segment(position);
    for (const struct log_reader *reader = log->readers; reader != NULL; reader = reader->next) {
        uint32_t id = log_position_segment(reader->position);
        needed = id < needed ? id : needed;
    }
    bool is_released = segment != NULL && segment != log->active && segment->id < needed;
    mutex_unlock(&log->lock);
    return is_released ? segment : NULL;
}

static tern_status archive_segment(struct log *log, struct log_segment *segment,
                                   tern_error *error) {
    if (log->options.archive == NULL || segment->is_archived) {
        return TERN_OK;
    }
    char path[FILE_PATH_BYTES];
    tern_status status = log_segment_path(&log->options, segment->id, path, error);
    if (status != TERN_OK) {
        return status;
    }
    status = log->options.archive(log->options.archive_context, path, segment->id);
    if (status != TERN_OK) {
        return ERROR_AT(error, status, path, -1, 0,
                        "the archive function refused a log segment (%s); it is kept and offered "
                        "again",
                        tern_status_name(status));
    }
    segment->is_archived = true;
    log_count(&log->archived_segments, 1);
    return TERN_OK;
}

static void retire_segment(struct log *log, struct log_segment *segment) {
    mutex_lock(&log->lock);
    ASSERT(log->segments == segment);
    log->segments = segment->next;
    log->segment_count--;
    mutex_unlock(&log->lock);
    uint32_t id = segment->id;
    log_segment_close(&log->options, segment);
    mutex_lock(&log->prepare_lock);
    log_note_recyclable(log, id);
    mutex_unlock(&log->prepare_lock);
}

/* Removes files kept for use again until with the spares there are `kept`. */
static tern_status remove_recyclable(struct log *log, uint32_t kept, tern_error *error) {
    tern_status status = TERN_OK;
    mutex_lock(&log->prepare_lock);
    while (status == TERN_OK && log->recyclable_count > 0 &&
           spare_count(log) + log->recyclable_count > kept) {
        status = log_remove_file(log, log->recyclable[log->recyclable_count - 1], error);
        if (status == TERN_OK) {
            log->recyclable_count--;
        }
    }
    mutex_unlock(&log->prepare_lock);
    return status;
}

/*
 * As many files are kept as the log had use for between this release and the one before; the rest
 * goes back to the file system.
 */
static tern_status trim_recyclable(struct log *log, uint32_t used_segments, tern_error *error) {
    uint32_t wanted = log_spares_wanted(log);
    uint32_t kept = used_segments + 1;
    kept = kept < wanted ? wanted : kept;
    kept = kept > wanted + RECYCLABLE_EXTRA_MAX ? wanted + RECYCLABLE_EXTRA_MAX : kept;
    return remove_recyclable(log, kept, error);
}

tern_status log_trim(struct log *log, tern_error *error) {
    return log->is_read_only ? TERN_OK : remove_recyclable(log, log_spares_wanted(log), error);
}

tern_status log_release(struct log *log, log_position position, tern_error *error) {
    if (log->is_read_only) {
        return TERN_OK;
    }
    if (log_is_poisoned(log)) {
        return log_error_poisoned(error);
    }
    tern_status status = TERN_OK;
    mutex_lock(&log->release_lock);
    unmap_finished(log);
    log_position durable = log_durable_position(log);
    position = position < durable ? position : durable;
    mutex_lock(&log->lock);
    uint32_t used_segments = log->segment_count;
    mutex_unlock(&log->lock);
    bool has_retired = false;
    for (;;) {
        struct log_segment *segment = find_released(log, position);
        if (segment == NULL) {
            break;
        }
        status = archive_segment(log, segment, error);
        if (status != TERN_OK) {
            break;
        }
        retire_segment(log, segment);
        has_retired = true;
    }
    if (status == TERN_OK && has_retired) {
        status = trim_recyclable(log, used_segments, error);
    }
    mutex_unlock(&log->release_lock);
    return status;
}

log_position log_start_position(const struct log *log) {
    /* The list is guarded by a lock that is no part of what the caller sees as constant. */
    struct log *mutable_log = (struct log *)(uintptr_t)log;
    mutex_lock(&mutable_log->lock);
    log_position start =
        log->segments != NULL ? log_position_of(log->segments, LOG_HEADER_BYTES) : 0;
    mutex_unlock(&mutable_log->lock);
    return start;
}
