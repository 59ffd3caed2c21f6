/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctest: timeout=600
 * ctest: more=asan TERN_FAULTS=all 3000
 *
 * Every allocation fails in turn, once and for good. Nothing crashes, nothing leaks, what failed
 * says so, what was acknowledged is there. TERN_FAULTS=all visits every allocation.
 */
#include <stdio.h>

#include "fault_body.h"
#include "support/cmocka_test.h"
#include "support/fault_allocator.h"

#define SECONDS_PER_MODE 7.0
/* More than a checkpoint of two small keyspaces makes, and than overlays that may be frozen. */
#define FREEZE_ALLOCATIONS_MAX 60
#define FREEZES_REPEATED       30

static bool is_expected(tern_status status) {
    return status == TERN_NO_MEMORY;
}

static void heal(void *context) {
    fault_allocator_fail(context, 0, false);
}

/* Returns how many allocations the run made. */
static uint64_t run(uint64_t seed, uint64_t call, bool is_sticky, uint64_t *out_failed_calls) {
    struct fault_allocator *allocator = fault_allocator_create();
    struct fault_body body;
    fault_body_init(&body, seed);
    body.machine.allocator = fault_allocator_interface(allocator);
    body.is_expected = is_expected;
    body.heal = heal;
    body.heal_context = allocator;
    (void)snprintf(body.context, sizeof(body.context), "allocation %llu fails%s",
                   (unsigned long long)call, is_sticky ? ", and all later ones" : "");
    fault_allocator_fail(allocator, call, is_sticky);
    fault_body_live(&body);
    uint64_t calls = fault_allocator_calls(allocator);
    if (fault_allocator_live_blocks(allocator) != 0 || fault_allocator_misuses(allocator) != 0) {
        print_error("seed %llu, %s: %llu blocks leaked, %llu misuses\n", (unsigned long long)seed,
                    body.context, (unsigned long long)fault_allocator_live_blocks(allocator),
                    (unsigned long long)fault_allocator_misuses(allocator));
        fail();
    }
    fault_body_check(&body);
    *out_failed_calls = body.failed_calls;
    fault_body_release(&body);
    fault_allocator_destroy(allocator);
    return calls;
}

static void fail_in_turn(const char *name, bool is_sticky) {
    uint64_t seed = seeded_random_seed(name);
    uint64_t failed_calls = 0;
    uint64_t failed_calls_total = 0;
    uint64_t call;
    uint64_t total = run(seed, 0, false, &failed_calls);
    assert_int_equal(failed_calls, 0);
    struct fault_sample sample;
    fault_sample_begin(&sample, seed, total, SECONDS_PER_MODE);
    while (fault_sample_next(&sample, &call)) {
        (void)run(seed, call, is_sticky, &failed_calls);
        failed_calls_total += failed_calls;
    }
    print_message("%llu of %llu allocations failed in turn, %llu calls said so\n",
                  (unsigned long long)sample.visited, (unsigned long long)total,
                  (unsigned long long)failed_calls_total);
    assert_true(failed_calls_total > 0);
}

static void a_failed_allocation_is_told_and_loses_nothing(void **state) {
    (void)state;
    fail_in_turn("allocation_fails_once", false);
}

static void running_out_of_memory_for_good_loses_nothing(void **state) {
    (void)state;
    fail_in_turn("allocation_fails_for_good", true);
}

/*
 * One keyspace is frozen, the next cannot be, again and again, while the first is written to: what
 * was frozen is drained all the same, or the first would run out of overlays for good.
 */
static void freezing_that_fails_half_way_can_be_repeated_for_ever(void **state) {
    (void)state;
    struct fault_allocator *allocator = fault_allocator_create();
    struct step_machine machine;
    tern_db *db;
    tern_keyspace *first;
    tern_keyspace *second;
    tern_error error = TERN_ERROR_INIT;
    tern_slice key = tern_slice_str("key");
    uint64_t refused = 0;
    step_machine_init(&machine, 1);
    machine.allocator = fault_allocator_interface(allocator);
    machine.options.memory_bytes = (uint64_t)64 << 20; /* writers have no need to help */
    machine.options.overlay_bytes = (uint64_t)16 << 20;
    assert_ok(step_machine_open(&machine, &db, &error), error);
    assert_ok(tern_keyspace_create(db, "first", NULL, &first, &error), error);
    assert_ok(tern_keyspace_create(db, "second", NULL, &second, &error), error);
    for (uint64_t nth = 1; nth <= FREEZE_ALLOCATIONS_MAX; nth++) {
        assert_ok(tern_put(second, key, key, NULL, &error), error);
        for (unsigned i = 0; i < FREEZES_REPEATED; i++) {
            assert_ok(tern_put(first, key, key, NULL, &error), error);
            fault_allocator_fail(allocator, nth, true);
            refused += tern_checkpoint(db, &error) != TERN_OK ? 1 : 0;
            fault_allocator_fail(allocator, 0, false);
        }
        assert_ok(tern_checkpoint(db, &error), error);
    }
    assert_true(refused > FREEZE_ALLOCATIONS_MAX);
    assert_ok(tern_close(db, &error), error);
    step_machine_release(&machine);
    fault_allocator_destroy(allocator);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_allocation_is_told_and_loses_nothing),
        cmocka_unit_test(running_out_of_memory_for_good_loses_nothing),
        cmocka_unit_test(freezing_that_fails_half_way_can_be_repeated_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
