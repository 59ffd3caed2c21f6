/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appending. One appender at a time and no locks while a segment lasts: the record is built in the
 * mapped segment (or in a buffer that log_end writes; or, in a direct segment, in a buffer that
 * log_sync or log_keep write), sealed by its checksum, and then `end` is published. A segment that
 * has no room is sealed and the next begun.
 *
 * Invariants:
 * 1. `end` covers only whole records, seals and headers, so a follower or a sync may take any
 *    position it reads there as a boundary.
 * 2. A seal always fits: no record may reach into the last LOG_SEAL_BYTES of a segment.
 * 3. The header of the next segment is written before the seal that names it. Should the former
 *    fail the log is poisoned, for the header may be on disk and replay would leave the old segment
 *    where it says.
 */
#include "base/bytes.h"
#include "log/log_internal.h"

#define BUFFER_BYTES_MIN ((size_t)16 << 10)
#define PREFETCH_BYTES   ((size_t)256)

void log_poison(struct log *log) {
    atomic_store_explicit(&log->is_poisoned, true, memory_order_release);
}

tern_status log_error_poisoned(tern_error *error) {
    return ERROR_SET(error, TERN_POISONED,
                     "the log refuses writes because writing or syncing it failed before; close "
                     "and reopen the database");
}

tern_status log_fail_write(struct log *log, tern_error *error) {
    log_poison(log);
    if (error != NULL) {
        error->status = TERN_POISONED;
    }
    return TERN_POISONED;
}

bool log_is_poisoned(const struct log *log) {
    return atomic_load_explicit(&log->is_poisoned, memory_order_acquire);
}

size_t log_payload_bytes_max(const struct log *log) {
    return (size_t)log_segment_payload_max(log->options.segment_bytes);
}

log_position log_end_position(const struct log *log) {
    return atomic_load_explicit(&log->end, memory_order_acquire);
}

uint64_t log_stage(const struct log *log) {
    return atomic_load_explicit(&log->stage, memory_order_relaxed);
}

log_position log_durable_position(const struct log *log) {
    return atomic_load_explicit(&log->durable, memory_order_acquire);
}

static void publish_end(struct log *log) {
    atomic_store_explicit(&log->end, log_position_of(log->active, log->appender.offset),
                          memory_order_release);
}

/* The bytes of a seal that ends the active segment and leads to segment `next_id`. */
static uint32_t encode_seal(const struct log *log, uint32_t next_id,
                            uint8_t out_seal[LOG_SEAL_BYTES]) {
    const struct log_appender *appender = &log->appender;
    struct log_record_header header = {
        .payload_bytes = LOG_SEAL_PAYLOAD_BYTES,
        .chain = appender->chain,
        .incarnation = log->incarnation,
        .kind = LOG_RECORD_SEAL,
        .durable = log_durable_position(log),
    };
    put_u32(out_seal + LOG_RECORD_HEADER_BYTES, next_id);
    put_u32(out_seal + LOG_RECORD_HEADER_BYTES + 4, 0);
    log_record_encode(&header, log->active->seed, log_position_of(log->active, appender->offset),
                      out_seal);
    return header.checksum;
}

/* Makes a segment whose header is written the active one. */
static void install(struct log *log, struct log_segment *segment, uint32_t chain,
                    tern_file *direct) {
    if (direct != NULL) {
        log_direct_begin(log, segment, direct);
    }
    mutex_lock(&log->lock);
    struct log_segment **link = &log->segments;
    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = segment;
    segment->next = NULL;
    log->active = segment;
    log_note_stage(log, segment, 0);
    log->segment_count++;
    mutex_unlock(&log->lock);
    log->appender.offset = LOG_HEADER_BYTES;
    log->appender.chain = chain;
    publish_end(log);
}

static uint32_t encode_header(struct log *log, struct log_segment *segment,
                              log_position previous_end, uint32_t previous_chain,
                              bool chain_is_known, uint8_t *block) {
    struct log_segment_header header = {
        .id = segment->id,
        .incarnation = log->incarnation,
        .segment_bytes = segment->bytes,
        .previous_end = previous_end,
        .previous_chain = previous_chain,
        .previous_chain_is_known = chain_is_known,
        .durable = log_durable_position(log),
    };
    log->options.random->fill(log->options.random->context, &header.salt, sizeof(header.salt));
    log_header_encode(&header, block);
    segment->seed = log_salt_seed(header.salt);
    return header.checksum;
}

tern_status log_begin_segment(struct log *log, log_position previous_end, uint32_t previous_chain,
                              bool chain_is_known, bool may_take_last, bool header_comes_last,
                              tern_file *direct, tern_error *error) {
    struct log_appender *appender = &log->appender;
    struct log_segment *segment;
    tern_status status = log_take_spare(log, may_take_last, &segment, error);
    if (status != TERN_OK) {
        (void)file_close(direct, NULL);
        return status;
    }
    if (direct != NULL) {
        log_segment_forget(segment);
    }
    uint8_t seal[LOG_SEAL_BYTES];
    struct log_segment *previous = log->active;
    if (previous != NULL) {
        previous_chain = encode_seal(log, segment->id, seal);
        previous_end = log_position_of(previous, appender->offset + LOG_SEAL_BYTES);
        chain_is_known = true;
    }
    uint8_t *block = appender->header + (header_comes_last ? LOG_HEADER_BYTES : 0);
    uint32_t chain =
        encode_header(log, segment, previous_end, previous_chain, chain_is_known, block);
    if (header_comes_last) {
        appender->late_segment = segment;
    } else if (direct != NULL) {
        status = log_direct_put_header(log, direct, block, error);
    } else {
        status = log_segment_put(segment, 0, block, LOG_HEADER_BYTES, error);
    }
    if (status == TERN_OK && previous != NULL) {
        status = log->direct.segment != NULL
                     ? log_direct_finish(log, seal, error)
                     : log_segment_put(previous, appender->offset, seal, LOG_SEAL_BYTES, error);
    }
    if (status != TERN_OK) {
        (void)file_close(direct, NULL);
        log_segment_close(&log->options, segment);
        return log_fail_write(log, error);
    }
    if (previous != NULL) {
        mutex_lock(&log->lock);
        previous->end_offset = log_position_offset(previous_end);
        mutex_unlock(&log->lock);
        log_count(&log->segment_switches, 1);
    }
    install(log, segment, chain, direct);
    return TERN_OK;
}

tern_status log_write_late_header(struct log *log, tern_error *error) {
    struct log_segment *segment = log->appender.late_segment;
    ASSERT(segment != NULL);
    tern_status status = log_segment_put(segment, 0, log->appender.header + LOG_HEADER_BYTES,
                                         LOG_HEADER_BYTES, error);
    if (status == TERN_OK) {
        status = file_sync(segment->file, error);
    }
    log->appender.late_segment = NULL;
    return status;
}

static bool has_room(const struct log *log, uint64_t record_bytes) {
    return log->appender.offset + record_bytes + LOG_SEAL_BYTES <= log->active->bytes;
}

/* Memory for a record in a segment that is not mapped. */
static tern_status use_buffer(struct log *log, size_t record_bytes, tern_error *error) {
    struct log_appender *appender = &log->appender;
    if (record_bytes > appender->buffer_bytes) {
        size_t bytes = record_bytes > BUFFER_BYTES_MIN ? record_bytes : BUFFER_BYTES_MIN;
        uint8_t *buffer = memory_resize(log->options.allocator, appender->buffer, bytes);
        if (buffer == NULL) {
            return ERROR_NO_MEMORY(error, "a log record");
        }
        appender->buffer = buffer;
        appender->buffer_bytes = bytes;
    }
    appender->record = appender->buffer;
    return TERN_OK;
}

static tern_status refuse(const struct log *log, tern_error *error) {
    if (log->is_read_only) {
        return ERROR_SET(error, TERN_READ_ONLY, "the log was opened read-only");
    }
    return log_error_poisoned(error);
}

/*
 * May the log leave the active segment with room in it, so as to write the next one differently? A
 * switch never waits for a spare, and takes none of those that log_reserve has made sure of: the
 * parts of a transaction stay together, and what stands alone finds more room in a new segment.
 */
static bool may_switch(struct log *log, enum log_record_kind kind) {
    bool is_alone =
        kind == LOG_RECORD_CHUNK || (kind == LOG_RECORD_COMMIT && !log->appender.is_amid_parts);
    return is_alone && log_next_spare(log) != NULL;
}

/* Goes on in the next segment: when there is no room, or to write differently from now on. */
static tern_status move_on(struct log *log, enum log_record_kind kind, uint64_t record_bytes,
                           tern_error *error) {
    bool must = !has_room(log, record_bytes);
    if (!must && !may_switch(log, kind)) {
        return TERN_OK;
    }
    bool is_mark = kind == LOG_RECORD_MARK;
    bool was_direct = log->direct.segment != NULL;
    tern_file *direct = is_mark ? NULL : log_direct_open(log, record_bytes);
    if (!must && was_direct == (direct != NULL)) {
        ASSERT(direct == NULL);
        return TERN_OK;
    }
    return log_begin_segment(log, 0, 0, false, is_mark, false, direct, error);
}

tern_status log_begin(struct log *log, enum log_record_kind kind, size_t payload_bytes_max,
                      uint8_t **out_payload, tern_error *error) {
    struct log_appender *appender = &log->appender;
    ASSERT(appender->record == NULL);
    if (log->is_read_only || log_is_poisoned(log)) {
        return refuse(log, error);
    }
    if (payload_bytes_max > log_payload_bytes_max(log)) {
        return ERROR_SET(error, TERN_TOO_LARGE, "log record of %zu bytes is over the limit of %zu",
                         payload_bytes_max, log_payload_bytes_max(log));
    }
    uint64_t record_bytes = log_record_bytes(payload_bytes_max);
    if (!has_room(log, record_bytes) || log_direct_wants_switch(&log->direct, record_bytes)) {
        tern_status status = move_on(log, kind, record_bytes, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    if (log->active->memory != NULL) {
        appender->record = log->active->memory + appender->offset;
    } else {
        tern_status status = log->direct.segment != NULL
                                 ? log_direct_make_room(log, (size_t)record_bytes, error)
                                 : use_buffer(log, (size_t)record_bytes, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    appender->kind = (uint8_t)kind;
    appender->capacity_bytes = payload_bytes_max;
    *out_payload = appender->record + LOG_RECORD_HEADER_BYTES;
    return TERN_OK;
}

/* Beside the end lies the next record: its lines come while nobody waits for them. */
static void prefetch_ahead(const uint8_t *end) {
    for (size_t at = 0; at < PREFETCH_BYTES; at += 64) {
        __builtin_prefetch(end + at, 1);
    }
}

static tern_status end_record(struct log *log, size_t payload_bytes, uint32_t incarnation,
                              tern_error *error) {
    struct log_appender *appender = &log->appender;
    ASSERT(appender->record != NULL && payload_bytes <= appender->capacity_bytes);
    uint8_t *record = appender->record;
    log_position position = log_position_of(log->active, appender->offset);
    struct log_record_header header = {
        .payload_bytes = (uint32_t)payload_bytes,
        .chain = appender->chain,
        .incarnation = incarnation,
        .kind = appender->kind,
        .durable = log_durable_position(log),
    };
    appender->record = NULL;
    log_record_encode(&header, log->active->seed, position, record);
    uint64_t record_bytes = log_record_bytes(payload_bytes);
    if (log->active->memory == NULL && log->direct.segment == NULL) {
        tern_status status =
            file_write(log->active->file, appender->offset, record, (size_t)record_bytes, error);
        if (status != TERN_OK) {
            return log_fail_write(log, error);
        }
    }
    appender->chain = header.checksum;
    if (appender->offset / LOG_STAGE_BYTES != (appender->offset + record_bytes) / LOG_STAGE_BYTES) {
        log_note_stage(log, log->active, appender->offset + record_bytes);
    }
    appender->offset += record_bytes;
    appender->noted_durable = header.durable;
    appender->is_amid_parts = header.kind == LOG_RECORD_PART;
    appender->last_is_mark = header.kind == LOG_RECORD_MARK && header.durable == position;
    if (log->active->memory != NULL) {
        prefetch_ahead(log->active->memory + appender->offset);
    }
    publish_end(log);
    /* One writer: a plain load and store spare the bus lock. */
    atomic_store_explicit(&log->appended_bytes,
                          atomic_load_explicit(&log->appended_bytes, memory_order_relaxed) +
                              record_bytes,
                          memory_order_relaxed);
    atomic_store_explicit(&log->appended_records,
                          atomic_load_explicit(&log->appended_records, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    return TERN_OK;
}

tern_status log_end(struct log *log, size_t payload_bytes, log_position *out_end,
                    tern_error *error) {
    tern_status status = end_record(log, payload_bytes, log->incarnation, error);
    if (status == TERN_OK && out_end != NULL) {
        *out_end = log_position_of(log->active, log->appender.offset);
    }
    return status;
}

void log_abandon(struct log *log) {
    log->appender.record = NULL;
}

tern_status log_rewrite(struct log *log, const struct log_record *record, tern_error *error) {
    uint8_t *payload;
    tern_status status = TERN_OK;
    if (!has_room(log, log_record_bytes(record->payload_size))) {
        status = log_begin_segment(log, 0, 0, false, true, false, NULL, error);
    }
    if (status == TERN_OK) {
        status = log_begin(log, record->kind, record->payload_size, &payload, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    memcpy(payload, record->payload, record->payload_size);
    return end_record(log, record->payload_size, record->incarnation, error);
}

tern_status log_mark(struct log *log, tern_error *error) {
    struct log_appender *appender = &log->appender;
    if (log->is_read_only || log_is_poisoned(log)) {
        return refuse(log, error);
    }
    /* A mark that covers everything says all there is: its own durability is of no interest. */
    if (appender->last_is_mark || log_durable_position(log) <= appender->noted_durable) {
        return TERN_OK;
    }
    uint8_t *payload;
    tern_status status = log_begin(log, LOG_RECORD_MARK, 0, &payload, error);
    if (status == TERN_OK) {
        status = log_end(log, 0, NULL, error);
    }
    return status;
}

tern_status log_reserve(struct log *log, size_t payload_bytes, size_t record_count,
                        tern_error *error) {
    if (log->is_read_only || log_is_poisoned(log)) {
        return refuse(log, error);
    }
    uint64_t bytes = payload_bytes +
                     (uint64_t)record_count * (LOG_RECORD_HEADER_BYTES + LOG_RECORD_ALIGNMENT - 1);
    if (has_room(log, bytes)) {
        return TERN_OK;
    }
    /* A segment may be left with as much room as its largest record would have needed. */
    uint64_t segment_bytes = log->options.segment_bytes;
    uint64_t sure_bytes = segment_bytes - segment_bytes / 4 - LOG_HEADER_BYTES - LOG_SEAL_BYTES;
    uint64_t count = (bytes + sure_bytes - 1) / sure_bytes + 1;
    if (count > UINT32_MAX / 2) {
        return ERROR_SET(error, TERN_TOO_LARGE, "%zu bytes do not fit into the log", payload_bytes);
    }
    return log_ensure_spares(log, (uint32_t)count, error);
}
