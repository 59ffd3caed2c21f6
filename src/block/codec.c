/* SPDX-License-Identifier: Apache-2.0 */
#include "block/codec_internal.h"

#include <limits.h>
#include <lz4.h>
#include <snappy-c.h>
#include <zstd.h>

static size_t larger(size_t left, size_t right) {
    return left > right ? left : right;
}

size_t codec_bound(size_t raw_bytes) {
    size_t bound = larger(ZSTD_compressBound(raw_bytes), snappy_max_compressed_length(raw_bytes));
    if (raw_bytes <= LZ4_MAX_INPUT_SIZE) {
        bound = larger(bound, (size_t)LZ4_compressBound((int)raw_bytes));
    }
    return larger(bound, raw_bytes);
}

tern_status codec_compress(tern_compression compression, const void *raw, size_t raw_bytes,
                           void *target, size_t *out_bytes) {
    size_t bound = codec_bound(raw_bytes);
    size_t size = 0;
    bool has_memory = true;
    switch (compression) {
    case TERN_COMPRESSION_LZ4:
        if (raw_bytes <= LZ4_MAX_INPUT_SIZE) {
            int capacity = bound < INT_MAX ? (int)bound : INT_MAX;
            int written = LZ4_compress_default(raw, target, (int)raw_bytes, capacity);
            size = written > 0 ? (size_t)written : 0;
        }
        break;
    case TERN_COMPRESSION_ZSTD:
        size = zstd_pool_compress(raw, raw_bytes, target, bound, &has_memory);
        break;
    case TERN_COMPRESSION_SNAPPY:
        size = bound;
        if (raw_bytes > UINT32_MAX || snappy_compress(raw, raw_bytes, target, &size) != SNAPPY_OK) {
            size = 0;
        }
        break;
    case TERN_COMPRESSION_NONE:
        break;
    }
    if (!has_memory) {
        return TERN_NO_MEMORY;
    }
    *out_bytes = size;
    return TERN_OK;
}

static bool lz4_decompress(const void *stored, size_t stored_bytes, void *target,
                           size_t raw_bytes) {
    if (stored_bytes > INT_MAX || raw_bytes > INT_MAX) {
        return false;
    }
    int size = LZ4_decompress_safe(stored, target, (int)stored_bytes, (int)raw_bytes);
    return size >= 0 && (size_t)size == raw_bytes;
}

static bool snappy_decompress(const void *stored, size_t stored_bytes, void *target,
                              size_t raw_bytes) {
    size_t size = 0;
    if (snappy_uncompressed_length(stored, stored_bytes, &size) != SNAPPY_OK || size != raw_bytes) {
        return false;
    }
    return snappy_uncompress(stored, stored_bytes, target, &size) == SNAPPY_OK && size == raw_bytes;
}

tern_status codec_decompress(tern_compression compression, const void *stored, size_t stored_bytes,
                             void *target, size_t raw_bytes) {
    bool good = false;
    bool has_memory = true;
    switch (compression) {
    case TERN_COMPRESSION_LZ4:
        good = lz4_decompress(stored, stored_bytes, target, raw_bytes);
        break;
    case TERN_COMPRESSION_ZSTD:
        good = zstd_pool_decompress(stored, stored_bytes, target, raw_bytes, &has_memory);
        break;
    case TERN_COMPRESSION_SNAPPY:
        good = snappy_decompress(stored, stored_bytes, target, raw_bytes);
        break;
    case TERN_COMPRESSION_NONE:
        break;
    }
    if (!has_memory) {
        return TERN_NO_MEMORY;
    }
    return good ? TERN_OK : TERN_CORRUPTION;
}
