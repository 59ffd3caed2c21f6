/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library's own executor: a few threads, one queue in order of posting, one list of sleepers in
 * order of waking. One lock guards it all; slices last milliseconds, so it is never hot.
 *
 * tern_task::state, with tern_task::reserved as the number of the worker:
 *
 *        post            worker takes it           step says AGAIN, or it was posted meanwhile
 *   IDLE -----> QUEUED ------------------> RUNNING ------------------------------> QUEUED
 *                 ^                           | step says SLEEP
 *                 |  due, or posted           v
 *                 +----------------------- SLEEPING
 *
 * A task whose step said DONE may be gone by then and is not touched again, so its state still says
 * RUNNING if its memory lives on. Hence invariant 1: a task is running if and only if its state is
 * RUNNING *and* the worker it names has it as `current`. For the same reason that it was posted
 * while it ran is remembered by the worker, not in the task.
 */
#include <stdlib.h>
#include <tern/sys/executor.h>
#include <time.h>

#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "os/mutex.h"

#define THREADS_MAX 64
#define NO_DELAY    UINT64_MAX

enum task_place { TASK_IDLE = 0, TASK_QUEUED, TASK_RUNNING, TASK_SLEEPING };

struct worker {
    pthread_t thread;
    struct tern_thread_executor *executor;
    tern_task *current;
    bool is_posted_again; /* while `current` ran */
    bool is_cancelled;    /* `current` is not to be queued again */
};

struct tern_thread_executor {
    tern_executor interface;
    struct mutex lock;
    struct condition work;     /* the queue, the sleepers or `is_stopping` changed */
    struct condition finished; /* a slice somebody waits for has ended */
    tern_task *queue_first;
    tern_task *queue_last;
    tern_task *sleepers; /* next due first */
    uint32_t thread_count;
    bool is_stopping;
    struct worker workers[];
};

static uint64_t now_ns(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void enqueue(struct tern_thread_executor *executor, tern_task *task) {
    task->state = TASK_QUEUED;
    task->next = NULL;
    if (executor->queue_last != NULL) {
        executor->queue_last->next = task;
    } else {
        executor->queue_first = task;
    }
    executor->queue_last = task;
    condition_signal(&executor->work);
}

static void fall_asleep(struct tern_thread_executor *executor, tern_task *task) {
    uint64_t now = now_ns();
    task->state = TASK_SLEEPING;
    task->due_ns = task->delay_ns < UINT64_MAX - now ? now + task->delay_ns : UINT64_MAX;
    tern_task **place = &executor->sleepers;
    while (*place != NULL && (*place)->due_ns <= task->due_ns) {
        place = &(*place)->next;
    }
    task->next = *place;
    *place = task;
    /* Idle workers may have gone to sleep for longer than this task. */
    condition_signal(&executor->work);
}

static void remove_sleeper(struct tern_thread_executor *executor, tern_task *task) {
    tern_task **place = &executor->sleepers;
    while (*place != task) {
        ASSERT(*place != NULL);
        place = &(*place)->next;
    }
    *place = task->next;
}

static void remove_queued(struct tern_thread_executor *executor, tern_task *task) {
    tern_task *before = NULL;
    tern_task *at = executor->queue_first;
    while (at != task) {
        ASSERT(at != NULL);
        before = at;
        at = at->next;
    }
    if (before != NULL) {
        before->next = task->next;
    } else {
        executor->queue_first = task->next;
    }
    if (executor->queue_last == task) {
        executor->queue_last = before;
    }
}

/* The worker that runs the task now, or NULL (invariant 1). */
static struct worker *worker_of(struct tern_thread_executor *executor, const tern_task *task) {
    if (task->state != TASK_RUNNING || task->reserved >= executor->thread_count) {
        return NULL;
    }
    struct worker *worker = &executor->workers[task->reserved];
    return worker->current == task ? worker : NULL;
}

static void executor_post(void *context, tern_task *task) {
    struct tern_thread_executor *executor = context;
    mutex_lock(&executor->lock);
    struct worker *worker = worker_of(executor, task);
    if (worker != NULL) {
        worker->is_posted_again = true;
    } else if (task->state == TASK_SLEEPING) {
        remove_sleeper(executor, task);
        enqueue(executor, task);
    } else if (task->state != TASK_QUEUED) {
        enqueue(executor, task);
    }
    mutex_unlock(&executor->lock);
}

static void executor_cancel(void *context, tern_task *task) {
    struct tern_thread_executor *executor = context;
    mutex_lock(&executor->lock);
    struct worker *worker = worker_of(executor, task);
    while (worker != NULL) {
        ASSERT(!pthread_equal(worker->thread, pthread_self()));
        worker->is_cancelled = true;
        condition_wait(&executor->finished, &executor->lock);
        worker = worker_of(executor, task);
    }
    if (task->state == TASK_QUEUED) {
        remove_queued(executor, task);
    } else if (task->state == TASK_SLEEPING) {
        remove_sleeper(executor, task);
    }
    task->state = TASK_IDLE;
    mutex_unlock(&executor->lock);
}

/* Moves sleepers whose time has come to the queue; returns how long until the next one. */
static uint64_t wake_sleepers(struct tern_thread_executor *executor) {
    if (executor->sleepers == NULL) {
        return NO_DELAY;
    }
    uint64_t now = now_ns();
    while (executor->sleepers != NULL && executor->sleepers->due_ns <= now) {
        tern_task *task = executor->sleepers;
        executor->sleepers = task->next;
        enqueue(executor, task);
    }
    return executor->sleepers != NULL ? executor->sleepers->due_ns - now : NO_DELAY;
}

/* Under the lock, which it gives up while the step runs. */
static void run_slice(struct worker *worker, tern_task *task) {
    struct tern_thread_executor *executor = worker->executor;
    task->state = TASK_RUNNING;
    task->reserved = (uint32_t)(worker - executor->workers);
    worker->current = task;
    worker->is_posted_again = worker->is_cancelled = false;
    mutex_unlock(&executor->lock);
    tern_task_state said = task->step(task);
    mutex_lock(&executor->lock);
    worker->current = NULL;
    if (worker->is_cancelled) {
        condition_broadcast(&executor->finished);
    } else if (worker->is_posted_again || said == TERN_TASK_AGAIN) {
        enqueue(executor, task);
    } else if (said == TERN_TASK_SLEEP) {
        fall_asleep(executor, task);
    }
}

static void *worker_main(void *argument) {
    struct worker *worker = argument;
    struct tern_thread_executor *executor = worker->executor;
    mutex_lock(&executor->lock);
    while (!executor->is_stopping) {
        uint64_t delay_ns = wake_sleepers(executor);
        tern_task *task = executor->queue_first;
        if (task != NULL) {
            executor->queue_first = task->next;
            if (executor->queue_first == NULL) {
                executor->queue_last = NULL;
            }
            run_slice(worker, task);
        } else if (delay_ns == NO_DELAY) {
            condition_wait(&executor->work, &executor->lock);
        } else {
            (void)condition_wait_for(&executor->work, &executor->lock, delay_ns);
        }
    }
    mutex_unlock(&executor->lock);
    return NULL;
}

tern_status tern_thread_executor_start(uint32_t thread_count, tern_thread_executor **out_executor,
                                       tern_error *error) {
    REQUIRE(error, out_executor != NULL, "no out_executor");
    if (thread_count < 1 || thread_count > THREADS_MAX) {
        return ERROR_SET(error, TERN_INVALID, "an executor has 1 to %d threads, not %u",
                         THREADS_MAX, thread_count);
    }
    struct tern_thread_executor *executor = memory_allocate_zeroed(
        tern_allocator_default(), sizeof(*executor) + thread_count * sizeof(struct worker));
    if (executor == NULL) {
        return ERROR_NO_MEMORY(error, "an executor");
    }
    executor->interface = (tern_executor){executor, executor_post, executor_cancel};
    mutex_init(&executor->lock);
    condition_init(&executor->work);
    condition_init(&executor->finished);
    /* Workers compare their handles in cancel: none may look before all are set. */
    mutex_lock(&executor->lock);
    int result = 0;
    while (result == 0 && executor->thread_count < thread_count) {
        struct worker *worker = &executor->workers[executor->thread_count];
        worker->executor = executor;
        result = pthread_create(&worker->thread, NULL, worker_main, worker);
        executor->thread_count += result == 0 ? 1 : 0;
    }
    mutex_unlock(&executor->lock);
    if (result != 0) {
        tern_thread_executor_stop(executor);
        return ERROR_AT(error, TERN_NO_MEMORY, NULL, -1, result,
                        "cannot start a thread; raise the limit of threads (ulimit -u)");
    }
    *out_executor = executor;
    return TERN_OK;
}

const tern_executor *tern_thread_executor_interface(tern_thread_executor *executor) {
    return &executor->interface;
}

void tern_thread_executor_stop(tern_thread_executor *executor) {
    if (executor == NULL) {
        return;
    }
    mutex_lock(&executor->lock);
    executor->is_stopping = true;
    condition_broadcast(&executor->work);
    mutex_unlock(&executor->lock);
    for (uint32_t i = 0; i < executor->thread_count; i++) {
        int result = pthread_join(executor->workers[i].thread, NULL);
        ASSERT(result == 0);
    }
    condition_destroy(&executor->finished);
    condition_destroy(&executor->work);
    mutex_destroy(&executor->lock);
    memory_release(tern_allocator_default(), executor);
}
