/* SPDX-License-Identifier: Apache-2.0 */
/* The stepped executor, the virtual clock and the seeded generator, which tests run by. */
#include <stdlib.h>
#include <string.h>

#include "support/cmocka_test.h"
#include "support/seeded_random.h"
#include "support/step_executor.h"

#define TRACE_MAX 64

struct trace {
    char letters[TRACE_MAX];
    size_t size;
};

struct job {
    tern_task task;
    struct trace *trace;
    struct step_executor *executor;
    char letter;
    bool posts_itself;
    uint32_t steps_left;
    tern_task_state last;
    uint64_t delay_ns;
};

static tern_task_state step_job(tern_task *task) {
    struct job *job = (struct job *)task;
    job->trace->letters[job->trace->size++] = job->letter;
    task->delay_ns = job->delay_ns;
    if (job->posts_itself) {
        const tern_executor *interface = step_executor_interface(job->executor);
        job->posts_itself = false;
        interface->post(interface->context, task);
    }
    if (job->steps_left > 1) {
        job->steps_left--;
        return TERN_TASK_AGAIN;
    }
    return job->last;
}

static struct job make_job(struct trace *trace, char letter, uint32_t steps) {
    return (struct job){.task = TERN_TASK_INIT(step_job, "job"),
                        .trace = trace,
                        .letter = letter,
                        .steps_left = steps,
                        .last = TERN_TASK_DONE};
}

static void post(struct step_executor *executor, struct job *job) {
    const tern_executor *interface = step_executor_interface(executor);
    job->executor = executor;
    interface->post(interface->context, &job->task);
}

static void cancel(struct step_executor *executor, struct job *job) {
    const tern_executor *interface = step_executor_interface(executor);
    interface->cancel(interface->context, &job->task);
}

static void run_three(uint64_t seed, struct trace *trace) {
    struct virtual_clock clock;
    virtual_clock_init(&clock);
    struct step_executor *executor = step_executor_create(seed, &clock);
    struct job jobs[3];
    for (unsigned i = 0; i < 3; i++) {
        jobs[i] = make_job(trace, (char)('a' + i), 10);
        post(executor, &jobs[i]);
    }
    assert_int_equal(step_executor_run(executor, 1000), 30);
    assert_int_equal(step_executor_runnable(executor), 0);
    assert_int_equal(step_executor_steps(executor), 30);
    step_executor_destroy(executor);
}

static void one_seed_is_one_order_and_another_seed_another(void **state) {
    (void)state;
    struct trace first = {.size = 0};
    struct trace again = {.size = 0};
    struct trace other = {.size = 0};
    run_three(7, &first);
    run_three(7, &again);
    run_three(8, &other);
    assert_memory_equal(first.letters, again.letters, 30);
    assert_memory_not_equal(first.letters, other.letters, 30);
}

static void runs_nothing_unless_stepped_and_once_for_many_posts(void **state) {
    (void)state;
    struct trace trace = {.size = 0};
    struct virtual_clock clock;
    virtual_clock_init(&clock);
    struct step_executor *executor = step_executor_create(1, &clock);
    struct job job = make_job(&trace, 'a', 1);
    assert_false(step_executor_step(executor));
    post(executor, &job);
    post(executor, &job);
    assert_int_equal(trace.size, 0);
    assert_true(step_executor_step(executor));
    assert_false(step_executor_step(executor));
    assert_int_equal(trace.size, 1);
    step_executor_destroy(executor);
}

static void runs_once_more_when_posted_while_running_even_if_done(void **state) {
    (void)state;
    struct trace trace = {.size = 0};
    struct virtual_clock clock;
    virtual_clock_init(&clock);
    struct step_executor *executor = step_executor_create(1, &clock);
    struct job job = make_job(&trace, 'a', 1);
    job.posts_itself = true;
    post(executor, &job);
    assert_int_equal(step_executor_run(executor, 10), 2);
    step_executor_destroy(executor);
}

static void sleepers_wake_by_virtual_time_or_by_a_post(void **state) {
    (void)state;
    struct trace trace = {.size = 0};
    struct virtual_clock clock;
    virtual_clock_init(&clock);
    const tern_clock *time = virtual_clock_interface(&clock);
    struct step_executor *executor = step_executor_create(1, &clock);
    struct job job = make_job(&trace, 'a', 1);
    job.last = TERN_TASK_SLEEP;
    job.delay_ns = 5000000;
    post(executor, &job);
    assert_int_equal(step_executor_run(executor, 10), 1);
    assert_int_equal(step_executor_sleeping(executor), 1);
    virtual_clock_advance_ns(&clock, 4999999);
    assert_false(step_executor_step(executor));
    virtual_clock_advance_ns(&clock, 1);
    assert_true(step_executor_step(executor));
    post(executor, &job);
    assert_true(step_executor_step(executor));
    uint64_t now = time->monotonic_ns(time->context);
    assert_true(step_executor_pass_time(executor));
    assert_int_equal(time->monotonic_ns(time->context) - now, 5000000);
    assert_int_equal(step_executor_runnable(executor), 1);
    cancel(executor, &job);
    assert_int_equal(step_executor_runnable(executor), 0);
    assert_false(step_executor_pass_time(executor));
    assert_int_equal(trace.size, 3);
    step_executor_destroy(executor);
}

static void virtual_time_moves_both_clocks_and_loses_nothing(void **state) {
    (void)state;
    struct virtual_clock clock;
    virtual_clock_init(&clock);
    const tern_clock *time = virtual_clock_interface(&clock);
    uint64_t wall = time->wall_ms(time->context);
    for (unsigned i = 0; i < 10; i++) {
        virtual_clock_advance_ns(&clock, 300000);
    }
    assert_int_equal(time->wall_ms(time->context) - wall, 3);
    virtual_clock_set_wall_ms(&clock, 5);
    assert_int_equal(time->wall_ms(time->context), 5);
}

static void seeds_replay_and_come_from_the_environment(void **state) {
    (void)state;
    struct seeded_random first;
    struct seeded_random again;
    seeded_random_init(&first, 42);
    seeded_random_init(&again, 42);
    unsigned heads = 0;
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(seeded_random_next(&first), seeded_random_next(&again));
        assert_true(seeded_random_below(&first, 7) < 7);
        (void)seeded_random_next(&again);
        bool is_head = seeded_random_chance(&first, 1, 4);
        assert_true(is_head == seeded_random_chance(&again, 1, 4));
        heads += is_head;
    }
    assert_true(heads > 180 && heads < 320);
    uint8_t bytes[13] = {0};
    seeded_random_fill(&first, bytes, 12);
    assert_int_equal(bytes[12], 0);
    const char *kept = getenv("TERN_SEED");
    char *old = kept != NULL ? strdup(kept) : NULL;
    assert_int_equal(setenv("TERN_SEED", "0x1234", 1), 0);
    assert_int_equal(seeded_random_seed("test"), 0x1234);
    assert_int_equal(old != NULL ? setenv("TERN_SEED", old, 1) : unsetenv("TERN_SEED"), 0);
    free(old);
    struct seeded_random_source *source = seeded_random_source_create(1);
    const tern_random *random = seeded_random_source_interface(source);
    uint8_t other[13] = {0};
    random->fill(random->context, other, 12);
    assert_memory_not_equal(other, bytes, 12);
    assert_int_equal(other[12], 0);
    seeded_random_source_destroy(source);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_seed_is_one_order_and_another_seed_another),
        cmocka_unit_test(runs_nothing_unless_stepped_and_once_for_many_posts),
        cmocka_unit_test(runs_once_more_when_posted_while_running_even_if_done),
        cmocka_unit_test(sleepers_wake_by_virtual_time_or_by_a_post),
        cmocka_unit_test(virtual_time_moves_both_clocks_and_loses_nothing),
        cmocka_unit_test(seeds_replay_and_come_from_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
