/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key locks of pessimistic transactions: shared and exclusive, first come first served, upgrades
 * ahead of newcomers, deadlocks found through a wait-for graph when a request starts to wait; the
 * youngest transaction of the circle is the victim.
 */
#ifndef TERN_TXN_LOCK_MANAGER_H
#define TERN_TXN_LOCK_MANAGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <tern/error.h>
#include <tern/sys/clock.h>
#include <tern/txn.h>

#include "base/budget.h"
#include "base/memory.h"
#include "base/types.h"

struct lock_manager;

/* The locks of one transaction; embedded in it. Zero-initialise, then set id. */
struct lock_owner {
    uint64_t id;             /* transaction id; smaller is older */
    struct lock_entry *held; /* list of held locks */
    uint64_t held_count;
    void *waiting; /* private */
};

struct lock_manager_options {
    const tern_allocator *allocator;
    const tern_clock *clock;
    struct budget *budget; /* counts BUDGET_OTHER */
    uint64_t bytes_max;    /* for the locks of all owners */
};
TERN_MUST_CHECK tern_status lock_manager_create(const struct lock_manager_options *options,
                                                struct lock_manager **out_manager,
                                                tern_error *error);
/* Nothing may be held. Accepts NULL. */
void lock_manager_destroy(struct lock_manager *manager);

/*
 * Locks (partition, key) or strengthens a lock held. Waits up to `timeout_ms`.
 * TERN_DEADLOCK, TERN_TIMEOUT (the message names the holder's transaction id), TERN_TOO_LARGE (the
 * locks of all owners would take more than bytes_max), TERN_NO_MEMORY.
 */
TERN_MUST_CHECK tern_status lock_manager_lock(struct lock_manager *manager,
                                              struct lock_owner *owner, partition_id partition,
                                              tern_slice key, tern_lock_mode mode,
                                              uint32_t timeout_ms, tern_error *error);

/* Gives back the lock granted to the owner last, and wakes who can go on. */
void lock_manager_release_newest(struct lock_manager *manager, struct lock_owner *owner);
/* Releases everything the owner holds and wakes who can go on. */
void lock_manager_release_all(struct lock_manager *manager, struct lock_owner *owner);

/* Locks held by anybody; 0 makes the checks below unnecessary. */
uint64_t lock_manager_held(const struct lock_manager *manager);

/* True when somebody other than `owner_id` (0: nobody) holds the key in any mode. */
bool lock_manager_is_locked(struct lock_manager *manager, uint64_t owner_id, partition_id partition,
                            tern_slice key);
/* The same for any key in a range. */
bool lock_manager_is_range_locked(struct lock_manager *manager, uint64_t owner_id,
                                  partition_id partition, tern_slice begin, const tern_slice *end);

struct lock_manager_stats {
    uint64_t held, waits, deadlocks, timeouts;
    uint64_t bytes; /* of memory, with what is kept for locks to come */
};
void lock_manager_get_stats(const struct lock_manager *manager, struct lock_manager_stats *out);

#endif
