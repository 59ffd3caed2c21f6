/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/lsm/filter_block.h"

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
    bloom_build(payload + FILTER_HEADER_BYTES, get_u32(payload + 4), hashes, keys);
}

const char *filter_block_check(const uint8_t *payload, size_t size) {
    if (size < FILTER_HEADER_BYTES + FILTER_LINE_BYTES || payload[0] != LSM_PAYLOAD_FILTER ||
        (size - FILTER_HEADER_BYTES) / FILTER_LINE_BYTES != get_u32(payload + 4)) {
        return "filter.header";
    }
    return NULL;
}
