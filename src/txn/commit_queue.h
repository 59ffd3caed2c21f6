/* SPDX-License-Identifier: Apache-2.0 */
/* The queue behind the commit pipeline; see commit.h for its use. */
#ifndef TERN_TXN_COMMIT_QUEUE_H
#define TERN_TXN_COMMIT_QUEUE_H

#include <tern/sys/executor.h>

#include "base/buffer.h"
#include "txn/commit.h"
#include "txn/commit_validate.h"

/* In queue->head: somebody has the applier role. */
#define QUEUE_LED ((uintptr_t)1)

/* In commit_request.flags: waits for the applier role, not for a commit. */
#define COMMIT_ROLE 0x80000000u

struct request_list {
    struct commit_request *first; /* oldest */
    struct commit_request *last;
};

struct commit_queue {
    struct txn_manager *manager;
    _Alignas(64) _Atomic uintptr_t head; /* newest request that waits, and QUEUE_LED */
    _Atomic uintptr_t last_leader;       /* thread that led last, more or less */
    _Atomic uint32_t company;            /* leads until it counts as being alone */
    /* Looked at again and again by who waits, and seldom written. */
    _Alignas(64) _Atomic bool is_syncing; /* a device is at work: waiting will take longer */
    _Atomic uint32_t wakeups[2];          /* what sleepers wait on, by parity of the round */
    _Atomic uint32_t watchers;            /* who stay awake for long */
    _Atomic uint32_t short_waits;         /* that come before the next long one */
    uint32_t watchers_max;

    /* The applier's. */
    _Alignas(64) _Atomic uint32_t round; /* groups begun */
    struct request_list waiting;         /* taken off the stack */
    struct request_list roles;           /* the same, who only want the role */
    bool role_was_last;                  /* the role went to one of the latter */
    bool has_synced;                     /* the last group waited for the device */
    bool has_left_some;                  /* who led last left asynchronous requests behind */
    struct range_history ranges;

    /* Asynchronous commits. */
    tern_task lead_task;
    tern_task callback_task;
    struct mutex done_mutex;
    struct commit_request *done_first; /* in commit order, waiting for their callbacks */
    struct commit_request *done_last;
    bool is_calling;                /* somebody runs callbacks now */
    int descriptor;                 /* -1 until asked for */
    _Atomic uint64_t async_pending; /* submitted, callback not finished */
};

/* The applier role outside of commits (freeze, publish). */
void commit_applier_lock(struct txn_manager *manager);
/* Gives the role back; when commits wait, one of them is told to lead, or this commits those that
 * nobody waits for. No lock that a commit takes may be held. */
void commit_applier_unlock(struct txn_manager *manager);

/* Hands finished asynchronous requests over to whoever runs callbacks. Applier. */
void commit_queue_done(struct commit_queue *queue, struct commit_request *request);

/* Runs the waiting callbacks on this thread, unless another does already. */
size_t commit_queue_call(struct commit_queue *queue);

/* Takes off the stack what waits there. Applier. True: some request waits to be committed. */
bool commit_queue_take(struct commit_queue *queue);

/* Wakes the sleepers of these sides (a bit each) that share one of `bits`. */
void commit_queue_wake(struct commit_queue *queue, unsigned sides, uint32_t bits);

/* Commits all that waits, and last `own`, which is not queued (or NULL). Applier. False when there
 * was nothing to do. */
bool commit_process_group(struct txn_manager *manager, struct commit_request *own);

/* Steps of the asynchronous side's tasks. */
tern_task_state commit_lead_step(struct tern_task *task);
tern_task_state commit_callback_step(struct tern_task *task);

enum commit_request_state {
    REQUEST_WAITING = 0,
    REQUEST_LEAD = 1,
    REQUEST_DONE = 2,
    REQUEST_SLEEPING = 4 /* and the side */
};

/* LEAD or DONE: the owner may be gone at once. Returns the sides to wake. */
static inline unsigned commit_request_set(struct commit_request *request, uint32_t state) {
    uint32_t previous = atomic_exchange_explicit(&request->state, state, memory_order_acq_rel);
    return previous >= REQUEST_SLEEPING ? 1u << (previous - REQUEST_SLEEPING) : 0;
}

#endif
