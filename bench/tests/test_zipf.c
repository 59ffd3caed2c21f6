/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off: cmocka.h needs these first, in this order */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

#include "../zipf.h"

#include <math.h>
#include <stdlib.h>

#define DRAWS 1000000

static void items_come_as_often_as_the_law_says(void **state) {
    (void)state;
    enum { COUNT = 1000 };
    struct zipf zipf;
    struct rng rng;
    uint64_t *seen = calloc(COUNT, sizeof(*seen));
    assert_non_null(seen);
    zipf_init(&zipf, COUNT, ZIPF_THETA);
    rng_seed(&rng, 3, 0);
    for (int i = 0; i < DRAWS; i++) {
        uint64_t item = zipf_next(&zipf, &rng);
        assert_true(item < COUNT);
        seen[item]++;
    }
    /* The first two are exact; the rest is Gray's approximation, good to some percent. */
    double total = 0.0;
    for (int i = 1; i <= COUNT; i++)
        total += pow(i, -ZIPF_THETA);
    assert_true(fabs((double)seen[0] / DRAWS * total - 1.0) < 0.02);
    assert_true(fabs((double)seen[1] / DRAWS * total * pow(2, ZIPF_THETA) - 1.0) < 0.03);
    double head = 0.0;
    double seen_head = 0.0;
    for (int i = 0; i < 100; i++) {
        head += pow(i + 1, -ZIPF_THETA) / total;
        seen_head += (double)seen[i] / DRAWS;
    }
    assert_true(fabs(seen_head / head - 1.0) < 0.05);
    free(seen);
}

static void a_small_set_stays_within_its_bounds(void **state) {
    (void)state;
    for (uint64_t count = 1; count < 12; count++) {
        struct zipf zipf;
        struct rng rng;
        zipf_init(&zipf, count, ZIPF_THETA);
        rng_seed(&rng, count, 0);
        for (int i = 0; i < 20000; i++)
            assert_true(zipf_next(&zipf, &rng) < count);
    }
}

static void the_same_seed_gives_the_same_items(void **state) {
    (void)state;
    struct zipf zipf;
    struct rng one;
    struct rng other;
    zipf_init(&zipf, 5000, ZIPF_THETA);
    rng_seed(&one, 9, 1);
    rng_seed(&other, 9, 1);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(zipf_next(&zipf, &one), zipf_next(&zipf, &other));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_come_as_often_as_the_law_says),
        cmocka_unit_test(a_small_set_stays_within_its_bounds),
        cmocka_unit_test(the_same_seed_gives_the_same_items),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
