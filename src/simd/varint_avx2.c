/* SPDX-License-Identifier: Apache-2.0 */
#include <immintrin.h>

#include "simd/variants.h"
#include "simd/varint_walk_internal.h"

#define BLOCK_BYTES 32u

/* Thirty-two numbers of one byte each. */
static inline void widen(const uint8_t *bytes, uint64_t *out_values) {
    for (unsigned i = 0; i < BLOCK_BYTES; i += 4) {
        __m128i four = _mm_cvtsi32_si128((int)get_u32(bytes + i));
        _mm256_storeu_si256((__m256i *)(void *)(out_values + i), _mm256_cvtepu8_epi64(four));
    }
}

const uint8_t *varint_get_many_avx2(const uint8_t *source, const uint8_t *end, size_t count,
                                    uint64_t *out_values) {
    while (count > 0 && (size_t)(end - source) >= BLOCK_BYTES + VARINT_PAD_BYTES) {
        __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)source);
        uint32_t ends = ~(uint32_t)_mm256_movemask_epi8(bytes);
        size_t size = BLOCK_BYTES;
        size_t done = BLOCK_BYTES;
        if (ends == UINT32_MAX && count >= BLOCK_BYTES) {
            widen(source, out_values);
        } else {
            done = varint_walk(source, ends, 0, count, out_values, &size);
        }
        if (done == 0) {
            const uint8_t *next = varint_get(source, end, out_values);
            if (next == NULL) {
                return NULL;
            }
            done = 1;
            size = (size_t)(next - source);
        }
        source += size;
        out_values += done;
        count -= done;
    }
    return varint_get_many_scalar(source, end, count, out_values);
}
