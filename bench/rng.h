/* SPDX-License-Identifier: Apache-2.0 */
/* splitmix64: one multiply chain a number, seeded, and good enough to choose records with. */
#ifndef BENCH_RNG_H
#define BENCH_RNG_H

#include <stdint.h>

__extension__ typedef unsigned __int128 rng_wide;

struct rng {
    uint64_t state;
};

/* A bijection of 64 bits (Stafford's variant 13 of the MurmurHash3 finaliser). */
static inline uint64_t mix64(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

static inline void rng_seed(struct rng *rng, uint64_t seed, uint64_t stream) {
    rng->state = mix64(seed ^ mix64(stream + 0x9e3779b97f4a7c15U));
}

static inline uint64_t rng_next(struct rng *rng) {
    rng->state += 0x9e3779b97f4a7c15U;
    return mix64(rng->state);
}

/* Maps 64 random bits to [0, bound); the bias of the multiplication is below 2^-30 here. */
static inline uint64_t rng_scale(uint64_t bits, uint64_t bound) {
    return (uint64_t)(((rng_wide)bits * bound) >> 64);
}

static inline uint64_t rng_below(struct rng *rng, uint64_t bound) {
    return rng_scale(rng_next(rng), bound);
}

static inline double rng_unit(struct rng *rng) {
    return (double)(rng_next(rng) >> 11) * 0x1.0p-53;
}

#endif
