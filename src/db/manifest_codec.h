/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of manifest slots and bodies; docs/format/manifest.md is normative. */
#ifndef TERN_DB_MANIFEST_CODEC_H
#define TERN_DB_MANIFEST_CODEC_H

#include "db/manifest.h"

#define MANIFEST_SLOT_BYTES     4096
#define MANIFEST_FORMAT_VERSION 1
/* Largest body, so that a damaged size asks for no absurd memory. */
#define MANIFEST_BODY_BYTES_MAX ((uint64_t)1 << 30)

/* The fields of a slot. */
struct manifest_slot {
    uint64_t generation;
    uint64_t body_offset;
    uint64_t body_size;
    uint64_t body_checksum;
};

void manifest_slot_encode(const struct manifest_slot *slot, uint8_t target[MANIFEST_SLOT_BYTES]);
/* Returns NULL, or what is wrong. *out_version is set when the version alone is. */
const char *manifest_slot_decode(const uint8_t source[MANIFEST_SLOT_BYTES],
                                 struct manifest_slot *out_slot, uint32_t *out_version);

/* What manifest_slot_decode answers when the database needs what this release does not know. */
extern const char manifest_unknown_features[];

TERN_MUST_CHECK tern_status manifest_body_encode(const struct manifest *manifest,
                                                 struct buffer *out_body);
/* What manifest_body_decode answers when nothing is wrong but that memory is short. */
extern const char manifest_no_memory[];

/* Decodes hostile bytes; returns NULL or what is wrong. Borrows from `body`, arrays from `arena`.
 */
const char *manifest_body_decode(tern_slice body, struct arena *arena,
                                 struct manifest *out_manifest);

#endif
