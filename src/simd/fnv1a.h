/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FNV-1a, 64 bits (Fowler, Noll, Vo): each byte is added by exclusive or, then all is multiplied by
 * a prime. A byte's product needs the one before, so the stream of one string cannot be computed
 * side by side; many strings can. Any thread.
 */
#ifndef TERN_SIMD_FNV1A_H
#define TERN_SIMD_FNV1A_H

#include <stddef.h>
#include <stdint.h>
#include <tern/slice.h>

#define FNV1A_BASIS 0xcbf29ce484222325u
#define FNV1A_PRIME 0x00000100000001b3u

/* Goes on from `state` (FNV1A_BASIS to begin). */
static inline uint64_t fnv1a(const void *bytes, size_t size, uint64_t state) {
    const uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++) {
        state = (state ^ at[i]) * FNV1A_PRIME;
    }
    return state;
}

/* The same of `count` strings, each beginning with `state`. */
void fnv1a_many(const tern_slice *strings, size_t count, uint64_t state, uint64_t *out_hashes);

#endif
