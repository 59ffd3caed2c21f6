/* SPDX-License-Identifier: Apache-2.0 */
/* Clock, randomness, pages, mutex and futex. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <tern/sys/clock.h>

#include "os/mutex.h"
#include "os/pages.h"
#include "support/cmocka_test.h"

static void monotonic_time_never_goes_back(void **state) {
    (void)state;
    const tern_clock *clock = tern_clock_default();
    uint64_t last = clock->monotonic_ns(clock->context);
    for (unsigned i = 0; i < 10000; i++) {
        uint64_t now = clock->monotonic_ns(clock->context);
        assert_true(now >= last);
        last = now;
    }
    assert_true(clock->wall_ms(clock->context) > 1577836800000u); /* 2020 */
}

static void randomness_fills_all_bytes(void **state) {
    (void)state;
    const tern_random *random = tern_random_default();
    uint8_t seen[1000] = {0};
    uint8_t bytes[1000];
    for (unsigned i = 0; i < 20; i++) {
        memset(bytes, 0, sizeof(bytes));
        random->fill(random->context, bytes, sizeof(bytes) - 1);
        assert_int_equal(bytes[999], 0);
        for (unsigned j = 0; j < 999; j++) {
            seen[j] |= bytes[j];
        }
    }
    for (unsigned j = 0; j < 999; j++) {
        assert_int_not_equal(seen[j], 0);
    }
}

static void pages_are_aligned_zeroed_and_come_back_zeroed(void **state) {
    (void)state;
    const size_t size = 3 * HUGE_PAGE_BYTES + 8192;
    tern_error error = TERN_ERROR_INIT;
    void *memory = NULL;
    assert_ok(pages_reserve(size, &memory, &error), error);
    assert_int_equal((uintptr_t)memory % HUGE_PAGE_BYTES, 0);
    assert_ok(pages_commit(memory, HUGE_PAGE_BYTES, true, &error), error);
    char *bytes = memory;
    assert_int_equal(bytes[0] | bytes[HUGE_PAGE_BYTES - 1], 0);
    memset(bytes, 1, HUGE_PAGE_BYTES);
    pages_decommit(memory, HUGE_PAGE_BYTES);
    assert_ok(pages_commit(memory, HUGE_PAGE_BYTES, false, &error), error);
    assert_int_equal(bytes[0] | bytes[HUGE_PAGE_BYTES - 1], 0);
    assert_ok(pages_commit(bytes + HUGE_PAGE_BYTES, size - HUGE_PAGE_BYTES, true, &error), error);
    bytes[size - 1] = 1;
    pages_release(memory, size);
    pages_release(NULL, size);
    assert_ok(pages_allocate(100, false, &memory, &error), error);
    memset(memory, 1, 100);
    pages_release(memory, 100);
}

/* A mapping that fails may have taken away what stood there: an offset in mid-page makes it fail.
 */
static void memory_that_cannot_be_replaced_keeps_its_bytes(void **state) {
    (void)state;
    const uint64_t offset = 512;
    const size_t size = HUGE_PAGE_BYTES + 8192;
    void *memory;
    tern_error error = TERN_ERROR_INIT;
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_ok(pages_allocate(2 * HUGE_PAGE_BYTES, false, &memory, &error), error);
    uint8_t *bytes = memory;
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(i / 4096 + i % 13);
    }
    assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
    assert_int_equal(fwrite(memory, 1, size, file), size);
    assert_int_equal(fflush(file), 0);
    for (unsigned is_gone = 0; is_gone < 2; is_gone++) {
        if (is_gone != 0) {
            assert_int_equal(munmap(bytes, size), 0);
        }
        assert_int_equal(pages_replace(memory, size, fileno(file), offset, &error), TERN_NO_MEMORY);
        for (size_t i = 0; i < size; i++) {
            assert_int_equal(bytes[i], (uint8_t)(i / 4096 + i % 13));
        }
        bytes[0] = 0; /* may be written */
    }
    (void)fclose(file);
    pages_release(memory, 2 * HUGE_PAGE_BYTES);
}

static void asking_for_too_many_pages_is_an_error(void **state) {
    (void)state;
    tern_error error = TERN_ERROR_INIT;
    void *memory = NULL;
    assert_int_equal(pages_reserve((size_t)1 << 62, &memory, &error), TERN_NO_MEMORY);
    assert_int_equal(pages_reserve(SIZE_MAX, &memory, &error), TERN_NO_MEMORY);
    assert_int_equal(pages_reserve(0, &memory, &error), TERN_NO_MEMORY);
    assert_null(memory);
}

struct shared {
    struct mutex lock;
    struct condition changed;
    uint32_t count;
    _Atomic uint32_t word;
};

static void *add_under_lock(void *argument) {
    struct shared *shared = argument;
    for (unsigned i = 0; i < 1000; i++) {
        mutex_lock(&shared->lock);
        shared->count++;
        condition_signal(&shared->changed);
        mutex_unlock(&shared->lock);
    }
    atomic_store(&shared->word, 1);
    futex_wake(&shared->word, UINT32_MAX);
    return NULL;
}

static void locks_exclude_and_conditions_wake(void **state) {
    (void)state;
    struct shared shared = {.count = 0};
    mutex_init(&shared.lock);
    condition_init(&shared.changed);
    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, add_under_lock, &shared), 0);
    }
    mutex_lock(&shared.lock);
    assert_false(mutex_try_lock(&shared.lock));
    while (shared.count < 2000) {
        condition_wait(&shared.changed, &shared.lock);
    }
    mutex_unlock(&shared.lock);
    while (atomic_load(&shared.word) == 0) {
        futex_wait(&shared.word, 0, 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_true(mutex_try_lock(&shared.lock));
    mutex_unlock(&shared.lock);
    condition_broadcast(&shared.changed);
    condition_destroy(&shared.changed);
    mutex_destroy(&shared.lock);
}

static void waits_end_when_their_time_is_over(void **state) {
    (void)state;
    const tern_clock *clock = tern_clock_default();
    struct shared shared = {.count = 0};
    mutex_init(&shared.lock);
    condition_init(&shared.changed);
    mutex_lock(&shared.lock);
    uint64_t begun = clock->monotonic_ns(clock->context);
    while (condition_wait_for(&shared.changed, &shared.lock, 3000000)) {
    }
    assert_true(clock->monotonic_ns(clock->context) - begun >= 3000000);
    mutex_unlock(&shared.lock);
    begun = clock->monotonic_ns(clock->context);
    futex_wait(&shared.word, 0, 3000000);
    futex_wait(&shared.word, 1, 0); /* not what is expected: returns at once */
    assert_true(clock->monotonic_ns(clock->context) - begun < 2000000000u);
    condition_destroy(&shared.changed);
    mutex_destroy(&shared.lock);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(monotonic_time_never_goes_back),
        cmocka_unit_test(randomness_fills_all_bytes),
        cmocka_unit_test(pages_are_aligned_zeroed_and_come_back_zeroed),
        cmocka_unit_test(memory_that_cannot_be_replaced_keeps_its_bytes),
        cmocka_unit_test(asking_for_too_many_pages_is_an_error),
        cmocka_unit_test(locks_exclude_and_conditions_wake),
        cmocka_unit_test(waits_end_when_their_time_is_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
