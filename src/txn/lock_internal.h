/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the lock manager: objects (locked keys), entries (one owner's lock on one key) and
 * waiters. Everything here is under lock_manager.mutex.
 */
#ifndef TERN_TXN_LOCK_INTERNAL_H
#define TERN_TXN_LOCK_INTERNAL_H

#include "os/mutex.h"
#include "txn/lock_manager.h"

/* A key that somebody holds or waits for. */
struct lock_object {
    struct lock_object *next; /* in its hash bucket; in the pool when free */
    struct lock_object *next_all, *previous_all;
    uint64_t hash;
    partition_id partition;
    struct lock_entry *granted;
    struct lock_waiter *first, *last; /* the queue; upgrades before newcomers */
    size_t visitor_count; /* threads inside wait_for_lock, also those no longer queued */
    size_t key_capacity;
    tern_slice key; /* at key_bytes */
    uint8_t key_bytes[];
};

/* A lock held. */
struct lock_entry {
    struct lock_object *object;
    struct lock_owner *owner;
    struct lock_entry *next_held, *previous_held; /* of the owner; next in the pool when free */
    struct lock_entry *next_granted, *previous_granted;
    tern_lock_mode mode;
};

enum lock_outcome { LOCK_WAITS, LOCK_GRANTED, LOCK_VICTIM };

/* Ids named in messages. */
#define LOCK_NAMED_IDS_MAX 6

/* A request that waits; on the stack of its thread. */
struct lock_waiter {
    struct lock_object *object;
    struct lock_owner *owner;
    struct lock_entry *entry; /* to be granted; for upgrades the shared lock already held */
    struct lock_waiter *next, *previous;
    tern_lock_mode mode;
    bool is_upgrade;
    enum lock_outcome outcome;
    struct condition wake;
    uint64_t circle_ids[LOCK_NAMED_IDS_MAX]; /* of a victim: who stood in the circle */
    size_t circle_count;
    /* Search for circles. */
    uint64_t visited;
    struct lock_waiter *reached_from; /* who waits for this one, on the path */
    struct lock_waiter *next_pending;
};

static inline bool lock_conflicts(tern_lock_mode left, tern_lock_mode right) {
    return left == TERN_LOCK_EXCLUSIVE || right == TERN_LOCK_EXCLUSIVE;
}

/*
 * Looks for a circle of waiting owners through `start`. Returns the waiter of the youngest owner in
 * it, with circle_ids filled, or NULL. `mark` must differ from call to call.
 */
struct lock_waiter *lock_find_deadlock(struct lock_waiter *start, uint64_t mark);

#endif
