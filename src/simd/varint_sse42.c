/* SPDX-License-Identifier: Apache-2.0 */
#include <nmmintrin.h>

#include "simd/variants.h"
#include "simd/varint_walk_internal.h"

#define BLOCK_BYTES 16u

/* Sixteen numbers of one byte each. */
static inline void widen(__m128i bytes, uint64_t *out_values) {
    for (unsigned i = 0; i < BLOCK_BYTES; i += 2) {
        _mm_storeu_si128((__m128i *)(void *)(out_values + i), _mm_cvtepu8_epi64(bytes));
        bytes = _mm_srli_si128(bytes, 2);
    }
}

const uint8_t *varint_get_many_sse42(const uint8_t *source, const uint8_t *end, size_t count,
                                     uint64_t *out_values) {
    while (count > 0 && (size_t)(end - source) >= BLOCK_BYTES + VARINT_PAD_BYTES) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)source);
        uint32_t ends = (uint32_t)_mm_movemask_epi8(bytes) ^ 0xffff;
        size_t size = BLOCK_BYTES;
        size_t done = BLOCK_BYTES;
        if (ends == 0xffff && count >= BLOCK_BYTES) {
            widen(bytes, out_values);
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
