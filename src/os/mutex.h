/* SPDX-License-Identifier: Apache-2.0 */
/* Thin names over pthreads, and a futex word for parking. */
#ifndef TERN_OS_MUTEX_H
#define TERN_OS_MUTEX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct mutex {
    pthread_mutex_t native;
};

struct condition {
    pthread_cond_t native; /* on CLOCK_MONOTONIC */
};

void mutex_init(struct mutex *mutex);
void mutex_destroy(struct mutex *mutex);
void mutex_lock(struct mutex *mutex);
bool mutex_try_lock(struct mutex *mutex);
void mutex_unlock(struct mutex *mutex);

void condition_init(struct condition *condition);
void condition_destroy(struct condition *condition);
void condition_wait(struct condition *condition, struct mutex *mutex);
/* False when `timeout_ns` passed first. */
bool condition_wait_for(struct condition *condition, struct mutex *mutex, uint64_t timeout_ns);
void condition_signal(struct condition *condition);
void condition_broadcast(struct condition *condition);

/* Sleeps while *word == expected, until futex_wake; may return early. timeout_ns 0: no limit. */
void futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns);
void futex_wake(_Atomic uint32_t *word, uint32_t waiters_max);
/* The same for several kinds of sleepers on one word: all who share a bit are woken. */
#define FUTEX_ALL_BITS UINT32_MAX
void futex_wait_bits(_Atomic uint32_t *word, uint32_t expected, uint32_t bits);
void futex_wake_bits(_Atomic uint32_t *word, uint32_t bits);

/* Processors that threads of this process may run on, at least 1. */
uint32_t processors_online(void);

/* A hint inside a spin loop. */
static inline void spin_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
