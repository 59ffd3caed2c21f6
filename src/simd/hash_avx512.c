/* SPDX-License-Identifier: Apache-2.0 */
/* The same text as in hash.c; the instruction set that it is compiled for makes the difference. */
#define XXH_INLINE_ALL
#include <immintrin.h>
#include <xxhash.h>

#include "simd/variants.h"

/* Wider vectors need some length to pay. */
#define WIDE_BYTES_MIN 512u

uint64_t hash_long_avx512(const void *bytes, size_t size, uint64_t seed) {
    if (size < WIDE_BYTES_MIN) {
        return hash_long_avx2(bytes, size, seed);
    }
    uint64_t hash = XXH3_64bits_withSeed(bytes, size, seed);
    _mm256_zeroupper(); /* as in hash_avx2.c */
    return hash;
}
