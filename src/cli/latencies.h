/* SPDX-License-Identifier: Apache-2.0 */
/* A histogram of durations: sixteen steps for each power of two, so percentiles are right within
 * 6 %, in fixed memory. */
#ifndef TERN_CLI_LATENCIES_H
#define TERN_CLI_LATENCIES_H

#include <stdint.h>

enum { LATENCY_STEPS = 16, LATENCY_SLOTS = 64 * LATENCY_STEPS };

struct latencies {
    uint64_t counts[LATENCY_SLOTS];
    uint64_t total;
    uint64_t max_ns;
};

void latencies_add(struct latencies *latencies, uint64_t duration_ns);
/* Upper end of the step that holds the percentile; 0 when empty. */
uint64_t latencies_percentile_ns(const struct latencies *latencies, unsigned percent);
void latencies_clear(struct latencies *latencies);

#endif
