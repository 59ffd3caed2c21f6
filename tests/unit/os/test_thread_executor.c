/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <tern/sys/clock.h>
#include <tern/sys/executor.h>

#include "support/cmocka_test.h"

#define MS_NS 1000000u

struct job {
    tern_task task;
    _Atomic uint32_t steps;
    _Atomic uint32_t running;
    _Atomic uint32_t overlaps;
    _Atomic bool is_held; /* a step waits while this is set */
    uint32_t steps_wanted;
    tern_task_state last;
    uint64_t delay_ns;
};

static tern_task_state step_job(tern_task *task) {
    struct job *job = (struct job *)task;
    if (atomic_fetch_add(&job->running, 1) != 0) {
        atomic_fetch_add(&job->overlaps, 1);
    }
    uint32_t step = atomic_fetch_add(&job->steps, 1) + 1;
    while (atomic_load(&job->is_held)) {
        (void)sched_yield();
    }
    task->delay_ns = job->delay_ns;
    tern_task_state said = step < job->steps_wanted ? TERN_TASK_AGAIN : job->last;
    atomic_fetch_sub(&job->running, 1);
    return said;
}

static struct job make_job(uint32_t steps_wanted, tern_task_state last) {
    return (struct job){
        .task = TERN_TASK_INIT(step_job, "job"), .steps_wanted = steps_wanted, .last = last};
}

static tern_thread_executor *start(uint32_t threads) {
    tern_thread_executor *executor = NULL;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(tern_thread_executor_start(threads, &executor, &error), error);
    return executor;
}

static void post(tern_thread_executor *executor, struct job *job) {
    const tern_executor *interface = tern_thread_executor_interface(executor);
    interface->post(interface->context, &job->task);
}

static void cancel(tern_thread_executor *executor, struct job *job) {
    const tern_executor *interface = tern_thread_executor_interface(executor);
    interface->cancel(interface->context, &job->task);
}

static void wait_for_steps(struct job *job, uint32_t steps) {
    while (atomic_load(&job->steps) < steps) {
        (void)sched_yield();
    }
}

static void wait_until_idle(struct job *job) {
    while (atomic_load(&job->running) != 0) {
        (void)sched_yield();
    }
}

static uint64_t now_ns(void) {
    const tern_clock *clock = tern_clock_default();
    return clock->monotonic_ns(clock->context);
}

static void pause_ms(uint64_t duration_ms) {
    uint64_t until = now_ns() + duration_ms * MS_NS;
    while (now_ns() < until) {
        (void)sched_yield();
    }
}

static void refuses_a_thread_count_out_of_range(void **state) {
    (void)state;
    tern_thread_executor *executor = NULL;
    assert_int_equal(tern_thread_executor_start(0, &executor, NULL), TERN_INVALID);
    assert_int_equal(tern_thread_executor_start(65, &executor, NULL), TERN_INVALID);
    assert_null(executor);
    tern_thread_executor_stop(NULL);
}

static void runs_a_task_until_it_is_done(void **state) {
    (void)state;
    tern_thread_executor *executor = start(2);
    struct job job = make_job(10, TERN_TASK_DONE);
    post(executor, &job);
    wait_for_steps(&job, 10);
    pause_ms(2);
    assert_int_equal(job.steps, 10);
    post(executor, &job); /* a task that is done can be posted again */
    wait_for_steps(&job, 11);
    cancel(executor, &job);
    tern_thread_executor_stop(executor);
}

static void runs_once_for_many_posts_of_a_waiting_task(void **state) {
    (void)state;
    tern_thread_executor *executor = start(1);
    struct job blocker = make_job(1, TERN_TASK_DONE);
    struct job job = make_job(1, TERN_TASK_DONE);
    atomic_store(&blocker.is_held, true);
    post(executor, &blocker);
    wait_for_steps(&blocker, 1);
    for (unsigned i = 0; i < 10; i++) {
        post(executor, &job);
    }
    atomic_store(&blocker.is_held, false);
    wait_for_steps(&job, 1);
    pause_ms(2);
    assert_int_equal(job.steps, 1);
    cancel(executor, &job);
    tern_thread_executor_stop(executor);
}

static void runs_once_more_when_posted_while_running(void **state) {
    (void)state;
    tern_thread_executor *executor = start(2);
    struct job job = make_job(1, TERN_TASK_DONE);
    atomic_store(&job.is_held, true);
    post(executor, &job);
    wait_for_steps(&job, 1);
    post(executor, &job);
    post(executor, &job);
    atomic_store(&job.is_held, false);
    wait_for_steps(&job, 2);
    pause_ms(2);
    assert_int_equal(job.steps, 2);
    assert_int_equal(job.overlaps, 0);
    cancel(executor, &job);
    tern_thread_executor_stop(executor);
}

static void sleeps_as_long_as_asked(void **state) {
    (void)state;
    tern_thread_executor *executor = start(2);
    struct job job = make_job(1, TERN_TASK_SLEEP);
    job.delay_ns = 20 * MS_NS;
    uint64_t begun = now_ns();
    post(executor, &job);
    wait_for_steps(&job, 3);
    assert_true(now_ns() - begun >= 40 * MS_NS);
    cancel(executor, &job);
    uint32_t steps = job.steps;
    pause_ms(30);
    assert_int_equal(job.steps, steps);
    tern_thread_executor_stop(executor);
}

static void wakes_sleepers_in_order_of_their_time(void **state) {
    (void)state;
    tern_thread_executor *executor = start(1);
    struct job late = make_job(1, TERN_TASK_SLEEP);
    struct job soon = make_job(1, TERN_TASK_SLEEP);
    late.delay_ns = 3600ull * 1000 * MS_NS;
    soon.delay_ns = 2 * MS_NS;
    post(executor, &late);
    wait_for_steps(&late, 1);
    post(executor, &soon);
    wait_for_steps(&soon, 3);
    assert_int_equal(late.steps, 1);
    cancel(executor, &late);
    cancel(executor, &soon);
    tern_thread_executor_stop(executor);
}

static void a_post_wakes_a_sleeper_early(void **state) {
    (void)state;
    tern_thread_executor *executor = start(1);
    struct job job = make_job(1, TERN_TASK_SLEEP);
    job.delay_ns = UINT64_MAX;
    for (uint32_t i = 1; i <= 5; i++) {
        post(executor, &job);
        wait_for_steps(&job, i);
        wait_until_idle(&job);
    }
    cancel(executor, &job);
    tern_thread_executor_stop(executor);
}

static void *release_soon(void *argument) {
    struct job *job = argument;
    pause_ms(5);
    atomic_store(&job->is_held, false);
    return NULL;
}

static void cancel_waits_for_the_running_slice_and_keeps_it_from_going_on(void **state) {
    (void)state;
    for (unsigned last = TERN_TASK_DONE; last <= TERN_TASK_SLEEP; last++) {
        tern_thread_executor *executor = start(2);
        struct job job = make_job(1, (tern_task_state)last);
        atomic_store(&job.is_held, true);
        post(executor, &job);
        wait_for_steps(&job, 1);
        post(executor, &job);
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, release_soon, &job), 0);
        cancel(executor, &job);
        assert_int_equal(job.running, 0);
        assert_int_equal(job.is_held, false);
        assert_int_equal(pthread_join(thread, NULL), 0);
        pause_ms(2);
        assert_int_equal(job.steps, 1);
        tern_thread_executor_stop(executor);
    }
}

static void cancels_tasks_wherever_they_wait(void **state) {
    (void)state;
    tern_thread_executor *executor = start(1);
    struct job blocker = make_job(1, TERN_TASK_DONE);
    struct job jobs[3];
    atomic_store(&blocker.is_held, true);
    post(executor, &blocker);
    wait_for_steps(&blocker, 1);
    for (unsigned i = 0; i < 3; i++) {
        jobs[i] = make_job(1, TERN_TASK_DONE);
        post(executor, &jobs[i]);
    }
    cancel(executor, &jobs[2]); /* last, first, and one that was never posted */
    cancel(executor, &jobs[0]);
    struct job stranger = make_job(1, TERN_TASK_DONE);
    cancel(executor, &stranger);
    post(executor, &jobs[2]);
    atomic_store(&blocker.is_held, false);
    wait_for_steps(&jobs[1], 1);
    wait_for_steps(&jobs[2], 1);
    assert_int_equal(jobs[0].steps, 0);
    cancel(executor, &jobs[1]);
    cancel(executor, &jobs[2]);
    tern_thread_executor_stop(executor);
}

/* A task that releases itself with its last slice. */
static _Atomic uint32_t freed;

static tern_task_state step_and_free(tern_task *task) {
    free(task);
    atomic_fetch_add(&freed, 1);
    return TERN_TASK_DONE;
}

static void does_not_touch_a_task_that_is_done(void **state) {
    (void)state;
    tern_thread_executor *executor = start(2);
    const tern_executor *interface = tern_thread_executor_interface(executor);
    for (unsigned i = 0; i < 500; i++) {
        tern_task *task = malloc(sizeof(*task));
        *task = (tern_task)TERN_TASK_INIT(step_and_free, "self");
        interface->post(interface->context, task);
    }
    while (atomic_load(&freed) < 500) {
        (void)sched_yield();
    }
    tern_thread_executor_stop(executor);
}

#define STORM_JOBS 6

struct storm {
    tern_thread_executor *executor;
    struct job jobs[STORM_JOBS];
};

static void *post_storm(void *argument) {
    struct storm *storm = argument;
    for (unsigned i = 0; i < 3000; i++) {
        post(storm->executor, &storm->jobs[i % STORM_JOBS]);
    }
    return NULL;
}

static void never_runs_a_task_twice_at_once(void **state) {
    (void)state;
    struct storm storm = {.executor = start(4)};
    for (unsigned i = 0; i < STORM_JOBS; i++) {
        storm.jobs[i] = make_job(1, i % 2 == 0 ? TERN_TASK_DONE : TERN_TASK_SLEEP);
        storm.jobs[i].delay_ns = 1000;
    }
    pthread_t threads[3];
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, post_storm, &storm), 0);
    }
    for (unsigned i = 0; i < 200; i++) {
        cancel(storm.executor, &storm.jobs[i % STORM_JOBS]);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    for (unsigned i = 0; i < STORM_JOBS; i++) {
        /* A post after which nobody cancels is not lost. */
        uint32_t steps = storm.jobs[i].steps;
        post(storm.executor, &storm.jobs[i]);
        wait_for_steps(&storm.jobs[i], steps + 1);
        cancel(storm.executor, &storm.jobs[i]);
        assert_int_equal(storm.jobs[i].overlaps, 0);
    }
    tern_thread_executor_stop(storm.executor);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_a_thread_count_out_of_range),
        cmocka_unit_test(runs_a_task_until_it_is_done),
        cmocka_unit_test(runs_once_for_many_posts_of_a_waiting_task),
        cmocka_unit_test(runs_once_more_when_posted_while_running),
        cmocka_unit_test(sleeps_as_long_as_asked),
        cmocka_unit_test(wakes_sleepers_in_order_of_their_time),
        cmocka_unit_test(a_post_wakes_a_sleeper_early),
        cmocka_unit_test(cancel_waits_for_the_running_slice_and_keeps_it_from_going_on),
        cmocka_unit_test(cancels_tasks_wherever_they_wait),
        cmocka_unit_test(does_not_touch_a_task_that_is_done),
        cmocka_unit_test(never_runs_a_task_twice_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
