/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one block codec: what turns page, table and value bytes into what lies on disk and back. A
 * block is a 16-byte header followed by the payload, compressed when that saves at least an eighth;
 * docs/format/block.md is normative:
 *
 *   0  u8   version (1)
 *   1  u8   compression (tern_compression)
 *   2  u16  key id: 0 plain; else the payload is AES-256-GCM under that key (not in this version)
 *   4  u32  raw size in bytes (before compression)
 *   8  u32  stored payload size in bytes
 *  12  u32  incarnation of the database that wrote it; with place and write generation (kept by
 *           whoever points at the block) it makes the nonce, so that no (key, nonce) repeats
 *  16  payload
 *
 * The checksum (XXH3 64 of header and payload) is kept by whoever points at the block.
 */
#ifndef TERN_BLOCK_BLOCK_H
#define TERN_BLOCK_BLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <tern/error.h>
#include <tern/keyspace.h>

#define BLOCK_HEADER_BYTES 16

/* Most bytes that block_encode may write for `raw_bytes` of payload with any compression. */
size_t block_bound(size_t raw_bytes);

/* What identifies a block when it is written. */
struct block_context {
    tern_compression compression;
    uint32_t incarnation;
};

/*
 * Encodes a payload. `target` holds block_bound(raw_bytes) bytes.
 * out_stored_bytes: header and payload; out_checksum: for the pointer to the block.
 * Any thread. TERN_NO_MEMORY (of a compressor).
 */
TERN_MUST_CHECK tern_status block_encode(const struct block_context *context, const void *raw,
                                         size_t raw_bytes, void *target, size_t *out_stored_bytes,
                                         uint64_t *out_checksum, tern_error *error);

/*
 * For uncompressed blocks built in place: writes the header in front of a payload that already lies
 * at block + BLOCK_HEADER_BYTES and returns the checksum.
 */
uint64_t block_seal(const struct block_context *context, void *block, size_t raw_bytes);

/*
 * Checks and decodes a stored block of exactly `stored_bytes` bytes. When it is uncompressed and
 * `in_place` is not NULL nothing is copied and *in_place points into the block; otherwise the
 * payload is written to `target`, and *in_place, when given, is `target`: the payload is found
 * there either way. `target` may have been written on failure, too. Any thread. TERN_CORRUPTION
 * (naming path and offset) on anything wrong, including a raw size over `capacity`; TERN_NO_MEMORY
 * (of a decompressor).
 */
TERN_MUST_CHECK tern_status block_decode(const void *block, size_t stored_bytes, uint64_t checksum,
                                         const char *path, uint64_t offset, void *target,
                                         size_t capacity, const void **in_place,
                                         size_t *out_raw_bytes, tern_error *error);

#endif
