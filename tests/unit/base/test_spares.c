/* SPDX-License-Identifier: Apache-2.0 */
#include "base/spares.h"

#include <pthread.h>
#include <string.h>

#include "support/cmocka_test.h"
#include "support/fault_allocator.h"

#define BLOCK_BYTES 3000u

static void what_was_given_back_is_released_with_the_spares(void **state) {
    (void)state;
    struct fault_allocator *allocator = fault_allocator_create();
    struct spares spares;
    spares_init(&spares, fault_allocator_interface(allocator), BLOCK_BYTES);
    void *first = spares_take(&spares);
    void *second = spares_take(&spares);
    assert_non_null(first);
    assert_non_null(second);
    assert_ptr_not_equal(first, second);
    memset(first, 1, BLOCK_BYTES);
    memset(second, 2, BLOCK_BYTES);
    spares_give(&spares, first);
    spares_give(&spares, second);
    spares_give(&spares, NULL);
    assert_in_range(fault_allocator_live_blocks(allocator), 0, 2);
    spares_release(&spares);
    assert_int_equal(fault_allocator_live_blocks(allocator), 0);
    fault_allocator_destroy(allocator);
}

static void running_out_of_memory_gives_nothing(void **state) {
    (void)state;
    struct fault_allocator *allocator = fault_allocator_create();
    struct spares spares;
    spares_init(&spares, fault_allocator_interface(allocator), BLOCK_BYTES);
    fault_allocator_fail(allocator, 1, true);
    assert_null(spares_take(&spares));
    fault_allocator_fail(allocator, 0, false);
    spares_give(&spares, spares_take(&spares));
    spares_release(&spares);
    fault_allocator_destroy(allocator);
}

/* A block that two threads had at once would lose the mark of one of them. */
static void *take_and_give(void *context) {
    struct spares *spares = context;
    uint64_t wrong = 0;
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t *block = spares_take(spares);
        uint64_t mark = (uint64_t)(uintptr_t)&wrong + i;
        block[0] = mark;
        block[BLOCK_BYTES / 8 - 1] = mark;
        wrong += block[0] != mark || block[BLOCK_BYTES / 8 - 1] != mark;
        spares_give(spares, block);
    }
    return (void *)(uintptr_t)wrong;
}

static void no_block_is_with_two_threads_at_once(void **state) {
    (void)state;
    struct spares spares;
    spares_init(&spares, tern_allocator_default(), BLOCK_BYTES);
    pthread_t threads[10];
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, &spares), 0);
    }
    for (unsigned i = 0; i < 10; i++) {
        void *wrong = NULL;
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
    spares_release(&spares);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_given_back_is_released_with_the_spares),
        cmocka_unit_test(running_out_of_memory_gives_nothing),
        cmocka_unit_test(no_block_is_with_two_threads_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
