/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large values are streamed into the log before the commit that names them. Until that commit has
 * been drained into a base, the log must keep the chunks, which may lie long before the commit.
 */
#ifndef TERN_TXN_LARGE_RETENTION_H
#define TERN_TXN_LARGE_RETENTION_H

#include "base/memory.h"
#include "log/log.h"
#include "os/mutex.h"

struct large_retention_entry;

/* Any thread. */
struct large_retention {
    const tern_allocator *allocator;
    struct mutex mutex;
    struct large_retention_entry *entries;
    _Atomic uint64_t count;
};

void large_retention_init(struct large_retention *retention, const tern_allocator *allocator);
void large_retention_release(struct large_retention *retention);

static inline bool large_retention_is_empty(const struct large_retention *retention) {
    return atomic_load_explicit(&retention->count, memory_order_relaxed) == 0;
}

/* The first chunk of `token` begins at or after `position`. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status large_retention_add(struct large_retention *retention, uint64_t token,
                                                log_position position, tern_error *error);
/* The commit that names `token` has got `seq`. */
void large_retention_commit(struct large_retention *retention, uint64_t token, seq_no seq);
void large_retention_forget(struct large_retention *retention, uint64_t token);

/* First position needed once everything up to `drained` is in bases; UINT64_MAX when none. */
log_position large_retention_oldest(struct large_retention *retention, seq_no drained);
/* Drops entries committed up to `drained`. */
void large_retention_settle(struct large_retention *retention, seq_no drained);

#endif
