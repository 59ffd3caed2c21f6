/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values stored apart: pieces of 256 KiB, each a block, and one block that lists them. The
 * reference in a record:
 *   u8 version (1), u64 size in bytes, u32 place, u32 units, u64 checksum of the listing block
 * The listing: per piece u32 place, u32 units, u64 checksum.
 * Memory while writing: one piece, and 16 bytes for each piece written.
 */
#ifndef TERN_ENGINE_HASH_VALUE_H
#define TERN_ENGINE_HASH_VALUE_H

#include "engine/hash/hash_file.h"

TERN_MUST_CHECK tern_status hash_value_begin(struct hash_file *file,
                                             const struct engine_environment *environment,
                                             tern_compression compression,
                                             struct engine_large_writer **out_writer,
                                             tern_error *error);
tern_status hash_value_append(struct engine_large_writer *writer, const void *bytes, size_t size,
                              tern_error *error);
tern_status hash_value_finish(struct engine_large_writer *writer, uint8_t *out_reference,
                              size_t *out_reference_size, tern_error *error);
/* The same, and visits every run of units of the value; when that fails the value is given up. */
TERN_MUST_CHECK tern_status hash_value_finish_listed(
    struct engine_large_writer *writer,
    tern_status (*visit)(void *context, uint32_t place, uint32_t units), void *context,
    uint8_t *out_reference, size_t *out_reference_size, tern_error *error);
void hash_value_abandon(struct engine_large_writer *writer);
TERN_MUST_CHECK tern_status hash_value_read(struct hash_file *file, const tern_allocator *allocator,
                                            tern_slice reference, uint64_t offset, void *buffer,
                                            size_t capacity, size_t *out_size, tern_error *error);
/* Visits every run of units of a value, the listing last. */
TERN_MUST_CHECK tern_status
hash_value_extents(struct hash_file *file, const tern_allocator *allocator, tern_slice reference,
                   tern_status (*visit)(void *context, uint32_t place, uint32_t units),
                   void *context, tern_error *error);
/* All bytes, appended. */
TERN_MUST_CHECK tern_status hash_value_load(struct hash_file *file, const tern_allocator *allocator,
                                            tern_slice reference, struct buffer *out_value,
                                            tern_error *error);
/* Is it the reference to a value of this size, by its form? */
bool hash_value_is_reference(tern_slice reference, uint64_t size);
/* Size that a reference tells, 0 when it is malformed. */
uint64_t hash_value_size(tern_slice reference);

#endif
