/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data blocks: records in order of key, prefix-compressed between restart points, with a small hash
 * index from keys to restart points. See data_block.c for the bytes. Any thread.
 */
#ifndef TERN_ENGINE_LSM_DATA_BLOCK_H
#define TERN_ENGINE_LSM_DATA_BLOCK_H

#include "base/buffer.h"
#include "base/record.h"
#include "engine/engine.h"

/* Bytes that a record takes at most, over key and value. */
#define DATA_RECORD_BYTES_MAX 48u

struct data_block_builder {
    const tern_allocator *allocator;
    struct buffer entries;  /* with room for the header in front */
    struct buffer previous; /* last key */
    uint16_t *restarts;
    uint32_t *hashes; /* of the keys: high halves, and the restart each belongs to */
    uint32_t restart_count, restart_capacity;
    uint32_t hash_capacity;
    uint32_t count;
    uint64_t key_bytes;
    bool has_large;
};

void data_block_builder_init(struct data_block_builder *builder, const tern_allocator *allocator);
void data_block_builder_release(struct data_block_builder *builder);
void data_block_builder_reset(struct data_block_builder *builder);
/* Payload bytes, at most, if it were finished with this record. */
size_t data_block_builder_size(const struct data_block_builder *builder, tern_slice key,
                               const struct record *record);
/* Keys must ascend. For RECORD_MERGE the value is an operand list. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status data_block_builder_add(struct data_block_builder *builder,
                                                   tern_slice key, uint64_t key_hash,
                                                   const struct record *record);
/* The same for who knows how many bytes the key shares with the one before; not both of the same
 * block. */
TERN_MUST_CHECK tern_status data_block_builder_add_sharing(struct data_block_builder *builder,
                                                           tern_slice key, size_t shared,
                                                           uint64_t key_hash,
                                                           const struct record *record);
/* The payload; lives until the next call. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status data_block_builder_finish(struct data_block_builder *builder,
                                                      tern_slice *out_payload);

/* NULL, or the name of what is wrong; all other functions need a payload that passed. */
const char *data_block_check(const uint8_t *payload, size_t size);

/* Finds a key; bytes of the record lie in the payload. */
bool data_block_find(const uint8_t *payload, tern_slice key, uint64_t key_hash,
                     struct record *out_record);

/* Fetches ahead what finding the key will touch first. */
void data_block_prefetch(const uint8_t *payload, uint64_t key_hash);

/* Size of a payload that was accepted. */
size_t data_block_size(const uint8_t *payload);
/* Number of records, and bytes that decoding them needs for keys. */
uint32_t data_block_count(const uint8_t *payload);
size_t data_block_key_bytes(const uint8_t *payload);
/* Decodes all: `entries` holds data_block_count, `keys` data_block_key_bytes. Values lie in the
 * payload. */
void data_block_decode(const uint8_t *payload, struct engine_entry *entries, uint8_t *keys);

/* Decodes records in parts, from a restart point on. */
#define DATA_BLOCK_INTERVAL 8u /* records from one restart point to the next */
struct data_block_walk {
    const uint8_t *source; /* of the next record */
    const uint8_t *end;
    const uint8_t *previous; /* key of the record before */
    uint8_t *keys;           /* where the next key goes */
};
/* The last restart point whose key is not above `key`, or the first. */
uint32_t data_block_restart(const uint8_t *payload, tern_slice key);
/* Fetches ahead what that will touch, of a payload whose ends are near already. */
void data_block_prefetch_restarts(const uint8_t *payload);
void data_block_walk_begin(struct data_block_walk *walk, const uint8_t *payload, uint32_t restart,
                           uint8_t *keys);
/* The next `count` records; there must be so many. */
void data_block_walk_take(struct data_block_walk *walk, struct engine_entry *entries,
                          uint32_t count);

#endif
