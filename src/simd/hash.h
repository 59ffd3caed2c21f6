/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes and checksums with run-time dispatch. All functions: any thread, no errors. */
#ifndef TERN_SIMD_HASH_H
#define TERN_SIMD_HASH_H

#include <stddef.h>
#include <stdint.h>

/* XXH3 64 bits of `size` bytes with a seed. */
uint64_t hash_u64(const void *bytes, size_t size, uint64_t seed);

/* CRC-32C (Castagnoli), continuing `crc` (0 to begin). */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t size);

#endif
