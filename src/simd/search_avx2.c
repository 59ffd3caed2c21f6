/* SPDX-License-Identifier: Apache-2.0 */
#include <immintrin.h>

#include "simd/variants.h"

/* Heads in one cache line. */
#define WINDOW_U32 16
#define WINDOW_U64 8

/* There is no unsigned comparison; with the sign bit flipped the signed one gives its order. */
static inline __m256i flip_u32(__m256i heads) {
    return _mm256_xor_si256(heads, _mm256_set1_epi32(INT32_MIN));
}

static inline __m256i flip_u64(__m256i heads) {
    return _mm256_xor_si256(heads, _mm256_set1_epi64x(INT64_MIN));
}

size_t search_lower_u32_avx2(const uint32_t *heads, size_t count, uint32_t head) {
    const uint32_t *base = heads;
    while (count > WINDOW_U32) {
        size_t half = count / 2;
        base += base[half - 1] < head ? half : 0;
        count -= half;
    }
    __m256i wanted = flip_u32(_mm256_set1_epi32((int)head));
    __m256i first = flip_u32(_mm256_loadu_si256((const __m256i *)(const void *)base));
    __m256i second = flip_u32(_mm256_loadu_si256((const __m256i *)(const void *)(base + 8)));
    uint32_t below =
        (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(wanted, first))) |
        (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(wanted, second))) << 8;
    /* What lies past the end does not count. */
    below &= (1u << count) - 1;
    return (size_t)(base - heads) + (size_t)__builtin_popcount(below);
}

size_t search_lower_u64_avx2(const uint64_t *heads, size_t count, uint64_t head) {
    const uint64_t *base = heads;
    while (count > WINDOW_U64) {
        size_t half = count / 2;
        base += base[half - 1] < head ? half : 0;
        count -= half;
    }
    __m256i wanted = flip_u64(_mm256_set1_epi64x((long long)head));
    __m256i first = flip_u64(_mm256_loadu_si256((const __m256i *)(const void *)base));
    __m256i second = flip_u64(_mm256_loadu_si256((const __m256i *)(const void *)(base + 4)));
    uint32_t below =
        (uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(wanted, first))) |
        (uint32_t)_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpgt_epi64(wanted, second))) << 4;
    below &= (1u << count) - 1;
    return (size_t)(base - heads) + (size_t)__builtin_popcount(below);
}
