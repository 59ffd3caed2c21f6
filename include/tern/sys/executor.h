/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file sys/executor.h
 * Runs background work. Tern has no hidden threads: everything that is not done by a caller is a
 * resumable task posted to the executor given at open.
 */
#ifndef TERN_SYS_EXECUTOR_H
#define TERN_SYS_EXECUTOR_H

#include <stdint.h>
#include <tern/error.h>

TERN_BEGIN_DECLS

/** What a slice of a task says when it returns. */
typedef enum tern_task_state {
    TERN_TASK_DONE = 0, /**< finished; the task object is not touched again */
    TERN_TASK_AGAIN,    /**< has more to do now; run another slice when it is its turn */
    TERN_TASK_SLEEP     /**< run again after tern_task::delay_ns, or earlier when posted again */
} tern_task_state;

/**
 * A resumable task, embedded in its owner's struct. `step` runs one slice (a few milliseconds at
 * most) on any executor thread, never on two at once. The fields under "executor's own" belong to
 * the executor while the task is posted.
 */
typedef struct tern_task {
    tern_task_state (*step)(struct tern_task *task);
    uint64_t delay_ns; /**< set by step before it returns TERN_TASK_SLEEP */
    const char *name;  /**< for statistics and traces; static storage */
    /* executor's own */
    struct tern_task *next;
    uint64_t due_ns;
    uint32_t state;
    uint32_t reserved;
} tern_task;

/** Zero-initialise a task with this before its first post. */
#define TERN_TASK_INIT(step_function, task_name)                                                   \
    { (step_function), 0, (task_name), 0, 0, 0, 0 }

/**
 * An executor. Functions are called from any thread.
 */
typedef struct tern_executor {
    void *context;
    /**
     * Makes the task runnable now. Posting a task that already waits to run does nothing; posting
     * one that is running makes it run once more afterwards; posting one that sleeps wakes it.
     */
    void (*post)(void *context, tern_task *task);
    /**
     * Takes a task back and waits until no slice of it is running. After this returns the task is
     * not touched again. Must not be called from the task itself.
     */
    void (*cancel)(void *context, tern_task *task);
} tern_executor;

/** Threads of the library's own executor. Opaque. */
typedef struct tern_thread_executor tern_thread_executor;

/**
 * Starts an executor with `thread_count` threads (1 to 64).
 * @param out_executor receives the handle; release with tern_thread_executor_stop().
 */
TERN_API TERN_MUST_CHECK tern_status tern_thread_executor_start(uint32_t thread_count,
                                                                tern_thread_executor **out_executor,
                                                                tern_error *error);

/** The interface to give to tern_open(); lives as long as the handle. */
TERN_API const tern_executor *tern_thread_executor_interface(tern_thread_executor *executor);

/** Stops and joins the threads. All users must have cancelled their tasks. Accepts NULL. */
TERN_API void tern_thread_executor_stop(tern_thread_executor *executor);

TERN_END_DECLS

#endif
