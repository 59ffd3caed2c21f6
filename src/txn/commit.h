/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commit pipeline. A request joins a lock-free queue; whoever finds no leader leads: takes what
 * waits, validates each in queue order, gives sequence numbers, encodes into the log, applies to
 * the partitions, syncs once if any asks for it, publishes visible_seq, and wakes the rest.
 */
#ifndef TERN_TXN_COMMIT_H
#define TERN_TXN_COMMIT_H

#include "engine/engine.h"
#include "txn/keyspace.h"
#include "txn/txn_manager.h"

/* Changes of one keyspace within a commit, contiguous, in the order of the transaction. */
struct commit_part {
    tern_keyspace *keyspace;
    struct engine_change *changes;
    size_t count;
};

/* Creates, drops or converts a keyspace within a commit. */
struct catalog_change {
    tern_keyspace *keyspace;
    bool is_drop;
    tern_keyspace *target; /* of a conversion: the hidden one whose partition it gets; else NULL */
    seq_no seq;            /* the catalog's own */
};

/* A range read by a serializable transaction. */
struct commit_range {
    tern_keyspace *keyspace;
    struct engine_cursor_bounds bounds;
};

enum commit_flags {
    COMMIT_VALIDATE_WRITES = 1, /* written keys must be unchanged since snapshot_seq */
    COMMIT_VALIDATE_READS = 2,  /* so must keys and ranges read (serializable) */
    COMMIT_EXPECT = 4,          /* compare-and-set: validate the one key against snapshot_seq */
    COMMIT_COPY = 8             /* into a hidden partition: nothing to validate or to remember, and
                                   commit hooks are not told */
};

/*
 * A commit on its way. Owned by the caller, who fills the upper part; everything it points to must
 * stay until the request is done. Large values must have been streamed (commit_large_*) before.
 */
struct commit_request {
    struct commit_part *parts;
    size_t part_count;
    struct catalog_change *catalog;
    size_t catalog_count;
    size_t change_count;        /* sum over parts */
    size_t bytes;               /* sum of key and value sizes */
    uint32_t flags;             /* enum commit_flags */
    tern_durability durability; /* resolved: full, interval or none */
    seq_no snapshot_seq;
    uint64_t expected_until_ms;  /* of COMMIT_EXPECT: when what was compared expires; 0: never */
    const uint64_t *read_hashes; /* of keys read */
    size_t read_count;
    const struct commit_range *read_ranges;
    size_t range_count;
    uint64_t owner_id; /* transaction id for lock checks; 0 none */
    /* Of the one change, when it was looked for beforehand (commit_find_place); else zero. */
    struct change_place place;
    /* For asynchronous commits: called when done, in commit order; NULL for synchronous ones. */
    void (*on_done)(struct commit_request *request);
    void *on_done_context;

    struct commit_request *next; /* the pipeline's own */

    /* Outcome. */
    tern_status status;
    seq_no seq; /* of the commit */
    tern_error error;

    /* The pipeline's own: looked at by the owner all the while, so apart from the rest. */
    _Atomic uint32_t state;
};

/* A commit of a single change, in one piece: a leader, in whose processor's caches nothing of it
 * is, fetches it at once instead of following pointers from line to line. */
struct commit_single {
    struct engine_change change;
    struct commit_part part;
    struct commit_request request;
};

TERN_MUST_CHECK tern_status commit_queue_create(struct txn_manager *manager,
                                                struct commit_queue **out_queue, tern_error *error);
/* Nothing may be queued. Accepts NULL. */
void commit_queue_destroy(struct commit_queue *queue);

/* Commits and waits; the outcome is in the request and returned. Leads when it must. */
tern_status commit_submit(struct txn_manager *manager, struct commit_request *request);

/* For a request with a single change, before it is submitted: when others commit, too, looks for
 * where the change will go, so that the leader need not. */
void commit_find_place(struct txn_manager *manager, struct commit_request *request);

/* The same by who has the applier role already: nothing that waits in the queue comes before. */
tern_status commit_submit_leading(struct txn_manager *manager, struct commit_request *request);

/* Queues and returns; the log task on the executor leads, on_done tells the outcome. */
void commit_submit_async(struct txn_manager *manager, struct commit_request *request);

/* Callbacks: with a descriptor they wait for commit_poll, otherwise they run on the executor. */
TERN_MUST_CHECK tern_status commit_poll_descriptor(struct txn_manager *manager, int *out_descriptor,
                                                   tern_error *error);
size_t commit_poll(struct txn_manager *manager);

/* Waits until all asynchronous commits have been done and told. */
void commit_drain_async(struct txn_manager *manager);

/*
 * Moves logged time on without a change (expiry in an idle database). Takes the applier mutex.
 */
TERN_MUST_CHECK tern_status commit_tick(struct txn_manager *manager, tern_error *error);

/*
 * Appends one chunk of a large value to the log, before the commit that names `token`. Offsets
 * begin at 0 and are contiguous. The log keeps the chunks until the commit that names them has been
 * drained, or commit_large_forget. Takes the applier mutex shortly. TERN_DISK_FULL, TERN_POISONED,
 * TERN_IO, TERN_NO_MEMORY.
 */
TERN_MUST_CHECK tern_status commit_large_chunk(struct txn_manager *manager, partition_id partition,
                                               uint64_t token, uint64_t offset, tern_slice bytes,
                                               tern_error *error);

/* The value was given up before its commit. Any thread; unknown tokens do no harm. */
void commit_large_forget(struct txn_manager *manager, uint64_t token);

#endif
