/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of keys that are hard for searches by heads and prefixes, each in its own way. */
#ifndef TERN_TESTS_KEY_FAMILY_H
#define TERN_TESTS_KEY_FAMILY_H

#include <stdint.h>
#include <tern/slice.h>

#include "support/seeded_random.h"

enum key_family {
    KEYS_RANDOM,      /* 16 random bytes */
    KEYS_SEQUENTIAL,  /* decimal numbers, zero padded */
    KEYS_LONG_PREFIX, /* 200 equal bytes, then few that differ */
    KEYS_SHORT,       /* 1 to 4 bytes */
    KEYS_ZEROS,       /* zeros and ones of any length: padding must not tell */
    KEYS_EXTREME,     /* 0x00 and 0xff runs */
    KEYS_WORDS,       /* sizes 1 to 60 over a small alphabet */
    KEY_FAMILIES
};

struct key_set {
    tern_slice *keys; /* ascending, no two equal */
    uint32_t count;
    uint8_t *memory;
};

/* At most `count` keys (fewer where the family has no more). */
void key_set_make(struct key_set *set, enum key_family family, uint32_t count,
                  struct seeded_random *random);
void key_set_release(struct key_set *set);

/* One key like those of the family, perhaps one of a set; in memory of 256 bytes. */
tern_slice key_make(enum key_family family, struct seeded_random *random, uint8_t *memory);

/* Number of keys below `key`. */
uint32_t key_set_lower_bound(const struct key_set *set, tern_slice key);

#endif
