/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One body of work, with each allocation and each file call failing in turn, once and from then on:
 * no crash, no leak, nothing acknowledged is lost, and every refusal says why.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "fault_allocator.h"
#include "log_fixture.h"

struct outcome {
    uint64_t appended;     /* log_end said so */
    uint64_t acknowledged; /* log_sync said so */
    uint64_t released;     /* records before this may be gone */
    log_position start;    /* where replay begins */
    tern_status status;    /* first failure */
};

static tern_status note(struct outcome *outcome, tern_status status, const tern_error *error) {
    if (status != TERN_OK && outcome->status == TERN_OK) {
        outcome->status = status;
        assert_int_equal(error->status, status);
        assert_true(error->message[0] != '\0');
    }
    return status;
}

/* Opens, appends over several segments (in a direct log over direct and mapped ones), syncs,
 * releases, prepares, reads, marks and closes. */
static void work(struct fixture *f, struct outcome *outcome) {
    if (note(outcome, fixture_open(f, outcome->start, false), &f->error) != TERN_OK) {
        return;
    }
    /* What was appended without a sync before may be there or not; numbers go on behind it. */
    uint64_t first = f->visited > 0 ? f->last + 1 : outcome->released;
    assert_true(f->is_in_order);
    assert_true(first >= outcome->acknowledged);
    outcome->appended = first;
    struct log_reader *reader = NULL;
    size_t visited;
    note(outcome, log_reader_open(f->log, 0, &reader, &f->error), &f->error);
    for (uint64_t number = first; number < first + 900; number++) {
        if (note(outcome, fixture_append(f, number, NULL), &f->error) != TERN_OK) {
            break;
        }
        outcome->appended = number + 1;
        if (number % 128 == 0 || (number % 512 > 300 && number % 512 < 320)) {
            if (note(outcome, log_sync_group(f->log, &f->error), &f->error) != TERN_OK) {
                break;
            }
            outcome->acknowledged = number + 1;
        }
        if (number % 512 == 400 &&
            note(outcome, log_keep(f->log, &f->error), &f->error) != TERN_OK) {
            break;
        }
        if (number % 256 == 0) {
            note(outcome, log_prepare(f->log, &f->error), &f->error);
            note(outcome, log_mark(f->log, &f->error), &f->error);
        }
    }
    if (reader != NULL) {
        note(outcome,
             log_reader_next(reader, UINT64_MAX, SIZE_MAX, fixture_visit, f, &visited, &f->error),
             &f->error);
        log_reader_close(reader);
    }
    log_position durable = log_durable_position(f->log);
    if (outcome->acknowledged == outcome->appended && durable == log_end_position(f->log)) {
        outcome->start = durable;
        outcome->released = outcome->appended;
    }
    note(outcome, log_release(f->log, outcome->start, &f->error), &f->error);
    note(outcome, log_reserve(f->log, 200000, 30, &f->error), &f->error);
    struct log *log = f->log;
    f->log = NULL;
    if (note(outcome, log_close(log, &f->error), &f->error) == TERN_OK) {
        outcome->acknowledged = outcome->appended;
    }
}

/* After the fault: everything acknowledged is there, and the log works. */
static void check(struct fixture *f, struct outcome *outcome) {
    outcome->status = TERN_OK;
    uint64_t acknowledged = outcome->acknowledged;
    assert_int_equal(fixture_open(f, outcome->start, false), TERN_OK);
    assert_true(f->is_in_order);
    uint64_t end = f->visited > 0 ? f->last + 1 : outcome->released;
    assert_true(f->visited == 0 || f->first == outcome->released);
    assert_true(end >= acknowledged && end <= outcome->appended + 1);
    fixture_discard(f);
    work(f, outcome);
    assert_int_equal(outcome->status, TERN_OK);
}

static void begin(struct fixture *f, struct outcome *outcome, uint64_t seed, bool mapped,
                  bool is_direct) {
    fixture_init(f, seed);
    if (!mapped) {
        fixture_refuse_map(f);
    }
    f->options.direct_syncs = is_direct ? 2 : LOG_DIRECT_NEVER;
    *outcome = (struct outcome){0};
    work(f, outcome);
    assert_int_equal(outcome->status, TERN_OK);
    /* The second life begins unclean. */
    fixture_reopen(f);
    fixture_append_range(f, outcome->appended, outcome->appended + 50);
    outcome->appended += 50;
    fixture_discard(f);
}

static void each_allocation_failing_loses_and_leaks_nothing(void **state) {
    (void)state;
    for (int sticky = 0; sticky < 2; sticky++) {
        bool failed = true;
        for (uint64_t nth = 1; failed; nth++) {
            struct fixture f;
            struct outcome outcome;
            begin(&f, &outcome, 41, nth % 2 == 0, nth / 2 % 2 == 0);
            struct fault_allocator *allocator = fault_allocator_create();
            f.options.allocator = fault_allocator_interface(allocator);
            fault_allocator_fail(allocator, nth, sticky != 0);
            work(&f, &outcome);
            failed = fault_allocator_failures(allocator) > 0;
            assert_int_equal(fault_allocator_live_blocks(allocator), 0);
            fault_allocator_fail(allocator, 0, false);
            check(&f, &outcome);
            fixture_release(&f);
            fault_allocator_destroy(allocator);
        }
    }
}

static void each_file_call_failing_loses_and_leaks_nothing(void **state) {
    (void)state;
    uint64_t seed = seeded_random_seed("each_file_call_failing");
    const tern_status codes[3] = {TERN_IO, TERN_DISK_FULL, TERN_IO};
    for (int variant = 0; variant < 3; variant++) {
        bool failed = true;
        for (uint64_t nth = 1; failed; nth += nth > 60 ? 1 + (seed + nth) % 7 : 1) {
            struct fixture f;
            struct outcome outcome;
            begin(&f, &outcome, seed, nth % 2 == 0, nth / 2 % 2 == 0);
            struct fault_allocator *allocator = fault_allocator_create();
            f.options.allocator = fault_allocator_interface(allocator);
            struct fault_plan plan = {.kinds = FAULT_ANY & ~(unsigned)FAULT_CLOSE,
                                      .nth = nth,
                                      .sticky = variant == 2,
                                      .short_write = true,
                                      .status = codes[variant]};
            uint64_t before = fault_file_system_failures(f.faults);
            fault_file_system_arm(f.faults, &plan);
            work(&f, &outcome);
            failed = fault_file_system_failures(f.faults) > before;
            fault_file_system_disarm(f.faults);
            assert_int_equal(fault_allocator_live_blocks(allocator), 0);
            if (nth % 3 == 0) {
                fixture_cut(&f, POWER_CUT_KEEP_RANDOM, seed + nth);
            }
            check(&f, &outcome);
            fixture_release(&f);
            fault_allocator_destroy(allocator);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_failing_loses_and_leaks_nothing),
        cmocka_unit_test(each_file_call_failing_loses_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
