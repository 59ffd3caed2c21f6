/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wait-for graph. It is never stored: a waiter waits for the holders of its key that conflict
 * with it and for those ahead in the queue that do, and that is read off the objects.
 *
 * A circle can only come into being when somebody begins to wait (grants go to those who were ahead
 * already, departures only take edges away), so one search from each new waiter finds all of them.
 */
#include "txn/lock_internal.h"

/* Visits an owner that `from` waits for; true when that closes the circle. */
static bool reach(struct lock_waiter *from, struct lock_owner *owner,
                  const struct lock_waiter *start, uint64_t mark, struct lock_waiter **pending) {
    struct lock_waiter *waiter = owner->waiting;
    if (owner == from->owner || waiter == NULL) {
        return false;
    }
    if (waiter == start) {
        return true;
    }
    if (waiter->visited != mark) {
        waiter->visited = mark;
        waiter->reached_from = from;
        waiter->next_pending = *pending;
        *pending = waiter;
    }
    return false;
}

/* Follows all edges out of `from`. */
static bool expand(struct lock_waiter *from, const struct lock_waiter *start, uint64_t mark,
                   struct lock_waiter **pending) {
    for (struct lock_entry *entry = from->object->granted; entry != NULL;
         entry = entry->next_granted) {
        if (lock_conflicts(entry->mode, from->mode) &&
            reach(from, entry->owner, start, mark, pending)) {
            return true;
        }
    }
    for (struct lock_waiter *ahead = from->previous; ahead != NULL; ahead = ahead->previous) {
        if (lock_conflicts(ahead->mode, from->mode) &&
            reach(from, ahead->owner, start, mark, pending)) {
            return true;
        }
    }
    return false;
}

struct lock_waiter *lock_find_deadlock(struct lock_waiter *start, uint64_t mark) {
    struct lock_waiter *pending = NULL;
    struct lock_waiter *last = start;
    start->visited = mark;
    start->reached_from = NULL;
    while (last != NULL && !expand(last, start, mark, &pending)) {
        last = pending;
        if (pending != NULL) {
            pending = pending->next_pending;
        }
    }
    if (last == NULL) {
        return NULL;
    }
    struct lock_waiter *youngest = last;
    for (struct lock_waiter *waiter = last; waiter != NULL; waiter = waiter->reached_from) {
        if (waiter->owner->id > youngest->owner->id) {
            youngest = waiter;
        }
    }
    youngest->circle_count = 0;
    for (struct lock_waiter *waiter = last;
         waiter != NULL && youngest->circle_count < LOCK_NAMED_IDS_MAX;
         waiter = waiter->reached_from) {
        youngest->circle_ids[youngest->circle_count++] = waiter->owner->id;
    }
    return youngest;
}
