/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clock that latencies are taken with: the time stamp counter where it is invariant (about
 * 8 ns a read here, against 40 ns for clock_gettime), else CLOCK_MONOTONIC in nanoseconds.
 */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct bench_clock {
    double ns_per_tick;
    bool uses_tsc;
};

/* Finds out whether the counter can be trusted and measures its rate (takes 50 ms). */
void clock_calibrate(struct bench_clock *clock);

static inline uint64_t clock_monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static inline uint64_t clock_ticks(const struct bench_clock *clock) {
#if defined(__x86_64__)
    if (clock->uses_tsc)
        return __builtin_ia32_rdtsc();
#endif
    (void)clock;
    return clock_monotonic_ns();
}

/* The same once all that was begun before has ended, and before anything that follows begins: for a
 * call that is timed alone. A processor begins hundreds of instructions ahead, and reads the
 * counter before the memory that the call waits for has come. */
static inline uint64_t clock_ticks_alone(const struct bench_clock *clock) {
#if defined(__x86_64__)
    if (clock->uses_tsc) {
        unsigned processor;
        __builtin_ia32_lfence();
        uint64_t ticks = __builtin_ia32_rdtscp(&processor);
        __builtin_ia32_lfence();
        return ticks;
    }
#endif
    return clock_ticks(clock);
}

static inline double clock_seconds(const struct bench_clock *clock, uint64_t ticks) {
    return (double)ticks * clock->ns_per_tick * 1e-9;
}

#endif
