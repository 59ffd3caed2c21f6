/* SPDX-License-Identifier: Apache-2.0 */
/* Every variant of every kernel, for the dispatchers and for tests that compare them. */
#ifndef TERN_SIMD_VARIANTS_INTERNAL_H
#define TERN_SIMD_VARIANTS_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "simd/cpu.h"

uint32_t crc32c_scalar(uint32_t crc, const void *bytes, size_t size);
size_t search_lower_u32_scalar(const uint32_t *heads, size_t count, uint32_t head);
size_t search_lower_u64_scalar(const uint64_t *heads, size_t count, uint64_t head);
size_t common_prefix_scalar(const void *left, const void *right, size_t size);
uint64_t hash_long_scalar(const void *bytes, size_t size, uint64_t seed);

#if CPU_X86
uint32_t crc32c_sse42(uint32_t crc, const void *bytes, size_t size);
size_t search_lower_u32_avx2(const uint32_t *heads, size_t count, uint32_t head);
size_t search_lower_u64_avx2(const uint64_t *heads, size_t count, uint64_t head);
size_t common_prefix_sse42(const void *left, const void *right, size_t size);
size_t common_prefix_avx2(const void *left, const void *right, size_t size);
size_t common_prefix_avx512(const void *left, const void *right, size_t size);
uint64_t hash_long_avx2(const void *bytes, size_t size, uint64_t seed);
#endif

#if CPU_ARM
size_t common_prefix_neon(const void *left, const void *right, size_t size);
uint32_t crc32c_neon(uint32_t crc, const void *bytes, size_t size);
size_t search_lower_u32_neon(const uint32_t *heads, size_t count, uint32_t head);
size_t search_lower_u64_neon(const uint64_t *heads, size_t count, uint64_t head);
#endif

#endif
