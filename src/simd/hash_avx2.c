/* SPDX-License-Identifier: Apache-2.0 */
/* The same text as in hash.c; the instruction set that it is compiled for makes the difference. */
#define XXH_INLINE_ALL
#include <immintrin.h>
#include <xxhash.h>

#include "simd/variants.h"

/*
 * The compiler leaves the upper halves of the registers as they are here. Code of 128 bits that
 * comes after, and mixes with the library's of 256, would then pay for each change from one to the
 * other: a merge of tables took twice as long.
 */
uint64_t hash_long_avx2(const void *bytes, size_t size, uint64_t seed) {
    uint64_t hash = XXH3_64bits_withSeed(bytes, size, seed);
    _mm256_zeroupper();
    return hash;
}
