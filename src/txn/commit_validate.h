/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation by the commit leader: first committer wins. Everything here belongs to the applier.
 */
#ifndef TERN_TXN_COMMIT_VALIDATE_H
#define TERN_TXN_COMMIT_VALIDATE_H

#include "txn/commit.h"

/* Range deletes remembered for validation; older ones raise the horizon. */
#define RANGE_HISTORY_ENTRIES 64

struct range_memory {
    partition_id partition;
    seq_no seq;
    uint8_t *begin; /* owned */
    uint8_t *end;   /* owned; NULL: open */
    size_t begin_size;
    size_t end_size;
};

/* The most recent range deletes, a ring. */
struct range_history {
    const tern_allocator *allocator;
    struct range_memory entries[RANGE_HISTORY_ENTRIES];
    size_t count;
    size_t next;
    seq_no newest_seq;  /* of any range delete, or drop of a keyspace */
    seq_no horizon_seq; /* newest that was forgotten */
};

void range_history_init(struct range_history *history, const tern_allocator *allocator);
void range_history_release(struct range_history *history);

/*
 * TERN_CONFLICT when something the request depends on changed after its snapshot, TERN_LOCKED when
 * a key it writes is locked by another transaction, TERN_NOT_FOUND when a keyspace it writes is
 * gone. Detail in the request's error.
 */
TERN_MUST_CHECK tern_status commit_validate(struct txn_manager *manager,
                                            const struct range_history *history,
                                            struct commit_request *request);

/* The request has got `seq`: remembers what it wrote. */
void commit_remember(struct txn_manager *manager, struct range_history *history,
                     const struct commit_request *request, seq_no seq);

#endif
