/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C by the processor's instruction. It takes three cycles and can start every cycle, so three
 * neighbouring runs are computed at once and put together: the remainder of a run followed by n
 * zero bytes is the remainder times x^(8n). A carry-less product of two reflected 32-bit remainders
 * comes out one bit low (times x), and reducing its 64 bits with the instruction multiplies by
 * x^32: hence the constants are x^(8n - 33) mod P.
 */
#include <nmmintrin.h>
#include <wmmintrin.h>

#include "base/bytes.h"
#include "simd/variants.h"

#define LONG_RUN_BYTES  1024
#define SHORT_RUN_BYTES 128
#define TINY_RUN_BYTES  32

struct run {
    size_t bytes;
    uint32_t past_one; /* x^(8 * bytes - 33) */
    uint32_t past_two; /* x^(16 * bytes - 33) */
};

static inline uint64_t shift(uint64_t state, uint32_t factor) {
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)state),
                                           _mm_cvtsi32_si128((int)factor), 0);
    return _mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

static inline uint64_t three_runs(uint64_t state, const uint8_t *at, struct run run) {
    uint64_t second = 0;
    uint64_t third = 0;
    for (size_t i = 0; i < run.bytes; i += 8) {
        state = _mm_crc32_u64(state, get_u64(at + i));
        second = _mm_crc32_u64(second, get_u64(at + run.bytes + i));
        third = _mm_crc32_u64(third, get_u64(at + 2 * run.bytes + i));
    }
    return shift(state, run.past_two) ^ shift(second, run.past_one) ^ third;
}

uint32_t crc32c_sse42(uint32_t crc, const void *bytes, size_t size) {
    static const struct run long_run = {LONG_RUN_BYTES, 0x170076fau, 0xa51b6135u};
    static const struct run short_run = {SHORT_RUN_BYTES, 0x0d3b6092u, 0xb9e02b86u};
    static const struct run tiny_run = {TINY_RUN_BYTES, 0xba4fc28eu, 0x9e4addf8u};
    const uint8_t *at = bytes;
    uint64_t state = ~crc;
    for (; size >= (size_t)3 * LONG_RUN_BYTES; size -= (size_t)3 * LONG_RUN_BYTES) {
        state = three_runs(state, at, long_run);
        at += (size_t)3 * LONG_RUN_BYTES;
    }
    for (; size >= (size_t)3 * SHORT_RUN_BYTES; size -= (size_t)3 * SHORT_RUN_BYTES) {
        state = three_runs(state, at, short_run);
        at += (size_t)3 * SHORT_RUN_BYTES;
    }
    for (; size >= (size_t)3 * TINY_RUN_BYTES; size -= (size_t)3 * TINY_RUN_BYTES) {
        state = three_runs(state, at, tiny_run);
        at += (size_t)3 * TINY_RUN_BYTES;
    }
    for (; size >= 8; size -= 8, at += 8) {
        state = _mm_crc32_u64(state, get_u64(at));
    }
    for (; size > 0; size--, at++) {
        state = _mm_crc32_u8((uint32_t)state, *at);
    }
    return ~(uint32_t)state;
}
