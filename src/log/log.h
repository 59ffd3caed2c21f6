/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The write-ahead log: the only place where a commit becomes durable.
 *
 * A log is a chain of segment files "log-<16 hex digits>" of a fixed size in the database
 * directory. A record never spans segments. Positions are totally ordered: segment id in the high
 * 32 bits, byte offset in the low 32. docs/format/log.md is normative for the bytes.
 *
 * Threads: log_begin, log_end, log_abandon belong to one appender at a time (the commit leader);
 * everything else may be called from any thread at the same time.
 */
#ifndef TERN_LOG_LOG_H
#define TERN_LOG_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tern/db.h>
#include <tern/error.h>
#include <tern/sys/clock.h>
#include <tern/sys/file_system.h>

#include "base/memory.h"
#include "base/types.h"

struct log;

/* Segment id << 32 | byte offset. */
typedef uint64_t log_position;

static inline uint32_t log_position_segment(log_position position) {
    return (uint32_t)(position >> 32);
}

static inline uint32_t log_position_offset(log_position position) {
    return (uint32_t)position;
}

/* Kinds of record; room is left for replication (entry, apply, truncate, hard state). */
enum log_record_kind {
    LOG_RECORD_COMMIT = 1, /* one transaction, or the end of one in parts */
    LOG_RECORD_PART = 2,   /* part of a transaction too large for one record; the parts and their
                              COMMIT are contiguous */
    LOG_RECORD_CHUNK = 3,  /* bytes of a large value, before the commit that names it */
    LOG_RECORD_MARK = 4,   /* nothing but the durable mark that every record carries */
    LOG_RECORD_TICK = 5,   /* time moved on */
    LOG_RECORD_COPY = 6,   /* as COMMIT: into a partition that a conversion builds */
    LOG_RECORD_ENTRY = 16, /* reserved: replication entry (group, term, index), not yet applied */
    LOG_RECORD_APPLY = 17, /* reserved: applies an entry by (group, index) */
    LOG_RECORD_TRUNCATE = 18,  /* reserved: entries of a group from an index on are void */
    LOG_RECORD_HARD_STATE = 19 /* reserved: consensus state of a group */
};

/* log_options::direct_syncs: all segments are mapped. */
#define LOG_DIRECT_NEVER UINT32_MAX

struct log_options {
    const char *directory;
    const tern_allocator *allocator;
    const tern_file_system *file_system;
    const tern_random *random;
    const tern_clock *clock;       /* times syncs for statistics; NULL: the system's */
    uint64_t segment_bytes;        /* 64 KiB to 1 GiB, multiple of 4 KiB */
    uint32_t reserve_segments;     /* spare segments kept prepared for appends; at least 1. One more
                                      is held back for marks and for recovery on a full disk */
    uint32_t prewrite_syncs;       /* a fresh segment is written once before its use when so many
                                      syncs took place since the last fresh one; 0: always */
    uint32_t direct_syncs;         /* commits in a row that are each synced, after which segments
                                      are written past the page cache; 0: 64, or
                                      LOG_DIRECT_NEVER */
    bool plain_io;                 /* no io_uring */
    tern_archive_function archive; /* or NULL; may be offered a segment again after a crash */
    void *archive_context;
};

/* A record as replay and readers see it; bytes live during the call. */
struct log_record {
    enum log_record_kind kind;
    log_position position; /* where it begins */
    log_position end;      /* where the next begins */
    uint32_t incarnation;
    const uint8_t *payload;
    size_t payload_size;
};

/* Return other than TERN_OK to stop. */
typedef tern_status (*log_visitor)(void *context, const struct log_record *record,
                                   tern_error *error);

/* What recovery of the log found. */
struct log_recovery {
    uint32_t incarnation;     /* the new one, for everything written from now on */
    log_position end;         /* where the log ends now; every record visited lies before it */
    uint64_t records;         /* visited, marks included */
    uint64_t discarded_bytes; /* torn bytes after the end, as far as they are recognised */
    bool was_clean;           /* everything found had been durable, as a mark or `start` says */
};

/*
 * Opens the log and replays it: visits every record from `start` on in order (0: from the very
 * first; an empty log is created). `start` is a position that this log gave out and made durable.
 * Tells a torn end from a hole: a bad record below a later durable mark gives TERN_CORRUPTION with
 * file, offset and what to do. When the log was not closed cleanly the tail above the last durable
 * mark is rewritten into a fresh segment (new salt; records keep their incarnation), synced, before
 * anything is visited; nothing read from the page cache is trusted to be on disk. `read_only`:
 * nothing is written, appends are refused.
 * Positions visited are those of the log as it is from now on; positions of a tail that was
 * rewritten are no longer valid.
 * `incarnation_floor`: the new incarnation will be greater than this and than any in the log.
 * A full disk does not keep the log from opening as long as the spare held back suffices.
 */
TERN_MUST_CHECK tern_status log_open(const struct log_options *options, log_position start,
                                     uint32_t incarnation_floor, bool read_only, log_visitor visit,
                                     void *visit_context, struct log_recovery *out_recovery,
                                     struct log **out_log, tern_error *error);

/* Writes a mark, syncs and closes. The log is gone whatever the status. Accepts NULL. */
tern_status log_close(struct log *log, tern_error *error);

/* Closes without writing anything (after failures, and for crash tests). */
void log_discard(struct log *log);

/* Largest payload that log_begin takes, in bytes: a quarter of a segment less its header. */
size_t log_payload_bytes_max(const struct log *log);

/*
 * Begins a record: returns memory for up to `payload_bytes_max` payload bytes, inside the mapped
 * segment or in a buffer. Moves to the next segment when the active one has no room. On failure
 * nothing has changed: TERN_DISK_FULL (no segment could be prepared), TERN_POISONED, TERN_IO,
 * TERN_READ_ONLY.
 */
TERN_MUST_CHECK tern_status log_begin(struct log *log, enum log_record_kind kind,
                                      size_t payload_bytes_max, uint8_t **out_payload,
                                      tern_error *error);

/*
 * Ends the record begun last with its real size; it is now in the log and covered by the next
 * log_sync or log_keep: until one of them it may be in memory alone. A write error of the file
 * poisons the log: TERN_POISONED.
 */
TERN_MUST_CHECK tern_status log_end(struct log *log, size_t payload_bytes, log_position *out_end,
                                    tern_error *error);

/* Gives up the record begun last. */
void log_abandon(struct log *log);

/*
 * Makes sure that a group of records which together need `payload_bytes` in `record_count` records
 * will find room without failing: prepares segments. TERN_DISK_FULL, TERN_IO. Appender only.
 */
TERN_MUST_CHECK tern_status log_reserve(struct log *log, size_t payload_bytes, size_t record_count,
                                        tern_error *error);

/* Where the next record will begin (everything before is appended). */
log_position log_end_position(const struct log *log);
/* The segment of that, and how many times LOG_STAGE_BYTES it has: changes seldom, and costs less to
 * ask for, for it lies apart from what every append writes. */
#define LOG_STAGE_BYTES ((uint64_t)512 << 10)
uint64_t log_stage(const struct log *log);
static inline uint32_t log_stage_segment(uint64_t stage) {
    return (uint32_t)(stage >> 32);
}

/* Everything before this is on stable storage. */
log_position log_durable_position(const struct log *log);

/*
 * Makes everything before `upto` durable; concurrent callers share syncs. A failure poisons the log
 * for good: nothing later is acknowledged (TERN_POISONED), this call gives TERN_UNKNOWN.
 */
TERN_MUST_CHECK tern_status log_sync(struct log *log, log_position upto, tern_error *error);

/*
 * Before a group of commits is acknowledged, one or the other; by them the log also sees whether
 * commits ask to be durable, and how it is best written. Appender only.
 * log_sync_group: everything appended is durable; as log_sync.
 * log_keep: everything appended survives the end of the process; TERN_POISONED.
 */
TERN_MUST_CHECK tern_status log_sync_group(struct log *log, tern_error *error);
TERN_MUST_CHECK tern_status log_keep(struct log *log, tern_error *error);

/* Everything before log_end_position is in the file, and survives the end of the process.
 * TERN_POISONED. Any thread. */
TERN_MUST_CHECK tern_status log_write_out(struct log *log, tern_error *error);

/* True after a failed sync or write. */
bool log_is_poisoned(const struct log *log);
/* Says so: TERN_POISONED. */
tern_status log_error_poisoned(tern_error *error);

/* Appends a mark that says how far the log is durable, when there is something new to say.
 * Appender only. */
TERN_MUST_CHECK tern_status log_mark(struct log *log, tern_error *error);

/*
 * Nothing before `position` is needed any more: finished segments wholly below are given to the
 * archive, then recycled as spares or removed, unless a reader still needs them. When the archive
 * refuses a segment its status is returned, and that segment and those after it are kept for the
 * next call.
 */
TERN_MUST_CHECK tern_status log_release(struct log *log, log_position position, tern_error *error);

/* Nothing is going on: removes files kept for use again beyond the spares wanted. */
TERN_MUST_CHECK tern_status log_trim(struct log *log, tern_error *error);

/* First position the log still holds. */
log_position log_start_position(const struct log *log);

/*
 * Prepares spare segments so that appends need not; a background task calls it while
 * log_wants_prepare. One call is one slice: it recycles one file or writes 2 MiB of a fresh one.
 * TERN_DISK_FULL, TERN_IO: nothing has changed; worth another try later.
 */
TERN_MUST_CHECK tern_status log_prepare(struct log *log, tern_error *error);

/*
 * Makes the mapped memory that the next appends go to ready to be written to, which they would else
 * wait for page by page; a background task calls it whenever log_stage has changed. Any thread.
 */
void log_touch_ahead(struct log *log);

/* True when fewer spares than wanted are ready (log_prepare has work). */
bool log_wants_prepare(const struct log *log);

/*
 * Keeps segments from `position` on (0: all it holds), for a follower of the log. A reader belongs
 * to one thread at a time and is closed before the log. TERN_NOT_FOUND: no longer held.
 */
struct log_reader;
TERN_MUST_CHECK tern_status log_reader_open(struct log *log, log_position position,
                                            struct log_reader **out_reader, tern_error *error);
/*
 * Visits up to `records_max` records that end at or before `limit`, from where the reader stands,
 * and moves it; also releases retention of what was visited. Returns the visitor's status when it
 * stopped (the record is visited again next time).
 */
TERN_MUST_CHECK tern_status log_reader_next(struct log_reader *reader, log_position limit,
                                            size_t records_max, log_visitor visit, void *context,
                                            size_t *out_visited, tern_error *error);
void log_reader_close(struct log_reader *reader);

/*
 * Checks headers, salts, chain and checksums of all segments in a directory from `start` on without
 * opening for writing; findings go to `on_finding` with file, offset and the invariant's name.
 * visit may be NULL. Used by verify and repair; repair passes `salvage` true to go on after damage
 * at the next record that can be recognised.
 */
TERN_MUST_CHECK tern_status log_scan(const struct log_options *options, log_position start,
                                     bool salvage, log_visitor visit, void *visit_context,
                                     tern_finding_function on_finding, void *finding_context,
                                     struct log_recovery *out_recovery, tern_error *error);

/* Numbers for statistics. */
struct log_stats {
    uint64_t appended_bytes, appended_records, syncs, sync_ns_total, sync_ns_max;
    uint64_t segments, spare_segments, segment_switches, inline_prepares;
    uint64_t archived_segments, recycled_segments;
    uint64_t direct_syncs; /* of `syncs`, those that were one write past the page cache */
    bool is_mapped;        /* appends are copies into mapped memory */
};
void log_get_stats(const struct log *log, struct log_stats *out_stats);

#endif
