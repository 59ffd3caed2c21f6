/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Randomness of tests: a seed that is printed and that TERN_SEED replays, and generators from it.
 */
#ifndef TERN_TESTS_SEEDED_RANDOM_H
#define TERN_TESTS_SEEDED_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tern/sys/clock.h>

/* xoshiro256** state. One thread at a time. */
struct seeded_random {
    uint64_t state[4];
};

/*
 * The seed of this run: TERN_SEED (decimal or 0x…) when set, else a new one from the system. Prints
 * "NAME: seed N (replay with TERN_SEED=N)" to standard error.
 */
uint64_t seeded_random_seed(const char *name);

void seeded_random_init(struct seeded_random *random, uint64_t seed);
uint64_t seeded_random_next(struct seeded_random *random);
/* 0 to bound - 1; bound is not 0. */
uint64_t seeded_random_below(struct seeded_random *random, uint64_t bound);
/* True in `numerator` of `denominator` cases. */
bool seeded_random_chance(struct seeded_random *random, uint64_t numerator, uint64_t denominator);
void seeded_random_fill(struct seeded_random *random, void *out_bytes, size_t size_bytes);

/* The random seam over a generator; calls are serialised, so any thread. */
struct seeded_random_source;
struct seeded_random_source *seeded_random_source_create(uint64_t seed);
const tern_random *seeded_random_source_interface(struct seeded_random_source *source);
void seeded_random_source_destroy(struct seeded_random_source *source);

#endif
