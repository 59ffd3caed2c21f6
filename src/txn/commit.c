/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joining the commit queue, leading, waiting.
 *
 *   queue->head    0                     nobody leads, nothing waits
 *                  QUEUE_LED             somebody leads, nothing waits
 *                  request | QUEUE_LED   somebody leads; requests wait, newest first
 *                  request               asynchronous ones wait for the log task or for whoever
 *                                        comes first
 *
 * The queue is the lock of the applier role: who sets QUEUE_LED leads, and until it is cleared
 * everybody else queues. A lone writer pays one compare-and-swap to lead and one to stop.
 *
 * Invariants:
 *
 *  Q1 the flag is cleared only when no synchronous request waits: else one of them is put into
 *     state LEAD, and nobody can take the role in between. So each waits a bounded time.
 *
 *  Q2 `next` of a queued request, and the lists of those taken off the stack, belong to the leader.
 *
 *  Q3 who sees its own request DONE or LEAD owns it again; nobody touches it after setting that.
 *
 *  Q4 asynchronous requests wait for one who stops leading at most; the next one commits them.
 *
 * Sleepers share two words, by the parity of the round in which they went to sleep: those of one
 * group, who mostly came during the round before, are woken by one call. Who is to lead is woken by
 * a bit of its own, for the others would only go to sleep again.
 */
#include "txn/commit.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "os/mutex.h"
#include "txn/commit_codec.h"
#include "txn/commit_queue.h"

/* Rounds that a leader goes on for others after its own request is done, but not longer than one
 * that waits for the device: its own caller waits, too. */
#define EXTRA_ROUNDS 4
/*
 * How long a follower looks at its state before it sleeps. Being put to sleep and woken costs both
 * sides several times what a commit costs, so one that has a processor of its own stays awake for
 * longer than a leader is ever away but for a device. Where that was in vain (the leader's
 * processor is wanted by others), so many of the next waits are short.
 */
#define SPIN_ROUNDS      60
#define SPIN_ROUNDS_LONG 400
#define SHORT_WAITS      4
/* Who has led so often in a row counts as being alone. */
#define COMPANY_LEADS 32

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
    queue->watchers_max = processors_online() - 1;
    queue->lead_task = (tern_task)TERN_TASK_INIT(commit_lead_step, "commit");
    queue->callback_task = (tern_task)TERN_TASK_INIT(commit_callback_step, "callbacks");
    range_history_init(&queue->ranges, manager->allocator);
    mutex_init(&queue->done_mutex);
    *out_queue = queue;
    return TERN_OK;
}

/* Threads are told apart by their stacks: well enough for a guess, and for nothing. */
static uintptr_t this_thread(void) {
    return (uintptr_t)__builtin_frame_address(0) >> 16;
}

static void note_leader(struct commit_queue *queue) {
    uintptr_t own = this_thread();
    uint32_t company = atomic_load_explicit(&queue->company, memory_order_relaxed);
    if (atomic_load_explicit(&queue->last_leader, memory_order_relaxed) != own) {
        atomic_store_explicit(&queue->last_leader, own, memory_order_relaxed);
        atomic_store_explicit(&queue->company, COMPANY_LEADS, memory_order_relaxed);
    } else if (company > 0) {
        atomic_store_explicit(&queue->company, company - 1, memory_order_relaxed);
    }
}

/* ---- the stack ---- */

/* True: the caller leads now, and the request was not queued. */
static bool lead_or_push(struct commit_queue *queue, struct commit_request *request) {
    /* The 600 bytes of its error are filled in only when something fails. */
    request->error.status = TERN_OK;
    request->error.message[0] = '\0';
    atomic_store_explicit(&request->state, REQUEST_WAITING, memory_order_relaxed);
    uintptr_t head = atomic_load_explicit(&queue->head, memory_order_relaxed);
    for (;;) {
        bool is_led = (head & QUEUE_LED) != 0;
        uintptr_t wanted = head | QUEUE_LED;
        if (is_led) {
            request->next = (struct commit_request *)(head & ~QUEUE_LED);
            wanted = (uintptr_t)request | QUEUE_LED;
        }
        if (atomic_compare_exchange_weak_explicit(&queue->head, &head, wanted, memory_order_seq_cst,
                                                  memory_order_relaxed)) {
            return !is_led;
        }
    }
}

static bool try_lead(struct commit_queue *queue) {
    uintptr_t head = atomic_load_explicit(&queue->head, memory_order_relaxed);
    while ((head & QUEUE_LED) == 0) {
        if (atomic_compare_exchange_weak_explicit(&queue->head, &head, head | QUEUE_LED,
                                                  memory_order_seq_cst, memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

static void append(struct request_list *list, struct commit_request *request) {
    request->next = NULL;
    if (list->last != NULL) {
        list->last->next = request;
    } else {
        list->first = request;
    }
    list->last = request;
}

/* What is in front of a request that is not of a commit_single is fetched in vain. */
static void fetch_request(const struct commit_request *request) {
    const char *begin = (const char *)request - offsetof(struct commit_single, request);
    for (size_t at = 0; at < offsetof(struct commit_single, request.error); at += 64) {
        __builtin_prefetch(begin + at);
    }
}

bool commit_queue_take(struct commit_queue *queue) {
    if (atomic_load_explicit(&queue->head, memory_order_relaxed) != QUEUE_LED) {
        uintptr_t head = atomic_exchange_explicit(&queue->head, QUEUE_LED, memory_order_seq_cst);
        struct commit_request *newest = (struct commit_request *)(head & ~QUEUE_LED);
        struct commit_request *oldest = NULL;
        while (newest != NULL) {
            fetch_request(newest);
            struct commit_request *next = newest->next;
            newest->next = oldest;
            oldest = newest;
            newest = next;
        }
        while (oldest != NULL) {
            struct commit_request *next = oldest->next;
            append((oldest->flags & COMMIT_ROLE) != 0 ? &queue->roles : &queue->waiting, oldest);
            oldest = next;
        }
    }
    return queue->waiting.first != NULL;
}

/* ---- leading ---- */

void commit_queue_wake(struct commit_queue *queue, unsigned sides, uint32_t bits) {
    for (unsigned side = 0; side < 2; side++) {
        if ((sides & 1u << side) != 0) {
            atomic_fetch_add_explicit(&queue->wakeups[side], 1, memory_order_release);
            futex_wake_bits(&queue->wakeups[side], bits);
        }
    }
}

/* Requests lie on the stacks of threads, whose addresses differ in a few bits. */
static uint32_t wake_bit(const struct commit_request *request) {
    return UINT32_C(1) << (((uint64_t)(uintptr_t)request * UINT64_C(0x9E3779B97F4A7C15)) >> 59);
}

static void hand_over(struct commit_queue *queue, struct commit_request *request) {
    uint32_t bit = wake_bit(request);
    unsigned sides = commit_request_set(request, REQUEST_LEAD);
    if (sides != 0) {
        commit_queue_wake(queue, sides, bit);
    }
}

static struct commit_request *pop(struct request_list *list) {
    struct commit_request *request = list->first;
    list->first = request->next;
    if (list->first == NULL) {
        list->last = NULL;
    }
    return request;
}

/* Of those who commit, the newest: it is the likeliest to be awake. NULL: only asynchronous ones
 * wait, or none. */
static struct commit_request *newest_committer(const struct commit_queue *queue) {
    struct commit_request *newest = NULL;
    for (struct commit_request *request = queue->waiting.first; request != NULL;
         request = request->next) {
        newest = request->on_done == NULL ? request : newest;
    }
    return newest;
}

/* Those who commit alternate with those who want the role for something else. */
static struct commit_request *choose_successor(struct commit_queue *queue,
                                               struct commit_request *committer) {
    bool takes_role = queue->roles.first != NULL && !(committer != NULL && queue->role_was_last);
    queue->role_was_last = takes_role;
    return takes_role ? pop(&queue->roles) : committer;
}

/* Gives the role to one of those who wait for it, or to nobody. Asynchronous requests have no
 * thread to give it to, and the log task may never find it free: those that were left behind once
 * are committed here (Q4). */
static void stop_leading(struct commit_queue *queue) {
    const struct tern_executor *executor = queue->manager->executor;
    bool has_helped = false;
    for (;;) {
        bool has_waiting = commit_queue_take(queue);
        struct commit_request *committer = newest_committer(queue);
        bool leaves_some = has_waiting && committer == NULL;
        if (leaves_some && queue->has_left_some && !has_helped) {
            has_helped = commit_process_group(queue->manager, NULL);
            continue;
        }
        queue->has_left_some = leaves_some;
        struct commit_request *successor = choose_successor(queue, committer);
        if (successor != NULL) {
            hand_over(queue, successor);
            return;
        }
        uintptr_t expected = QUEUE_LED;
        if (atomic_compare_exchange_strong_explicit(&queue->head, &expected, 0,
                                                    memory_order_seq_cst, memory_order_relaxed)) {
            if (has_waiting) {
                executor->post(executor->context, &queue->lead_task);
            }
            return;
        }
    }
}

/* With the role held. `own`: not queued; or NULL, then what waits comes first. */
static void lead(struct txn_manager *manager, struct commit_request *own) {
    struct commit_queue *queue = manager->queue;
    note_leader(queue);
    bool goes_on = commit_process_group(manager, own);
    for (int extra = 0; goes_on && extra < EXTRA_ROUNDS; extra++) {
        goes_on =
            queue->roles.first == NULL && commit_process_group(manager, NULL) && !queue->has_synced;
    }
    stop_leading(queue);
}

/* ---- waiting ---- */

/* Sleeps until the state is no longer that of a waiting request. */
static void sleep_until_set(struct commit_queue *queue, struct commit_request *request) {
    unsigned side = atomic_load_explicit(&queue->round, memory_order_relaxed) & 1;
    _Atomic uint32_t *word = &queue->wakeups[side];
    uint32_t expected = REQUEST_WAITING;
    uint32_t seen = atomic_load_explicit(word, memory_order_acquire);
    if (!atomic_compare_exchange_strong_explicit(&request->state, &expected,
                                                 REQUEST_SLEEPING + side, memory_order_acq_rel,
                                                 memory_order_acquire)) {
        return;
    }
    while (atomic_load_explicit(&request->state, memory_order_acquire) == REQUEST_SLEEPING + side) {
        futex_wait_bits(word, seen, wake_bit(request));
        seen = atomic_load_explicit(word, memory_order_acquire);
    }
}

/* Looks at the state for so many rounds, or until a device is at work. */
static bool watch(const struct commit_queue *queue, const struct commit_request *request,
                  int rounds) {
    for (int i = 0; i < rounds; i++) {
        if (atomic_load_explicit(&request->state, memory_order_acquire) != REQUEST_WAITING) {
            return true;
        }
        if (atomic_load_explicit(&queue->is_syncing, memory_order_relaxed)) {
            break;
        }
        spin_pause();
    }
    return false;
}

/* The same for long, where there is a processor to spare for it. */
static bool watch_longer(struct commit_queue *queue, const struct commit_request *request) {
    if (atomic_load_explicit(&queue->watchers, memory_order_relaxed) >= queue->watchers_max) {
        return false;
    }
    uint32_t short_waits = atomic_load_explicit(&queue->short_waits, memory_order_relaxed);
    if (short_waits > 0) {
        atomic_store_explicit(&queue->short_waits, short_waits - 1, memory_order_relaxed);
        return false;
    }
    atomic_fetch_add_explicit(&queue->watchers, 1, memory_order_relaxed);
    bool is_set = watch(queue, request, SPIN_ROUNDS_LONG);
    atomic_fetch_sub_explicit(&queue->watchers, 1, memory_order_relaxed);
    if (!is_set && !atomic_load_explicit(&queue->is_syncing, memory_order_relaxed)) {
        atomic_store_explicit(&queue->short_waits, SHORT_WAITS, memory_order_relaxed);
    }
    return is_set;
}

/* REQUEST_DONE or REQUEST_LEAD. */
static uint32_t wait_for_turn(struct commit_queue *queue, struct commit_request *request) {
    if (!watch(queue, request, SPIN_ROUNDS) && !watch_longer(queue, request)) {
        sleep_until_set(queue, request);
    }
    return atomic_load_explicit(&request->state, memory_order_acquire);
}

void commit_applier_lock(struct txn_manager *manager) {
    struct commit_request request;
    request.flags = COMMIT_ROLE;
    request.on_done = NULL;
    if (!lead_or_push(manager->queue, &request)) {
        uint32_t state = wait_for_turn(manager->queue, &request);
        ASSERT(state == REQUEST_LEAD);
    }
}

void commit_applier_unlock(struct txn_manager *manager) {
    stop_leading(manager->queue);
}

void commit_find_place(struct txn_manager *manager, struct commit_request *request) {
    const struct commit_queue *queue = manager->queue;
    if ((atomic_load_explicit(&queue->head, memory_order_relaxed) & QUEUE_LED) == 0 &&
        atomic_load_explicit(&queue->company, memory_order_relaxed) == 0) {
        return;
    }
    const struct commit_part *part = &request->parts[0];
    struct epoch_slot *epoch = epoch_enter(manager->epoch);
    struct database_view *view = atomic_load_explicit(&manager->view, memory_order_acquire);
    struct engine_view *engine_view = view_part(view, part->keyspace);
    if (engine_view != NULL && engine_view->methods->find_place != NULL) {
        engine_view->methods->find_place(engine_view, &part->changes[0], &request->place);
        request->place.engine = engine_view->engine;
        request->place.generation = view->generation;
    }
    epoch_exit(epoch);
}

tern_status commit_submit(struct txn_manager *manager, struct commit_request *request) {
    ASSERT(request->on_done == NULL);
    if (lead_or_push(manager->queue, request)) {
        lead(manager, request);
    } else if (wait_for_turn(manager->queue, request) == REQUEST_LEAD) {
        /* Its own request is among those that wait. */
        atomic_store_explicit(&request->state, REQUEST_WAITING, memory_order_relaxed);
        lead(manager, NULL);
    }
    return request->status;
}

tern_task_state commit_lead_step(struct tern_task *task) {
    struct commit_queue *queue =
        (struct commit_queue *)((char *)task - offsetof(struct commit_queue, lead_task));
    /* Whoever leads takes what waits, or posts this task again. */
    if (try_lead(queue)) {
        lead(queue->manager, NULL);
    }
    return TERN_TASK_DONE;
}

void commit_submit_async(struct txn_manager *manager, struct commit_request *request) {
    ASSERT(request->on_done != NULL);
    struct commit_queue *queue = manager->queue;
    atomic_fetch_add_explicit(&queue->async_pending, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&manager->async_commits, 1, memory_order_relaxed);
    request->error.status = TERN_OK;
    request->error.message[0] = '\0';
    atomic_store_explicit(&request->state, REQUEST_WAITING, memory_order_relaxed);
    uintptr_t head = atomic_load_explicit(&queue->head, memory_order_relaxed);
    do {
        request->next = (struct commit_request *)(head & ~QUEUE_LED);
    } while (!atomic_compare_exchange_weak_explicit(&queue->head, &head,
                                                    (uintptr_t)request | (head & QUEUE_LED),
                                                    memory_order_seq_cst, memory_order_relaxed));
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
            status = log_write_out(manager->log, error); /* what is seen does not come back */
        }
        if (status == TERN_OK) {
            atomic_store_explicit(&manager->visible_time_ms, now_ms, memory_order_release);
        }
    }
    commit_applier_unlock(manager);
    return status;
}

tern_status commit_large_chunk(struct txn_manager *manager, partition_id partition, uint64_t token,
                               uint64_t offset, tern_slice bytes, tern_error *error) {
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
        put_u64(payload + 8, partition);
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
