/* SPDX-License-Identifier: Apache-2.0 */
#include "support/cmocka_test.h"

#include <stdlib.h>

#include "dataset.h"

static uint64_t distance(uint64_t left, uint64_t right) {
    return left > right ? left - right : right - left;
}

static void check_range(struct dataset *dataset, uint32_t begin, uint32_t end) {
    const struct engine_cursor_bounds bounds = {
        .has_begin = true,
        .has_end = true,
        .begin = dataset->set.keys[begin],
        .end = dataset->set.keys[end],
    };
    uint64_t count = 0;
    uint64_t bytes = 0;
    tern_error error = TERN_ERROR_INIT;
    assert_ok(btree_estimate(&dataset->fixture.tree, dataset->fixture.root, &bounds, &count, &bytes,
                             &error),
              error);
    uint64_t exact = end - begin;
    if (distance(count, exact) * 10 > exact) {
        fail_msg("records %u to %u: %llu estimated", begin, end, (unsigned long long)count);
    }
    assert_true(bytes > 0);
}

static void is_within_a_tenth_on_ranges_of_a_thousand_keys_and_more(void **state) {
    (void)state;
    uint64_t seed = seeded_random_seed("estimate");
    static struct dataset dataset;
    const uint32_t pages[] = {4096, 8192, 65536};
    for (unsigned family = 0; family < KEY_FAMILIES; family++) {
        for (unsigned p = 0; p < 3; p++) {
            struct fixture_options options = FIXTURE_OPTIONS;
            options.page_bytes = pages[p];
            options.fan_out = 16;
            options.cache_bytes = (uint64_t)1 << 20;
            dataset_open(&dataset, (enum key_family)family, 30000, seed + family, &options, NULL);
            uint32_t count = dataset.set.count;
            for (unsigned i = 0; i < 40 && count > 1200; i++) {
                uint32_t begin = (uint32_t)seeded_random_below(&dataset.random, count - 1001);
                uint32_t most = count - 1 - begin;
                uint32_t end =
                    begin + 1000 + (uint32_t)seeded_random_below(&dataset.random, most - 999);
                check_range(&dataset, begin, end);
            }
            dataset_close(&dataset);
        }
    }
}

static void reads_no_leaf_for_a_large_range(void **state) {
    (void)state;
    static struct dataset dataset;
    struct fixture_options options = FIXTURE_OPTIONS;
    dataset_open(&dataset, KEYS_RANDOM, 30000, 1, &options, NULL);
    uint64_t reads = 0;
    for (unsigned i = 0; i < 20; i++) {
        struct btree_file_stats stats;
        check_range(&dataset, 100 + i, 25000 + 10 * i);
        btree_file_get_stats(dataset.fixture.tree.file, &stats);
        /* The first loads inner nodes. */
        assert_true(i <= 3 || stats.reads <= reads + 2);
        reads = stats.reads;
        struct cache_stats cache;
        cache_get_stats(dataset.fixture.cache, &cache);
        assert_int_equal(cache.frames, 0);
    }
    dataset_close(&dataset);
}

static void without_bounds_it_is_the_count(void **state) {
    (void)state;
    static struct dataset dataset;
    const uint32_t counts[] = {0, 1, 20, 5000};
    for (unsigned i = 0; i < 4; i++) {
        struct fixture_options options = FIXTURE_OPTIONS;
        dataset_open(&dataset, KEYS_RANDOM, counts[i], 1, &options, NULL);
        const struct engine_cursor_bounds everything = {.has_begin = false};
        const struct engine_cursor_bounds nothing = {
            .has_begin = true, .has_end = true, .begin = {"m", 1}, .end = {"b", 1}};
        uint64_t count = 1;
        uint64_t bytes = 1;
        assert_int_equal(btree_estimate(&dataset.fixture.tree, dataset.fixture.root, &everything,
                                        &count, &bytes, NULL),
                         TERN_OK);
        assert_int_equal(count, dataset.set.count);
        assert_int_equal(bytes > 0, dataset.set.count > 0);
        assert_int_equal(btree_estimate(&dataset.fixture.tree, dataset.fixture.root, &nothing,
                                        &count, &bytes, NULL),
                         TERN_OK);
        assert_int_equal(count, 0);
        dataset_close(&dataset);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_within_a_tenth_on_ranges_of_a_thousand_keys_and_more),
        cmocka_unit_test(reads_no_leaf_for_a_large_range),
        cmocka_unit_test(without_bounds_it_is_the_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
