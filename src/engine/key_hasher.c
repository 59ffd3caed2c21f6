/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/key_hasher.h"

#include "base/assert.h"
#include "simd/fnv1a.h"
#include "simd/hash.h"

/* The index takes bits from both ends: each must depend on all of the state. One to one, so keys
 * whose states differ keep different hashes. */
static uint64_t spread(uint64_t state) {
    state ^= state >> 32;
    state *= UINT64_C(0x9E3779B97F4A7C15);
    state ^= state >> 29;
    state *= UINT64_C(0xBF58476D1CE4E5B9);
    return state ^ state >> 32;
}

static uint64_t hash_crc32c(const void *bytes, size_t size, uint64_t seed) {
    return spread(seed ^ crc32c((uint32_t)seed, bytes, size));
}

static uint64_t hash_fnv1a(const void *bytes, size_t size, uint64_t seed) {
    return spread(fnv1a(bytes, size, FNV1A_BASIS ^ seed));
}

bool key_hasher_is_known(tern_hash_function function) {
    return (int)function >= 0 && function <= TERN_HASH_FUNCTION_FNV1A;
}

struct key_hasher key_hasher_make(tern_hash_function function, uint64_t seed) {
    ASSERT(key_hasher_is_known(function));
    struct key_hasher hasher = {hash_u64, seed, function};
    if (function == TERN_HASH_FUNCTION_CRC32C) {
        hasher.hash = hash_crc32c;
    } else if (function == TERN_HASH_FUNCTION_FNV1A) {
        hasher.hash = hash_fnv1a;
    }
    return hasher;
}

void key_hasher_hash_many(const struct key_hasher *hasher, const tern_slice *keys, size_t count,
                          uint64_t *out_hashes) {
    if (hasher->function != TERN_HASH_FUNCTION_FNV1A) {
        for (size_t i = 0; i < count; i++) {
            out_hashes[i] = key_hasher_hash(hasher, keys[i]);
        }
        return;
    }
    fnv1a_many(keys, count, FNV1A_BASIS ^ hasher->seed, out_hashes);
    for (size_t i = 0; i < count; i++) {
        out_hashes[i] = spread(out_hashes[i]);
    }
}
