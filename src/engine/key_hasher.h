/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a key becomes the 64 bits that filters, conflict table and hash engine go by: a function and
 * a seed, both of the partition, chosen when it was created. docs/format/hash.md is normative.
 *
 * The seed is random, so that nobody outside knows which keys meet in an index. Of XXH3 that is
 * protection; of the other two it is not: CRC-32C is linear, so keys that agree under one seed
 * agree under all, and of an FNV-1a only the low 8 bits of the seed decide which keys agree. The
 * index stays fast nevertheless (hash_index.h).
 *
 * Any thread.
 */
#ifndef TERN_ENGINE_KEY_HASHER_H
#define TERN_ENGINE_KEY_HASHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tern/keyspace.h>
#include <tern/slice.h>

struct key_hasher {
    uint64_t (*hash)(const void *bytes, size_t size, uint64_t seed);
    uint64_t seed;
    tern_hash_function function;
};

/* Is it one of those below? Numbers come from files. */
bool key_hasher_is_known(tern_hash_function function);
/* Of a known function. */
struct key_hasher key_hasher_make(tern_hash_function function, uint64_t seed);

static inline uint64_t key_hasher_hash(const struct key_hasher *hasher, tern_slice key) {
    return hasher->hash(key.data, key.size, hasher->seed);
}

/* The same of many keys, side by side where the function can. */
void key_hasher_hash_many(const struct key_hasher *hasher, const tern_slice *keys, size_t count,
                          uint64_t *out_hashes);

static inline bool key_hasher_equal(const struct key_hasher *left, const struct key_hasher *right) {
    return left->function == right->function && left->seed == right->seed;
}

#endif
