/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log-linear histogram: 128 equal steps in each octave, so a value is known within 0.8 %
 * (0.4 % with the middle of its step), over the whole range of uint64_t, at a cost of one
 * addition a sample. One thread writes it; merge after the threads have ended.
 */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEP_BITS 7
#define HISTOGRAM_STEPS     (1U << HISTOGRAM_STEP_BITS)
#define HISTOGRAM_BUCKETS   ((64 - HISTOGRAM_STEP_BITS + 1) * HISTOGRAM_STEPS)

struct histogram {
    uint64_t total;
    uint64_t max;
    uint64_t counts[HISTOGRAM_BUCKETS];
};

void histogram_clear(struct histogram *histogram);
void histogram_merge(struct histogram *into, const struct histogram *from);

/* The value that `fraction` (0..1) of the samples do not exceed; 0 when there are no samples. */
double histogram_quantile(const struct histogram *histogram, double fraction);

/* Smallest value that falls into the bucket, and the first that does not. */
uint64_t histogram_bucket_low(unsigned bucket);

static inline unsigned histogram_bucket(uint64_t value) {
    if (value < HISTOGRAM_STEPS)
        return (unsigned)value;
    unsigned octave = 63U - (unsigned)__builtin_clzll(value) - HISTOGRAM_STEP_BITS;
    unsigned step = (unsigned)(value >> octave) & (HISTOGRAM_STEPS - 1);
    return (octave + 1) * HISTOGRAM_STEPS + step;
}

static inline void histogram_add(struct histogram *histogram, uint64_t value) {
    histogram->counts[histogram_bucket(value)]++;
    histogram->total++;
    if (value > histogram->max)
        histogram->max = value;
}

#endif
