/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Index blocks: for the data blocks of one partition of a table, where each lies, its checksum, and
 * a key that separates it from the block before. See index_block.c for the bytes.
 */
#ifndef TERN_ENGINE_LSM_INDEX_BLOCK_H
#define TERN_ENGINE_LSM_INDEX_BLOCK_H

#include "base/buffer.h"
#include "engine/lsm/lsm_format.h"

#define INDEX_BLOCKS_MAX 128u

struct index_block_builder {
    struct buffer keys; /* all separators, one after the other */
    uint32_t ends[INDEX_BLOCKS_MAX];
    struct lsm_ref refs[INDEX_BLOCKS_MAX];
    uint32_t count;
    struct buffer payload;
};

void index_block_builder_init(struct index_block_builder *builder, const tern_allocator *allocator);
void index_block_builder_release(struct index_block_builder *builder);
void index_block_builder_reset(struct index_block_builder *builder);
/* Payload size with another separator of `key_size` bytes. */
size_t index_block_builder_size(const struct index_block_builder *builder, size_t key_size);
/* `separator`: above all keys before the block, not above those in it. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status index_block_builder_add(struct index_block_builder *builder,
                                                    tern_slice separator, struct lsm_ref ref);
tern_slice index_block_builder_first(const struct index_block_builder *builder);
TERN_MUST_CHECK tern_status index_block_builder_finish(struct index_block_builder *builder,
                                                       tern_slice *out_payload);

const char *index_block_check(const uint8_t *payload, size_t size);
uint32_t index_block_count(const uint8_t *payload);
/* Size of a payload that was accepted. */
size_t index_block_size(const uint8_t *payload);
struct lsm_ref index_block_ref(const uint8_t *payload, uint32_t index);
/* The key that separates the block from the one before: above all keys there, not above its own.
 * TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status index_block_separator(const uint8_t *payload, uint32_t index,
                                                  struct buffer *out_key);
/* The data block where the key must be, if it is anywhere. */
uint32_t index_block_find(const uint8_t *payload, tern_slice key);

#endif
