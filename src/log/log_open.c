/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing. */
#include "base/bytes.h"
#include "log/log_internal.h"

static tern_status check_options(const struct log_options *options, tern_error *error) {
    if (options->segment_bytes < LOG_SEGMENT_BYTES_MIN ||
        options->segment_bytes > LOG_SEGMENT_BYTES_MAX ||
        options->segment_bytes % LOG_HEADER_BYTES != 0) {
        return ERROR_SET(error, TERN_INVALID,
                         "log segments of %llu bytes: must be 64 KiB to 1 GiB in steps of 4 KiB",
                         (unsigned long long)options->segment_bytes);
    }
    return TERN_OK;
}

static tern_status create_log(const struct log_options *options, bool read_only,
                              struct log **out_log, tern_error *error) {
    const tern_allocator *allocator = options->allocator;
    struct log *log = memory_allocate_zeroed(allocator, sizeof(*log));
    if (log == NULL) {
        return ERROR_NO_MEMORY(error, "the log");
    }
    mutex_init(&log->sync_lock);
    condition_init(&log->sync_done);
    mutex_init(&log->lock);
    mutex_init(&log->release_lock);
    mutex_init(&log->prepare_lock);
    log_direct_init(&log->direct, options);
    log->options = *options;
    log->is_read_only = read_only;
    log->next_id = 1;
    log->clock = options->clock != NULL ? options->clock : tern_clock_default();
    if (log->options.reserve_segments == 0) {
        log->options.reserve_segments = 1;
    }
    log->directory = memory_copy_string(allocator, options->directory, strlen(options->directory));
    log->appender.header = memory_allocate(allocator, (size_t)LOG_HEADER_BYTES * 2);
    if (log->directory == NULL || log->appender.header == NULL) {
        log_discard(log);
        return ERROR_NO_MEMORY(error, "the log");
    }
    log->options.directory = log->directory;
    *out_log = log;
    return TERN_OK;
}

/* Shows the caller every record of the chain, as it is now. */
static tern_status replay(struct log *log, log_position start, log_visitor visit,
                          void *visit_context, uint64_t *out_records, tern_error *error) {
    struct log_catalog catalog;
    struct log_walk walk;
    uint64_t records = 0;
    log_catalog_init(&catalog, &log->options);
    tern_status status = log_catalog_read(&catalog, error);
    if (status != TERN_OK || log_catalog_first(&catalog) == NULL) {
        log_catalog_release(&catalog);
        *out_records = 0;
        return status;
    }
    status = log_walk_begin(&walk, &catalog, start, error);
    while (status == TERN_OK) {
        struct log_record record;
        bool found;
        status = log_walk_next(&walk, &record, &found, error);
        if (status != TERN_OK || !found) {
            break;
        }
        records++;
        if (visit != NULL) {
            status = visit(visit_context, &record, error);
        }
    }
    if (status == TERN_OK && walk.position != log_end_position(log)) {
        status = ERROR_AT(error, TERN_CORRUPTION, log->directory, -1, 0,
                          "the log reads differently from one moment to the next; check the disk");
    }
    log_walk_end(&walk);
    log_catalog_release(&catalog);
    if (status == TERN_OK) {
        *out_records = records;
    }
    return status;
}

tern_status log_open(const struct log_options *options, log_position start,
                     uint32_t incarnation_floor, bool read_only, log_visitor visit,
                     void *visit_context, struct log_recovery *out_recovery, struct log **out_log,
                     tern_error *error) {
    struct log *log = NULL;
    struct log_recovery recovery = {0};
    tern_status status = check_options(options, error);
    if (status == TERN_OK) {
        status = create_log(options, read_only, &log, error);
    }
    if (status == TERN_OK) {
        status = log_recover(log, start, incarnation_floor, &recovery, error);
    }
    if (status == TERN_OK) {
        status = replay(log, start, visit, visit_context, &recovery.records, error);
    }
    if (status != TERN_OK) {
        log_discard(log);
        return status;
    }
    /* What recovery did is no part of the statistics. */
    log->appended_bytes = log->appended_records = 0;
    log->segment_switches = log->inline_prepares = log->recycled_segments = 0;
    *out_recovery = recovery;
    *out_log = log;
    return TERN_OK;
}

static void close_list(struct log *log, struct log_segment *segment) {
    while (segment != NULL) {
        struct log_segment *next = segment->next;
        log_segment_close(&log->options, segment);
        segment = next;
    }
}

void log_discard(struct log *log) {
    if (log == NULL) {
        return;
    }
    ASSERT(log->readers == NULL);
    const tern_allocator *allocator = log->options.allocator;
    close_list(log, log->segments);
    close_list(log, log->spares);
    log_segment_close(&log->options, log->preparing);
    log_direct_release(log);
    memory_release(allocator, log->recyclable);
    memory_release(allocator, log->appender.buffer);
    memory_release(allocator, log->appender.header);
    memory_release(allocator, log->directory);
    mutex_destroy(&log->prepare_lock);
    mutex_destroy(&log->release_lock);
    mutex_destroy(&log->lock);
    condition_destroy(&log->sync_done);
    mutex_destroy(&log->sync_lock);
    memory_release(allocator, log);
}

/* Everything durable, and a durable mark at the end that says so. */
static tern_status finish(struct log *log, tern_error *error) {
    if (log->appender.record != NULL) {
        log_abandon(log);
    }
    tern_status status = log_sync(log, log_end_position(log), error);
    if (status == TERN_OK) {
        status = log_mark(log, error);
        /* Without room for a mark the next open has more to do, and nothing is lost. */
        status = status == TERN_DISK_FULL ? TERN_OK : status;
    }
    if (status == TERN_OK) {
        status = log_sync(log, log_end_position(log), error);
    }
    return status;
}

tern_status log_close(struct log *log, tern_error *error) {
    if (log == NULL) {
        return TERN_OK;
    }
    tern_status status = TERN_OK;
    if (log_is_poisoned(log)) {
        status = log_error_poisoned(error);
    } else if (!log->is_read_only) {
        status = finish(log, error);
    }
    if (log->preparing != NULL) {
        log_segment_drop(&log->options, log->preparing);
        log->preparing = NULL;
    }
    log_discard(log);
    return status;
}

void log_get_stats(const struct log *log, struct log_stats *out_stats) {
    struct log *mutable_log = (struct log *)(uintptr_t)log;
    mutex_lock(&mutable_log->prepare_lock);
    uint64_t waiting = log->recyclable_count;
    mutex_unlock(&mutable_log->prepare_lock);
    mutex_lock(&mutable_log->lock);
    uint64_t segments = log->segment_count;
    uint64_t spares = log->spare_count;
    bool is_mapped = log->active != NULL && log->active->can_map &&
                     atomic_load_explicit(&log->direct.readable, memory_order_relaxed) == 0;
    mutex_unlock(&mutable_log->lock);
    *out_stats = (struct log_stats){
        .appended_bytes = log->appended_bytes,
        .appended_records = log->appended_records,
        .syncs = log->syncs,
        .sync_ns_total = log->sync_ns_total,
        .sync_ns_max = log->sync_ns_max,
        .direct_syncs = log->direct_syncs,
        .segments = segments,
        .spare_segments = spares + waiting,
        .segment_switches = log->segment_switches,
        .inline_prepares = log->inline_prepares,
        .archived_segments = log->archived_segments,
        .recycled_segments = log->recycled_segments,
        .is_mapped = is_mapped,
    };
}
