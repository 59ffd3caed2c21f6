/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/latencies.h"

#include <stddef.h>

static size_t slot_of(uint64_t duration_ns) {
    if (duration_ns < LATENCY_STEPS) {
        return (size_t)duration_ns;
    }
    unsigned top = 63U - (unsigned)__builtin_clzll(duration_ns);
    size_t step = (size_t)(duration_ns >> (top - 4)) & (LATENCY_STEPS - 1);
    return (size_t)(top - 3) * LATENCY_STEPS + step;
}

/* Largest duration that falls into a slot. */
static uint64_t slot_end(size_t slot) {
    if (slot < LATENCY_STEPS) {
        return slot;
    }
    unsigned shift = (unsigned)(slot / LATENCY_STEPS) - 1;
    uint64_t step = LATENCY_STEPS + slot % LATENCY_STEPS;
    return (step << shift) + ((UINT64_C(1) << shift) - 1);
}

void latencies_add(struct latencies *latencies, uint64_t duration_ns) {
    latencies->counts[slot_of(duration_ns)]++;
    latencies->total++;
    if (duration_ns > latencies->max_ns) {
        latencies->max_ns = duration_ns;
    }
}

uint64_t latencies_percentile_ns(const struct latencies *latencies, unsigned percent) {
    uint64_t rank = (latencies->total * percent + 99) / 100;
    uint64_t seen = 0;
    for (size_t slot = 0; slot < LATENCY_SLOTS && rank > 0; slot++) {
        seen += latencies->counts[slot];
        if (seen >= rank) {
            uint64_t end_ns = slot_end(slot);
            return end_ns < latencies->max_ns ? end_ns : latencies->max_ns;
        }
    }
    return 0;
}

void latencies_clear(struct latencies *latencies) {
    *latencies = (struct latencies){0};
}
