/* SPDX-License-Identifier: Apache-2.0 */
#include "records.h"

#define FILLER 0x78

void records_init(struct record_space *records, uint64_t count, uint64_t seed, size_t key_bytes,
                  size_t value_bytes, double entropy, enum key_format key_format) {
    unsigned bits = 2;
    while (bits < 63 && (1ULL << bits) < count)
        bits++;
    records->count = count;
    records->stride = UINT64_MAX / count;
    records->seed = mix64(seed + 1);
    records->permutation_mask = (1ULL << bits) - 1;
    records->permutation_shift = (bits + 1) / 2;
    records->key_format = key_format;
    records->key_bytes = key_bytes;
    records->value_bytes = value_bytes;
    size_t random = (size_t)((double)value_bytes * entropy);
    records->random_bytes = random < 8 ? 8 : random;
}

void record_value_write(const struct record_space *records, uint64_t position, uint64_t version,
                        uint8_t *out_value) {
    uint64_t header = version ^ mix64(position ^ records->seed);
    memcpy(out_value, &header, sizeof(header));
    uint64_t counter = mix64(position + version * 0x9e3779b97f4a7c15U);
    size_t at = sizeof(header);
    for (; at + 8 <= records->random_bytes; at += 8) {
        uint64_t word = mix64(counter + at);
        memcpy(out_value + at, &word, sizeof(word));
    }
    if (at < records->random_bytes) {
        uint64_t word = mix64(counter + at);
        memcpy(out_value + at, &word, records->random_bytes - at);
        at = records->random_bytes;
    }
    if (at < records->value_bytes)
        memset(out_value + at, FILLER, records->value_bytes - at);
}

bool record_value_is_right(const struct record_space *records, uint64_t position, const void *value,
                           size_t value_bytes) {
    if (value_bytes != records->value_bytes)
        return false;
    uint64_t version = record_value_version(records, position, value);
    if (version >= VERSION_LIMIT)
        return false;
    const uint8_t *bytes = value;
    uint64_t counter = mix64(position + version * 0x9e3779b97f4a7c15U);
    size_t at = 8;
    for (; at < records->random_bytes; at += 8) {
        size_t left = records->random_bytes - at;
        uint64_t word = mix64(counter + at);
        if (memcmp(bytes + at, &word, left < 8 ? left : 8) != 0)
            return false;
    }
    for (at = records->random_bytes; at < value_bytes; at++) {
        if (bytes[at] != FILLER)
            return false;
    }
    return true;
}

static void write_hex_word(uint64_t word, uint8_t *out, size_t digits) {
    for (size_t i = 0; i < digits; i++)
        out[i] = (uint8_t) "0123456789abcdef"[(word >> (60 - 4 * i)) & 15];
}

void record_key_write_hex(const struct record_space *records, uint64_t position, uint8_t *out_key) {
    write_hex_word(position, out_key, 16);
    for (size_t at = 16; at < records->key_bytes; at += 16) {
        size_t left = records->key_bytes - at;
        write_hex_word(mix64(position + at), out_key + at, left < 16 ? left : 16);
    }
}

uint64_t record_key_position_hex(const uint8_t *key) {
    uint64_t position = 0;
    for (size_t i = 0; i < 16; i++) {
        unsigned digit = key[i] <= '9' ? (unsigned)(key[i] - '0') : (unsigned)(key[i] - 'a') + 10U;
        position = position << 4 | (digit & 15U);
    }
    return position;
}
