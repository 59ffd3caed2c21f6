/* SPDX-License-Identifier: Apache-2.0 */
/* clang-format off: cmocka.h needs these first, in this order */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
/* clang-format on */

#include "../histogram.h"
#include "../rng.h"

#include <math.h>
#include <stdlib.h>

static int set_up(void **state) {
    *state = calloc(2, sizeof(struct histogram));
    return *state == NULL ? -1 : 0;
}

static int tear_down(void **state) {
    free(*state);
    return 0;
}

static void every_value_lies_in_its_bucket(void **state) {
    (void)state;
    struct rng rng;
    rng_seed(&rng, 7, 0);
    for (int i = 0; i < 200000; i++) {
        uint64_t value = rng_next(&rng) >> (rng_next(&rng) % 64);
        unsigned bucket = histogram_bucket(value);
        assert_true(bucket < HISTOGRAM_BUCKETS);
        assert_true(histogram_bucket_low(bucket) <= value);
        if (bucket + 1 < HISTOGRAM_BUCKETS)
            assert_true(value < histogram_bucket_low(bucket + 1));
    }
    assert_int_equal(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

static int compare_values(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

static void quantiles_are_within_one_percent_of_the_sorted_samples(void **state) {
    struct histogram *histogram = *state;
    enum { COUNT = 100000 };
    uint64_t *samples = calloc(COUNT, sizeof(*samples));
    assert_non_null(samples);
    struct rng rng;
    rng_seed(&rng, 11, 0);
    for (int i = 0; i < COUNT; i++) {
        /* Long-tailed, as latencies are: 1,000 to some 10^9. */
        samples[i] = (uint64_t)(1000.0 * pow(1e6, rng_unit(&rng) * rng_unit(&rng)));
        histogram_add(histogram, samples[i]);
    }
    qsort(samples, COUNT, sizeof(*samples), compare_values);
    const double fractions[] = {0.01, 0.25, 0.5, 0.95, 0.99, 0.999, 1.0};
    for (size_t i = 0; i < sizeof(fractions) / sizeof(fractions[0]); i++) {
        size_t at = (size_t)ceil(fractions[i] * COUNT) - 1;
        double exact = (double)samples[at];
        assert_true(fabs(histogram_quantile(histogram, fractions[i]) - exact) < 0.01 * exact);
    }
    free(samples);
}

static void merged_histograms_equal_one_that_saw_everything(void **state) {
    struct histogram *one = *state;
    struct histogram *other = one + 1;
    struct histogram *all = calloc(1, sizeof(*all));
    assert_non_null(all);
    for (uint64_t value = 1; value < 1000000; value = value * 3 + 1) {
        histogram_add(value % 2 == 0 ? one : other, value);
        histogram_add(all, value);
    }
    histogram_merge(one, other);
    assert_memory_equal(one, all, sizeof(*all));
    free(all);
}

static void an_empty_histogram_has_only_zero_quantiles(void **state) {
    const struct histogram *histogram = *state;
    assert_true(histogram_quantile(histogram, 0.5) == 0.0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_lies_in_its_bucket),
        cmocka_unit_test_setup_teardown(quantiles_are_within_one_percent_of_the_sorted_samples,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(merged_histograms_equal_one_that_saw_everything, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(an_empty_histogram_has_only_zero_quantiles, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
