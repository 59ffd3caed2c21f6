/* SPDX-License-Identifier: Apache-2.0 */
/* The queue behind the commit pipeline; see commit.h for its use. */
#ifndef TERN_TXN_COMMIT_QUEUE_H
#define TERN_TXN_COMMIT_QUEUE_H

#include <tern/sys/executor.h>

#include "base/buffer.h"
#include "txn/commit.h"
#include "txn/commit_validate.h"

struct commit_queue {
    struct txn_manager *manager;
    _Alignas(64) _Atomic(struct commit_request *) head; /* waiting, newest first */
    _Atomic uint32_t has_successor; /* somebody was told to lead and has not begun yet */

    /* Under the applier mutex. */
    struct range_history ranges;
    struct buffer encoding; /* of transactions in parts */

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
/* Gives the role back; when commits wait, one of them is told to lead. */
void commit_applier_unlock(struct txn_manager *manager);

/* Hands finished asynchronous requests over to whoever runs callbacks. Applier. */
void commit_queue_done(struct commit_queue *queue, struct commit_request *request);

/* Runs the waiting callbacks on this thread, unless another does already. */
size_t commit_queue_call(struct commit_queue *queue);

/* Takes all that waits and commits it. Applier. False when nothing waited. */
bool commit_process_group(struct txn_manager *manager);

/* Steps of the asynchronous side's tasks. */
tern_task_state commit_lead_step(struct tern_task *task);
tern_task_state commit_callback_step(struct tern_task *task);

enum commit_request_state {
    REQUEST_WAITING = 0,
    REQUEST_SLEEPING = 1,
    REQUEST_LEAD = 2,
    REQUEST_DONE = 3
};

#endif
