/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every variant of every kernel, in one list for each kernel: what is called is chosen from it, the
 * tests compare all of it, bench/simd measures all of it.
 */
#ifndef TERN_SIMD_VARIANTS_H
#define TERN_SIMD_VARIANTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tern/slice.h>

#include "simd/cpu.h"

/* A function of the kernel's type, to be cast back to it. */
typedef void (*variant_function)(void);

struct variant {
    const char *name;
    bool (*runs_here)(void);
    variant_function function;
};

/* Ends every list. */
#define VARIANTS_END                                                                               \
    { NULL, NULL, NULL }

/* For the first of each list, the plain one. */
bool variant_is_plain(void);
/* The last of a list that this machine can run. */
const struct variant *variant_best(const struct variant *list);

typedef size_t (*common_prefix_function)(const void *left, const void *right, size_t size);
typedef uint32_t (*crc32c_function)(uint32_t crc, const void *bytes, size_t size);
typedef uint64_t (*hash_function)(const void *bytes, size_t size, uint64_t seed);
typedef void (*fnv1a_many_function)(const tern_slice *strings, size_t count, uint64_t state,
                                    uint64_t *out_hashes);
typedef bool (*bloom_probe_function)(const uint8_t *line, uint64_t hash);
typedef void (*bloom_build_function)(uint8_t *lines, uint32_t line_count, const uint64_t *hashes,
                                     size_t count);
typedef const uint8_t *(*varint_get_many_function)(const uint8_t *source, const uint8_t *end,
                                                   size_t count, uint64_t *out_values);
typedef void (*bits_unpack_function)(const uint8_t *source, size_t count, unsigned width,
                                     uint32_t *out_values);
typedef size_t (*search_u32_function)(const uint32_t *heads, size_t count, uint32_t head);
typedef size_t (*search_u64_function)(const uint64_t *heads, size_t count, uint64_t head);

extern const struct variant common_prefix_variants[];
extern const struct variant crc32c_variants[];
extern const struct variant hash_long_variants[];
extern const struct variant fnv1a_many_variants[];
extern const struct variant bloom_probe_variants[];
extern const struct variant bloom_build_variants[];
extern const struct variant varint_get_many_variants[];
extern const struct variant bits_unpack_variants[];
extern const struct variant search_lower_u32_variants[];
extern const struct variant search_lower_u64_variants[];

size_t common_prefix_scalar(const void *left, const void *right, size_t size);
uint32_t crc32c_scalar(uint32_t crc, const void *bytes, size_t size);
uint64_t hash_long_scalar(const void *bytes, size_t size, uint64_t seed);
void fnv1a_many_scalar(const tern_slice *strings, size_t count, uint64_t state,
                       uint64_t *out_hashes);
bool bloom_probe_scalar(const uint8_t *line, uint64_t hash);
void bloom_build_scalar(uint8_t *lines, uint32_t line_count, const uint64_t *hashes, size_t count);
const uint8_t *varint_get_many_scalar(const uint8_t *source, const uint8_t *end, size_t count,
                                      uint64_t *out_values);
void bits_unpack_scalar(const uint8_t *source, size_t count, unsigned width, uint32_t *out_values);
size_t search_lower_u32_scalar(const uint32_t *heads, size_t count, uint32_t head);
size_t search_lower_u64_scalar(const uint64_t *heads, size_t count, uint64_t head);

#if CPU_X86
size_t common_prefix_sse42(const void *left, const void *right, size_t size);
size_t common_prefix_avx2(const void *left, const void *right, size_t size);
size_t common_prefix_avx512(const void *left, const void *right, size_t size);
uint32_t crc32c_sse42(uint32_t crc, const void *bytes, size_t size);
uint64_t hash_long_sse42(const void *bytes, size_t size, uint64_t seed);
uint64_t hash_long_avx2(const void *bytes, size_t size, uint64_t seed);
uint64_t hash_long_avx512(const void *bytes, size_t size, uint64_t seed);
bool bloom_probe_sse42(const uint8_t *line, uint64_t hash);
void bloom_build_sse42(uint8_t *lines, uint32_t line_count, const uint64_t *hashes, size_t count);
const uint8_t *varint_get_many_sse42(const uint8_t *source, const uint8_t *end, size_t count,
                                     uint64_t *out_values);
void bits_unpack_sse42(const uint8_t *source, size_t count, unsigned width, uint32_t *out_values);
bool bloom_probe_avx2(const uint8_t *line, uint64_t hash);
void bloom_build_avx2(uint8_t *lines, uint32_t line_count, const uint64_t *hashes, size_t count);
const uint8_t *varint_get_many_avx2(const uint8_t *source, const uint8_t *end, size_t count,
                                    uint64_t *out_values);
void bits_unpack_avx2(const uint8_t *source, size_t count, unsigned width, uint32_t *out_values);
size_t search_lower_u32_avx2(const uint32_t *heads, size_t count, uint32_t head);
size_t search_lower_u64_avx2(const uint64_t *heads, size_t count, uint64_t head);
void fnv1a_many_avx512(const tern_slice *strings, size_t count, uint64_t state,
                       uint64_t *out_hashes);
#endif

#if CPU_ARM
size_t common_prefix_neon(const void *left, const void *right, size_t size);
uint32_t crc32c_neon(uint32_t crc, const void *bytes, size_t size);
uint64_t hash_long_neon(const void *bytes, size_t size, uint64_t seed);
bool bloom_probe_neon(const uint8_t *line, uint64_t hash);
void bloom_build_neon(uint8_t *lines, uint32_t line_count, const uint64_t *hashes, size_t count);
const uint8_t *varint_get_many_neon(const uint8_t *source, const uint8_t *end, size_t count,
                                    uint64_t *out_values);
void bits_unpack_neon(const uint8_t *source, size_t count, unsigned width, uint32_t *out_values);
size_t search_lower_u32_neon(const uint32_t *heads, size_t count, uint32_t head);
size_t search_lower_u64_neon(const uint64_t *heads, size_t count, uint64_t head);
#endif

#endif
