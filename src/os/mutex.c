/* SPDX-License-Identifier: Apache-2.0 */
#include "os/mutex.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"

#define NS_PER_SECOND 1000000000u

/* Misuse (unlocking what is not held, destroying what is) is the only way these can fail. */
static void must(int result) {
    ASSERT(result == 0);
}

void mutex_init(struct mutex *mutex) {
    must(pthread_mutex_init(&mutex->native, NULL));
}

void mutex_destroy(struct mutex *mutex) {
    must(pthread_mutex_destroy(&mutex->native));
}

void mutex_lock(struct mutex *mutex) {
    must(pthread_mutex_lock(&mutex->native));
}

bool mutex_try_lock(struct mutex *mutex) {
    int result = pthread_mutex_trylock(&mutex->native);
    ASSERT(result == 0 || result == EBUSY);
    return result == 0;
}

void mutex_unlock(struct mutex *mutex) {
    must(pthread_mutex_unlock(&mutex->native));
}

void condition_init(struct condition *condition) {
    pthread_condattr_t attributes;
    must(pthread_condattr_init(&attributes));
    must(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC));
    must(pthread_cond_init(&condition->native, &attributes));
    must(pthread_condattr_destroy(&attributes));
}

void condition_destroy(struct condition *condition) {
    must(pthread_cond_destroy(&condition->native));
}

void condition_wait(struct condition *condition, struct mutex *mutex) {
    must(pthread_cond_wait(&condition->native, &mutex->native));
}

bool condition_wait_for(struct condition *condition, struct mutex *mutex, uint64_t timeout_ns) {
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t seconds = timeout_ns / NS_PER_SECOND;
    /* A wait of a century is as good as any longer one and cannot overflow time_t. */
    const uint64_t seconds_max = (uint64_t)100 * 365 * 86400;
    until.tv_sec += (time_t)(seconds < seconds_max ? seconds : seconds_max);
    until.tv_nsec += (long)(timeout_ns % NS_PER_SECOND);
    if (until.tv_nsec >= (long)NS_PER_SECOND) {
        until.tv_nsec -= (long)NS_PER_SECOND;
        until.tv_sec++;
    }
    int result = pthread_cond_timedwait(&condition->native, &mutex->native, &until);
    ASSERT(result == 0 || result == ETIMEDOUT);
    return result == 0;
}

void condition_signal(struct condition *condition) {
    must(pthread_cond_signal(&condition->native));
}

void condition_broadcast(struct condition *condition) {
    must(pthread_cond_broadcast(&condition->native));
}

void futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns) {
    struct timespec timeout = {(time_t)(timeout_ns / NS_PER_SECOND),
                               (long)(timeout_ns % NS_PER_SECOND)};
    (void)syscall(SYS_futex, (void *)word, FUTEX_WAIT_PRIVATE, expected,
                  timeout_ns != 0 ? &timeout : NULL, NULL, 0);
}

void futex_wake(_Atomic uint32_t *word, uint32_t waiters_max) {
    uint32_t count = waiters_max < INT_MAX ? waiters_max : INT_MAX;
    (void)syscall(SYS_futex, (void *)word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

void futex_wait_bits(_Atomic uint32_t *word, uint32_t expected, uint32_t bits) {
    (void)syscall(SYS_futex, (void *)word, FUTEX_WAIT_BITSET_PRIVATE, expected, NULL, NULL, bits);
}

void futex_wake_bits(_Atomic uint32_t *word, uint32_t bits) {
    (void)syscall(SYS_futex, (void *)word, FUTEX_WAKE_BITSET_PRIVATE, INT_MAX, NULL, NULL, bits);
}

uint32_t processors_online(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0) {
        return (uint32_t)CPU_COUNT(&set);
    }
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (uint32_t)count : 1;
}
