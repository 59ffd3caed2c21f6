/* SPDX-License-Identifier: Apache-2.0 */
/* Arena, buffer and aligned memory, and the allocator that tests make fail. */
#include "base/memory.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "support/cmocka_test.h"
#include "support/fault_allocator.h"

static void arena_gives_aligned_memory_that_does_not_overlap(void **state) {
    (void)state;
    struct fault_allocator *allocator = fault_allocator_create();
    struct arena arena;
    arena_init(&arena, fault_allocator_interface(allocator), 100);
    assert_int_equal(fault_allocator_calls(allocator), 0); /* nothing before the first use */
    enum { COUNT = 500 };
    uint8_t *pieces[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        pieces[i] = arena_allocate(&arena, i);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 8, 0);
        memset(pieces[i], (int)(i % 251), i);
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_int_equal(pieces[i][j], i % 251);
        }
    }
    assert_int_equal(arena.allocated_bytes, fault_allocator_live_bytes(allocator));
    arena_release(&arena);
    assert_int_equal(fault_allocator_live_blocks(allocator), 0);
    assert_int_equal(arena.allocated_bytes, 0);
    assert_non_null(arena_allocate(&arena, 10)); /* can be used again */
    arena_release(&arena);
    fault_allocator_destroy(allocator);
}

static void arena_serves_a_first_chunk_smaller_than_its_head(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena, tern_allocator_default(), 1);
    for (unsigned i = 0; i < 100; i++) {
        memset(arena_allocate(&arena, 24), 1, 24);
    }
    arena_release(&arena);
}

static void arena_reset_keeps_one_chunk_for_reuse(void **state) {
    (void)state;
    struct fault_allocator *allocator = fault_allocator_create();
    struct arena arena;
    arena_init(&arena, fault_allocator_interface(allocator), 128);
    arena_reset(&arena); /* of an empty one */
    for (unsigned i = 0; i < 50; i++) {
        assert_non_null(arena_allocate(&arena, 100));
    }
    arena_reset(&arena);
    assert_int_equal(fault_allocator_live_blocks(allocator), 1);
    assert_int_equal(arena.allocated_bytes, fault_allocator_live_bytes(allocator));
    uint64_t calls = fault_allocator_calls(allocator);
    memset(arena_allocate(&arena, 100), 1, 100);
    assert_int_equal(fault_allocator_calls(allocator), calls);
    arena_release(&arena);
    fault_allocator_destroy(allocator);
}

static void arena_survives_running_out_of_memory(void **state) {
    (void)state;
    struct fault_allocator *allocator = fault_allocator_create();
    struct arena arena;
    arena_init(&arena, fault_allocator_interface(allocator), 64);
    fault_allocator_fail(allocator, 1, false);
    assert_null(arena_allocate(&arena, 8));
    assert_non_null(arena_allocate(&arena, 8));
    fault_allocator_fail(allocator, 1, true);
    tern_slice copy = arena_copy(&arena, tern_slice_of("0123456789012345678901234567890123456789"
                                                       "01234567890123456789",
                                                       60));
    assert_null(copy.data);
    fault_allocator_fail(allocator, 0, false);
    assert_null(arena_allocate(&arena, SIZE_MAX));
    assert_null(arena_allocate(&arena, SIZE_MAX / 2 + 1));
    copy = arena_copy(&arena, tern_slice_of("abc", 3));
    assert_memory_equal(copy.data, "abc", 3);
    assert_int_equal(arena_copy(&arena, tern_slice_of(NULL, 0)).size, 0);
    arena_release(&arena);
    fault_allocator_destroy(allocator);
}

static void buffer_grows_and_stands_when_it_cannot(void **state) {
    (void)state;
    struct fault_allocator *allocator = fault_allocator_create();
    struct buffer buffer;
    buffer_init(&buffer, fault_allocator_interface(allocator));
    assert_int_equal(buffer_append(&buffer, NULL, 0), TERN_OK);
    for (unsigned i = 0; i < 1000; i++) {
        uint8_t byte = (uint8_t)i;
        assert_int_equal(buffer_append(&buffer, &byte, 1), TERN_OK);
    }
    assert_true(fault_allocator_calls(allocator) < 12); /* doubles */
    fault_allocator_fail(allocator, 1, true);
    uint8_t *data = buffer.data;
    assert_int_equal(buffer_reserve(&buffer, 100000), TERN_NO_MEMORY);
    assert_int_equal(buffer_append(&buffer, data, 1000), TERN_NO_MEMORY);
    fault_allocator_fail(allocator, 0, false);
    assert_int_equal(buffer_reserve(&buffer, SIZE_MAX), TERN_NO_MEMORY);
    assert_int_equal(buffer_reserve(&buffer, SIZE_MAX - 500), TERN_NO_MEMORY);
    assert_ptr_equal(buffer.data, data);
    assert_int_equal(buffer_slice(&buffer).size, 1000);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(buffer.data[i], (uint8_t)i);
    }
    buffer_release(&buffer);
    buffer_release(&buffer); /* of an empty one */
    fault_allocator_destroy(allocator);
}

static void aligned_memory_is_aligned_and_released_whole(void **state) {
    (void)state;
    struct fault_allocator *allocator = fault_allocator_create();
    const tern_allocator *interface = fault_allocator_interface(allocator);
    for (size_t alignment = 8; alignment <= (size_t)2 << 20; alignment *= 2) {
        uint8_t *memory = memory_allocate_aligned(interface, alignment, 100);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % alignment, 0);
        memset(memory, 1, 100);
        memory_release_aligned(interface, memory);
    }
    memory_release_aligned(interface, NULL);
    fault_allocator_fail(allocator, 1, true);
    assert_null(memory_allocate_aligned(interface, 64, 100));
    assert_null(memory_allocate_zeroed(interface, 100));
    assert_null(memory_copy_string(interface, "abc", 3));
    fault_allocator_fail(allocator, 0, false);
    char *copy = memory_copy_string(interface, "abcdef", 3);
    assert_string_equal(copy, "abc");
    memory_release(interface, copy);
    uint8_t *zeroed = memory_allocate_zeroed(interface, 100);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(zeroed[i], 0);
    }
    memory_release(interface, zeroed);
    fault_allocator_destroy(allocator);
}

static void default_allocator_is_that_of_the_system(void **state) {
    (void)state;
    const tern_allocator *allocator = tern_allocator_default();
    char *memory = memory_allocate(allocator, 10);
    memory = memory_resize(allocator, memory, 1000);
    memory[999] = 1;
    memory_release(allocator, memory);
    memory_release(allocator, NULL);
}

/* ---- the allocator of the tests itself ---- */

static void fault_allocator_fails_the_call_it_is_told_to(void **state) {
    (void)state;
    struct fault_allocator *allocator = fault_allocator_create();
    const tern_allocator *interface = fault_allocator_interface(allocator);
    fault_allocator_fail(allocator, 2, false);
    void *first = memory_allocate(interface, 10);
    assert_non_null(first);
    assert_null(memory_resize(interface, first, 20)); /* the old one stands */
    void *second = memory_allocate(interface, 10);
    assert_non_null(second);
    fault_allocator_fail(allocator, 1, true);
    assert_null(memory_allocate(interface, 10));
    assert_null(memory_resize(interface, NULL, 10));
    assert_int_equal(fault_allocator_failures(allocator), 3);
    memory_release(interface, first);
    memory_release(interface, second);
    fault_allocator_destroy(allocator);
}

static void fault_allocator_counts_what_is_live(void **state) {
    (void)state;
    struct fault_allocator *allocator = fault_allocator_create();
    const tern_allocator *interface = fault_allocator_interface(allocator);
    uint8_t *memory = memory_allocate(interface, 100);
    memset(memory, 7, 100);
    void *other = memory_allocate(interface, 50);
    assert_int_equal(fault_allocator_live_blocks(allocator), 2);
    assert_int_equal(fault_allocator_live_bytes(allocator), 150);
    memory = memory_resize(interface, memory, 40);
    assert_int_equal(memory[39], 7);
    assert_int_equal(fault_allocator_live_bytes(allocator), 90);
    memory_release(interface, memory);
    memory_release(interface, other);
    assert_int_equal(fault_allocator_live_blocks(allocator), 0);
    assert_true(fault_allocator_peak_bytes(allocator) >= 150);
    fault_allocator_destroy(allocator);
}

static void fault_allocator_refuses_what_is_not_live(void **state) {
    (void)state;
    struct fault_allocator *allocator = fault_allocator_create();
    const tern_allocator *interface = fault_allocator_interface(allocator);
    void *memory = memory_allocate(interface, 10);
    uintptr_t stale = (uintptr_t)memory;
    memory_release(interface, memory);
    assert_int_equal(fault_allocator_misuses(allocator), 0);
    memory_release(interface, (void *)stale);
    int local = 0;
    memory_release(interface, &local);
    assert_null(memory_resize(interface, (void *)stale, 20));
    assert_int_equal(fault_allocator_misuses(allocator), 3);
    fault_allocator_forgive_misuses(allocator);
    fault_allocator_destroy(allocator);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_gives_aligned_memory_that_does_not_overlap),
        cmocka_unit_test(arena_serves_a_first_chunk_smaller_than_its_head),
        cmocka_unit_test(arena_reset_keeps_one_chunk_for_reuse),
        cmocka_unit_test(arena_survives_running_out_of_memory),
        cmocka_unit_test(buffer_grows_and_stands_when_it_cannot),
        cmocka_unit_test(aligned_memory_is_aligned_and_released_whole),
        cmocka_unit_test(default_allocator_is_that_of_the_system),
        cmocka_unit_test(fault_allocator_fails_the_call_it_is_told_to),
        cmocka_unit_test(fault_allocator_counts_what_is_live),
        cmocka_unit_test(fault_allocator_refuses_what_is_not_live),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
