/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data: which records there are, and what their keys and values must be.
 *
 * A record has a position, a number of 64 bits; its key begins with it, so keys sort as positions
 * do. The key space is cut into `count` strides, and the base record of rank r lies at a random
 * place in the first half of stride r: ranks are key order, yet the gaps are as uneven as those of
 * random identifiers. Records inserted later follow directly after a base record; keys that are
 * asked for in vain lie in the second half of a stride, between existing keys.
 *
 *   stride r:  |....B+++...............|.....?..............|
 *              0     base, inserts    1/2    missing        1
 *
 *   binary key:  position, 8 bytes big-endian | hash of the position, up to key_bytes
 *   hex key:     16 hexadecimal digits of the position | more digits, up to key_bytes
 *   value:       version XOR hash(position), 8 bytes | random bytes from (position, version) |
 *                filler when entropy < 1
 *
 * A value can so be checked with nothing but its key; a lost, mixed-up or torn one is found.
 */
#ifndef BENCH_RECORDS_H
#define BENCH_RECORDS_H

#include "rng.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define KEY_BYTES_MAX 1024U
#define VERSION_LIMIT (1ULL << 48)

enum key_format { KEY_BINARY, KEY_HEX };

struct record_space {
    uint64_t count;
    uint64_t stride;
    uint64_t seed;
    uint64_t permutation_mask;
    unsigned permutation_shift;
    enum key_format key_format;
    size_t key_bytes;
    size_t value_bytes;
    size_t random_bytes; /* of a value, the header included */
};

void records_init(struct record_space *records, uint64_t count, uint64_t seed, size_t key_bytes,
                  size_t value_bytes, double entropy, enum key_format key_format);

void record_value_write(const struct record_space *records, uint64_t position, uint64_t version,
                        uint8_t *out_value);

/* Whether the value is what some version of this record must be, byte for byte. */
bool record_value_is_right(const struct record_space *records, uint64_t position, const void *value,
                           size_t value_bytes);

void record_key_write_hex(const struct record_space *records, uint64_t position, uint8_t *out_key);
uint64_t record_key_position_hex(const uint8_t *key);

/* A bijection of [0, count): visits all ranks once, in an order that looks random. */
static inline uint64_t record_permute(const struct record_space *records, uint64_t index) {
    uint64_t mask = records->permutation_mask;
    unsigned shift = records->permutation_shift;
    do {
        index = (index * 0x9e3779b97f4a7c15U + 0x632be59bd9b4e019U) & mask;
        index ^= index >> shift;
        index = (index * 0xbf58476d1ce4e5b9U) & mask;
        index ^= index >> shift;
        index = (index * 0x94d049bb133111ebU) & mask;
        index ^= index >> shift;
    } while (index >= records->count);
    return index;
}

static inline uint64_t record_position(const struct record_space *records, uint64_t rank) {
    uint64_t jitter = rng_scale(mix64(rank ^ records->seed), records->stride / 2);
    return rank * records->stride + jitter;
}

/* The `serial`-th record inserted after the load, anywhere in the key space. */
static inline uint64_t record_insert_position(const struct record_space *records, uint64_t serial) {
    uint64_t rank = record_permute(records, serial % records->count);
    return record_position(records, rank) + 1 + serial / records->count;
}

static inline uint64_t record_missing_position(const struct record_space *records, uint64_t rank) {
    uint64_t jitter = rng_scale(mix64(rank + records->seed), records->stride / 4);
    return rank * records->stride + records->stride / 2 + records->stride / 4 + jitter;
}

static inline void record_key_write(const struct record_space *records, uint64_t position,
                                    uint8_t *out_key) {
    if (records->key_format == KEY_HEX) {
        record_key_write_hex(records, position, out_key);
        return;
    }
    uint64_t word = __builtin_bswap64(position);
    memcpy(out_key, &word, sizeof(word));
    for (size_t at = 8; at < records->key_bytes; at += 8) {
        size_t left = records->key_bytes - at;
        word = mix64(position + at);
        memcpy(out_key + at, &word, left < 8 ? left : 8);
    }
}

static inline uint64_t record_key_position(const struct record_space *records, const uint8_t *key) {
    if (records->key_format == KEY_HEX)
        return record_key_position_hex(key);
    uint64_t word = 0;
    memcpy(&word, key, sizeof(word));
    return __builtin_bswap64(word);
}

/* Where a value is well formed this is its version; VERSION_LIMIT or more says it is not. */
static inline uint64_t record_value_version(const struct record_space *records, uint64_t position,
                                            const void *value) {
    uint64_t word = 0;
    memcpy(&word, value, sizeof(word));
    return word ^ mix64(position ^ records->seed);
}

#endif
