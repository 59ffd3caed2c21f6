/* SPDX-License-Identifier: Apache-2.0 */
/* The compressors behind the block codec, one pair of functions each. */
#ifndef TERN_BLOCK_CODEC_INTERNAL_H
#define TERN_BLOCK_CODEC_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <tern/keyspace.h>

/* Highest tern_compression that this release knows. */
#define COMPRESSION_LAST TERN_COMPRESSION_SNAPPY

/* Most bytes that any compressor may write for `raw_bytes`. */
size_t codec_bound(size_t raw_bytes);

/*
 * Compresses into `target` of codec_bound(raw_bytes) bytes. *out_bytes is 0 when the input cannot
 * be compressed by this one (too large for it, say). TERN_NO_MEMORY.
 */
TERN_MUST_CHECK tern_status codec_compress(tern_compression compression, const void *raw,
                                           size_t raw_bytes, void *target, size_t *out_bytes);

/*
 * Decompresses hostile bytes into exactly `raw_bytes` bytes at `target`; never reads or writes past
 * either. TERN_CORRUPTION when they are anything but that, TERN_NO_MEMORY.
 */
TERN_MUST_CHECK tern_status codec_decompress(tern_compression compression, const void *stored,
                                             size_t stored_bytes, void *target, size_t raw_bytes);

/* zstd keeps its working memory in a pool; see zstd_pool.c. */
size_t zstd_pool_compress(const void *raw, size_t raw_bytes, void *target, size_t capacity,
                          bool *out_has_memory);
bool zstd_pool_decompress(const void *stored, size_t stored_bytes, void *target, size_t raw_bytes,
                          bool *out_has_memory);

#endif
