/* SPDX-License-Identifier: Apache-2.0 */
/* Values stored apart, as drains and the engine table see them. See btree_value.c for the bytes. */
#ifndef TERN_ENGINE_BTREE_VALUE_H
#define TERN_ENGINE_BTREE_VALUE_H

#include "engine/btree/btree.h"
#include "engine/btree/generation_map.h"

/* Bytes of value in one piece, chosen so that a full piece is a block of 256 KiB. */
#define VALUE_PIECE_BYTES ((uint32_t)(256 * 1024 - BLOCK_HEADER_BYTES - VALUE_HEADER_BYTES))
/* In front of a piece's bytes within its payload. */
#define VALUE_HEADER_BYTES 16u

/* A decoded reference. */
struct value_reference {
    uint32_t levels; /* of index blocks: 0, 1 or 2 */
    uint64_t size_bytes;
    uint64_t born;
    packed_ref ref; /* of the only piece or the topmost index block */
    uint64_t checksum;
};

/* TERN_CORRUPTION when the bytes are no reference; `path` goes into the error. */
TERN_MUST_CHECK tern_status btree_value_reference_decode(tern_slice bytes, const char *path,
                                                         struct value_reference *out_reference,
                                                         tern_error *error);
/* Writes at most ENGINE_LARGE_REFERENCE_BYTES_MAX bytes; returns how many. */
size_t btree_value_reference_encode(const struct value_reference *reference, uint8_t *out_bytes);

/* Header of the payload of a piece. */
void btree_value_piece_header(uint8_t *payload, uint32_t number, uint64_t generation);

/* Starts a writer of a value whose blocks count as born at `born`. */
TERN_MUST_CHECK tern_status btree_value_writer_create(struct btree *tree, uint64_t born,
                                                      struct engine_large_writer **out_writer,
                                                      tern_error *error);
TERN_MUST_CHECK tern_status btree_value_writer_append(struct engine_large_writer *writer,
                                                      const void *bytes, size_t size,
                                                      tern_error *error);
/* Frees the writer; on failure its blocks are free again. */
TERN_MUST_CHECK tern_status btree_value_writer_finish(struct engine_large_writer *writer,
                                                      uint8_t *out_reference,
                                                      size_t *out_reference_size,
                                                      tern_error *error);
void btree_value_writer_abandon(struct engine_large_writer *writer);

/* Frees the blocks of a value nobody refers to; what cannot be read stays lost until next open. */
void btree_value_discard(struct btree *tree, tern_slice reference);

/* The blocks of a value are superseded by the root being built. */
TERN_MUST_CHECK tern_status btree_value_release_later(struct btree *tree, tern_slice reference,
                                                      const struct generation_map *generations,
                                                      tern_error *error);

/* Loads a whole value: the read_large of resolution_finish; the context is the struct btree. */
TERN_MUST_CHECK tern_status btree_value_load(void *tree, const struct record *large,
                                             struct buffer *out_value, tern_error *error);

/* Copies a value from one tree's file into another's. */
TERN_MUST_CHECK tern_status btree_value_copy(struct btree *source, tern_slice reference,
                                             struct btree *target, uint64_t born,
                                             uint8_t *out_reference, size_t *out_reference_size,
                                             tern_error *error);

#endif
