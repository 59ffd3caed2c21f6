/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=600
 * ctest: more=asan TERN_FAULTS=all 1800
 *
 * Every file-system call fails in turn: an I/O error, a full disk, a short write; once and for
 * good. Nothing crashes, what failed says so, what was acknowledged is there. TERN_FAULTS=all
 * visits every call.
 */
#include <stdio.h>

#include "fault_body.h"
#include "support/cmocka_test.h"

#define SECONDS_PER_MODE 5.0

struct mode {
    const char *name;
    struct fault_plan plan;
    bool (*is_expected)(tern_status status);
};

static bool is_io(tern_status status) {
    return status == TERN_IO || status == TERN_UNKNOWN || status == TERN_POISONED;
}

/* A sync that finds the disk full is a failed sync: TERN_IO, and poison. */
static bool is_disk_full(tern_status status) {
    return status == TERN_DISK_FULL || is_io(status);
}

static void heal(void *context) {
    struct fault_body *body = context;
    fault_file_system_disarm(body->machine.faults);
}

static uint64_t run(uint64_t seed, const struct mode *mode, uint64_t call,
                    uint64_t *out_failed_calls) {
    struct fault_body body;
    struct fault_plan plan = mode->plan;
    fault_body_init(&body, seed);
    body.is_expected = mode->is_expected;
    body.heal = heal;
    body.heal_context = &body;
    body.may_poison = true;
    (void)snprintf(body.context, sizeof(body.context), "%s, call %llu", mode->name,
                   (unsigned long long)call);
    plan.nth = call;
    if (call != 0) {
        fault_file_system_arm(body.machine.faults, &plan);
    }
    fault_body_live(&body);
    heal(&body);
    uint64_t calls = fault_file_system_calls(body.machine.faults, plan.kinds);
    fault_body_check(&body);
    *out_failed_calls = body.failed_calls;
    fault_body_release(&body);
    return calls;
}

static void fail_in_turn(const struct mode *mode) {
    uint64_t seed = seeded_random_seed(mode->name);
    uint64_t failed_calls = 0;
    uint64_t failed_calls_total = 0;
    uint64_t call;
    uint64_t total = run(seed, mode, 0, &failed_calls);
    assert_int_equal(failed_calls, 0);
    struct fault_sample sample;
    fault_sample_begin(&sample, seed, total, SECONDS_PER_MODE);
    while (fault_sample_next(&sample, &call)) {
        (void)run(seed, mode, call, &failed_calls);
        failed_calls_total += failed_calls;
    }
    print_message("%s: %llu of %llu calls failed in turn, %llu operations said so\n", mode->name,
                  (unsigned long long)sample.visited, (unsigned long long)total,
                  (unsigned long long)failed_calls_total);
    assert_true(failed_calls_total > 0);
}

static void an_input_output_error_is_told_and_loses_nothing(void **state) {
    (void)state;
    const struct mode mode = {"an I/O error", {.kinds = FAULT_ANY}, is_io};
    fail_in_turn(&mode);
}

static void a_device_that_is_gone_loses_nothing(void **state) {
    (void)state;
    const struct mode mode = {
        "I/O errors from then on", {.kinds = FAULT_ANY, .sticky = true}, is_io};
    fail_in_turn(&mode);
}

static void a_short_write_is_told_and_loses_nothing(void **state) {
    (void)state;
    const struct mode mode = {"a short write", {.kinds = FAULT_WRITE, .short_write = true}, is_io};
    fail_in_turn(&mode);
}

static void a_call_that_finds_the_disk_full_is_told_and_loses_nothing(void **state) {
    (void)state;
    const struct mode mode = {
        "a full disk",
        {.kinds = FAULT_WRITE | FAULT_ALLOCATE | FAULT_TRUNCATE | FAULT_OPEN | FAULT_SYNC,
         .status = TERN_DISK_FULL},
        is_disk_full};
    fail_in_turn(&mode);
}

static void a_disk_that_stays_full_loses_nothing(void **state) {
    (void)state;
    const struct mode mode = {"a disk full from then on",
                              {.kinds = FAULT_WRITE | FAULT_ALLOCATE,
                               .sticky = true,
                               .short_write = true,
                               .status = TERN_DISK_FULL},
                              is_disk_full};
    fail_in_turn(&mode);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_input_output_error_is_told_and_loses_nothing),
        cmocka_unit_test(a_device_that_is_gone_loses_nothing),
        cmocka_unit_test(a_short_write_is_told_and_loses_nothing),
        cmocka_unit_test(a_call_that_finds_the_disk_full_is_told_and_loses_nothing),
        cmocka_unit_test(a_disk_that_stays_full_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
