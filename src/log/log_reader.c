/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Followers of the live log. A reader reads through the file, which sees what was stored through
 * the mapping, and never beyond `end`: bytes there may be in the making. What a direct segment has
 * in memory alone is written out before. Retention is by the
 * reader's position, which log_release consults under the lock; so the segment that a reader
 * stands in, and the file the reader borrows from it, stay.
 */
#include "log/log_internal.h"

static bool is_held(const struct log *log, log_position position) {
    if (position > log_end_position(log)) {
        return false;
    }
    for (const struct log_segment *segment = log->segments; segment != NULL;
         segment = segment->next) {
        if (segment->id == log_position_segment(position)) {
            return log_position_offset(position) >= LOG_HEADER_BYTES &&
                   (segment == log->active || segment->end_offset >= log_position_offset(position));
        }
    }
    return false;
}

tern_status log_reader_open(struct log *log, log_position position, struct log_reader **out_reader,
                            tern_error *error) {
    struct log_reader *reader = memory_allocate_zeroed(log->options.allocator, sizeof(*reader));
    if (reader == NULL) {
        return ERROR_NO_MEMORY(error, "a reader of the log");
    }
    reader->log = log;
    log_window_init(&reader->window, log->options.allocator);
    mutex_lock(&log->lock);
    if (position == 0 && log->segments != NULL) {
        position = log_position_of(log->segments, LOG_HEADER_BYTES);
    }
    bool held = is_held(log, position);
    if (held) {
        reader->position = position;
        reader->next = log->readers;
        log->readers = reader;
    }
    mutex_unlock(&log->lock);
    if (!held) {
        memory_release(log->options.allocator, reader);
        return ERROR_SET(
            error, TERN_NOT_FOUND, "the log does not hold segment %u offset %u (any more)",
            (unsigned)log_position_segment(position), (unsigned)log_position_offset(position));
    }
    *out_reader = reader;
    return TERN_OK;
}

/* The segment that the reader stands in, going on to the next where the chain leaves one. */
static struct log_segment *find_segment(struct log_reader *reader) {
    struct log *log = reader->log;
    mutex_lock(&log->lock);
    struct log_segment *segment = log->segments;
    while (segment != NULL && segment->id != log_position_segment(reader->position)) {
        segment = segment->next;
    }
    ASSERT(segment != NULL);
    while (segment != log->active && segment->next != NULL &&
           log_position_offset(reader->position) >= segment->end_offset) {
        segment = segment->next;
        reader->position = log_position_of(segment, LOG_HEADER_BYTES);
    }
    mutex_unlock(&log->lock);
    return segment;
}

static void attach(struct log_reader *reader, struct log_segment *segment, log_position limit) {
    uint64_t bytes =
        log_position_segment(limit) == segment->id ? log_position_offset(limit) : segment->bytes;
    if (reader->attached == segment && reader->window.limit == bytes) {
        return;
    }
    struct log_segment_header header = {.id = segment->id, .segment_bytes = segment->bytes};
    log_window_attach(&reader->window, segment->file, &header, bytes);
    reader->window.seed = segment->seed;
    reader->attached = segment;
}

static void move_to(struct log_reader *reader, log_position position) {
    mutex_lock(&reader->log->lock);
    reader->position = position;
    mutex_unlock(&reader->log->lock);
}

static tern_status damaged(const struct log_reader *reader, tern_error *error) {
    char path[FILE_PATH_BYTES];
    tern_status status = log_segment_path(&reader->log->options,
                                          log_position_segment(reader->position), path, error);
    if (status != TERN_OK) {
        return status;
    }
    return ERROR_AT(error, TERN_CORRUPTION, path, log_position_offset(reader->position), 0,
                    "log record is damaged; run `tern verify` for the extent");
}

tern_status log_reader_next(struct log_reader *reader, log_position limit, size_t records_max,
                            log_visitor visit, void *context, size_t *out_visited,
                            tern_error *error) {
    log_position end = log_end_position(reader->log);
    size_t visited = 0;
    limit = limit < end ? limit : end;
    tern_status status = log_direct_show(reader->log, limit, error);
    while (status == TERN_OK && visited < records_max) {
        struct log_segment *segment = find_segment(reader);
        log_position position = reader->position;
        enum log_found found;
        struct log_record_header header;
        const uint8_t *bytes;
        if (position >= limit) {
            break;
        }
        attach(reader, segment, limit);
        status = log_window_look(&reader->window, log_position_offset(position), &found, &header,
                                 &bytes, error);
        if (status != TERN_OK) {
            break;
        }
        if (found != LOG_FOUND_RECORD) {
            status = damaged(reader, error);
            break;
        }
        struct log_record record = {
            .kind = (enum log_record_kind)header.kind,
            .position = position,
            .end = position + log_record_bytes(header.payload_bytes),
            .incarnation = header.incarnation,
            .payload = bytes + LOG_RECORD_HEADER_BYTES,
            .payload_size = header.payload_bytes,
        };
        if (header.kind != LOG_RECORD_SEAL) {
            status = visit(context, &record, error);
            visited += status == TERN_OK;
        }
        if (status == TERN_OK) {
            move_to(reader, record.end);
        }
    }
    *out_visited = visited;
    return status;
}

void log_reader_close(struct log_reader *reader) {
    if (reader == NULL) {
        return;
    }
    struct log *log = reader->log;
    mutex_lock(&log->lock);
    struct log_reader **link = &log->readers;
    while (*link != reader) {
        link = &(*link)->next;
    }
    *link = reader->next;
    mutex_unlock(&log->lock);
    log_window_release(&reader->window);
    memory_release(log->options.allocator, reader);
}
