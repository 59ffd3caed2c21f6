/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/overlay/overlay_filter.h"

#include "support/cmocka_test.h"

#define HUGE_BYTES ((uint64_t)2 << 20)

static uint64_t bytes_of(uint64_t keys) {
    return keys * FILTER_BITS_PER_KEY / 8;
}

static void a_small_filter_grows_fast(void **state) {
    (void)state;
    assert_int_equal(filter_next_capacity(3200, 3201, 0), 16 * 3200);
    assert_int_equal(filter_next_capacity(3200, 3201, 10000), 10000);
}

static void no_growth_past_a_huge_page_is_more_than_fourfold(void **state) {
    (void)state;
    uint64_t capacity = 3200;
    while (bytes_of(capacity) < (uint64_t)1 << 34) {
        uint64_t next = filter_next_capacity(capacity, capacity + 1, 0);
        assert_true(next >= 4 * capacity);
        assert_true(bytes_of(next) <= HUGE_BYTES || next <= 4 * capacity);
        capacity = next;
    }
}

static void a_filter_holds_what_is_expected_and_twice_what_is_there(void **state) {
    (void)state;
    const uint64_t large = 819200;
    assert_int_equal(filter_next_capacity(large, large + 1, large * 3), large * 3);
    assert_int_equal(filter_next_capacity(large, large + 1, large + 5), 2 * (large + 1));
    assert_int_equal(filter_next_capacity(large, large + 1, large * 50), large * 4);
    assert_int_equal(filter_next_capacity(large, large * 9, large * 3), large * 18);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_filter_grows_fast),
        cmocka_unit_test(no_growth_past_a_huge_page_is_more_than_fourfold),
        cmocka_unit_test(a_filter_holds_what_is_expected_and_twice_what_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
