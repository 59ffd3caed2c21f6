/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keyspaces that the commits of a log create. Chunks of a large value come before the commit
 * that they belong to; when the same transaction creates the keyspace, they are met before it is
 * known. So one looks ahead; the log is read for that once, when the first such value is met,
 * however many there are, and whatever became of their transactions.
 */
#ifndef TERN_DB_CREATION_LIST_H
#define TERN_DB_CREATION_LIST_H

#include "base/arena.h"
#include "log/log.h"
#include "txn/commit_codec.h"

struct creation {
    partition_id id;
    seq_no seq;
    struct decoded_catalog_change change;
};

struct creation_list {
    const struct log_options *log_options; /* borrowed */
    log_position start;
    bool is_salvage; /* goes on behind damage, as repair does */
    bool is_read;
    struct arena arena;         /* names */
    struct creation *creations; /* by id */
    size_t count, capacity;
};

/* Of the log from `start` on, which does not change as long as the list is used. */
void creation_list_init(struct creation_list *list, const struct log_options *options,
                        log_position start, bool is_salvage);
void creation_list_release(struct creation_list *list);

/*
 * The change that creates keyspace `id` in a commit later than `after`; its name lives as long as
 * the list. TERN_NOT_FOUND when no commit creates it: its transaction never ended.
 */
TERN_MUST_CHECK tern_status creation_list_find(struct creation_list *list, partition_id id,
                                               seq_no after,
                                               struct decoded_catalog_change *out_change,
                                               tern_error *error);

#endif
