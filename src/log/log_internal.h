/* SPDX-License-Identifier: Apache-2.0 */
/* The open log as the files of src/log share it. */
#ifndef TERN_LOG_INTERNAL_H
#define TERN_LOG_INTERNAL_H

#include <stdatomic.h>

#include "base/assert.h"
#include "base/error.h"
#include "log/log_chain.h"
#include "log/log_direct.h"
#include "os/mutex.h"

/* Bytes of a spare written and synced in one slice of log_prepare. */
#define LOG_PREWRITE_SLICE_BYTES ((uint64_t)2 << 20)

struct log_reader {
    struct log_reader *next;
    struct log *log;
    log_position position; /* under log->lock */
    struct log_window window;
    struct log_segment *attached; /* segment the window stands in, or NULL */
};

/* State of the appender; nobody else touches it. */
struct log_appender {
    uint64_t offset; /* of the next record in the active segment */
    uint32_t chain;
    uint8_t *record; /* the record begun, or NULL */
    uint64_t capacity_bytes;
    uint8_t kind;
    uint8_t *buffer; /* for segments that are not mapped */
    size_t buffer_bytes;
    log_position noted_durable;       /* highest durable mark in any record */
    bool last_is_mark;                /* last record is a mark that covers all before it */
    bool is_amid_parts;               /* last record is a part: its commit follows */
    struct log_segment *late_segment; /* recovery: its header, kept below, is written last */
    uint8_t *header;                  /* two header blocks: scratch, and the one written last */
};

/*
 * Order of locks: release_lock, prepare_lock, lock; sync_lock, lock. `lock` is held for a few
 * instructions only, never over a call to the file system. direct.lock is taken with none of the
 * others held, and none is taken under it.
 */
struct log {
    _Atomic uint64_t stage; /* see log_stage: asked by every commit, seldom written */
    struct log_options options;
    char *directory;
    const tern_clock *clock;
    bool is_read_only;
    uint32_t incarnation;

    struct log_appender appender;
    struct log_segment *active; /* the appender's; last of `segments` */
    struct log_direct direct;

    _Atomic log_position end;
    _Atomic log_position durable;
    _Atomic bool is_poisoned;

    struct mutex sync_lock;
    struct condition sync_done;
    bool is_syncing; /* under sync_lock */

    struct mutex lock;            /* guards what follows up to the next lock */
    struct log_segment *segments; /* oldest first; active last */
    struct log_segment *spares;   /* ready, by id; all ids above those of segments */
    struct log_reader *readers;
    uint32_t segment_count;
    _Atomic uint32_t spare_count; /* written under lock */

    struct mutex release_lock; /* one log_release at a time; unmapping of finished segments */

    struct mutex prepare_lock;     /* guards what follows */
    struct log_segment *preparing; /* a spare whose prewriting is under way, or NULL */
    uint64_t syncs_seen;           /* when the last fresh segment was begun */
    uint32_t *recyclable;          /* ids of files that may become spares */
    size_t recyclable_count;
    size_t recyclable_capacity;
    uint32_t next_id;

    _Atomic uint64_t appended_bytes, appended_records, syncs, sync_ns_total, sync_ns_max;
    _Atomic uint64_t direct_syncs, segment_switches, inline_prepares, archived_segments,
        recycled_segments;
};

static inline log_position log_position_of(const struct log_segment *segment, uint64_t offset) {
    return (log_position)segment->id << 32 | offset;
}

/* Appender: so far the active segment has come. */
static inline void log_note_stage(struct log *log, const struct log_segment *segment,
                                  uint64_t offset) {
    atomic_store_explicit(&log->stage, (uint64_t)segment->id << 32 | offset / LOG_STAGE_BYTES,
                          memory_order_relaxed);
}

static inline void log_count(_Atomic uint64_t *counter, uint64_t amount) {
    atomic_fetch_add_explicit(counter, amount, memory_order_relaxed);
}

/* Spares in the steady state: those asked for and one held back for marks and recovery. */
static inline uint32_t log_spares_wanted(const struct log *log) {
    return log->options.reserve_segments + 1;
}

void log_poison(struct log *log);
/* A write has failed: poisons. Its detail stays; what it means now is the code. */
tern_status log_fail_write(struct log *log, tern_error *error);

/* --- log_spares.c --- */

/* Appender: takes a ready spare or prepares one. Unless `may_take_last`, one stays behind. */
TERN_MUST_CHECK tern_status log_take_spare(struct log *log, bool may_take_last,
                                           struct log_segment **out_segment, tern_error *error);

/* Appender: the segment that log_take_spare would give at once, one staying behind; it remains
 * among the spares. NULL: none. */
struct log_segment *log_next_spare(struct log *log);

/* Makes sure that `count` spares are ready, quickly: blocks reserved, not written once. */
TERN_MUST_CHECK tern_status log_ensure_spares(struct log *log, uint32_t count, tern_error *error);

/* Remembers a file that may become a spare. When there is no memory for that it is left alone and
 * found again at the next open. Holds prepare_lock. */
void log_note_recyclable(struct log *log, uint32_t id);

/* Removes a segment file; none is no error. */
TERN_MUST_CHECK tern_status log_remove_file(struct log *log, uint32_t id, tern_error *error);

/* --- log_recovery.c --- */

/*
 * Brings the log of the directory into a state to append to (or, read-only, just finds its end):
 * fills in everything of `log` that depends on what is on disk. Repeatable after a crash at any
 * point. *out_recovery: end, discarded bytes, was_clean and incarnation.
 */
TERN_MUST_CHECK tern_status log_recover(struct log *log, log_position start,
                                        uint32_t incarnation_floor,
                                        struct log_recovery *out_recovery, tern_error *error);

/* --- log_append.c --- */

/* Appends a record that keeps its incarnation: rewriting during recovery. */
TERN_MUST_CHECK tern_status log_rewrite(struct log *log, const struct log_record *record,
                                        tern_error *error);

/* Begins a segment: takes a spare and makes it active, continuing at `previous_end`. With
 * `header_comes_last` its header stays unwritten until log_write_late_header. `direct`: from
 * log_direct_open, then the segment is a direct one; or NULL. */
TERN_MUST_CHECK tern_status log_begin_segment(struct log *log, log_position previous_end,
                                              uint32_t previous_chain, bool chain_is_known,
                                              bool may_take_last, bool header_comes_last,
                                              tern_file *direct, tern_error *error);

/* Writes the header that was kept back. */
TERN_MUST_CHECK tern_status log_write_late_header(struct log *log, tern_error *error);

/* --- log_sync.c --- */

/* Syncs every segment that holds bytes of [from, to). */
TERN_MUST_CHECK tern_status log_sync_range(struct log *log, log_position from, log_position to,
                                           tern_error *error);

#endif
