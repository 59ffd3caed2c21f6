/* SPDX-License-Identifier: Apache-2.0 */
#include "support/seeded_random.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "support/check.h"

uint64_t seeded_random_seed(const char *name) {
    uint64_t seed = 0;
    const char *given = getenv("TERN_SEED");
    if (given != NULL && given[0] != '\0') {
        seed = strtoull(given, NULL, 0);
    } else {
        CHECK(getrandom(&seed, sizeof(seed), 0) == (ssize_t)sizeof(seed));
        seed >>= 16; /* easier to type */
    }
    (void)fprintf(stderr, "%s: seed %llu (replay with TERN_SEED=%llu)\n", name,
                  (unsigned long long)seed, (unsigned long long)seed);
    return seed;
}

/* splitmix64, which spreads any seed over the whole state. */
static uint64_t spread(uint64_t *seed) {
    uint64_t mixed = (*seed += 0x9e3779b97f4a7c15u);
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return mixed ^ mixed >> 31;
}

void seeded_random_init(struct seeded_random *random, uint64_t seed) {
    for (unsigned i = 0; i < 4; i++) {
        random->state[i] = spread(&seed);
    }
}

static uint64_t rotate_left(uint64_t value, unsigned bits) {
    return value << bits | value >> (64 - bits);
}

/* xoshiro256** by Blackman and Vigna. */
uint64_t seeded_random_next(struct seeded_random *random) {
    uint64_t *s = random->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t seeded_random_below(struct seeded_random *random, uint64_t bound) {
    CHECK(bound > 0);
    return seeded_random_next(random) % bound;
}

bool seeded_random_chance(struct seeded_random *random, uint64_t numerator, uint64_t denominator) {
    return seeded_random_below(random, denominator) < numerator;
}

void seeded_random_fill(struct seeded_random *random, void *out_bytes, size_t size_bytes) {
    unsigned char *target = out_bytes;
    while (size_bytes > 0) {
        uint64_t value = seeded_random_next(random);
        size_t part = size_bytes < sizeof(value) ? size_bytes : sizeof(value);
        memcpy(target, &value, part);
        target += part;
        size_bytes -= part;
    }
}

struct seeded_random_source {
    tern_random interface;
    pthread_mutex_t lock;
    struct seeded_random random;
};

static void source_fill(void *context, void *out_bytes, size_t size_bytes) {
    struct seeded_random_source *source = context;
    (void)pthread_mutex_lock(&source->lock);
    seeded_random_fill(&source->random, out_bytes, size_bytes);
    (void)pthread_mutex_unlock(&source->lock);
}

struct seeded_random_source *seeded_random_source_create(uint64_t seed) {
    struct seeded_random_source *source = check_allocate(sizeof(*source));
    source->interface = (tern_random){source, source_fill};
    (void)pthread_mutex_init(&source->lock, NULL);
    seeded_random_init(&source->random, seed);
    return source;
}

const tern_random *seeded_random_source_interface(struct seeded_random_source *source) {
    return &source->interface;
}

void seeded_random_source_destroy(struct seeded_random_source *source) {
    if (source != NULL) {
        (void)pthread_mutex_destroy(&source->lock);
        free(source);
    }
}
