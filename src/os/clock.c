/* SPDX-License-Identifier: Apache-2.0 */
#include <tern/sys/clock.h>

#include <time.h>

static uint64_t system_monotonic_ns(void *context) {
    (void)context;
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t system_wall_ms(void *context) {
    (void)context;
    struct timespec now;
    /* Some milliseconds coarse and a fifth of the price: every commit logs it. */
    (void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static const tern_clock system_clock = {NULL, system_monotonic_ns, system_wall_ms};

const tern_clock *tern_clock_default(void) {
    return &system_clock;
}
