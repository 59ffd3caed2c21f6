/* SPDX-License-Identifier: Apache-2.0 */
#include "plain.h"

#include "base/bytes.h"
#include "simd/bloom_salts.h"

bool plain_bloom_probe(const uint8_t *line, uint64_t hash) {
    uint32_t low = (uint32_t)hash;
    uint32_t missing = 0;
    for (size_t word = 0; word < BLOOM_WORDS; word++) {
        missing |= ~(get_u32(line + word * 4) >> (low * bloom_salts[word] >> 27)) & 1u;
    }
    return missing == 0;
}
