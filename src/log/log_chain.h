/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The segments of a directory as they lie on disk, the walk along the chain of records through
 * them, and the judgement about what lies behind its end.
 */
#ifndef TERN_LOG_CHAIN_H
#define TERN_LOG_CHAIN_H

#include "log/log_window.h"

struct log_catalog_entry {
    uint32_t id;
    enum log_header_state state;
    uint64_t file_bytes;
    struct log_segment_header header; /* when valid */
};

/* All segment files of a directory, by id. */
struct log_catalog {
    const struct log_options *options;
    struct log_catalog_entry *entries;
    size_t count;
    size_t capacity;
};

/* Release with log_catalog_release, also after a failure. */
void log_catalog_init(struct log_catalog *catalog, const struct log_options *options);
TERN_MUST_CHECK tern_status log_catalog_read(struct log_catalog *catalog, tern_error *error);
void log_catalog_release(struct log_catalog *catalog);

/* NULL when there is no file of that id. */
const struct log_catalog_entry *log_catalog_find(const struct log_catalog *catalog, uint32_t id);

/* The valid segment that continues segment `id`: the one with the highest id, as recoveries give
 * ids above all others. NULL when there is none. */
const struct log_catalog_entry *log_catalog_successor(const struct log_catalog *catalog,
                                                      uint32_t id);

/* The valid segment without a predecessor (of several the last, as above), else the lowest valid
 * one, or NULL. */
const struct log_catalog_entry *log_catalog_first(const struct log_catalog *catalog);

/* A walk along the chain. One thread. Release with log_walk_end, also after a failure. */
struct log_walk {
    const struct log_options *options;
    const struct log_catalog *catalog;
    const struct log_catalog_entry *entry; /* segment it stands in */
    const struct log_catalog_entry *successor;
    tern_file *file;
    struct log_window window;
    log_position position; /* of the next record */
    uint32_t chain;
    bool chain_is_known;
    log_position durable;     /* the highest durable mark seen */
    bool last_is_mark;        /* the last record was a mark that covers everything before it */
    log_position last_begin;  /* where the last record begins */
    uint32_t last_chain;      /* chain value before it */
    uint32_t incarnation_max; /* of headers and records passed */
    log_position watch;       /* asks for the chain value at this position; 0: nowhere */
    bool watch_was_met;
    bool watch_chain_is_known;
    uint32_t watch_chain;
    uint64_t records;
    bool has_grown;     /* after the judgement: the record missed before is there now */
    const char *broken; /* after TERN_CORRUPTION: name of the invariant; static storage */
};

/* `start` is a position in a valid segment; 0: first record of the first segment. */
TERN_MUST_CHECK tern_status log_walk_begin(struct log_walk *walk, const struct log_catalog *catalog,
                                           log_position start, tern_error *error);
void log_walk_end(struct log_walk *walk);

/*
 * The next record of the chain, seals left out; bytes live until the next call. *out_found is false
 * at the end of what can be followed.
 */
TERN_MUST_CHECK tern_status log_walk_next(struct log_walk *walk, struct log_record *out_record,
                                          bool *out_found, tern_error *error);

/*
 * For a walk that has ended: is this where the log ends, or has something been lost? Looks behind
 * the end for proof that it had been durable: TERN_CORRUPTION naming file, offset and what to do.
 * Else *out_discarded_bytes counts what is recognised as unfinished or superseded.
 */
TERN_MUST_CHECK tern_status log_walk_judge(struct log_walk *walk, uint64_t *out_discarded_bytes,
                                           tern_error *error);

/* The next whole record at or after `offset` in the segment the walk stands in, chain or no chain.
 * Moves the walk to it. */
TERN_MUST_CHECK tern_status log_walk_salvage(struct log_walk *walk, uint64_t offset,
                                             bool *out_found, tern_error *error);

/* Moves the walk to the first record of a valid segment, chain or no chain. */
TERN_MUST_CHECK tern_status log_walk_enter(struct log_walk *walk,
                                           const struct log_catalog_entry *entry,
                                           tern_error *error);

#endif
