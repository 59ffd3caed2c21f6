/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asynchronous commits: finished requests wait, in commit order, for somebody to run their
 * callbacks: the executor, or commit_poll once a descriptor was asked for. One at a time, so that
 * the order is kept.
 */
#include "base/error.h"
#include "os/event.h"
#include "txn/commit_queue.h"

void commit_queue_destroy(struct commit_queue *queue) {
    if (queue == NULL) {
        return;
    }
    const struct tern_executor *executor = queue->manager->executor;
    executor->cancel(executor->context, &queue->lead_task);
    executor->cancel(executor->context, &queue->callback_task);
    if (queue->descriptor >= 0) {
        event_close(queue->descriptor);
    }
    range_history_release(&queue->ranges);
    mutex_destroy(&queue->done_mutex);
    memory_release_aligned(queue->manager->allocator, queue);
}

void commit_queue_done(struct commit_queue *queue, struct commit_request *request) {
    mutex_lock(&queue->done_mutex);
    request->next = NULL;
    if (queue->done_last != NULL) {
        queue->done_last->next = request;
    } else {
        queue->done_first = request;
    }
    queue->done_last = request;
    int descriptor = queue->descriptor;
    mutex_unlock(&queue->done_mutex);
    if (descriptor >= 0) {
        event_set(descriptor);
    } else {
        queue->manager->executor->post(queue->manager->executor->context, &queue->callback_task);
    }
}

size_t commit_queue_call(struct commit_queue *queue) {
    size_t called = 0;
    mutex_lock(&queue->done_mutex);
    if (!queue->is_calling) {
        queue->is_calling = true;
        while (queue->done_first != NULL) {
            struct commit_request *request = queue->done_first;
            queue->done_first = request->next;
            if (queue->done_first == NULL) {
                queue->done_last = NULL;
            }
            mutex_unlock(&queue->done_mutex);
            request->on_done(request);
            atomic_fetch_sub_explicit(&queue->async_pending, 1, memory_order_release);
            called++;
            mutex_lock(&queue->done_mutex);
        }
        queue->is_calling = false;
        if (queue->descriptor >= 0) {
            event_clear(queue->descriptor);
        }
    }
    mutex_unlock(&queue->done_mutex);
    return called;
}

tern_task_state commit_callback_step(struct tern_task *task) {
    struct commit_queue *queue =
        (struct commit_queue *)((char *)task - offsetof(struct commit_queue, callback_task));
    mutex_lock(&queue->done_mutex);
    bool is_polled = queue->descriptor >= 0;
    mutex_unlock(&queue->done_mutex);
    if (!is_polled) {
        (void)commit_queue_call(queue);
    }
    return TERN_TASK_DONE;
}

tern_status commit_poll_descriptor(struct txn_manager *manager, int *out_descriptor,
                                   tern_error *error) {
    struct commit_queue *queue = manager->queue;
    tern_status status = TERN_OK;
    mutex_lock(&queue->done_mutex);
    if (queue->descriptor < 0) {
        status = event_open(&queue->descriptor, error);
    }
    if (status == TERN_OK) {
        *out_descriptor = queue->descriptor;
        if (queue->done_first != NULL) {
            event_set(queue->descriptor);
        }
    }
    mutex_unlock(&queue->done_mutex);
    return status;
}

size_t commit_poll(struct txn_manager *manager) {
    return commit_queue_call(manager->queue);
}

/* Leads and calls by itself, so that it also works where nobody steps the executor. */
void commit_drain_async(struct txn_manager *manager) {
    struct commit_queue *queue = manager->queue;
    while (atomic_load_explicit(&queue->async_pending, memory_order_acquire) > 0) {
        commit_applier_lock(manager);
        (void)commit_process_group(manager, NULL);
        commit_applier_unlock(manager);
        if (commit_queue_call(queue) == 0) {
            spin_pause();
        }
    }
}
