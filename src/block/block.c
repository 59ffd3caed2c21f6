/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block codec; see block.h and docs/format/block.md for the bytes.
 *
 * Invariants of a stored block, each checked by block_decode in this order:
 *   1. It is at least a header long, and the XXH3 of all of it is the checksum its pointer keeps.
 *   2. Version, compression and key id are known to this release.
 *   3. Header and stored payload make up the whole block.
 *   4. The raw size fits the reader's buffer, and equals the stored size where uncompressed.
 *   5. The payload decompresses to exactly the raw size.
 * Only what passes all five is handed out.
 */
#include "block/block.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "block/codec_internal.h"
#include "simd/hash.h"

#define BLOCK_VERSION 1

/* Offsets in the header. */
enum {
    AT_VERSION = 0,
    AT_COMPRESSION = 1,
    AT_KEY_ID = 2,
    AT_RAW_BYTES = 4,
    AT_STORED_BYTES = 8,
    AT_INCARNATION = 12
};

struct header {
    uint8_t version;
    uint8_t compression;
    uint16_t key_id;
    uint32_t raw_bytes;
    uint32_t stored_bytes;
    uint32_t incarnation;
};

static void put_header(uint8_t *block, const struct header *header) {
    block[AT_VERSION] = header->version;
    block[AT_COMPRESSION] = header->compression;
    put_u16(block + AT_KEY_ID, header->key_id);
    put_u32(block + AT_RAW_BYTES, header->raw_bytes);
    put_u32(block + AT_STORED_BYTES, header->stored_bytes);
    put_u32(block + AT_INCARNATION, header->incarnation);
}

static struct header get_header(const uint8_t *block) {
    return (struct header){
        .version = block[AT_VERSION],
        .compression = block[AT_COMPRESSION],
        .key_id = get_u16(block + AT_KEY_ID),
        .raw_bytes = get_u32(block + AT_RAW_BYTES),
        .stored_bytes = get_u32(block + AT_STORED_BYTES),
        .incarnation = get_u32(block + AT_INCARNATION),
    };
}

size_t block_bound(size_t raw_bytes) {
    return BLOCK_HEADER_BYTES + codec_bound(raw_bytes);
}

uint64_t block_seal(const struct block_context *context, void *block, size_t raw_bytes) {
    ASSERT(raw_bytes <= UINT32_MAX - BLOCK_HEADER_BYTES);
    put_header(block, &(struct header){
                          .version = BLOCK_VERSION,
                          .compression = TERN_COMPRESSION_NONE,
                          .raw_bytes = (uint32_t)raw_bytes,
                          .stored_bytes = (uint32_t)raw_bytes,
                          .incarnation = context->incarnation,
                      });
    return hash_u64(block, BLOCK_HEADER_BYTES + raw_bytes, 0);
}

tern_status block_encode(const struct block_context *context, const void *raw, size_t raw_bytes,
                         void *target, size_t *out_stored_bytes, uint64_t *out_checksum,
                         tern_error *error) {
    ASSERT(raw_bytes <= UINT32_MAX - BLOCK_HEADER_BYTES);
    ASSERT((unsigned)context->compression <= COMPRESSION_LAST);
    uint8_t *payload = (uint8_t *)target + BLOCK_HEADER_BYTES;
    size_t packed_bytes = 0;
    if (context->compression != TERN_COMPRESSION_NONE && raw_bytes > 0) {
        tern_status status =
            codec_compress(context->compression, raw, raw_bytes, payload, &packed_bytes);
        if (status != TERN_OK) {
            return ERROR_NO_MEMORY(error, "compressing a block");
        }
    }
    if (packed_bytes == 0 || packed_bytes > raw_bytes - raw_bytes / 8 - (raw_bytes % 8 != 0)) {
        if (raw_bytes > 0) {
            memmove(payload, raw, raw_bytes);
        }
        *out_checksum = block_seal(context, target, raw_bytes);
        *out_stored_bytes = BLOCK_HEADER_BYTES + raw_bytes;
        return TERN_OK;
    }
    put_header(target, &(struct header){
                           .version = BLOCK_VERSION,
                           .compression = (uint8_t)context->compression,
                           .raw_bytes = (uint32_t)raw_bytes,
                           .stored_bytes = (uint32_t)packed_bytes,
                           .incarnation = context->incarnation,
                       });
    *out_checksum = hash_u64(target, BLOCK_HEADER_BYTES + packed_bytes, 0);
    *out_stored_bytes = BLOCK_HEADER_BYTES + packed_bytes;
    return TERN_OK;
}

/* Invariants 1 to 4. */
static tern_status check_block(const uint8_t *block, size_t stored_bytes, uint64_t checksum,
                               const char *path, uint64_t offset, size_t capacity,
                               struct header *out_header, tern_error *error) {
    if (stored_bytes < BLOCK_HEADER_BYTES) {
        return ERROR_AT(error, TERN_CORRUPTION, path, offset, 0,
                        "block of %zu bytes is shorter than a header", stored_bytes);
    }
    uint64_t found = hash_u64(block, stored_bytes, 0);
    if (found != checksum) {
        return ERROR_AT(error, TERN_CORRUPTION, path, offset, 0,
                        "block of %zu bytes has checksum %016llx instead of %016llx; restore a "
                        "backup or run `tern repair`",
                        stored_bytes, (unsigned long long)found, (unsigned long long)checksum);
    }
    struct header header = get_header(block);
    if (header.version != BLOCK_VERSION || header.compression > COMPRESSION_LAST ||
        header.key_id != 0) {
        return ERROR_AT(error, TERN_CORRUPTION, path, offset, 0,
                        "block has version %u, compression %u and key %u, which this release "
                        "cannot read",
                        header.version, header.compression, header.key_id);
    }
    if (header.stored_bytes != stored_bytes - BLOCK_HEADER_BYTES) {
        return ERROR_AT(error, TERN_CORRUPTION, path, offset, 0,
                        "block of %zu bytes says that its payload is %u", stored_bytes,
                        header.stored_bytes);
    }
    bool is_plain = header.compression == TERN_COMPRESSION_NONE;
    if (header.raw_bytes > capacity || (is_plain && header.raw_bytes != header.stored_bytes)) {
        return ERROR_AT(error, TERN_CORRUPTION, path, offset, 0,
                        "block says that its %u bytes unpack to %u, where at most %zu belong",
                        header.stored_bytes, header.raw_bytes, capacity);
    }
    *out_header = header;
    return TERN_OK;
}

tern_status block_decode(const void *block, size_t stored_bytes, uint64_t checksum,
                         const char *path, uint64_t offset, void *target, size_t capacity,
                         const void **in_place, size_t *out_raw_bytes, tern_error *error) {
    struct header header = {0};
    tern_status status =
        check_block(block, stored_bytes, checksum, path, offset, capacity, &header, error);
    if (status != TERN_OK) {
        return status;
    }
    const uint8_t *payload = (const uint8_t *)block + BLOCK_HEADER_BYTES;
    const void *result = target;
    if (header.compression != TERN_COMPRESSION_NONE) {
        status = codec_decompress((tern_compression)header.compression, payload,
                                  header.stored_bytes, target, header.raw_bytes);
        if (status == TERN_NO_MEMORY) {
            return ERROR_NO_MEMORY(error, "unpacking a block");
        }
        if (status != TERN_OK) {
            return ERROR_AT(error, status, path, offset, 0,
                            "block of %zu bytes does not unpack to the %u it should", stored_bytes,
                            header.raw_bytes);
        }
    } else if (in_place != NULL) {
        result = payload;
    } else if (header.raw_bytes > 0) {
        memcpy(target, payload, header.raw_bytes);
    }
    if (in_place != NULL) {
        *in_place = result;
    }
    *out_raw_bytes = header.raw_bytes;
    return TERN_OK;
}
