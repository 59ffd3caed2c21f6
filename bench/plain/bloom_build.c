/* SPDX-License-Identifier: Apache-2.0 */
#include "plain.h"

#include "base/bytes.h"
#include "simd/bloom.h"
#include "simd/bloom_salts.h"

void plain_bloom_build(uint8_t *lines, uint32_t line_count, const uint64_t *hashes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint8_t *line = lines + bloom_line_offset(hashes[i], line_count);
        uint32_t low = (uint32_t)hashes[i];
        for (size_t word = 0; word < BLOOM_WORDS; word++) {
            uint32_t bit = low * bloom_salts[word] >> 27;
            put_u32(line + word * 4, get_u32(line + word * 4) | (uint32_t)1 << bit);
        }
    }
}
