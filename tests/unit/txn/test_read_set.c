/* SPDX-License-Identifier: Apache-2.0 */
#include "support/cmocka_test.h"

#include <string.h>

#include "support/fault_allocator.h"
#include "txn/read_set.h"

struct fixture {
    struct fault_allocator *faults;
    struct budget budget;
    struct read_set set;
};

static int set_up(void **state) {
    static struct fixture fixture;
    memset(&fixture, 0, sizeof(fixture));
    fixture.faults = fault_allocator_create();
    read_set_init(&fixture.set, fault_allocator_interface(fixture.faults), &fixture.budget,
                  (uint64_t)1 << 20);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *fixture = *state;
    read_set_release(&fixture->set);
    assert_int_equal(budget_used(&fixture->budget, BUDGET_OTHER), 0);
    fault_allocator_destroy(fixture->faults);
    return 0;
}

static void add_keys(struct fixture *fixture, uint64_t first, uint64_t count) {
    tern_error error = TERN_ERROR_INIT;
    for (uint64_t i = first; i < first + count; i++) {
        assert_ok(read_set_add_key(&fixture->set, i, &error), error);
    }
}

static tern_status add_range(struct fixture *fixture, size_t bound_bytes) {
    static char bound[5000];
    struct engine_cursor_bounds bounds = {.has_begin = true,
                                          .has_end = true,
                                          .begin = tern_slice_of(bound, bound_bytes),
                                          .end = tern_slice_of(bound, bound_bytes)};
    return read_set_add_range(&fixture->set, NULL, &bounds, NULL);
}

static uint64_t counted(const struct fixture *fixture) {
    return budget_used(&fixture->budget, BUDGET_OTHER);
}

/* What it says it takes, and what the allocator gave it. */
static void assert_counted(const struct fixture *fixture) {
    assert_in_range(counted(fixture), fault_allocator_live_bytes(fixture->faults) - 256,
                    fault_allocator_live_bytes(fixture->faults));
}

static void what_it_remembers_counts_in_the_budget(void **state) {
    struct fixture *fixture = *state;
    add_keys(fixture, 0, 10);
    assert_int_equal(counted(fixture), 0);
    add_keys(fixture, 10, 20000);
    assert_counted(fixture);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(add_range(fixture, 5000), TERN_OK);
    }
    assert_counted(fixture);
    assert_true(counted(fixture) >= 20000 * 8 + 20 * 10000);
    read_set_reset(&fixture->set);
    assert_int_equal(counted(fixture), 0);
}

static void memory_kept_for_the_next_transaction_still_counts(void **state) {
    struct fixture *fixture = *state;
    add_keys(fixture, 0, 2000);
    assert_int_equal(add_range(fixture, 5000), TERN_OK);
    read_set_reset(&fixture->set);
    assert_true(counted(fixture) >= (uint64_t)2000 * 8);
    assert_counted(fixture);
}

static void what_was_taken_in_vain_counts_too(void **state) {
    struct fixture *fixture = *state;
    add_keys(fixture, 0, 2000);
    /* The array of ranges, then the first bound, and no more. */
    fault_allocator_fail(fixture->faults, 3, true);
    assert_int_equal(add_range(fixture, 5000), TERN_NO_MEMORY);
    fault_allocator_fail(fixture->faults, 0, false);
    assert_int_equal(fixture->set.range_count, 0);
    assert_counted(fixture);
}

static void too_much_is_refused(void **state) {
    struct fixture *fixture = *state;
    tern_status status = TERN_OK;
    uint64_t count = 0;
    for (; status == TERN_OK && count < (uint64_t)1 << 20; count++) {
        status = read_set_add_key(&fixture->set, count, NULL);
    }
    assert_int_equal(status, TERN_TOO_LARGE);
    assert_true(counted(fixture) <= (uint64_t)2 << 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_it_remembers_counts_in_the_budget, set_up, tear_down),
        cmocka_unit_test_setup_teardown(memory_kept_for_the_next_transaction_still_counts, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_was_taken_in_vain_counts_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(too_much_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
