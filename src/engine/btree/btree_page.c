/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leaf pages: searching accepted ones without a bounds check, and accepting hostile ones.
 *
 * A search reads, in order: the header and heads (neighbouring lines), one slot, one record. Heads
 * tell most keys apart; only keys with equal heads are compared whole, by halving among them.
 *
 * Invariants of a leaf, by the names that leaf_check gives (docs/format/btree.md):
 *   leaf.header   type, flags, sizes            leaf.count    1 to 8191, arrays within the payload
 *   leaf.data     data size agrees              leaf.slots    records lie one after the other
 *   leaf.records  sizes and numbers are whole   leaf.prefix   whole keys begin with the prefix
 *   leaf.order    keys ascend                   leaf.heads    heads are those of the keys
 *   leaf.large    values apart are announced    leaf.key      no key is empty
 */
#include "engine/btree/btree_page.h"

#include "base/varint.h"
#include "engine/btree/leaf_access.h"
#include "engine/engine.h"

#define LEAF_COUNT_MAX 8191u

static tern_slice suffix_at(const uint8_t *payload, uint32_t index) {
    struct leaf_cell cell;
    (void)leaf_cell_parse(leaf_record_start(payload, index), &cell);
    uint32_t skip = leaf_prefix_in_records(payload);
    return tern_slice_of(cell.key + skip, cell.key_size - skip);
}

/* Lower bound among the records from `first` on whose heads equal `head`. */
static uint32_t search_equal_heads(const uint8_t *payload, uint32_t first, uint32_t head,
                                   tern_slice suffix, bool *out_equal) {
    uint32_t count = leaf_count(payload);
    uint32_t low = first;
    uint32_t high = first + 1;
    if (high < count && leaf_head(payload, high) == head) {
        high = head == UINT32_MAX ? count : heads_lower_bound(leaf_heads(payload), count, head + 1);
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = slice_compare(suffix_at(payload, middle), suffix);
        if (order == 0) {
            *out_equal = true;
            return middle;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *out_equal = false;
    return low;
}

/* Lines asked for where a search ends: what a scan reads first. */
#define LINES_AT_BOUND 12u

uint32_t leaf_lower_bound(const uint8_t *payload, tern_slice key, bool *out_equal) {
    uint32_t count = leaf_count(payload);
    uint32_t prefix_size = leaf_prefix_size(payload);
    int order = prefix_compare(leaf_prefix_bytes(payload), prefix_size, key);
    if (order != 0) {
        *out_equal = false;
        return order < 0 ? 0 : count;
    }
    tern_slice suffix = slice_after(key, prefix_size);
    uint32_t head = head_of(suffix);
    uint32_t index = heads_lower_bound(leaf_heads(payload), count, head);
    if (index == count) {
        *out_equal = false;
        return index;
    }
    const uint8_t *record = leaf_record_start(payload, index);
    for (unsigned i = 0; i < LINES_AT_BOUND; i++) {
        __builtin_prefetch(record + (size_t)64 * i);
    }
    if (leaf_head(payload, index) != head) {
        *out_equal = false;
        return index;
    }
    return search_equal_heads(payload, index, head, suffix, out_equal);
}

void leaf_record(const uint8_t *payload, uint32_t index, struct record *out_record) {
    struct leaf_cell cell;
    (void)leaf_cell_parse(leaf_record_start(payload, index), &cell);
    leaf_cell_record(&cell, out_record);
}

bool leaf_key_in_place(const uint8_t *payload, uint32_t index, tern_slice *out_key) {
    if (leaf_prefix_size(payload) != leaf_prefix_in_records(payload)) {
        return false;
    }
    struct leaf_cell cell;
    (void)leaf_cell_parse(leaf_record_start(payload, index), &cell);
    *out_key = tern_slice_of(cell.key, cell.key_size);
    return true;
}

tern_slice leaf_key_suffix(const uint8_t *payload, uint32_t index) {
    return suffix_at(payload, index);
}

tern_slice leaf_prefix(const uint8_t *payload) {
    return tern_slice_of(leaf_prefix_bytes(payload), leaf_prefix_size(payload));
}

size_t leaf_key_copy(const uint8_t *payload, uint32_t index, uint8_t *out_key) {
    tern_slice prefix = leaf_prefix(payload);
    tern_slice suffix = suffix_at(payload, index);
    memcpy(out_key, prefix.data, prefix.size);
    memcpy(out_key + prefix.size, suffix.data, suffix.size);
    return prefix.size + suffix.size;
}

/* ---- accepting ---- */

/* A record at `position`, all of it before `end`; NULL when it is not. */
static const uint8_t *check_cell(const uint8_t *position, const uint8_t *end,
                                 struct leaf_cell *out_cell) {
    if (position >= end) {
        return NULL;
    }
    struct leaf_cell cell = {.flags = *position++};
    uint64_t key_size = 0;
    uint64_t value_size = 0;
    position = varint_get(position, end, &key_size);
    position = position == NULL ? NULL : varint_get(position, end, &value_size);
    if (position == NULL || (cell.flags & ~(RECORD_FLAG_LARGE | RECORD_FLAG_EXPIRES)) != 0) {
        return NULL;
    }
    if ((cell.flags & RECORD_FLAG_EXPIRES) != 0) {
        if (end - position < 8) {
            return NULL;
        }
        cell.expires_ms = get_u64(position);
        position += 8;
    }
    if ((cell.flags & RECORD_FLAG_LARGE) != 0) {
        position = varint_get(position, end, &cell.large_size);
        if (position == NULL || value_size > ENGINE_LARGE_REFERENCE_BYTES_MAX ||
            cell.large_size > TERN_VALUE_BYTES_MAX) {
            return NULL;
        }
    }
    size_t left = (size_t)(end - position);
    if (key_size > left || value_size > left - key_size) {
        return NULL;
    }
    cell.key = position;
    cell.key_size = key_size;
    cell.value = position + key_size;
    cell.value_size = value_size;
    *out_cell = cell;
    return position + key_size + value_size;
}

static const char *check_header(const uint8_t *payload, size_t size) {
    if (size < LEAF_HEADER_BYTES || size > UINT16_MAX || payload[0] != PAGE_LEAF ||
        (payload[1] & ~(PAGE_HAS_LARGE | PAGE_WHOLE_KEYS)) != 0) {
        return "leaf.header";
    }
    uint32_t count = leaf_count(payload);
    if (count == 0 || count > LEAF_COUNT_MAX || LEAF_HEADER_BYTES + 6 * (size_t)count > size) {
        return "leaf.count";
    }
    size_t data = size - (LEAF_HEADER_BYTES + 6 * (size_t)count);
    if (get_u16(payload + 6) != data || leaf_prefix_size(payload) > data) {
        return "leaf.data";
    }
    return NULL;
}

const char *leaf_check(const uint8_t *payload, size_t size) {
    const char *broken = check_header(payload, size);
    if (broken != NULL) {
        return broken;
    }
    uint32_t count = leaf_count(payload);
    tern_slice prefix = leaf_prefix(payload);
    size_t in_records = leaf_prefix_in_records(payload);
    const uint8_t *end = payload + size;
    const uint8_t *position = (const uint8_t *)prefix.data + prefix.size;
    tern_slice previous = {NULL, 0};
    for (uint32_t i = 0; i < count; i++) {
        if (leaf_record_start(payload, i) != position) {
            return "leaf.slots";
        }
        struct leaf_cell cell;
        position = check_cell(position, end, &cell);
        if (position == NULL) {
            return "leaf.records";
        }
        if (cell.key_size < in_records ||
            (in_records > 0 && memcmp(cell.key, prefix.data, in_records) != 0)) {
            return "leaf.prefix";
        }
        tern_slice suffix = {cell.key + in_records, cell.key_size - in_records};
        if (prefix.size + suffix.size == 0) {
            return "leaf.key";
        }
        if (leaf_head(payload, i) != head_of(suffix)) {
            return "leaf.heads";
        }
        if (i > 0 && slice_compare(previous, suffix) >= 0) {
            return "leaf.order";
        }
        if ((cell.flags & RECORD_FLAG_LARGE) != 0 && (payload[1] & PAGE_HAS_LARGE) == 0) {
            return "leaf.large";
        }
        previous = suffix;
    }
    return position == end ? NULL : "leaf.data";
}
