/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making the log durable. Whoever finds no sync under way runs one for everything appended so far;
 * the others wait and look again. A sync that fails is never tried again: the system may have
 * marked the pages clean, and a later success would say nothing about them.
 *
 * Of a direct segment it is one write of what is new (log_direct.c), of others a sync of the file.
 */
#include "log/log_internal.h"

/* The oldest segment from `id` on whose bytes reach above `from`. */
static struct log_segment *find_unsynced(struct log *log, uint32_t id, log_position from) {
    mutex_lock(&log->lock);
    struct log_segment *segment = log->segments;
    while (segment != NULL &&
           (segment->id < id ||
            (segment != log->active && log_position_of(segment, segment->end_offset) <= from))) {
        segment = segment->next;
    }
    mutex_unlock(&log->lock);
    return segment;
}

/* Segments above `from` stay: log_release keeps what is not durable. */
tern_status log_sync_range(struct log *log, log_position from, log_position to, tern_error *error) {
    uint32_t id = log_position_segment(from);
    for (;;) {
        struct log_segment *segment = find_unsynced(log, id, from);
        if (segment == NULL || segment->id > log_position_segment(to)) {
            return TERN_OK;
        }
        tern_status status = log_direct_sync(log, segment, error);
        if (status != TERN_OK) {
            return status;
        }
        id = segment->id + 1;
    }
}

static void note_sync(struct log *log, uint64_t begin_ns) {
    uint64_t ns = log->clock->monotonic_ns(log->clock->context) - begin_ns;
    log_count(&log->syncs, 1);
    log_count(&log->sync_ns_total, ns);
    if (ns > atomic_load_explicit(&log->sync_ns_max, memory_order_relaxed)) {
        atomic_store_explicit(&log->sync_ns_max, ns, memory_order_relaxed);
    }
}

static tern_status error_unknown(tern_error *error) {
    return ERROR_SET(error, TERN_UNKNOWN,
                     "syncing the log failed: whether the last commits survive a power cut is not "
                     "known; close and reopen the database to find out");
}

/* Called with sync_lock held; gives it back while the file system works. */
static tern_status run_sync(struct log *log, tern_error *error) {
    log->is_syncing = true;
    mutex_unlock(&log->sync_lock);
    log_position from = log_durable_position(log);
    log_position to = log_end_position(log);
    uint64_t begin_ns = log->clock->monotonic_ns(log->clock->context);
    tern_status status = log_sync_range(log, from, to, error);
    note_sync(log, begin_ns);
    mutex_lock(&log->sync_lock);
    /* A write that failed meanwhile says nothing about what lies before it. */
    if (status == TERN_OK) {
        atomic_store_explicit(&log->durable, to, memory_order_release);
    } else {
        log_poison(log);
        if (error != NULL) {
            error->status = TERN_UNKNOWN;
        }
        status = TERN_UNKNOWN;
    }
    log->is_syncing = false;
    condition_broadcast(&log->sync_done);
    return status;
}

tern_status log_sync(struct log *log, log_position upto, tern_error *error) {
    if (log_durable_position(log) >= upto) {
        return TERN_OK;
    }
    if (log->is_read_only) {
        return ERROR_SET(error, TERN_READ_ONLY, "the log was opened read-only");
    }
    if (log_is_poisoned(log)) {
        return log_error_poisoned(error);
    }
    ASSERT(upto <= log_end_position(log));
    tern_status status = TERN_OK;
    mutex_lock(&log->sync_lock);
    while (status == TERN_OK && log_durable_position(log) < upto) {
        if (log_is_poisoned(log)) {
            status = error_unknown(error);
        } else if (log->is_syncing) {
            condition_wait(&log->sync_done, &log->sync_lock);
        } else {
            status = run_sync(log, error);
        }
    }
    mutex_unlock(&log->sync_lock);
    return status;
}

tern_status log_sync_group(struct log *log, tern_error *error) {
    tern_status status = log_sync(log, log_end_position(log), error);
    if (status == TERN_OK) {
        log_direct_note_sync(&log->direct);
    }
    return status;
}

tern_status log_keep(struct log *log, tern_error *error) {
    log_direct_note_keep(&log->direct);
    return log->direct.segment != NULL ? log_write_out(log, error) : TERN_OK;
}
