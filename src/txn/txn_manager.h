/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heart of a running database: what is visible, who reads at which snapshot, and the way in for
 * commits. One per open database; owned by src/db, used by transactions and single operations.
 */
#ifndef TERN_TXN_TXN_MANAGER_H
#define TERN_TXN_TXN_MANAGER_H

#include "base/spares.h"
#include "engine/engine.h"
#include "log/log.h"
#include "os/epoch.h"
#include "os/mutex.h"
#include "txn/conflict_table.h"
#include "txn/keyspace.h"
#include "txn/large_retention.h"
#include "txn/lock_manager.h"
#include "txn/snapshot.h"

struct commit_request;
struct commit_queue;
struct catalog_change;

/* What the layer above does for the commit leader. Called with the applier mutex held. */
struct txn_callbacks {
    void *context;
    /*
     * Before anything of the request is logged: checks that keyspaces it creates or drops can be
     * (names free, alive) and prepares what must not fail afterwards. TERN_EXISTS, TERN_NOT_FOUND,
     * TERN_CONFLICT, TERN_NO_MEMORY.
     */
    tern_status (*catalog_prepare)(void *context, struct catalog_change *changes, size_t count,
                                   tern_error *error);
    /* The request is in the log at `seq`: makes the catalog changes so. Cannot fail. */
    void (*catalog_apply)(void *context, struct catalog_change *changes, size_t count, seq_no seq);
    /* The seq has become visible: what was dropped leaves the view. Cannot fail. */
    void (*catalog_published)(void *context, struct catalog_change *changes, size_t count);
    /* Prepared, but the log refused. */
    void (*catalog_undo)(void *context, struct catalog_change *changes, size_t count);
    /*
     * Before a commit of `bytes` joins the queue, holding nothing: pays for background work; may
     * run slices of it or wait shortly. TERN_NO_MEMORY, TERN_DISK_FULL when the policy says so.
     * `bytes` 0 pays, but needs no room in overlays and is never refused for want of it.
     */
    tern_status (*throttle)(void *context, uint64_t bytes, tern_error *error);
};

struct txn_manager {
    const tern_allocator *allocator;
    struct spares txns;    /* handles, given back when they are freed */
    struct spares cursors; /* the same */
    const tern_clock *clock;
    const struct tern_executor *executor;
    struct epoch_domain *epoch;
    struct budget *budget;
    struct log *log;
    struct txn_callbacks callbacks;
    tern_durability default_durability;
    uint32_t lock_timeout_ms;
    uint64_t transaction_bytes_max;
    uint64_t large_value_bytes;
    uint64_t sync_interval_ms;
    _Atomic uint64_t last_sync_ms; /* wall time of the last interval sync */
    bool read_only;
    void *database; /* the tern_db above, for handles */

    /* Visibility. Readers: load view, load visible_seq, load view again; equal means they fit. */
    _Alignas(64) _Atomic(struct database_view *) view;
    _Atomic seq_no visible_seq;
    _Atomic uint64_t visible_time_ms; /* logged time of visible_seq or later; never goes back */

    /* Applier role: the commit leader, or maintenance between groups. What it writes with every
     * group lies apart from what all others read. */
    _Alignas(64) seq_no next_seq;
    _Atomic uint64_t commits, groups;

    _Alignas(64) _Atomic bool has_expiring; /* some record with an expiry was ever written */
    _Atomic uint64_t next_large_token;
    struct commit_queue *queue;

    struct snapshot_registry *snapshots;
    struct conflict_table *conflicts;
    struct lock_manager *locks;
    _Atomic uint64_t paying_snapshots; /* of transactions that are inside `throttle` */
    struct large_retention retention;  /* chunks of large values that the log must keep */
    _Atomic uint64_t next_txn_id;      /* age: smaller is older */
    _Atomic uint64_t live_writers;     /* read-write transactions that validate at commit */

    /* Views not yet destroyed, newest first. */
    struct mutex views_mutex;
    struct database_view *live_views;

    /* Statistics. */
    _Atomic uint64_t conflicts_found, false_conflicts_possible, deadlocks;
    _Atomic uint64_t async_commits, rollbacks, reads_retried;
};

/*
 * Makes a view current (its references count from 1 for being current); the old one loses that
 * reference. The caller has the applier role; visible_seq >= view->floor_seq.
 */
void txn_manager_publish_view(struct txn_manager *manager, struct database_view *view);

/*
 * A view with `slot_count` empty parts, generation and floor unset, one reference. It counts as
 * live from its publication on; before that, free it with memory_release. TERN_NO_MEMORY.
 */
TERN_MUST_CHECK tern_status database_view_create(struct txn_manager *manager, uint32_t slot_count,
                                                 struct database_view **out_view,
                                                 tern_error *error);
/* Drops a reference; the last one sends it through the epoch to its end. Accepts NULL. */
void database_view_release(struct database_view *view);

/*
 * Generations of all views that some reader may still use, ascending, into `out` (capacity
 * entries); returns how many there are. When there are more than `capacity` nothing is written.
 */
size_t txn_manager_live_generations(struct txn_manager *manager, uint64_t *out, size_t capacity);

/*
 * For single operations, inside an epoch: a view and a moment that fit each other.
 */
static inline struct database_view *txn_manager_now(struct txn_manager *manager,
                                                    struct engine_moment *out_moment) {
    for (;;) {
        struct database_view *view = atomic_load_explicit(&manager->view, memory_order_acquire);
        out_moment->seq = atomic_load_explicit(&manager->visible_seq, memory_order_acquire);
        out_moment->time_ms = atomic_load_explicit(&manager->visible_time_ms, memory_order_relaxed);
        if (atomic_load_explicit(&manager->view, memory_order_acquire) == view) {
            return view;
        }
    }
}

#endif
