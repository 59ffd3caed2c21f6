/* SPDX-License-Identifier: Apache-2.0 */
#include <nmmintrin.h>

#include "simd/bloom.h"
#include "simd/bloom_salts.h"
#include "simd/variants.h"

/*
 * The bits of four words. There is no shift by lane here, but 2^n is the float whose exponent is
 * n + 127; 2^31 does not fit a signed integer and becomes INT32_MIN, which is that bit.
 */
static inline __m128i bits_of(uint64_t hash, unsigned word) {
    __m128i salts = _mm_loadu_si128((const __m128i *)(const void *)(bloom_salts + word));
    __m128i place = _mm_srli_epi32(_mm_mullo_epi32(_mm_set1_epi32((int)(uint32_t)hash), salts), 27);
    __m128i power = _mm_add_epi32(_mm_slli_epi32(place, 23), _mm_set1_epi32(127 << 23));
    return _mm_cvttps_epi32(_mm_castsi128_ps(power));
}

bool bloom_probe_sse42(const uint8_t *line, uint64_t hash) {
    __m128i first = _mm_loadu_si128((const __m128i *)(const void *)line);
    __m128i second = _mm_loadu_si128((const __m128i *)(const void *)(line + 16));
    __m128i missing = _mm_or_si128(_mm_andnot_si128(first, bits_of(hash, 0)),
                                   _mm_andnot_si128(second, bits_of(hash, 4)));
    return _mm_testz_si128(missing, missing) != 0;
}

void bloom_build_sse42(uint8_t *lines, uint32_t line_count, const uint64_t *hashes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        __m128i *line = (__m128i *)(void *)(lines + bloom_line_offset(hashes[i], line_count));
        _mm_storeu_si128(line, _mm_or_si128(_mm_loadu_si128(line), bits_of(hashes[i], 0)));
        _mm_storeu_si128(line + 1, _mm_or_si128(_mm_loadu_si128(line + 1), bits_of(hashes[i], 4)));
    }
}
