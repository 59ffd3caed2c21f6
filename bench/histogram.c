/* SPDX-License-Identifier: Apache-2.0 */
#include "histogram.h"

#include <string.h>

void histogram_clear(struct histogram *histogram) {
    memset(histogram, 0, sizeof(*histogram));
}

void histogram_merge(struct histogram *into, const struct histogram *from) {
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->counts[i] += from->counts[i];
    into->total += from->total;
    if (from->max > into->max)
        into->max = from->max;
}

uint64_t histogram_bucket_low(unsigned bucket) {
    if (bucket < HISTOGRAM_STEPS)
        return bucket;
    unsigned octave = bucket / HISTOGRAM_STEPS - 1;
    uint64_t step = bucket % HISTOGRAM_STEPS;
    return (HISTOGRAM_STEPS + step) << octave;
}

double histogram_quantile(const struct histogram *histogram, double fraction) {
    if (histogram->total == 0)
        return 0.0;
    double wanted = fraction * (double)histogram->total;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (histogram->counts[i] == 0 || (double)seen < wanted)
            continue;
        double low = (double)histogram_bucket_low(i);
        double width = i < HISTOGRAM_STEPS ? 1.0 : (double)(1ULL << (i / HISTOGRAM_STEPS - 1));
        double middle = low + (width - 1.0) / 2.0;
        return middle < (double)histogram->max ? middle : (double)histogram->max;
    }
    return (double)histogram->max;
}
