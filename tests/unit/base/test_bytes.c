/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"

#include "support/cmocka_test.h"
#include "support/seeded_random.h"

static void copies_and_compares_as_the_library_does(void **state) {
    (void)state;
    struct seeded_random random;
    seeded_random_init(&random, seeded_random_seed("bytes"));
    uint8_t left[200];
    uint8_t right[200];
    for (unsigned round = 0; round < 20000; round++) {
        size_t size = (size_t)(round % 150);
        memset(left, 7, sizeof(left));
        for (size_t i = 0; i < size; i++) {
            right[i] = (uint8_t)seeded_random_below(&random, 256);
        }
        copy_bytes(left + 1, right, size);
        assert_int_equal(left[0], 7);
        assert_int_equal(left[1 + size], 7);
        assert_int_equal(compare_small(left + 1, right, size), 0);
        if (size > 0) {
            right[seeded_random_below(&random, size)] ^= (uint8_t)(1u << (round % 8));
            int expected = memcmp(left + 1, right, size);
            int order = compare_small(left + 1, right, size);
            assert_true(expected < 0 ? order < 0 : order > 0);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(copies_and_compares_as_the_library_does)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
