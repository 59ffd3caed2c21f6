/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernels of src/simd as one would write them down, each in a file of its own, compiled with
 * the flags of the build. What bench/simd divides by; whether the compiler made vectors of it is
 * found out when it is built (vectorised.cmake).
 */
#ifndef BENCH_PLAIN_H
#define BENCH_PLAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tern/slice.h>

size_t plain_compare(const void *left, const void *right, size_t size);
uint32_t plain_crc32c(uint32_t crc, const void *bytes, size_t size);
uint64_t plain_xxh3(const void *bytes, size_t size, uint64_t seed);
void plain_fnv1a(const tern_slice *strings, size_t count, uint64_t state, uint64_t *out_hashes);
size_t plain_search_u32(const uint32_t *heads, size_t count, uint32_t head);
size_t plain_search_u64(const uint64_t *heads, size_t count, uint64_t head);
bool plain_bloom_probe(const uint8_t *line, uint64_t hash);
void plain_bloom_build(uint8_t *lines, uint32_t line_count, const uint64_t *hashes, size_t count);
/* Sum of the bits of all matches of `tag` in `count` groups of 16 tags. */
uint64_t plain_tags(const uint8_t *groups, size_t count, uint8_t tag);
const uint8_t *plain_varint(const uint8_t *source, const uint8_t *end, size_t count,
                            uint64_t *out_values);
void plain_bits(const uint8_t *source, size_t count, unsigned width, uint32_t *out_values);

#endif
