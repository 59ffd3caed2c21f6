/* SPDX-License-Identifier: Apache-2.0 */
#include <immintrin.h>

#include "simd/bloom.h"
#include "simd/bloom_salts.h"
#include "simd/variants.h"

static inline __m256i bits_of(uint64_t hash) {
    __m256i salts = _mm256_loadu_si256((const __m256i *)(const void *)bloom_salts);
    __m256i place =
        _mm256_srli_epi32(_mm256_mullo_epi32(_mm256_set1_epi32((int)(uint32_t)hash), salts), 27);
    return _mm256_sllv_epi32(_mm256_set1_epi32(1), place);
}

bool bloom_probe_avx2(const uint8_t *line, uint64_t hash) {
    __m256i words = _mm256_loadu_si256((const __m256i *)(const void *)line);
    return _mm256_testc_si256(words, bits_of(hash)) != 0;
}

void bloom_build_avx2(uint8_t *lines, uint32_t line_count, const uint64_t *hashes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        __m256i *line = (__m256i *)(void *)(lines + bloom_line_offset(hashes[i], line_count));
        _mm256_storeu_si256(line, _mm256_or_si256(_mm256_loadu_si256(line), bits_of(hashes[i])));
    }
}
