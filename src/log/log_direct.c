/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct segments. A commit that is synced alone costs, in a mapped segment, a walk over dirty
 * pages, their write, a flush, and being woken. Here it is one durable write of the blocks that
 * changed (tern_file_methods::write_durable), for which the caller may stay awake.
 *
 *   file    | header | blocks wholly written | block | block  .  .  .
 *                                            ^   ^      ^
 *                                         base   |      end of the log
 *   buffer                                  [ ...|..... ]
 *                                              written
 *
 * The block in which `written` lies is written again each time. Its old bytes stay what they are,
 * so a torn write harms nothing that was durable before.
 *
 * Invariants:
 * 1. A segment is direct from its header (log_direct_begin) to its seal (log_direct_finish), or not
 *    at all: direct writes and a mapping never meet. A log that is opened again goes on mapped.
 * 2. What lies in [written, end) is in the buffer alone and would not survive the process. Whoever
 *    promises that it does, or reads the file, sees to it that it is written (log_keep,
 *    log_write_out, log_direct_show).
 * 3. A durable write vouches for its own bytes: when others of the segment were written without
 *    (is_dirty), the file is synced instead.
 * 4. Appended bytes below `end` never change, so they are copied under the lock alone, while the
 *    appender goes on behind them. The buffer is moved under the lock.
 * 5. A switch never waits for a spare. When commits that are not synced come and there is none, the
 *    direct segment goes on, written out before each acknowledgement.
 *
 * Each early switch leaves a part of a segment unused. So whenever a direct segment was left with
 * less than half of it used, it takes twice as many syncs in a row to come back; one that was used
 * up makes that good.
 */
#include "log/log_direct.h"

#include "log/log_internal.h"

/* So many bytes are about one commit: bounds how many syncs in a row are asked for. */
#define COMMIT_BYTES 128u

static uint32_t threshold_of(const struct log_options *options) {
    return options->direct_syncs != 0 ? options->direct_syncs : LOG_DIRECT_SYNCS;
}

void log_direct_init(struct log_direct *direct, const struct log_options *options) {
    *direct = (struct log_direct){.threshold = threshold_of(options)};
    mutex_init(&direct->lock);
}

void log_direct_release(struct log *log) {
    struct log_direct *direct = &log->direct;
    (void)file_close(direct->file, NULL);
    memory_release_aligned(log->options.allocator, direct->buffer);
    memory_release_aligned(log->options.allocator, direct->bounce);
    mutex_destroy(&direct->lock);
}

static uint64_t block_begin(uint64_t offset) {
    return offset - offset % LOG_DIRECT_BLOCK_BYTES;
}

static uint64_t block_end(uint64_t offset) {
    return block_begin(offset + LOG_DIRECT_BLOCK_BYTES - 1);
}

/* ---- which way ---- */

/* It takes longer to come (back) to direct segments. */
static void hold_off(struct log *log) {
    struct log_direct *direct = &log->direct;
    uint64_t most = log->options.segment_bytes / COMMIT_BYTES;
    uint64_t doubled = (uint64_t)direct->threshold * 2;
    direct->lone_syncs = 0;
    if (direct->threshold < most) {
        direct->threshold = (uint32_t)(doubled < most ? doubled : most);
    }
}

static bool equip(struct log *log) {
    struct log_direct *direct = &log->direct;
    const tern_allocator *allocator = log->options.allocator;
    mutex_lock(&direct->lock);
    if (direct->buffer == NULL) {
        direct->buffer =
            memory_allocate_aligned(allocator, LOG_DIRECT_BLOCK_BYTES, LOG_DIRECT_BUFFER_BYTES);
        direct->buffer_bytes = LOG_DIRECT_BUFFER_BYTES;
    }
    if (direct->bounce == NULL) {
        direct->bounce =
            memory_allocate_aligned(allocator, LOG_DIRECT_BLOCK_BYTES, LOG_DIRECT_BOUNCE_BYTES);
    }
    bool has_all = direct->buffer != NULL && direct->bounce != NULL;
    mutex_unlock(&direct->lock);
    return has_all;
}

tern_file *log_direct_open(struct log *log, uint64_t record_bytes) {
    struct log_direct *direct = &log->direct;
    const tern_file_system *file_system = log->options.file_system;
    if (log_direct_is_large(record_bytes)) {
        direct->lone_syncs = 0;
    }
    const struct log_segment *spare = log_direct_is_due(direct) ? log_next_spare(log) : NULL;
    if (spare == NULL) {
        return NULL;
    }
    char path[FILE_PATH_BYTES];
    tern_file *file = NULL;
    uint32_t flags = TERN_OPEN_DIRECT | (log->options.plain_io ? 0u : (uint32_t)TERN_OPEN_RING);
    if (!equip(log) || log_segment_path(&log->options, spare->id, path, NULL) != TERN_OK ||
        file_system->open(file_system->context, path, flags, &file, NULL) != TERN_OK) {
        hold_off(log);
        return NULL;
    }
    if ((file->flags & TERN_OPEN_DIRECT) == 0 || file->alignment_bytes > LOG_DIRECT_BLOCK_BYTES) {
        /* This file system cannot, and will not learn. */
        direct->threshold = LOG_DIRECT_NEVER;
        (void)file_close(file, NULL);
        return NULL;
    }
    return file;
}

/* ---- writing; under the lock ---- */

/* Writes [written, upto) by whole blocks. */
static tern_status write_blocks(struct log_direct *direct, uint64_t upto, bool durable,
                                tern_error *error) {
    uint64_t stop = block_end(upto);
    tern_status status = TERN_OK;
    direct->is_dirty = direct->is_dirty || !durable;
    for (uint64_t at = block_begin(direct->written); at < stop && status == TERN_OK;) {
        uint64_t left = stop - at;
        size_t part = left < LOG_DIRECT_BOUNCE_BYTES ? (size_t)left : LOG_DIRECT_BOUNCE_BYTES;
        size_t used = upto - at < part ? (size_t)(upto - at) : part;
        memcpy(direct->bounce, direct->buffer + (at - direct->base), used);
        memset(direct->bounce + used, 0, part - used);
        status = durable ? file_write_durable(direct->file, at, direct->bounce, part, error)
                         : file_write(direct->file, at, direct->bounce, part, error);
        at += part;
    }
    if (status == TERN_OK) {
        direct->written = upto;
    }
    return status;
}

static void publish_readable(struct log_direct *direct) {
    atomic_store_explicit(&direct->readable,
                          (log_position)direct->segment->id << 32 | direct->written,
                          memory_order_release);
}

/* How far the segment is appended, for threads other than the appender: when the log's end is still
 * in the segment before, not at all. */
static uint64_t appended_bytes(const struct log *log) {
    log_position end = log_end_position(log);
    return log_position_segment(end) == log->direct.segment->id ? log_position_offset(end)
                                                                : log->direct.written;
}

static tern_status write_out(struct log *log, uint64_t upto, tern_error *error) {
    struct log_direct *direct = &log->direct;
    if (upto <= direct->written) {
        return TERN_OK;
    }
    if (log_is_poisoned(log)) {
        return log_error_poisoned(error);
    }
    tern_status status = write_blocks(direct, upto, false, error);
    if (status != TERN_OK) {
        return log_fail_write(log, error);
    }
    publish_readable(direct);
    return TERN_OK;
}

/* ---- the life of a direct segment ---- */

tern_status log_direct_put_header(struct log *log, tern_file *file, const uint8_t *block,
                                  tern_error *error) {
    struct log_direct *direct = &log->direct;
    mutex_lock(&direct->lock);
    memcpy(direct->bounce, block, LOG_HEADER_BYTES);
    tern_status status = file_write(file, 0, direct->bounce, LOG_HEADER_BYTES, error);
    mutex_unlock(&direct->lock);
    return status;
}

void log_direct_begin(struct log *log, struct log_segment *segment, tern_file *file) {
    struct log_direct *direct = &log->direct;
    mutex_lock(&direct->lock);
    ASSERT(direct->segment == NULL && direct->file == NULL);
    direct->segment = segment;
    direct->file = file;
    direct->base = direct->written = LOG_HEADER_BYTES;
    direct->is_dirty = true; /* the header */
    publish_readable(direct);
    mutex_unlock(&direct->lock);
}

tern_status log_direct_finish(struct log *log, const uint8_t *seal, tern_error *error) {
    struct log_direct *direct = &log->direct;
    uint64_t offset = log->appender.offset;
    mutex_lock(&direct->lock);
    uint64_t segment_bytes = direct->segment->bytes;
    ASSERT(offset - direct->base + LOG_SEAL_BYTES <= direct->buffer_bytes);
    memcpy(direct->buffer + (offset - direct->base), seal, LOG_SEAL_BYTES);
    tern_status status = write_out(log, offset + LOG_SEAL_BYTES, error);
    tern_file *file = direct->file;
    if (status == TERN_OK) {
        direct->segment = NULL;
        direct->file = NULL;
        atomic_store_explicit(&direct->readable, 0, memory_order_release);
    }
    mutex_unlock(&direct->lock);
    if (status != TERN_OK) {
        return status;
    }
    (void)file_close(file, NULL);
    log_direct_set_wants_mapped(direct, false);
    if (offset < segment_bytes / 2) {
        hold_off(log);
    } else {
        direct->threshold = threshold_of(&log->options);
    }
    return TERN_OK;
}

/* Moves what is not wholly written to the front, and grows the buffer where that is not enough. */
static tern_status slide(struct log *log, size_t room_bytes, tern_error *error) {
    struct log_direct *direct = &log->direct;
    uint64_t offset = log->appender.offset;
    tern_status status = write_out(log, offset, error);
    if (status != TERN_OK) {
        return status;
    }
    uint64_t base = block_begin(direct->written);
    size_t kept = (size_t)(offset - base);
    uint8_t *target = direct->buffer;
    size_t bytes = direct->buffer_bytes;
    if (kept + room_bytes > bytes) {
        bytes = (size_t)block_end(kept + room_bytes);
        target = memory_allocate_aligned(log->options.allocator, LOG_DIRECT_BLOCK_BYTES, bytes);
        if (target == NULL) {
            return ERROR_NO_MEMORY(error, "a log record");
        }
    }
    memmove(target, direct->buffer + (base - direct->base), kept);
    if (target != direct->buffer) {
        memory_release_aligned(log->options.allocator, direct->buffer);
        direct->buffer = target;
        direct->buffer_bytes = bytes;
    }
    direct->base = base;
    return TERN_OK;
}

tern_status log_direct_make_room(struct log *log, size_t record_bytes, tern_error *error) {
    struct log_direct *direct = &log->direct;
    uint64_t offset = log->appender.offset;
    size_t room_bytes = record_bytes + LOG_SEAL_BYTES;
    if (offset - direct->base + room_bytes > direct->buffer_bytes) {
        mutex_lock(&direct->lock);
        tern_status status = slide(log, room_bytes, error);
        mutex_unlock(&direct->lock);
        if (status != TERN_OK) {
            return status;
        }
    }
    log->appender.record = direct->buffer + (offset - direct->base);
    return TERN_OK;
}

/* ---- any thread ---- */

/* Under the lock. */
static tern_status make_durable(struct log *log, tern_error *error) {
    struct log_direct *direct = &log->direct;
    uint64_t upto = appended_bytes(log);
    if (log_is_poisoned(log)) {
        return log_error_poisoned(error);
    }
    bool is_one_write = block_end(upto) - block_begin(direct->written) <= LOG_DIRECT_BOUNCE_BYTES;
    if (!direct->is_dirty && is_one_write) {
        tern_status status = TERN_OK;
        if (upto > direct->written) {
            status = write_blocks(direct, upto, true, error);
            publish_readable(direct);
            log_count(&log->direct_syncs, 1);
        }
        return status;
    }
    tern_status status = write_out(log, upto, error);
    if (status == TERN_OK) {
        status = file_sync(direct->segment->file, error);
    }
    direct->is_dirty = direct->is_dirty && status != TERN_OK;
    return status;
}

tern_status log_direct_sync(struct log *log, struct log_segment *segment, tern_error *error) {
    struct log_direct *direct = &log->direct;
    mutex_lock(&direct->lock);
    bool is_direct = direct->segment == segment;
    tern_status status = is_direct ? make_durable(log, error) : TERN_OK;
    mutex_unlock(&direct->lock);
    return is_direct ? status : file_sync(segment->file, error);
}

tern_status log_write_out(struct log *log, tern_error *error) {
    struct log_direct *direct = &log->direct;
    tern_status status = TERN_OK;
    if (atomic_load_explicit(&direct->readable, memory_order_acquire) != 0) {
        mutex_lock(&direct->lock);
        if (direct->segment != NULL) {
            status = write_out(log, appended_bytes(log), error);
        }
        mutex_unlock(&direct->lock);
    }
    return status;
}

tern_status log_direct_show(struct log *log, log_position limit, tern_error *error) {
    log_position readable = atomic_load_explicit(&log->direct.readable, memory_order_acquire);
    return readable == 0 || readable >= limit ? TERN_OK : log_write_out(log, error);
}

bool log_direct_has_time(const struct log *log) {
    const struct log_direct *direct = &log->direct;
    log_position readable = atomic_load_explicit(&direct->readable, memory_order_relaxed);
    return readable != 0 && log_position_offset(readable) < log->options.segment_bytes / 2 &&
           !log_direct_wants_mapped(direct);
}
