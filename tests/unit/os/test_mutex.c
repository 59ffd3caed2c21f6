/* SPDX-License-Identifier: Apache-2.0 */
#include "os/mutex.h"

#include <sched.h>
#include <time.h>

#include "support/cmocka_test.h"

#define MS 1000000

struct sleeper {
    _Atomic uint32_t *word;
    uint32_t bit;
    _Atomic bool has_begun;
    _Atomic bool has_returned;
    pthread_t thread;
};

static void *sleep_once(void *context) {
    struct sleeper *sleeper = context;
    atomic_store(&sleeper->has_begun, true);
    futex_wait_bits(sleeper->word, 0, sleeper->bit);
    atomic_store(&sleeper->has_returned, true);
    return NULL;
}

static void pause_ns(long duration_ns) {
    const struct timespec duration = {0, duration_ns};
    (void)nanosleep(&duration, NULL);
}

static void start_sleeper(struct sleeper *sleeper, _Atomic uint32_t *word, uint32_t bit) {
    *sleeper = (struct sleeper){.word = word, .bit = bit};
    assert_int_equal(pthread_create(&sleeper->thread, NULL, sleep_once, sleeper), 0);
    while (!atomic_load(&sleeper->has_begun)) {
        (void)sched_yield();
    }
}

static void wake_until_returned(struct sleeper *sleeper, uint32_t bits) {
    while (!atomic_load(&sleeper->has_returned)) {
        futex_wake_bits(sleeper->word, bits);
        pause_ns(MS / 10);
    }
    assert_int_equal(pthread_join(sleeper->thread, NULL), 0);
}

static void a_wake_reaches_only_those_who_share_a_bit(void **state) {
    (void)state;
    _Atomic uint32_t word = 0;
    struct sleeper one;
    struct sleeper other;
    start_sleeper(&one, &word, 1u << 3);
    start_sleeper(&other, &word, 1u << 31);
    pause_ns(20 * MS); /* both sleep by now */
    wake_until_returned(&one, 1u << 3);
    pause_ns(5 * MS);
    assert_false(atomic_load(&other.has_returned));
    wake_until_returned(&other, FUTEX_ALL_BITS);
}

static void nobody_sleeps_on_a_word_that_has_changed(void **state) {
    (void)state;
    _Atomic uint32_t word = 1;
    futex_wait_bits(&word, 0, 1);
    assert_int_equal(word, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wake_reaches_only_those_who_share_a_bit),
        cmocka_unit_test(nobody_sleeps_on_a_word_that_has_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
