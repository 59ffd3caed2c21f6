/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file stats.h
 * Numbers about a running database. One list in the source makes this enumeration, the names, the
 * documentation and what `tern stats` prints.
 */
#ifndef TERN_STATS_H
#define TERN_STATS_H

#include <tern/keyspace.h>

TERN_BEGIN_DECLS

/** What a number counts. */
typedef enum tern_stat_kind {
    TERN_STAT_COUNTER = 1, /**< only grows since open */
    TERN_STAT_GAUGE = 2    /**< a level now */
} tern_stat_kind;

/** One number. Strings are static. */
typedef struct tern_stat {
    const char *name; /**< "log_appended_bytes" */
    const char *unit; /**< "bytes", "count", "percent", "ms", "ns", "seq", "errno", "code" */
    const char *text; /**< one line of explanation */
    tern_stat_kind kind;
    uint64_t value;
} tern_stat;

/** Called once per number; return false to stop. */
typedef bool (*tern_stat_visitor)(void *context, const tern_stat *stat);

/** Visits all numbers of a database. Any thread; never blocks commits. */
TERN_API TERN_MUST_CHECK tern_status tern_stats(tern_db *db, tern_stat_visitor visit, void *context,
                                                tern_error *error);

/** Visits all numbers of a keyspace (keys estimated, bytes, pages, depth, …). Any thread. */
TERN_API TERN_MUST_CHECK tern_status tern_keyspace_stats(tern_keyspace *keyspace,
                                                         tern_stat_visitor visit, void *context,
                                                         tern_error *error);

/** One number by name; TERN_NOT_FOUND when there is none of that name. Any thread. */
TERN_API TERN_MUST_CHECK tern_status tern_stat_get(tern_db *db, const char *name,
                                                   uint64_t *out_value);

TERN_END_DECLS

#endif
