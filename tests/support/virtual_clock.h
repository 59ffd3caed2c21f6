/* SPDX-License-Identifier: Apache-2.0 */
/* Time that moves only when a test says so. */
#ifndef TERN_TESTS_VIRTUAL_CLOCK_H
#define TERN_TESTS_VIRTUAL_CLOCK_H

#include <stdatomic.h>
#include <tern/sys/clock.h>

/* Any thread. */
struct virtual_clock {
    tern_clock interface;
    _Atomic uint64_t monotonic_ns;
    _Atomic uint64_t wall_ms;
};

/* Begins one second after an arbitrary point, and at 2020-01-01 00:00:00 UTC. */
void virtual_clock_init(struct virtual_clock *clock);
const tern_clock *virtual_clock_interface(struct virtual_clock *clock);

/* Lets time pass on both clocks. */
void virtual_clock_advance_ns(struct virtual_clock *clock, uint64_t duration_ns);
/* Sets the wall clock alone, also back. */
void virtual_clock_set_wall_ms(struct virtual_clock *clock, uint64_t wall_ms);

#endif
