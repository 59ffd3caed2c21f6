/* SPDX-License-Identifier: Apache-2.0 */
#include "os/page_pool.h"

#include "os/pages.h"
#include "support/cmocka_test.h"

static void count_call(void *context) {
    (*(unsigned *)context)++;
}

static void grows_to_a_few_pages_within_its_limit(void **state) {
    (void)state;
    struct page_pool pool;
    page_pool_init(&pool, 100 * HUGE_PAGE_BYTES);
    unsigned grown = 0;
    while (page_pool_grow(&pool, 0)) {
        grown++;
        assert_true(grown < 100);
    }
    assert_int_equal(grown, 8);
    uint8_t *page = page_pool_take(&pool);
    assert_non_null(page);
    page[HUGE_PAGE_BYTES - 1] = 1;
    /* With 92 pages in use one more is all that the limit leaves. */
    assert_true(page_pool_grow(&pool, 92 * HUGE_PAGE_BYTES));
    pages_release(page, HUGE_PAGE_BYTES);
    page = page_pool_take(&pool);
    assert_false(page_pool_grow(&pool, 93 * HUGE_PAGE_BYTES));
    pages_release(page, HUGE_PAGE_BYTES);
    page_pool_release(&pool);
}

static void tells_when_few_pages_are_left(void **state) {
    (void)state;
    struct page_pool pool;
    unsigned calls = 0;
    page_pool_init(&pool, 100 * HUGE_PAGE_BYTES);
    pool.on_low = count_call;
    pool.on_low_context = &calls;
    assert_null(page_pool_take(&pool));
    assert_int_equal(calls, 1);
    while (page_pool_grow(&pool, 0)) {
    }
    for (unsigned left = 8; left > 0; left--) {
        void *page = page_pool_take(&pool);
        assert_non_null(page);
        assert_int_equal(calls, left >= 4 ? 1 : 5 - left);
        pages_release(page, HUGE_PAGE_BYTES);
    }
    page_pool_release(&pool);
}

static void gives_back_as_much_as_it_is_told(void **state) {
    (void)state;
    struct page_pool pool;
    page_pool_init(&pool, 100 * HUGE_PAGE_BYTES);
    page_pool_shrink(&pool, HUGE_PAGE_BYTES);
    while (page_pool_grow(&pool, 0)) {
    }
    page_pool_shrink(&pool, 0);
    assert_int_equal(atomic_load(&pool.pooled_bytes), 8 * HUGE_PAGE_BYTES);
    page_pool_shrink(&pool, HUGE_PAGE_BYTES + 1);
    assert_int_equal(atomic_load(&pool.pooled_bytes), 6 * HUGE_PAGE_BYTES);
    page_pool_shrink(&pool, UINT64_MAX);
    assert_int_equal(atomic_load(&pool.pooled_bytes), 0);
    assert_null(page_pool_take(&pool));
    page_pool_release(&pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_to_a_few_pages_within_its_limit),
        cmocka_unit_test(tells_when_few_pages_are_left),
        cmocka_unit_test(gives_back_as_much_as_it_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
