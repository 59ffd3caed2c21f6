/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YCSB's zipfian generator (Gray et al., "Quickly generating billion-record synthetic databases",
 * SIGMOD 1994): item 0 is the most popular. The caller scatters items over the key space.
 */
#ifndef BENCH_ZIPF_H
#define BENCH_ZIPF_H

#include "rng.h"

#define ZIPF_THETA 0.99

struct zipf {
    uint64_t count;
    double theta;
    double zeta_count;
    double alpha;
    double eta;
    double second_limit;
};

/* Sums `count` powers: about 30 ms a million, so do it once and share the result. */
void zipf_init(struct zipf *zipf, uint64_t count, double theta);

/* An item in [0, count). */
uint64_t zipf_next(const struct zipf *zipf, struct rng *rng);

#endif
