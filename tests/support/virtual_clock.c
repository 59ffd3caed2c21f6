/* SPDX-License-Identifier: Apache-2.0 */
#include "support/virtual_clock.h"

#define START_NS      1000000000u
#define START_WALL_MS 1577836800000u
#define NS_PER_MS     1000000u

static uint64_t monotonic_ns(void *context) {
    struct virtual_clock *clock = context;
    return atomic_load(&clock->monotonic_ns);
}

static uint64_t wall_ms(void *context) {
    struct virtual_clock *clock = context;
    return atomic_load(&clock->wall_ms);
}

void virtual_clock_init(struct virtual_clock *clock) {
    clock->interface = (tern_clock){clock, monotonic_ns, wall_ms};
    atomic_init(&clock->monotonic_ns, START_NS);
    atomic_init(&clock->wall_ms, START_WALL_MS);
}

const tern_clock *virtual_clock_interface(struct virtual_clock *clock) {
    return &clock->interface;
}

void virtual_clock_advance_ns(struct virtual_clock *clock, uint64_t duration_ns) {
    uint64_t before = atomic_fetch_add(&clock->monotonic_ns, duration_ns);
    /* Whole milliseconds that were passed, so that many small steps lose none. */
    uint64_t passed_ms = (before + duration_ns) / NS_PER_MS - before / NS_PER_MS;
    atomic_fetch_add(&clock->wall_ms, passed_ms);
}

void virtual_clock_set_wall_ms(struct virtual_clock *clock, uint64_t wall) {
    atomic_store(&clock->wall_ms, wall);
}
