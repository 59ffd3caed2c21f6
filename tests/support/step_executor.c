/* SPDX-License-Identifier: Apache-2.0 */
#include "support/step_executor.h"

#include <pthread.h>
#include <stdlib.h>

#include "support/check.h"
#include "support/seeded_random.h"

enum task_place { TASK_IDLE = 0, TASK_QUEUED, TASK_RUNNING, TASK_SLEEPING };

/* Tasks in no order. */
struct task_list {
    tern_task **tasks;
    size_t count;
};

struct step_executor {
    tern_executor interface;
    pthread_mutex_t lock;
    pthread_cond_t finished;
    struct virtual_clock *clock;
    struct seeded_random random;
    struct task_list runnable;
    struct task_list sleeping;
    tern_task *current;
    pthread_t stepper; /* while there is a current task */
    bool is_posted_again;
    bool is_cancelled;
    uint64_t steps;
};

static void list_add(struct task_list *list, tern_task *task, enum task_place place) {
    list->tasks = check_resize(list->tasks, (list->count + 1) * sizeof(*list->tasks));
    list->tasks[list->count++] = task;
    task->state = place;
}

static void list_remove(struct task_list *list, const tern_task *task) {
    for (size_t i = 0; i < list->count; i++) {
        if (list->tasks[i] == task) {
            list->tasks[i] = list->tasks[--list->count];
            return;
        }
    }
    CHECK(!"a task that says it waits is on the list");
}

static void step_post(void *context, tern_task *task) {
    struct step_executor *executor = context;
    (void)pthread_mutex_lock(&executor->lock);
    if (executor->current == task) {
        executor->is_posted_again = true;
    } else if (task->state == TASK_SLEEPING) {
        list_remove(&executor->sleeping, task);
        list_add(&executor->runnable, task, TASK_QUEUED);
    } else if (task->state != TASK_QUEUED) {
        list_add(&executor->runnable, task, TASK_QUEUED);
    }
    (void)pthread_mutex_unlock(&executor->lock);
}

static void step_cancel(void *context, tern_task *task) {
    struct step_executor *executor = context;
    (void)pthread_mutex_lock(&executor->lock);
    while (executor->current == task) {
        CHECK(!pthread_equal(executor->stepper, pthread_self())); /* a task cancels itself */
        executor->is_cancelled = true;
        (void)pthread_cond_wait(&executor->finished, &executor->lock);
    }
    if (task->state == TASK_QUEUED) {
        list_remove(&executor->runnable, task);
    } else if (task->state == TASK_SLEEPING) {
        list_remove(&executor->sleeping, task);
    }
    task->state = TASK_IDLE;
    (void)pthread_mutex_unlock(&executor->lock);
}

struct step_executor *step_executor_create(uint64_t seed, struct virtual_clock *clock) {
    struct step_executor *executor = check_allocate(sizeof(*executor));
    executor->interface = (tern_executor){executor, step_post, step_cancel};
    executor->clock = clock;
    (void)pthread_mutex_init(&executor->lock, NULL);
    (void)pthread_cond_init(&executor->finished, NULL);
    seeded_random_init(&executor->random, seed);
    return executor;
}

const tern_executor *step_executor_interface(struct step_executor *executor) {
    return &executor->interface;
}

void step_executor_destroy(struct step_executor *executor) {
    if (executor == NULL) {
        return;
    }
    CHECK(executor->current == NULL);
    free(executor->runnable.tasks);
    free(executor->sleeping.tasks);
    (void)pthread_cond_destroy(&executor->finished);
    (void)pthread_mutex_destroy(&executor->lock);
    free(executor);
}

static void wake_due(struct step_executor *executor) {
    uint64_t now = executor->clock->interface.monotonic_ns(executor->clock->interface.context);
    size_t i = 0;
    while (i < executor->sleeping.count) {
        tern_task *task = executor->sleeping.tasks[i];
        if (task->due_ns <= now) {
            list_remove(&executor->sleeping, task);
            list_add(&executor->runnable, task, TASK_QUEUED);
        } else {
            i++;
        }
    }
}

/* What a slice said; the task may be gone when it said that it is done. */
static void settle(struct step_executor *executor, tern_task *task, tern_task_state said) {
    executor->current = NULL;
    if (executor->is_cancelled) {
        (void)pthread_cond_broadcast(&executor->finished);
    } else if (executor->is_posted_again || said == TERN_TASK_AGAIN) {
        list_add(&executor->runnable, task, TASK_QUEUED);
    } else if (said == TERN_TASK_SLEEP) {
        uint64_t now = executor->clock->interface.monotonic_ns(executor->clock->interface.context);
        task->due_ns = task->delay_ns < UINT64_MAX - now ? now + task->delay_ns : UINT64_MAX;
        list_add(&executor->sleeping, task, TASK_SLEEPING);
    }
}

bool step_executor_step(struct step_executor *executor) {
    (void)pthread_mutex_lock(&executor->lock);
    CHECK(executor->current == NULL); /* a step within a step */
    wake_due(executor);
    if (executor->runnable.count == 0) {
        (void)pthread_mutex_unlock(&executor->lock);
        return false;
    }
    size_t place = (size_t)seeded_random_below(&executor->random, executor->runnable.count);
    tern_task *task = executor->runnable.tasks[place];
    list_remove(&executor->runnable, task);
    task->state = TASK_RUNNING;
    executor->current = task;
    executor->stepper = pthread_self();
    executor->is_posted_again = executor->is_cancelled = false;
    executor->steps++;
    (void)pthread_mutex_unlock(&executor->lock);
    tern_task_state said = task->step(task);
    (void)pthread_mutex_lock(&executor->lock);
    settle(executor, task, said);
    (void)pthread_mutex_unlock(&executor->lock);
    return true;
}

uint64_t step_executor_run(struct step_executor *executor, uint64_t steps_max) {
    uint64_t steps = 0;
    while (steps < steps_max && step_executor_step(executor)) {
        steps++;
    }
    return steps;
}

bool step_executor_pass_time(struct step_executor *executor) {
    (void)pthread_mutex_lock(&executor->lock);
    uint64_t due = UINT64_MAX;
    for (size_t i = 0; i < executor->sleeping.count; i++) {
        uint64_t at = executor->sleeping.tasks[i]->due_ns;
        due = at < due ? at : due;
    }
    bool sleeps = executor->sleeping.count > 0;
    (void)pthread_mutex_unlock(&executor->lock);
    uint64_t now = executor->clock->interface.monotonic_ns(executor->clock->interface.context);
    if (sleeps && due > now && due != UINT64_MAX) {
        virtual_clock_advance_ns(executor->clock, due - now);
    }
    return sleeps;
}

size_t step_executor_runnable(struct step_executor *executor) {
    (void)pthread_mutex_lock(&executor->lock);
    wake_due(executor);
    size_t count = executor->runnable.count;
    (void)pthread_mutex_unlock(&executor->lock);
    return count;
}

size_t step_executor_sleeping(struct step_executor *executor) {
    (void)pthread_mutex_lock(&executor->lock);
    wake_due(executor);
    size_t count = executor->sleeping.count;
    (void)pthread_mutex_unlock(&executor->lock);
    return count;
}

uint64_t step_executor_steps(struct step_executor *executor) {
    return executor->steps;
}
