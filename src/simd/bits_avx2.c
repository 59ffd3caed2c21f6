/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Up to 25 bits a number and its shift fit a lane of 32: eight numbers a round, four from each of
 * two loads of sixteen bytes, a shuffle to bring their bytes into their lanes and a shift by lane.
 * Wider ones take lanes of 64 bits, four a round.
 */
#include <immintrin.h>

#include "simd/bits_rest_internal.h"

#define LANE_WIDTH_MAX 25u

static inline __m256i load_pair(const uint8_t *low, const uint8_t *high) {
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)low)),
        _mm_loadu_si128((const __m128i *)(const void *)high), 1);
}

static size_t unpack_narrow(const uint8_t *source, size_t readable, size_t count, unsigned width,
                            uint32_t *out_values) {
    size_t second = width * 4u / 8;
    int begin = (int)(width * 4u % 8);
    __m256i bits = _mm256_add_epi32(_mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 0, 1, 2, 3),
                                                       _mm256_set1_epi32((int)width)),
                                    _mm256_setr_epi32(0, 0, 0, 0, begin, begin, begin, begin));
    __m256i shuffle = _mm256_add_epi8(
        _mm256_mullo_epi32(_mm256_srli_epi32(bits, 3), _mm256_set1_epi32(0x01010101)),
        _mm256_set1_epi32(0x03020100));
    __m256i shift = _mm256_and_si256(bits, _mm256_set1_epi32(7));
    const __m256i mask = _mm256_set1_epi32((int)((1u << width) - 1));
    const uint8_t *at = source;
    size_t i = 0;
    for (; i + 8 <= count && (size_t)(at - source) + second + 16 <= readable; i += 8) {
        __m256i eight = _mm256_shuffle_epi8(load_pair(at, at + second), shuffle);
        eight = _mm256_and_si256(_mm256_srlv_epi32(eight, shift), mask);
        _mm256_storeu_si256((__m256i *)(void *)(out_values + i), eight);
        at += width;
    }
    return i;
}

/* Two numbers from the first load and two from the second, each in a lane of eight bytes. */
struct wide_round {
    size_t first, second; /* offsets of the loads */
    __m256i shuffle, shift;
};

static inline struct wide_round make_wide(unsigned width, unsigned number) {
    unsigned low = number * width;
    unsigned high = (number + 2) * width;
    unsigned bits[4] = {low % 8, low % 8 + width, high % 8, high % 8 + width};
    struct wide_round round = {.first = low / 8, .second = high / 8};
    __m256i places = _mm256_setr_epi64x(bits[0], bits[1], bits[2], bits[3]);
    __m256i byte = _mm256_srli_epi64(places, 3);
    /* The byte's number into all eight bytes of the lane. */
    byte =
        _mm256_shuffle_epi8(byte, _mm256_setr_epi64x(0, 0x0808080808080808, 0, 0x0808080808080808));
    round.shuffle = _mm256_add_epi8(byte, _mm256_set1_epi64x(0x0706050403020100));
    round.shift = _mm256_and_si256(places, _mm256_set1_epi64x(7));
    return round;
}

static inline __m128i unpack_four(const uint8_t *at, const struct wide_round *round, __m256i mask) {
    __m256i four =
        _mm256_shuffle_epi8(load_pair(at + round->first, at + round->second), round->shuffle);
    four = _mm256_and_si256(_mm256_srlv_epi64(four, round->shift), mask);
    four = _mm256_permutevar8x32_epi32(four, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6));
    return _mm256_castsi256_si128(four);
}

static size_t unpack_wide(const uint8_t *source, size_t readable, size_t count, unsigned width,
                          uint32_t *out_values) {
    const struct wide_round low = make_wide(width, 0);
    const struct wide_round high = make_wide(width, 4);
    const __m256i mask = _mm256_set1_epi64x((1LL << width) - 1);
    const uint8_t *at = source;
    size_t i = 0;
    for (; i + 8 <= count && (size_t)(at - source) + high.second + 16 <= readable; i += 8) {
        _mm_storeu_si128((__m128i *)(void *)(out_values + i), unpack_four(at, &low, mask));
        _mm_storeu_si128((__m128i *)(void *)(out_values + i + 4), unpack_four(at, &high, mask));
        at += width;
    }
    return i;
}

void bits_unpack_avx2(const uint8_t *source, size_t count, unsigned width, uint32_t *out_values) {
    bits_unpack_eights(width <= LANE_WIDTH_MAX ? unpack_narrow : unpack_wide, source, count, width,
                       out_values);
}
