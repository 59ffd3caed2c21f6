/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four numbers from sixteen bytes: a shuffle brings each number's four bytes into its lane, then
 * each lane is shifted by a distance of its own. There is no such shift to the right here: a
 * multiplication moves every number up to bit 7, from where all go down together. Up to 25 bits a
 * number and its shift fit a lane; wider ones are left to the plain variant.
 */
#include <nmmintrin.h>

#include "simd/bits_rest_internal.h"

#define LANE_WIDTH_MAX 25u

static size_t unpack_narrow(const uint8_t *source, size_t readable, size_t count, unsigned width,
                            uint32_t *out_values) {
    const __m128i lanes = _mm_setr_epi32(0, 1, 2, 3);
    const __m128i spread = _mm_set1_epi32(0x03020100);
    const __m128i mask = _mm_set1_epi32((int)((1u << width) - 1));
    __m128i places = _mm_mullo_epi32(lanes, _mm_set1_epi32((int)width));
    /* Four numbers take whole bytes or end in the middle of one: eight are one round. */
    __m128i shuffles[2];
    __m128i factors[2];
    size_t offsets[2] = {0, width * 4u / 8};
    for (unsigned half = 0; half < 2; half++) {
        int begin = (int)(half * (width * 4u % 8));
        __m128i bits = _mm_add_epi32(places, _mm_set1_epi32(begin));
        __m128i byte = _mm_mullo_epi32(_mm_srli_epi32(bits, 3), _mm_set1_epi32(0x01010101));
        shuffles[half] = _mm_add_epi8(byte, spread);
        /* 2^(7 - bits % 8), as a float whose exponent is that. */
        __m128i power =
            _mm_sub_epi32(_mm_set1_epi32(127 + 7), _mm_and_si128(bits, _mm_set1_epi32(7)));
        factors[half] = _mm_cvttps_epi32(_mm_castsi128_ps(_mm_slli_epi32(power, 23)));
    }
    const uint8_t *at = source;
    size_t i = 0;
    for (; i + 8 <= count && (size_t)(at - source) + offsets[1] + 16 <= readable; i += 8) {
        for (unsigned half = 0; half < 2; half++) {
            __m128i four = _mm_loadu_si128((const __m128i *)(const void *)(at + offsets[half]));
            four = _mm_mullo_epi32(_mm_shuffle_epi8(four, shuffles[half]), factors[half]);
            four = _mm_and_si128(_mm_srli_epi32(four, 7), mask);
            _mm_storeu_si128((__m128i *)(void *)(out_values + i + 4u * half), four);
        }
        at += width;
    }
    return i;
}

void bits_unpack_sse42(const uint8_t *source, size_t count, unsigned width, uint32_t *out_values) {
    if (width <= LANE_WIDTH_MAX) {
        bits_unpack_eights(unpack_narrow, source, count, width, out_values);
    } else {
        bits_unpack_scalar(source, count, width, out_values);
    }
}
