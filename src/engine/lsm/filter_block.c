/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/lsm/filter_block.h"

#define WORDS 8u

/* Odd multipliers, one a word: those of the split block Bloom filter of Apache Parquet. */
static const uint32_t salts[WORDS] = {0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d,
                                      0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31};

size_t filter_block_size(size_t keys, uint32_t bits_per_key) {
    size_t lines = (keys * bits_per_key + FILTER_LINE_BYTES * 8 - 1) / (FILTER_LINE_BYTES * 8);
    size_t most = (LSM_PAYLOAD_BYTES_MAX - FILTER_HEADER_BYTES) / FILTER_LINE_BYTES;
    lines = lines == 0 ? 1 : lines > most ? most : lines;
    return FILTER_HEADER_BYTES + lines * FILTER_LINE_BYTES;
}

void filter_block_build(uint8_t *payload, size_t size, const uint64_t *hashes, size_t keys) {
    memset(payload, 0, size);
    payload[0] = LSM_PAYLOAD_FILTER;
    put_u32(payload + 4, (uint32_t)((size - FILTER_HEADER_BYTES) / FILTER_LINE_BYTES));
    for (size_t i = 0; i < keys; i++) {
        uint8_t *line = payload + (filter_line(payload, hashes[i]) - payload);
        uint32_t low = (uint32_t)hashes[i];
        for (size_t word = 0; word < WORDS; word++) {
            uint32_t bit = low * salts[word] >> 27;
            put_u32(line + word * 4, get_u32(line + word * 4) | (uint32_t)1 << bit);
        }
    }
}

const char *filter_block_check(const uint8_t *payload, size_t size) {
    if (size < FILTER_HEADER_BYTES + FILTER_LINE_BYTES || payload[0] != LSM_PAYLOAD_FILTER ||
        (size - FILTER_HEADER_BYTES) / FILTER_LINE_BYTES != get_u32(payload + 4)) {
        return "filter.header";
    }
    return NULL;
}

bool filter_line_may_contain(const uint8_t *line, uint64_t key_hash) {
    uint32_t low = (uint32_t)key_hash;
    uint32_t missing = 0;
    for (size_t word = 0; word < WORDS; word++) {
        missing |= ~(get_u32(line + word * 4) >> (low * salts[word] >> 27)) & 1u;
    }
    return missing == 0;
}
