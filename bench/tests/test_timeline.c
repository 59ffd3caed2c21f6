/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off: cmocka.h needs these first, in this order */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

#include "../timeline.h"

#include <stdlib.h>

static int set_up(void **state) {
    *state = calloc(2, sizeof(struct timeline));
    return *state == NULL ? -1 : 0;
}

static int tear_down(void **state) {
    free(*state);
    return 0;
}

static void a_call_counts_in_the_slot_in_which_it_ends(void **state) {
    struct timeline *timeline = *state;
    timeline_init(timeline, 1000, 100);
    assert_int_equal(timeline->slot_count, 0);
    timeline_add(timeline, 1000, 5);
    timeline_add(timeline, 1099, 7);
    timeline_add(timeline, 1100, 3);
    timeline_add(timeline, 1550, 400);
    assert_int_equal(timeline->slot_count, 6);
    const uint64_t calls[] = {2, 1, 0, 0, 0, 1};
    const uint64_t longest[] = {7, 3, 0, 0, 0, 400};
    assert_memory_equal(timeline->calls, calls, sizeof(calls));
    assert_memory_equal(timeline->max_ticks, longest, sizeof(longest));
}

static void what_comes_after_the_last_slot_is_left_out(void **state) {
    struct timeline *timeline = *state;
    timeline_init(timeline, 0, 10);
    timeline_add(timeline, TIMELINE_SLOTS * 10ULL - 1, 1);
    timeline_add(timeline, TIMELINE_SLOTS * 10ULL, 2);
    timeline_add(timeline, UINT64_MAX, 3);
    assert_int_equal(timeline->slot_count, TIMELINE_SLOTS);
    assert_int_equal(timeline->calls[TIMELINE_SLOTS - 1], 1);
    assert_int_equal(timeline->max_ticks[TIMELINE_SLOTS - 1], 1);
}

static void merging_adds_calls_and_keeps_the_longest(void **state) {
    struct timeline *one = *state;
    struct timeline *other = one + 1;
    timeline_init(one, 0, 10);
    timeline_init(other, 3, 10);
    timeline_add(one, 5, 4);
    timeline_add(other, 4, 2);
    timeline_add(other, 14, 9);
    timeline_merge(one, other);
    assert_int_equal(one->slot_count, 2);
    assert_int_equal(one->calls[0], 2);
    assert_int_equal(one->max_ticks[0], 4);
    assert_int_equal(one->calls[1], 1);
    assert_int_equal(one->max_ticks[1], 9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_call_counts_in_the_slot_in_which_it_ends, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_comes_after_the_last_slot_is_left_out, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(merging_adds_calls_and_keeps_the_longest, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
