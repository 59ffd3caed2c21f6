/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=600
 * ctest: more=release TERN_SCHEDULES=2000 1800
 *
 * Background work in any order: tasks are stepped at random by a seed, under virtual time, between
 * the steps of random work, with asynchronous commits under way and snapshots open; maintenance is
 * cut short at arbitrary points by closing, by power cuts and by calls that fail. Whatever the
 * schedule, the database is in the state of its model, and the same work under another schedule
 * ends in the same state. TERN_SCHEDULES says how many runs (default 80).
 */
#include <stdio.h>
#include <stdlib.h>

#include "support/cmocka_test.h"
#include "support/random_workload.h"
#include "support/step_machine.h"

#define STEPS          150
#define SCHEDULES      3
#define ASYNC_KEYSPACE "async"

struct schedule {
    struct step_machine machine;
    struct random_workload work;
    struct seeded_random order; /* of background work; the work itself has its own */
    tern_db *db;
    tern_keyspace *async_keyspace;
    uint64_t submitted;
    uint64_t acknowledged; /* in order, so also the number of the last */
    uint64_t disorders;
    uint64_t cuts;
};

static void complain(const struct schedule *schedule, const char *what) {
    print_error("seed %llu: %s\n", (unsigned long long)schedule->machine.seed, what);
    fail();
}

static void ok(const struct schedule *schedule, tern_status status, const tern_error *error) {
    if (status != TERN_OK) {
        complain(schedule, error->message);
    }
}

/* ---- asynchronous commits beside the workload: numbers that are written one after the other ----
 */

struct submission {
    struct schedule *schedule;
    uint64_t number;
};

static void on_done(void *context, tern_status status, const tern_error *error) {
    struct submission *submission = context;
    struct schedule *schedule = submission->schedule;
    (void)error;
    if (status == TERN_OK) {
        schedule->disorders += submission->number != schedule->acknowledged + 1 ? 1 : 0;
        schedule->acknowledged = submission->number;
    }
    free(submission);
}

static void submit(struct schedule *schedule) {
    tern_error error = TERN_ERROR_INIT;
    tern_txn *txn;
    char key[32];
    struct submission *submission = malloc(sizeof(*submission));
    assert_non_null(submission);
    *submission = (struct submission){schedule, ++schedule->submitted};
    (void)snprintf(key, sizeof(key), "%012llu", (unsigned long long)submission->number);
    ok(schedule, tern_txn_begin(schedule->db, NULL, &txn, &error), &error);
    ok(schedule,
       tern_txn_put(txn, schedule->async_keyspace, tern_slice_str(key), tern_slice_str(key), NULL),
       tern_txn_error(txn));
    ok(schedule, tern_txn_commit_async(txn, on_done, submission), tern_txn_error(txn));
}

/* A run of numbers without a gap, with at least all that was acknowledged. */
static void check_async(struct schedule *schedule, uint64_t least) {
    uint64_t count = 0;
    tern_error error = TERN_ERROR_INIT;
    tern_txn *txn;
    tern_cursor *cursor;
    ok(schedule, tern_txn_begin(schedule->db, NULL, &txn, &error), &error);
    ok(schedule, tern_cursor_open(txn, schedule->async_keyspace, NULL, &cursor),
       tern_txn_error(txn));
    while (tern_cursor_next(cursor) == TERN_OK) {
        char key[32];
        (void)snprintf(key, sizeof(key), "%012llu", (unsigned long long)++count);
        assert_memory_equal(tern_cursor_key(cursor).data, key, 12);
    }
    tern_cursor_close(cursor);
    tern_txn_free(txn);
    assert_in_range(count, least, schedule->submitted);
    assert_int_equal(schedule->disorders, 0);
    schedule->submitted = count;
    schedule->acknowledged = count;
}

/* ---- life ---- */

static void open_database(struct schedule *schedule) {
    tern_error error = TERN_ERROR_INIT;
    ok(schedule, step_machine_open(&schedule->machine, &schedule->db, &error), &error);
    tern_status status =
        tern_keyspace_open(schedule->db, ASYNC_KEYSPACE, &schedule->async_keyspace, &error);
    if (status == TERN_NOT_FOUND) {
        status = tern_keyspace_create(schedule->db, ASYNC_KEYSPACE, NULL, &schedule->async_keyspace,
                                      &error);
        if (status == TERN_OK) {
            status = tern_sync(schedule->db, &error);
        }
    }
    ok(schedule, status, &error);
}

static void check(struct schedule *schedule) {
    char text[600] = "";
    tern_verify_report report;
    tern_error error = TERN_ERROR_INIT;
    if (!random_workload_find_state(&schedule->work, schedule->db, text, sizeof(text))) {
        complain(schedule, text);
    }
    ok(schedule, tern_verify(schedule->db, NULL, NULL, NULL, NULL, &report, &error), &error);
    assert_int_equal(report.findings, 0);
}

/* Some background work, in some order; it may be left in the middle of anything. */
static void step_background(struct schedule *schedule) {
    uint64_t steps = seeded_random_below(&schedule->order, 5);
    for (uint64_t i = 0; i < steps; i++) {
        if (!step_executor_step(schedule->machine.executor) &&
            seeded_random_chance(&schedule->order, 1, 4)) {
            (void)step_executor_pass_time(schedule->machine.executor);
        }
    }
}

/* Closes in the middle of whatever is going on: everything acknowledged is there. */
static void close_and_open(struct schedule *schedule) {
    tern_error error = TERN_ERROR_INIT;
    ok(schedule, tern_close(schedule->db, &error), &error);
    assert_int_equal(schedule->acknowledged, schedule->submitted); /* close drains */
    open_database(schedule);
    schedule->work.durable = schedule->work.history.count - 1;
    check(schedule);
    check_async(schedule, schedule->acknowledged);
}

/* The next background call on the disk fails; what follows goes on or says why. Where the log may
 * be direct its writes are spared as syncs are: one that fails is the end of this life. */
static void fail_background(struct schedule *schedule) {
    bool is_mapped = schedule->machine.options.direct_log_syncs == TERN_DIRECT_LOG_OFF;
    const struct fault_plan plan = {.kinds = FAULT_READ | FAULT_ALLOCATE | FAULT_OPEN |
                                             (is_mapped ? (uint32_t)FAULT_WRITE : 0u),
                                    .nth = 1 + seeded_random_below(&schedule->order, 3),
                                    .status = TERN_DISK_FULL};
    fault_file_system_arm(schedule->machine.faults, &plan);
    for (int i = 0; i < 6; i++) {
        (void)step_executor_step(schedule->machine.executor);
    }
    fault_file_system_disarm(schedule->machine.faults);
}

static void cut_power(struct schedule *schedule) {
    power_cut_arm(schedule->machine.disk, power_cut_calls(schedule->machine.disk) + 1 +
                                              seeded_random_below(&schedule->order, 12));
    for (int i = 0; i < 40 && !power_cut_is_off(schedule->machine.disk); i++) {
        if (!step_executor_step(schedule->machine.executor)) {
            (void)step_executor_pass_time(schedule->machine.executor);
        }
    }
    if (!power_cut_is_off(schedule->machine.disk)) {
        power_cut_now(schedule->machine.disk);
    }
    (void)tern_close(schedule->db, NULL);
    step_machine_cut(&schedule->machine, POWER_CUT_KEEP_RANDOM,
                     seeded_random_next(&schedule->order));
    schedule->cuts++;
    open_database(schedule);
    check(schedule);
    check_async(schedule, 0);
}

static void start(struct schedule *schedule, uint64_t work_seed, uint64_t order_seed) {
    *schedule = (struct schedule){.db = NULL};
    step_machine_init(&schedule->machine, order_seed);
    if (order_seed % 2 == 0) {
        schedule->machine.options.direct_log_syncs = TERN_DIRECT_LOG_OFF;
    }
    random_workload_init(&schedule->work, work_seed);
    seeded_random_init(&schedule->order, order_seed);
    schedule->work.clock = &schedule->machine.clock;
    schedule->work.executor = schedule->machine.executor;
    schedule->work.allows_compact = true;
    schedule->work.allows_convert = true;
    open_database(schedule);
}

static void end(struct schedule *schedule) {
    assert_int_equal(tern_close(schedule->db, NULL), TERN_OK);
    random_workload_release(&schedule->work);
    step_machine_release(&schedule->machine);
}

static void run_steps(struct schedule *schedule, bool has_cuts) {
    for (int i = 0; i < STEPS; i++) {
        if (!random_workload_step(&schedule->work, schedule->db)) {
            complain(schedule, schedule->work.error.message);
        }
        step_background(schedule);
        uint64_t kind = seeded_random_below(&schedule->order, 100);
        if (kind < 15) {
            submit(schedule);
        } else if (kind < 18) {
            fail_background(schedule);
        } else if (kind == 18) {
            close_and_open(schedule);
        } else if (kind < 21 && has_cuts) {
            cut_power(schedule);
        }
    }
}

static uint64_t runs(void) {
    const char *wanted = getenv("TERN_SCHEDULES");
    return wanted != NULL ? strtoull(wanted, NULL, 10) : 80;
}

static void any_order_of_background_work_keeps_every_promise(void **state) {
    (void)state;
    uint64_t seed = seeded_random_seed("schedules");
    uint64_t cuts = 0;
    for (uint64_t i = 0; i < runs(); i++) {
        struct schedule schedule;
        start(&schedule, seed + i, seed + i);
        run_steps(&schedule, true);
        close_and_open(&schedule);
        cuts += schedule.cuts;
        end(&schedule);
    }
    print_message("%llu schedules, %llu power cuts within\n", (unsigned long long)runs(),
                  (unsigned long long)cuts);
}

/* The schedule decides when, never what. */
static void the_same_work_under_another_schedule_ends_in_the_same_state(void **state) {
    (void)state;
    uint64_t seed = seeded_random_seed("same_work");
    for (uint64_t i = 0; i < runs() / SCHEDULES; i++) {
        struct schedule first;
        start(&first, seed + i, seed + i);
        first.work.allows_convert = false; /* how often one reports hangs on the schedule */
        run_steps(&first, false);
        close_and_open(&first);
        for (uint64_t other = 1; other < SCHEDULES; other++) {
            struct schedule second;
            char text[300] = "";
            start(&second, seed + i, (seed + i) * 1000003 + other);
            second.work.allows_convert = false;
            run_steps(&second, false);
            close_and_open(&second);
            const struct model_state *expected =
                &first.work.history.states[first.work.history.count - 1];
            if (!model_matches(second.db, expected, text, sizeof(text))) {
                complain(&second, text);
            }
            end(&second);
        }
        end(&first);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_order_of_background_work_keeps_every_promise),
        cmocka_unit_test(the_same_work_under_another_schedule_ends_in_the_same_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
