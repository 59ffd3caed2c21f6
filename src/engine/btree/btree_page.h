/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of leaf and inner pages; docs/format/btree.md is normative. A page is the payload of one
 * block (16-byte block header in front; in a cache frame the frame's own 16 bytes stand there).
 *
 * Leaf payload:
 *   0  u8   type: PAGE_LEAF
 *   1  u8   flags: PAGE_HAS_LARGE (some record's value is stored apart), PAGE_WHOLE_KEYS
 *   2  u16  count of records, 1 to 8191
 *   4  u16  prefix size in bytes: of the longest prefix that all keys share, at most 65535
 *   6  u16  data size: bytes from the prefix to the payload's end
 *   8  u64  generation of the writer (view generation at which the page was born)
 *  16  u32  heads[count]: first 4 bytes of the key after the prefix, big-endian number, zero padded
 *   .  u16  slots[count]: offset of each record from the payload's beginning, in order of key
 *   .  prefix bytes
 *   .  records, each:
 *        u8      flags: RECORD_FLAG_LARGE, RECORD_FLAG_EXPIRES
 *        varint  key size after the prefix
 *        varint  value size (of LARGE: size of the reference)
 *        [u64    expires_ms when RECORD_FLAG_EXPIRES]
 *        [varint whole value size when RECORD_FLAG_LARGE]
 *        key bytes after the prefix, value bytes
 * Heads always come after the shared prefix, or they would tell nothing apart. With PAGE_WHOLE_KEYS
 * the records still hold their keys whole (the key size counts the prefix, the key bytes begin with
 * it), so that keys can be handed out in place: set when leaving the prefix out would save less
 * than a sixteenth of the payload, or when there is one record only (its prefix is empty: size 0).
 * No bytes lie between or after records: data size, slots and records agree to the byte, records
 * lie in order of key.
 *
 * Inner payload:
 *   0  u8   type: PAGE_INNER
 *   1  u8   level: 1 above leaves, and so on
 *   2  u16  zero
 *   4  u32  count of children, 1 to 4096
 *   8  u64  generation of the writer
 *  16  children[count]: 32 bytes each
 *        u64  packed reference: place << 24 | stored units << 8 | flags (see below)
 *        u64  checksum of the child's block
 *        u64  records below
 *        u64  stored bytes below: leaves and values stored apart
 *   .  separators[count - 1]: varint size, bytes; child i holds keys in [sep i-1, sep i)
 * An inner payload has at most INNER_PAYLOAD_BYTES_MAX bytes: a writer splits before.
 */
#ifndef TERN_ENGINE_BTREE_PAGE_H
#define TERN_ENGINE_BTREE_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/record.h"
#include "block/block.h"

enum page_type { PAGE_LEAF = 1, PAGE_INNER = 2, PAGE_VALUE = 3, PAGE_VALUE_INDEX = 4 };

#define PAGE_HAS_LARGE      1u
#define PAGE_WHOLE_KEYS     2u
#define RECORD_FLAG_LARGE   1u
#define RECORD_FLAG_EXPIRES 2u

#define LEAF_HEADER_BYTES       16
#define INNER_HEADER_BYTES      16
#define INNER_CHILD_BYTES       32
#define INNER_CHILDREN_MAX      4096u
#define INNER_PAYLOAD_BYTES_MAX ((size_t)1 << 20)
/* Levels of inner nodes above the leaves, at most. */
#define INNER_LEVELS_MAX 40u

/* Disk space is handed out in units of 512 bytes. */
#define UNIT_BYTES 512u
/* Units 0 to 7 (4 KiB) hold the file header. */
#define FILE_HEADER_UNITS 8u

/*
 * Where a block lies: place in units (40 bits), stored units (16 bits), flags (8 bits).
 * 0 is no reference.
 */
typedef uint64_t packed_ref;
#define REF_HAS_LARGE 1u /* a leaf with values stored apart, or an inner node above one */

static inline packed_ref ref_pack(uint64_t place, uint32_t units, uint32_t flags) {
    return place << 24 | (uint64_t)units << 8 | flags;
}
static inline uint64_t ref_place(packed_ref ref) {
    return ref >> 24;
}
static inline uint32_t ref_units(packed_ref ref) {
    return (uint32_t)(ref >> 8) & 0xffff;
}
static inline uint32_t ref_flags(packed_ref ref) {
    return (uint32_t)ref & 0xff;
}

/* A child as its parent knows it. */
struct child_ref {
    packed_ref ref;
    uint64_t checksum;
    uint64_t records; /* live records below */
    uint64_t bytes;   /* stored bytes below */
};

/* A leaf payload that leaf_check has accepted; borrowed bytes. */
struct leaf {
    const uint8_t *payload;
    uint32_t size; /* of the payload in bytes */
};

/* Searches, all on accepted leaves. */
static inline uint32_t leaf_count(const uint8_t *payload);
/* Index of the first record with key >= `key`; *out_equal when it is that key. */
uint32_t leaf_lower_bound(const uint8_t *payload, tern_slice key, bool *out_equal);
/* The record at an index; value borrowed from the page. */
void leaf_record(const uint8_t *payload, uint32_t index, struct record *out_record);
/* The whole key in place, when prefix size is 0 or with PAGE_WHOLE_KEYS; else false. */
bool leaf_key_in_place(const uint8_t *payload, uint32_t index, tern_slice *out_key);
/* Key after the prefix, and the prefix. */
tern_slice leaf_key_suffix(const uint8_t *payload, uint32_t index);
tern_slice leaf_prefix(const uint8_t *payload);
/* Writes the whole key to `out_key` (capacity at least its size); returns its size. */
size_t leaf_key_copy(const uint8_t *payload, uint32_t index, uint8_t *out_key);

/*
 * Checks everything of a leaf that comes from disk, so that searches need no bounds checks: header,
 * counts, offsets, sizes, order of keys, heads. Returns the name of the broken invariant or NULL.
 * The order check costs one pass; it runs once per read from disk.
 */
const char *leaf_check(const uint8_t *payload, size_t size);

/* Builds one leaf in memory. */
struct leaf_builder;

static inline uint32_t leaf_count(const uint8_t *payload) {
    return (uint32_t)payload[2] | (uint32_t)payload[3] << 8;
}

#endif
