/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting records lie one behind the other in the area, in the encoding of a leaf without a prefix:
 *
 *   area:  | handed out ... | closed leaf ...... | open leaf .... | free ...
 *                           ^offsets[first]      ^offsets[cut]    ^offsets[count]
 *
 * Invariants:
 *   L1 first <= cut <= count; there is a closed leaf only while the open one has records
 *   L2 the closed leaf, and the open one, fit a page as leaf_bytes computes it, and leaf_encode
 *      never writes more than leaf_bytes said
 *   L3 the prefix is cut off only where that saves at least a sixteenth of the page
 */
#include "engine/btree/leaf_builder.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/compare.h"
#include "base/error.h"
#include "base/varint.h"
#include "engine/btree/leaf_access.h"
#include "simd/compare.h"

#define LEAF_RECORDS_MAX      8191u
#define RECORD_OVERHEAD_BYTES 6u /* head and slot */
#define RECORD_BYTES_MIN      4u /* flags, two sizes, a byte of key */
/* How much longer than a page the records of a leaf may be before their prefix is cut off. */
#define EXPANSION 4u
/* Longest header of a record. */
#define RECORD_HEADER_BYTES_MAX (1u + 3u + 3u + 8u + VARINT_BYTES_MAX)

tern_status leaf_builder_init(struct leaf_builder *builder, const tern_allocator *allocator,
                              uint32_t page_bytes, leaf_emit_function emit, void *emit_context,
                              tern_error *error) {
    uint32_t payload_max = page_bytes - BLOCK_HEADER_BYTES;
    uint32_t leaf_records = payload_max / (RECORD_OVERHEAD_BYTES + RECORD_BYTES_MIN) + 1;
    if (leaf_records > LEAF_RECORDS_MAX) {
        leaf_records = LEAF_RECORDS_MAX;
    }
    *builder = (struct leaf_builder){
        .allocator = allocator,
        .page_bytes = page_bytes,
        .payload_max = payload_max,
        .payload_fill = payload_max,
        .area_bytes = 4 * EXPANSION * page_bytes,
        .record_capacity = 4 * leaf_records,
        .emit = emit,
        .emit_context = emit_context,
    };
    builder->area = memory_allocate(allocator, builder->area_bytes);
    builder->offsets =
        memory_allocate(allocator, ((size_t)builder->record_capacity + 1) * sizeof(uint32_t));
    if (builder->area == NULL || builder->offsets == NULL) {
        leaf_builder_release(builder);
        return ERROR_NO_MEMORY(error, "building pages");
    }
    leaf_builder_reset(builder, 100);
    return TERN_OK;
}

void leaf_builder_release(struct leaf_builder *builder) {
    memory_release(builder->allocator, builder->area);
    memory_release(builder->allocator, builder->offsets);
    builder->area = NULL;
    builder->offsets = NULL;
}

void leaf_builder_reset(struct leaf_builder *builder, uint32_t fill_percent) {
    /* To the end of the unit that the block ends in: what is left of it would be zeros. */
    uint64_t fill_bytes = (uint64_t)builder->page_bytes * fill_percent / 100 + BLOCK_HEADER_BYTES;
    builder->payload_fill = (uint32_t)round_up_u64(fill_bytes, UNIT_BYTES) - BLOCK_HEADER_BYTES;
    if (builder->payload_fill > builder->payload_max) {
        builder->payload_fill = builder->payload_max;
    }
    builder->first = builder->cut = builder->count = 0;
    builder->offsets[0] = 0;
    builder->open_prefix = 0;
}

tern_slice leaf_builder_key(const struct leaf_builder *builder, uint32_t index) {
    struct leaf_cell cell;
    (void)leaf_cell_parse(builder->area + builder->offsets[index], &cell);
    return tern_slice_of(cell.key, cell.key_size);
}

/* ---- sizes ---- */

static bool prefix_pays(const struct leaf_builder *builder, uint32_t count, uint32_t prefix) {
    return (uint64_t)(count - 1) * prefix >= builder->page_bytes / 16 && prefix > 0 && count > 1;
}

/* Bytes of payload of `count` records of `raw` encoded bytes that share `prefix` bytes. */
static uint64_t payload_bytes(const struct leaf_builder *builder, uint32_t count, uint32_t raw,
                              uint32_t prefix) {
    uint64_t bytes = LEAF_HEADER_BYTES + (uint64_t)count * RECORD_OVERHEAD_BYTES + raw;
    if (prefix_pays(builder, count, prefix)) {
        return bytes - (uint64_t)(count - 1) * prefix;
    }
    return count > 1 ? bytes + prefix : bytes;
}

static uint32_t shared_prefix(const struct leaf_builder *builder, uint32_t begin, uint32_t end) {
    tern_slice low = leaf_builder_key(builder, begin);
    tern_slice high = leaf_builder_key(builder, end - 1);
    size_t prefix = common_prefix(low.data, high.data, low.size < high.size ? low.size : high.size);
    return prefix > UINT16_MAX ? UINT16_MAX : (uint32_t)prefix;
}

/* Bytes of payload of a leaf of the records [begin, end). */
static uint64_t leaf_bytes(const struct leaf_builder *builder, uint32_t begin, uint32_t end) {
    uint32_t raw = builder->offsets[end] - builder->offsets[begin];
    uint32_t prefix = end - begin > 1 ? shared_prefix(builder, begin, end) : 0;
    return payload_bytes(builder, end - begin, raw, prefix);
}

static bool fits_page(const struct leaf_builder *builder, uint32_t begin, uint32_t end) {
    return end - begin <= LEAF_RECORDS_MAX &&
           leaf_bytes(builder, begin, end) <= builder->payload_max;
}

bool leaf_builder_is_underfull(const struct leaf_builder *builder) {
    return builder->first == builder->cut && builder->cut != builder->count &&
           leaf_bytes(builder, builder->cut, builder->count) < builder->payload_max / 2;
}

/* ---- handing out ---- */

static tern_status hand_out(struct leaf_builder *builder, uint32_t end, tern_error *error) {
    tern_status status = builder->emit(builder->emit_context, builder->first, end, error);
    if (status == TERN_OK) {
        builder->first = end;
    }
    return status;
}

/* Closes the open leaf; the one closed before goes out. */
static tern_status close_leaf(struct leaf_builder *builder, tern_error *error) {
    if (builder->cut > builder->first) {
        tern_status status = hand_out(builder, builder->cut, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    builder->cut = builder->count;
    return TERN_OK;
}

/* Where to split [first, count) so that both halves fit and are as equal as can be. */
static uint32_t find_balance(const struct leaf_builder *builder) {
    uint32_t best = builder->cut;
    uint64_t best_difference = UINT64_MAX;
    for (uint32_t middle = builder->cut; middle > builder->first; middle--) {
        uint64_t left = leaf_bytes(builder, builder->first, middle);
        uint64_t right = leaf_bytes(builder, middle, builder->count);
        if (right > builder->payload_max || builder->count - middle > LEAF_RECORDS_MAX) {
            break;
        }
        uint64_t difference = left > right ? left - right : right - left;
        if (left <= builder->payload_max && difference < best_difference) {
            best = middle;
            best_difference = difference;
        }
        if (right > left) {
            break;
        }
    }
    return best;
}

tern_status leaf_builder_flush(struct leaf_builder *builder, bool balanced, tern_error *error) {
    tern_status status = TERN_OK;
    if (builder->cut > builder->first && builder->cut < builder->count) {
        if (fits_page(builder, builder->first, builder->count)) {
            builder->cut = builder->first;
        } else {
            uint64_t open = leaf_bytes(builder, builder->cut, builder->count);
            if (balanced && open < builder->payload_max / 2) {
                builder->cut = find_balance(builder);
            }
            status = hand_out(builder, builder->cut, error);
        }
    }
    if (status == TERN_OK && builder->first < builder->count) {
        status = hand_out(builder, builder->count, error);
    }
    if (status == TERN_OK) {
        builder->first = builder->cut = builder->count = 0;
        builder->offsets[0] = 0;
    }
    return status;
}

/* ---- taking in ---- */

/* Moves waiting records to the beginning of the area. */
static void compact_area(struct leaf_builder *builder) {
    uint32_t first = builder->first;
    uint32_t base = builder->offsets[first];
    uint32_t end = builder->offsets[builder->count];
    memmove(builder->area, builder->area + base, end - base);
    for (uint32_t i = first; i <= builder->count; i++) {
        builder->offsets[i - first] = builder->offsets[i] - base;
    }
    builder->cut -= first;
    builder->count -= first;
    builder->first = 0;
}

/*
 * Makes room for a record of `size` encoded bytes and decides whether it still belongs to the open
 * leaf; closes that when not. The record's place is at offsets[count] afterwards.
 */
static inline tern_status admit(struct leaf_builder *builder, tern_slice key, uint32_t size,
                                tern_error *error) {
    uint32_t open_count = builder->count - builder->cut;
    uint32_t prefix = (uint32_t)key.size;
    if (open_count > 0) {
        prefix = builder->open_prefix;
        if (prefix > 0) {
            tern_slice head = leaf_builder_key(builder, builder->cut);
            size_t shorter = prefix < key.size ? prefix : key.size;
            prefix = (uint32_t)common_prefix(head.data, key.data, shorter);
        }
        uint32_t raw = builder->offsets[builder->count] - builder->offsets[builder->cut] + size;
        if (payload_bytes(builder, open_count + 1, raw, prefix) > builder->payload_fill ||
            raw > EXPANSION * builder->page_bytes || open_count == LEAF_RECORDS_MAX) {
            tern_status status = close_leaf(builder, error);
            if (status != TERN_OK) {
                return status;
            }
            prefix = (uint32_t)key.size;
        }
    }
    builder->open_prefix = prefix > UINT16_MAX ? UINT16_MAX : prefix;
    if (builder->offsets[builder->count] + size > builder->area_bytes ||
        builder->count == builder->record_capacity) {
        compact_area(builder);
        ASSERT(builder->offsets[builder->count] + size <= builder->area_bytes &&
               builder->count < builder->record_capacity);
    }
    return TERN_OK;
}

static void admitted(struct leaf_builder *builder, uint32_t size) {
    uint32_t end = builder->offsets[builder->count] + size;
    builder->count++;
    builder->offsets[builder->count] = end;
}

/* Writes the header of a record; returns its end. */
static uint8_t *put_header(uint8_t *target, uint8_t flags, size_t key_size, size_t value_size,
                           uint64_t expires_ms, uint64_t large_size) {
    *target++ = flags;
    target = varint_put(target, key_size);
    target = varint_put(target, value_size);
    if ((flags & RECORD_FLAG_EXPIRES) != 0) {
        put_u64(target, expires_ms);
        target += 8;
    }
    if ((flags & RECORD_FLAG_LARGE) != 0) {
        target = varint_put(target, large_size);
    }
    return target;
}

static tern_status add_parts(struct leaf_builder *builder, const uint8_t *header,
                             uint32_t header_size, tern_slice prefix, tern_slice suffix,
                             tern_slice value, tern_slice key, tern_error *error) {
    uint32_t size = header_size + (uint32_t)(prefix.size + suffix.size + value.size);
    tern_status status = admit(builder, key, size, error);
    if (status != TERN_OK) {
        return status;
    }
    uint8_t *target = builder->area + builder->offsets[builder->count];
    memcpy(target, header, header_size);
    target += header_size;
    if (prefix.size > 0) {
        memcpy(target, prefix.data, prefix.size);
    }
    if (suffix.size > 0) {
        memcpy(target + prefix.size, suffix.data, suffix.size);
    }
    if (value.size > 0) {
        memcpy(target + prefix.size + suffix.size, value.data, value.size);
    }
    admitted(builder, size);
    return TERN_OK;
}

tern_status leaf_builder_add(struct leaf_builder *builder, tern_slice key,
                             const struct record *record, tern_error *error) {
    ASSERT_DEBUG(record->kind == RECORD_PUT || record->kind == RECORD_LARGE);
    uint8_t flags = record->kind == RECORD_LARGE ? (uint8_t)RECORD_FLAG_LARGE : (uint8_t)0;
    if (record->expires_ms != 0) {
        flags |= (uint8_t)RECORD_FLAG_EXPIRES;
    }
    uint8_t header[RECORD_HEADER_BYTES_MAX];
    uint8_t *end = put_header(header, flags, key.size, record->value.size, record->expires_ms,
                              record->value_size);
    return add_parts(builder, header, (uint32_t)(end - header), tern_slice_of(NULL, 0), key,
                     record->value, key, error);
}

/* A record of a leaf with a prefix: gets its whole key back. */
static tern_status copy_expanded(struct leaf_builder *builder, tern_slice prefix,
                                 const struct leaf_cell *cell, tern_error *error) {
    uint8_t header[RECORD_HEADER_BYTES_MAX];
    uint8_t *end = put_header(header, (uint8_t)cell->flags, prefix.size + cell->key_size,
                              cell->value_size, cell->expires_ms, cell->large_size);
    tern_slice suffix = tern_slice_of(cell->key, cell->key_size);
    tern_slice value = tern_slice_of(cell->value, cell->value_size);
    /* The open leaf's prefix is measured on the whole key, so it has to lie in one piece. */
    uint8_t *scratch = builder->area + builder->offsets[builder->count];
    size_t key_size = prefix.size + suffix.size;
    if (builder->offsets[builder->count] + key_size + builder->page_bytes > builder->area_bytes) {
        compact_area(builder);
        scratch = builder->area + builder->offsets[builder->count];
    }
    uint32_t room = builder->area_bytes - builder->offsets[builder->count];
    ASSERT(key_size <= room);
    /* At the end of the room, where compacting cannot reach it before it is read. */
    scratch += room - key_size;
    memcpy(scratch, prefix.data, prefix.size);
    memcpy(scratch + prefix.size, suffix.data, suffix.size);
    return add_parts(builder, header, (uint32_t)(end - header), prefix, suffix, value,
                     tern_slice_of(scratch, key_size), error);
}

tern_status leaf_builder_copy(struct leaf_builder *builder, const uint8_t *payload, uint32_t index,
                              uint32_t end, uint64_t now_ms, uint32_t *out_index,
                              tern_error *error) {
    tern_slice prefix = leaf_prefix(payload);
    if (leaf_prefix_in_records(payload) > 0) {
        prefix.size = 0;
    }
    tern_status status = TERN_OK;
    for (; index < end && status == TERN_OK; index++) {
        const uint8_t *record = leaf_record_start(payload, index);
        struct leaf_cell cell;
        (void)leaf_cell_parse(record, &cell);
        if (cell.expires_ms != 0 && cell.expires_ms <= now_ms) {
            break;
        }
        if (prefix.size > 0) {
            status = copy_expanded(builder, prefix, &cell, error);
            continue;
        }
        uint32_t size = (uint32_t)(cell.value + cell.value_size - record);
        status = admit(builder, tern_slice_of(cell.key, cell.key_size), size, error);
        if (status == TERN_OK) {
            memcpy(builder->area + builder->offsets[builder->count], record, size);
            admitted(builder, size);
        }
    }
    if (status == TERN_OK) {
        *out_index = index;
    }
    return status;
}

/* ---- writing a page ---- */

/* Where the parts of a page being written lie. */
struct page {
    uint8_t *payload;
    uint8_t *heads;
    uint8_t *slots;
    uint8_t *data;
};

static void note_large(struct leaf_summary *summary, const struct leaf_cell *cell) {
    if ((cell->flags & RECORD_FLAG_LARGE) != 0) {
        summary->has_large = true;
        summary->large_bytes += cell->large_size;
    }
}

/* Records as they are; returns the end of the payload. */
static uint8_t *encode_whole(const struct leaf_builder *builder, uint32_t begin, uint32_t end,
                             uint32_t prefix, const struct page *page,
                             struct leaf_summary *summary) {
    uint32_t base = builder->offsets[begin];
    uint32_t raw = builder->offsets[end] - base;
    uint8_t *data = page->data + prefix;
    memcpy(data, builder->area + base, raw);
    uint32_t data_offset = (uint32_t)(data - page->payload);
    for (uint32_t i = begin; i < end; i++) {
        uint32_t offset = builder->offsets[i] - base;
        struct leaf_cell cell;
        (void)leaf_cell_parse(data + offset, &cell);
        put_u32(page->heads + (size_t)(i - begin) * 4,
                key_head_u32(cell.key + prefix, cell.key_size - prefix));
        put_u16(page->slots + (size_t)(i - begin) * 2, (uint16_t)(data_offset + offset));
        note_large(summary, &cell);
    }
    return data + raw;
}

/* Records without the prefix. */
static uint8_t *encode_cut(const struct leaf_builder *builder, uint32_t begin, uint32_t end,
                           uint32_t prefix, const struct page *page, struct leaf_summary *summary) {
    uint8_t *data = page->data + prefix;
    for (uint32_t i = begin; i < end; i++) {
        struct leaf_cell cell;
        (void)leaf_cell_parse(builder->area + builder->offsets[i], &cell);
        size_t suffix = cell.key_size - prefix;
        put_u32(page->heads + (size_t)(i - begin) * 4, key_head_u32(cell.key + prefix, suffix));
        put_u16(page->slots + (size_t)(i - begin) * 2, (uint16_t)(data - page->payload));
        data = put_header(data, (uint8_t)cell.flags, suffix, cell.value_size, cell.expires_ms,
                          cell.large_size);
        memcpy(data, cell.key + prefix, suffix + cell.value_size);
        data += suffix + cell.value_size;
        note_large(summary, &cell);
    }
    return data;
}

void leaf_builder_encode(const struct leaf_builder *builder, uint32_t begin, uint32_t end,
                         uint64_t generation, uint8_t *target, struct leaf_summary *out_summary) {
    uint32_t count = end - begin;
    uint32_t prefix = count > 1 ? shared_prefix(builder, begin, end) : 0;
    bool is_cut = prefix_pays(builder, count, prefix);
    struct leaf_summary summary = {.records = count};
    struct page page = {.payload = target, .heads = target + LEAF_HEADER_BYTES};
    page.slots = page.heads + (size_t)count * 4;
    page.data = page.slots + (size_t)count * 2;
    memcpy(page.data, leaf_builder_key(builder, begin).data, prefix);
    uint8_t *data_end = is_cut ? encode_cut(builder, begin, end, prefix, &page, &summary)
                               : encode_whole(builder, begin, end, prefix, &page, &summary);
    summary.payload_bytes = (uint32_t)(data_end - target);
    ASSERT(summary.payload_bytes <= builder->payload_max);
    target[0] = PAGE_LEAF;
    target[1] =
        (uint8_t)((summary.has_large ? PAGE_HAS_LARGE : 0u) | (is_cut ? 0u : PAGE_WHOLE_KEYS));
    put_u16(target + 2, (uint16_t)count);
    put_u16(target + 4, (uint16_t)prefix);
    put_u16(target + 6, (uint16_t)(data_end - page.data));
    put_u64(target + 8, generation);
    *out_summary = summary;
}
