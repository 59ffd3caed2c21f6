/* SPDX-License-Identifier: Apache-2.0 */
#include "clock.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define CALIBRATION_NS 50000000U

/* CPUID 0x80000007, EDX bit 8: the counter runs at one rate whatever the core does. */
static bool tsc_is_invariant(void) {
#if defined(__x86_64__)
    unsigned eax = 0;
    unsigned ebx = 0;
    unsigned ecx = 0;
    unsigned edx = 0;
    if (!__get_cpuid(0x80000007U, &eax, &ebx, &ecx, &edx))
        return false;
    return (edx & (1U << 8)) != 0;
#else
    return false;
#endif
}

void clock_calibrate(struct bench_clock *clock) {
    clock->uses_tsc = tsc_is_invariant();
    clock->ns_per_tick = 1.0;
    if (!clock->uses_tsc)
        return;
    uint64_t start_ns = clock_monotonic_ns();
    uint64_t start_ticks = clock_ticks(clock);
    uint64_t now_ns = start_ns;
    while (now_ns - start_ns < CALIBRATION_NS)
        now_ns = clock_monotonic_ns();
    uint64_t elapsed_ticks = clock_ticks(clock) - start_ticks;
    clock->ns_per_tick = (double)(now_ns - start_ns) / (double)elapsed_ticks;
}
