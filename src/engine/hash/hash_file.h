/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of a partition, "p-<16 hex digits of the id>.hash": a header of one unit, then blocks in
 * units of 4 KiB, never overwritten while anybody may read them. Everything in it is a block of
 * src/block, found through a reference that holds its checksum.
 *
 * Space that is in use is derived at open from what the root refers to. Blocks superseded by a root
 * wait until no live generation of views lies in [born, superseded), and until every reader that
 * may have seen their place has left its epoch.
 *
 * Threads: any, the free space has a lock of its own.
 */
#ifndef TERN_ENGINE_HASH_FILE_H
#define TERN_ENGINE_HASH_FILE_H

#include "block/block.h"
#include "engine/engine.h"

#define HASH_UNIT_BYTES 4096u

/* A block in the file. units 0: none. */
struct hash_ref {
    uint32_t place; /* in units */
    uint32_t units;
    uint64_t checksum;
};

struct hash_file;

TERN_MUST_CHECK tern_status hash_file_open(const struct engine_environment *environment,
                                           partition_id id, struct hash_file **out_file,
                                           tern_error *error);
void hash_file_close(struct hash_file *file);
void hash_file_name(partition_id id, char out_name[32]);
const char *hash_file_path(const struct hash_file *file);
uint32_t hash_file_space(const struct hash_file *file);
bool hash_file_has_valid_header(const struct hash_file *file);

/* Units that a block of so many stored bytes takes. */
static inline uint32_t hash_units_for(size_t stored_bytes) {
    return (uint32_t)((stored_bytes + HASH_UNIT_BYTES - 1) / HASH_UNIT_BYTES);
}

/* Reads and decodes a block into out_payload (grown as needed). */
TERN_MUST_CHECK tern_status hash_file_read(struct hash_file *file, const struct hash_ref *ref,
                                           struct buffer *out_payload, tern_error *error);
/* The same into memory of the caller. */
TERN_MUST_CHECK tern_status hash_file_read_into(struct hash_file *file, const struct hash_ref *ref,
                                                void *target, size_t capacity,
                                                size_t *out_payload_size, tern_error *error);
/* The same of a block whose units have been read. */
TERN_MUST_CHECK tern_status hash_file_decode(const struct hash_file *file,
                                             const struct hash_ref *ref, const uint8_t *units,
                                             void *target, size_t capacity,
                                             size_t *out_payload_size, tern_error *error);
/* The same of an uncompressed block, which stays where it is. */
TERN_MUST_CHECK tern_status hash_file_decode_in_place(const struct hash_file *file,
                                                      const struct hash_ref *ref,
                                                      const uint8_t *units,
                                                      const uint8_t **out_payload,
                                                      size_t *out_payload_size, tern_error *error);
/* Raw units, for salvage; short at the end of the file. */
TERN_MUST_CHECK tern_status hash_file_read_raw(struct hash_file *file, uint32_t place, void *target,
                                               size_t size, size_t *out_size, tern_error *error);

/* Encodes a payload, allocates units and writes it. */
TERN_MUST_CHECK tern_status hash_file_put(struct hash_file *file, tern_compression compression,
                                          const void *payload, size_t size,
                                          struct hash_ref *out_ref, tern_error *error);
TERN_MUST_CHECK tern_status hash_file_allocate(struct hash_file *file, uint32_t units,
                                               uint32_t *out_place, tern_error *error);
/* `bytes` whole units, aligned to a unit. */
TERN_MUST_CHECK tern_status hash_file_write(struct hash_file *file, uint32_t place,
                                            const void *bytes, uint32_t units, tern_error *error);
TERN_MUST_CHECK tern_status hash_file_sync(struct hash_file *file, tern_error *error);
TERN_MUST_CHECK tern_status hash_file_shrink(struct hash_file *file, uint64_t *out_freed_bytes,
                                             tern_error *error);

/* At open: takes what is in use out of the free space; an overlap is TERN_CORRUPTION. */
TERN_MUST_CHECK tern_status hash_file_mark_used(struct hash_file *file, uint32_t place,
                                                uint32_t units, tern_error *error);
/* Until it is told otherwise, only what lies behind the present end is allocated: what is free as
 * this root has it may belong to the root before, which recovery can still choose. */
void hash_file_hold_free(struct hash_file *file, bool holds);
/* Nobody has seen it: free at once. */
void hash_file_free(struct hash_file *file, uint32_t place, uint32_t units);
/* Counts units that wait elsewhere (blocks that chains refer to) as pending. */
void hash_file_count_pending(struct hash_file *file, int64_t units);

struct hash_file_stats {
    uint64_t file_bytes, free_bytes, pending_bytes, free_extents;
    uint64_t written_bytes, read_bytes, reads;
};
void hash_file_get_stats(struct hash_file *file, struct hash_file_stats *out_stats);

#endif
