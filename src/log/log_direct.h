/* SPDX-License-Identifier: Apache-2.0 */
/* Segments written past the page cache, for commits that are each waited for; see log_direct.c. */
#ifndef TERN_LOG_DIRECT_H
#define TERN_LOG_DIRECT_H

#include <stdatomic.h>

#include "log/log.h"
#include "log/log_segment.h"
#include "os/mutex.h"

/*
 * The direct segment, when the active one is; and whether the next is to be. `segment`, `base` and
 * `buffer` are changed by the appender alone, under the lock, so that it may read them without.
 */
struct log_direct {
    struct mutex lock;           /* held while the file is written and synced */
    struct log_segment *segment; /* the active one; or NULL: it is not direct */
    tern_file *file;             /* its second opening */
    uint8_t *buffer;             /* the segment from `base` on, as far as it is appended */
    size_t buffer_bytes;
    uint64_t base;    /* a multiple of LOG_DIRECT_BLOCK_BYTES */
    uint8_t *bounce;  /* LOG_DIRECT_BOUNCE_BYTES that are written while the buffer changes */
    uint64_t written; /* bytes of the segment before this are in the file */
    bool is_dirty;    /* not all that was written is durable */

    /* Position before which everything is in the file; 0: everything appended is. */
    _Atomic log_position readable;

    /* The appender's. */
    uint32_t threshold;        /* groups synced in a row that make the log direct */
    uint32_t lone_syncs;       /* groups synced in a row */
    _Atomic bool wants_mapped; /* commits that are not to be synced have come; any thread reads */
};

#define LOG_DIRECT_BLOCK_BYTES  4096u
#define LOG_DIRECT_BUFFER_BYTES ((size_t)256 << 10)
#define LOG_DIRECT_BOUNCE_BYTES ((size_t)128 << 10)
/* log_options::direct_syncs by default. */
#define LOG_DIRECT_SYNCS 64u

void log_direct_init(struct log_direct *direct, const struct log_options *options);
void log_direct_release(struct log *log);

static inline bool log_direct_wants_mapped(const struct log_direct *direct) {
    return atomic_load_explicit(&direct->wants_mapped, memory_order_relaxed);
}

/* --- appender only --- */

static inline void log_direct_set_wants_mapped(struct log_direct *direct, bool wants_mapped) {
    atomic_store_explicit(&direct->wants_mapped, wants_mapped, memory_order_relaxed);
}

/* A group was synced, or acknowledged without. */
static inline void log_direct_note_sync(struct log_direct *direct) {
    direct->lone_syncs += direct->lone_syncs < LOG_DIRECT_NEVER - 1;
    if (log_direct_wants_mapped(direct) && direct->lone_syncs >= direct->threshold) {
        log_direct_set_wants_mapped(direct, false);
    }
}

static inline void log_direct_note_keep(struct log_direct *direct) {
    direct->lone_syncs = 0;
    if (direct->segment != NULL) {
        log_direct_set_wants_mapped(direct, true);
    }
}

static inline bool log_direct_is_due(const struct log_direct *direct) {
    return direct->lone_syncs >= direct->threshold && !log_direct_wants_mapped(direct);
}

/* Such records are better copied into a mapping. */
static inline bool log_direct_is_large(uint64_t record_bytes) {
    return record_bytes > LOG_DIRECT_BUFFER_BYTES / 2;
}

/* Should the log leave the active segment for one that is written the other way? */
static inline bool log_direct_wants_switch(const struct log_direct *direct, uint64_t record_bytes) {
    if (direct->segment != NULL) {
        return log_direct_wants_mapped(direct) || log_direct_is_large(record_bytes);
    }
    return log_direct_is_due(direct) && !log_direct_is_large(record_bytes);
}

/* The next spare, opened for direct writing when the next segment is to be so; or NULL. */
tern_file *log_direct_open(struct log *log, uint64_t record_bytes);

/* Writes the header of a segment that will be direct. */
TERN_MUST_CHECK tern_status log_direct_put_header(struct log *log, tern_file *file,
                                                  const uint8_t *block, tern_error *error);

/* The segment, which nobody knows yet, is direct from now on. Owns `file`. */
void log_direct_begin(struct log *log, struct log_segment *segment, tern_file *file);

/* Writes the seal and all before it: the segment is no longer direct. */
TERN_MUST_CHECK tern_status log_direct_finish(struct log *log, const uint8_t *seal,
                                              tern_error *error);

/* Points the appender's record to memory for `record_bytes`. TERN_NO_MEMORY, TERN_POISONED. */
TERN_MUST_CHECK tern_status log_direct_make_room(struct log *log, size_t record_bytes,
                                                 tern_error *error);

/* --- any thread --- */

/* Makes durable what is appended to the segment, whichever way it is written. */
TERN_MUST_CHECK tern_status log_direct_sync(struct log *log, struct log_segment *segment,
                                            tern_error *error);

/* The active segment is direct and will last for a while: there is no hurry to prepare another. */
bool log_direct_has_time(const struct log *log);

/* Everything before `limit` is in the file. */
TERN_MUST_CHECK tern_status log_direct_show(struct log *log, log_position limit, tern_error *error);

#endif
