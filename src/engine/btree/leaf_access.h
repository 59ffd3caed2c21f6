/* SPDX-License-Identifier: Apache-2.0 */
/* Reading accepted leaves, inline: for the searches and cursors of this engine. */
#ifndef TERN_ENGINE_BTREE_LEAF_ACCESS_H
#define TERN_ENGINE_BTREE_LEAF_ACCESS_H

#include "base/bytes.h"
#include "base/compare.h"
#include "engine/btree/btree_page.h"
#include "engine/btree/heads.h"

/* One record as it lies in a page; `key` is what the record holds (whole or after the prefix). */
struct leaf_cell {
    const uint8_t *key;
    const uint8_t *value;
    size_t key_size;
    size_t value_size;
    uint64_t expires_ms;
    uint64_t large_size;
    uint32_t flags;
};

static inline const uint8_t *leaf_heads(const uint8_t *payload) {
    return payload + LEAF_HEADER_BYTES;
}
static inline uint32_t leaf_head(const uint8_t *payload, uint32_t index) {
    return get_u32(payload + LEAF_HEADER_BYTES + 4 * (size_t)index);
}
static inline const uint8_t *leaf_slots(const uint8_t *payload) {
    return payload + LEAF_HEADER_BYTES + 4 * (size_t)leaf_count(payload);
}
static inline uint32_t leaf_prefix_size(const uint8_t *payload) {
    return get_u16(payload + 4);
}
static inline const uint8_t *leaf_prefix_bytes(const uint8_t *payload) {
    return payload + LEAF_HEADER_BYTES + 6 * (size_t)leaf_count(payload);
}
/* Bytes of the shared prefix that stand in every record too. */
static inline uint32_t leaf_prefix_in_records(const uint8_t *payload) {
    return (payload[1] & PAGE_WHOLE_KEYS) != 0 ? leaf_prefix_size(payload) : 0;
}
static inline const uint8_t *leaf_record_start(const uint8_t *payload, uint32_t index) {
    return payload + get_u16(leaf_slots(payload) + 2 * (size_t)index);
}

/* A number of an accepted page. */
static inline const uint8_t *leaf_number(const uint8_t *source, uint64_t *out_value) {
    uint64_t value = *source++;
    if (__builtin_expect(value >= 0x80, 0)) {
        value &= 0x7f;
        for (unsigned shift = 7;; shift += 7) {
            uint8_t byte = *source++;
            value |= (uint64_t)(byte & 0x7f) << shift;
            if (byte < 0x80) {
                break;
            }
        }
    }
    *out_value = value;
    return source;
}

/* A record without flags whose sizes take a byte each: most are. */
#define LEAF_SHORT_HEADER_BYTES 3u
/* Flags, the two sizes, and a byte of the key: no record that holds its whole key ends before. */
static inline uint32_t leaf_cell_short_header(const uint8_t *start) {
    return get_u32(start);
}
static inline bool leaf_cell_is_short(uint32_t header) {
    return (header & 0x8080ffu) == 0;
}
static inline size_t leaf_cell_short_key_size(uint32_t header) {
    return header >> 8 & 0x7f;
}
static inline size_t leaf_cell_short_value_size(uint32_t header) {
    return header >> 16 & 0x7f;
}

static inline const uint8_t *leaf_cell_parse(const uint8_t *start, struct leaf_cell *out_cell) {
    const uint8_t *position = start;
    uint32_t flags = *position++;
    uint64_t key_size = 0;
    uint64_t value_size = 0;
    position = leaf_number(position, &key_size);
    position = leaf_number(position, &value_size);
    out_cell->expires_ms = 0;
    out_cell->large_size = 0;
    if (__builtin_expect(flags != 0, 0)) {
        if ((flags & RECORD_FLAG_EXPIRES) != 0) {
            out_cell->expires_ms = get_u64(position);
            position += 8;
        }
        if ((flags & RECORD_FLAG_LARGE) != 0) {
            position = leaf_number(position, &out_cell->large_size);
        }
    }
    out_cell->flags = flags;
    out_cell->key = position;
    out_cell->key_size = key_size;
    out_cell->value = position + key_size;
    out_cell->value_size = value_size;
    return position + key_size + value_size;
}

static inline void leaf_cell_record(const struct leaf_cell *cell, struct record *out_record) {
    *out_record = (struct record){
        .kind = (cell->flags & RECORD_FLAG_LARGE) != 0 ? RECORD_LARGE : RECORD_PUT,
        .expires_ms = cell->expires_ms,
        .value_size = cell->large_size,
        .value = {cell->value, cell->value_size},
    };
}

/* Where a key stands to the prefix that all keys of a page share: < 0 below them all, > 0 above
 * them all, 0: the rest decides. */
static inline int prefix_compare(const uint8_t *prefix, size_t prefix_size, tern_slice key) {
    size_t shorter = key.size < prefix_size ? key.size : prefix_size;
    int order = shorter > 0 ? memcmp(key.data, prefix, shorter) : 0;
    return order != 0 ? order : key.size < prefix_size ? -1 : 0;
}

static inline tern_slice slice_after(tern_slice slice, size_t skip) {
    return tern_slice_of((const uint8_t *)slice.data + skip, slice.size - skip);
}

#endif
