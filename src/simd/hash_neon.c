/* SPDX-License-Identifier: Apache-2.0 */
/* The same text as in hash.c; the instruction set that it is compiled for makes the difference. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "simd/variants.h"

uint64_t hash_long_neon(const void *bytes, size_t size, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, size, seed);
}
