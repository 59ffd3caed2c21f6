/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joining the commit queue, leading, waiting.
 *
 * The queue is a stack of requests pushed by compare-and-swap; the leader is whoever holds the
 * applier mutex. Nobody is forgotten: a request is pushed before its owner tries the mutex, and
 * whoever gives the mutex back looks at the queue afterwards. Either the owner gets the mutex, or
 * the holder sees the request.
 */
#include "txn/commit.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "txn/commit_codec.h"
#include "txn/commit_queue.h"

/* Rounds that a leader goes on for others after its own request is done. */
#define EXTRA_ROUNDS 4
/* How long a follower looks at its state before it sleeps. */
#define SPIN_ROUNDS 60

tern_status commit_queue_create(struct txn_manager *manager, struct commit_queue **out_queue,
                                tern_error *error) {
    struct commit_queue *queue =
        memory_allocate_aligned(manager->allocator, 64, sizeof(struct commit_queue));
    if (queue == NULL) {
        return ERROR_NO_MEMORY(error, "the commit queue");
    }
    memset(queue, 0, sizeof(*queue));
    queue->manager = manager;
    queue->descriptor = -1;
    queue->lead_task = (tern_task)TERN_TASK_INIT(commit_lead_step, "commit");
    queue->callback_task = (tern_task)TERN_TASK_INIT(commit_callback_step, "callbacks");
    range_history_init(&queue->ranges, manager->allocator);
    buffer_init(&queue->encoding, manager->allocator);
    mutex_init(&queue->done_mutex);
    *out_queue = queue;
    return TERN_OK;
}

static void push(struct commit_queue *queue, struct commit_request *request) {
    /* Its 600 bytes are filled in only when something fails. */
    request->error.status = TERN_OK;
    request->error.message[0] = '\0';
    atomic_store_explicit(&request->state, REQUEST_WAITING, memory_order_relaxed);
    struct commit_request *head = atomic_load_explicit(&queue->head, memory_order_relaxed);
    do {
        request->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&queue->head, &head, request,
                                                    memory_order_seq_cst, memory_order_relaxed));
}

/* Under the applier mutex nobody completes requests, so the head may be looked at. */
static void appoint_successor(struct commit_queue *queue) {
    struct commit_request *head = atomic_load_explicit(&queue->head, memory_order_seq_cst);
    if (head == NULL) {
        return;
    }
    atomic_store_explicit(&queue->has_successor, 1, memory_order_relaxed);
    if (head->on_done != NULL) {
        queue->manager->executor->post(queue->manager->executor->context, &queue->lead_task);
    } else if (atomic_exchange_explicit(&head->state, REQUEST_LEAD, memory_order_acq_rel) ==
               REQUEST_SLEEPING) {
        futex_wake(&head->state, 1);
    }
}

void commit_applier_lock(struct txn_manager *manager) {
    mutex_lock(&manager->applier_mutex);
}

void commit_applier_unlock(struct txn_manager *manager) {
    struct commit_queue *queue = manager->queue;
    for (;;) {
        appoint_successor(queue);
        mutex_unlock(&manager->applier_mutex);
        atomic_thread_fence(memory_order_seq_cst);
        if (atomic_load_explicit(&queue->head, memory_order_seq_cst) == NULL ||
            atomic_load_explicit(&queue->has_successor, memory_order_relaxed) != 0 ||
            !mutex_try_lock(&manager->applier_mutex)) {
            return;
        }
    }
}

static bool is_done(struct commit_request *request) {
    return atomic_load_explicit(&request->state, memory_order_acquire) == REQUEST_DONE;
}

/* With the mutex held; `own` may be NULL. */
static void lead(struct txn_manager *manager, struct commit_request *own) {
    int extra = 0;
    while ((own != NULL && !is_done(own)) || extra < EXTRA_ROUNDS) {
        if (!commit_process_group(manager)) {
            break;
        }
        extra += own == NULL || is_done(own);
    }
}

static void wait_a_little(struct commit_request *request) {
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        if (atomic_load_explicit(&request->state, memory_order_acquire) != REQUEST_WAITING) {
            return;
        }
        spin_pause();
    }
    uint32_t expected = REQUEST_WAITING;
    if (atomic_compare_exchange_strong_explicit(&request->state, &expected, REQUEST_SLEEPING,
                                                memory_order_acq_rel, memory_order_acquire)) {
        while (atomic_load_explicit(&request->state, memory_order_acquire) == REQUEST_SLEEPING) {
            futex_wait(&request->state, REQUEST_SLEEPING, 0);
        }
    }
}

tern_status commit_submit(struct txn_manager *manager, struct commit_request *request) {
    ASSERT(request->on_done == NULL);
    push(manager->queue, request);
    while (!is_done(request)) {
        if (mutex_try_lock(&manager->applier_mutex)) {
            lead(manager, request);
            commit_applier_unlock(manager);
            continue;
        }
        wait_a_little(request);
        uint32_t expected = REQUEST_LEAD;
        if (atomic_compare_exchange_strong_explicit(&request->state, &expected, REQUEST_WAITING,
                                                    memory_order_acq_rel, memory_order_acquire)) {
            /* Whoever appointed this one relies on it, and may not have let go of the mutex yet. */
            mutex_lock(&manager->applier_mutex);
            lead(manager, request);
            commit_applier_unlock(manager);
        }
    }
    return request->status;
}

tern_task_state commit_lead_step(struct tern_task *task) {
    struct commit_queue *queue =
        (struct commit_queue *)((char *)task - offsetof(struct commit_queue, lead_task));
    if (atomic_load_explicit(&queue->head, memory_order_acquire) != NULL) {
        commit_applier_lock(queue->manager);
        lead(queue->manager, NULL);
        commit_applier_unlock(queue->manager);
    } else {
        atomic_store_explicit(&queue->has_successor, 0, memory_order_relaxed);
    }
    return TERN_TASK_DONE;
}

void commit_submit_async(struct txn_manager *manager, struct commit_request *request) {
    ASSERT(request->on_done != NULL);
    struct commit_queue *queue = manager->queue;
    atomic_fetch_add_explicit(&queue->async_pending, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&manager->async_commits, 1, memory_order_relaxed);
    push(queue, request);
    manager->executor->post(manager->executor->context, &queue->lead_task);
}

tern_status commit_tick(struct txn_manager *manager, tern_error *error) {
    uint8_t payload[COMMIT_TICK_BYTES];
    uint8_t *target;
    log_position end;
    uint64_t now_ms = manager->clock->wall_ms(manager->clock->context);
    commit_applier_lock(manager);
    tern_status status = TERN_OK;
    if (now_ms > atomic_load_explicit(&manager->visible_time_ms, memory_order_relaxed)) {
        put_u64(payload, now_ms);
        status = log_begin(manager->log, LOG_RECORD_TICK, sizeof(payload), &target, error);
        if (status == TERN_OK) {
            memcpy(target, payload, sizeof(payload));
            status = log_end(manager->log, sizeof(payload), &end, error);
        }
        if (status == TERN_OK) {
            atomic_store_explicit(&manager->visible_time_ms, now_ms, memory_order_release);
        }
    }
    commit_applier_unlock(manager);
    return status;
}

tern_status commit_large_chunk(struct txn_manager *manager, const tern_keyspace *keyspace,
                               uint64_t token, uint64_t offset, tern_slice bytes,
                               tern_error *error) {
    uint8_t *payload;
    log_position end;
    size_t size = COMMIT_CHUNK_HEADER_BYTES + bytes.size;
    commit_applier_lock(manager);
    tern_status status = TERN_OK;
    if (offset == 0) {
        status =
            large_retention_add(&manager->retention, token, log_end_position(manager->log), error);
    }
    if (status == TERN_OK) {
        status = log_begin(manager->log, LOG_RECORD_CHUNK, size, &payload, error);
    }
    if (status == TERN_OK) {
        put_u64(payload, token);
        put_u64(payload + 8, keyspace->id);
        put_u64(payload + 16, offset);
        memcpy(payload + COMMIT_CHUNK_HEADER_BYTES, bytes.data, bytes.size);
        status = log_end(manager->log, size, &end, error);
    }
    commit_applier_unlock(manager);
    return status;
}

void commit_large_forget(struct txn_manager *manager, uint64_t token) {
    large_retention_forget(&manager->retention, token);
}
