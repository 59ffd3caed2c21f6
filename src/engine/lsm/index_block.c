/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payload of an index block:
 *   0  u8   type (LSM_PAYLOAD_INDEX)
 *   1  u8   zero
 *   2  u16  count of data blocks
 *   4  u32  size of the prefix that all separators share
 *   8  u32  where the prefix begins
 *  12  u32  zero
 *  16  count times u32 head: the first 4 bytes of the separator behind the prefix, big-endian value
 *      count times u64 place and u64 checksum
 *      count times u32 end of the separator's rest, counted from the end of the prefix
 *      prefix, rests of the separators, 64 zero bytes
 */
#include "engine/lsm/index_block.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/compare.h"
#include "simd/compare.h"
#include "simd/search.h"

#define HEADER_BYTES 16u
#define ENTRY_BYTES  24u /* head, reference, end */
#define PAD_BYTES    64u

void index_block_builder_init(struct index_block_builder *builder,
                              const tern_allocator *allocator) {
    buffer_init(&builder->keys, allocator);
    buffer_init(&builder->payload, allocator);
    builder->count = 0;
}

void index_block_builder_release(struct index_block_builder *builder) {
    buffer_release(&builder->keys);
    buffer_release(&builder->payload);
}

void index_block_builder_reset(struct index_block_builder *builder) {
    builder->keys.size = 0;
    builder->count = 0;
}

size_t index_block_builder_size(const struct index_block_builder *builder, size_t key_size) {
    return HEADER_BYTES + (builder->count + 1u) * ENTRY_BYTES + builder->keys.size + key_size +
           PAD_BYTES;
}

tern_status index_block_builder_add(struct index_block_builder *builder, tern_slice separator,
                                    struct lsm_ref ref) {
    ASSERT(builder->count < INDEX_BLOCKS_MAX);
    if (buffer_append(&builder->keys, separator.data, separator.size) != TERN_OK) {
        return TERN_NO_MEMORY;
    }
    builder->ends[builder->count] = (uint32_t)builder->keys.size;
    builder->refs[builder->count++] = ref;
    return TERN_OK;
}

static tern_slice separator_at(const struct index_block_builder *builder, uint32_t index) {
    uint32_t begin = index > 0 ? builder->ends[index - 1] : 0;
    return tern_slice_of(builder->keys.data + begin, builder->ends[index] - begin);
}

tern_slice index_block_builder_first(const struct index_block_builder *builder) {
    return separator_at(builder, 0);
}

tern_status index_block_builder_finish(struct index_block_builder *builder,
                                       tern_slice *out_payload) {
    struct buffer *target = &builder->payload;
    uint32_t count = builder->count;
    size_t size_max = index_block_builder_size(builder, 0);
    target->size = 0;
    if (buffer_reserve(target, size_max) != TERN_OK) {
        return TERN_NO_MEMORY;
    }
    uint8_t *payload = target->data;
    memset(payload, 0, size_max);
    size_t prefix =
        count > 1 ? slice_common_prefix(separator_at(builder, 0), separator_at(builder, count - 1))
                  : 0;
    size_t refs = HEADER_BYTES + 4u * count;
    size_t ends = refs + 16u * count;
    size_t keys = ends + 4u * count;
    payload[0] = LSM_PAYLOAD_INDEX;
    put_u16(payload + 2, (uint16_t)count);
    put_u32(payload + 4, (uint32_t)prefix);
    put_u32(payload + 8, (uint32_t)keys);
    memcpy(payload + keys, builder->keys.data, prefix);
    uint8_t *rest = payload + keys + prefix;
    for (uint32_t i = 0; i < count; i++) {
        tern_slice key = separator_at(builder, i);
        const uint8_t *bytes = (const uint8_t *)key.data + prefix;
        size_t size = key.size - prefix;
        put_u32(payload + HEADER_BYTES + 4u * i, key_head_u32(bytes, size));
        put_u64(payload + refs + 16u * i, builder->refs[i].place);
        put_u64(payload + refs + 16u * i + 8, builder->refs[i].checksum);
        memcpy(rest, bytes, size);
        rest += size;
        put_u32(payload + ends + 4u * i, (uint32_t)(rest - (payload + keys + prefix)));
    }
    *out_payload = tern_slice_of(payload, (size_t)(rest - payload) + PAD_BYTES);
    return TERN_OK;
}

uint32_t index_block_count(const uint8_t *payload) {
    return get_u16(payload + 2);
}

struct lsm_ref index_block_ref(const uint8_t *payload, uint32_t index) {
    const uint8_t *ref = payload + HEADER_BYTES + 4u * index_block_count(payload) + 16u * index;
    return (struct lsm_ref){get_u64(ref), get_u64(ref + 8)};
}

static tern_slice rest_at(const uint8_t *payload, uint32_t index) {
    uint32_t count = index_block_count(payload);
    const uint8_t *ends = payload + HEADER_BYTES + 20u * count;
    uint32_t begin = index > 0 ? get_u32(ends + 4u * (index - 1)) : 0;
    uint32_t end = get_u32(ends + 4u * index);
    return tern_slice_of(payload + get_u32(payload + 8) + get_u32(payload + 4) + begin,
                         end - begin);
}

tern_status index_block_separator(const uint8_t *payload, uint32_t index, struct buffer *out_key) {
    tern_slice rest = rest_at(payload, index);
    out_key->size = 0;
    tern_status status =
        buffer_append(out_key, payload + get_u32(payload + 8), get_u32(payload + 4));
    return status == TERN_OK ? buffer_append(out_key, rest.data, rest.size) : status;
}

size_t index_block_size(const uint8_t *payload) {
    uint32_t count = index_block_count(payload);
    const uint8_t *ends = payload + HEADER_BYTES + 20u * count;
    return get_u32(payload + 8) + get_u32(payload + 4) + get_u32(ends + 4u * (count - 1)) +
           PAD_BYTES;
}

const char *index_block_check(const uint8_t *payload, size_t size) {
    if (size < HEADER_BYTES + PAD_BYTES || payload[0] != LSM_PAYLOAD_INDEX) {
        return "index.header";
    }
    uint32_t count = index_block_count(payload);
    size_t prefix = get_u32(payload + 4);
    size_t keys = get_u32(payload + 8);
    if (count == 0 || count > INDEX_BLOCKS_MAX || keys != HEADER_BYTES + ENTRY_BYTES * count ||
        size < keys + PAD_BYTES || prefix > size - keys - PAD_BYTES) {
        return "index.header";
    }
    size_t room = size - keys - PAD_BYTES - prefix;
    const uint8_t *ends = payload + HEADER_BYTES + 20u * count;
    uint32_t previous = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t end = get_u32(ends + 4u * i);
        if (end < previous || end > room) {
            return "index.ends";
        }
        previous = end;
    }
    for (uint32_t i = 0; i < count; i++) {
        tern_slice rest = rest_at(payload, i);
        if (get_u32(payload + HEADER_BYTES + 4u * i) != key_head_u32(rest.data, rest.size)) {
            return "index.heads";
        }
        if (i > 0 && slice_compare(rest_at(payload, i - 1), rest) >= 0) {
            return "index.order";
        }
    }
    return NULL;
}

uint32_t index_block_find(const uint8_t *payload, tern_slice key) {
    uint32_t count = index_block_count(payload);
    size_t prefix = get_u32(payload + 4);
    if (prefix > 0) {
        size_t shorter = key.size < prefix ? key.size : prefix;
        int order = memcmp(key.data, payload + get_u32(payload + 8), shorter);
        if (order != 0 || key.size < prefix) {
            return order > 0 ? count - 1 : 0;
        }
    }
    tern_slice rest = tern_slice_of((const uint8_t *)key.data + prefix, key.size - prefix);
    uint32_t head = key_head_u32(rest.data, rest.size);
    const uint32_t *heads = (const void *)(payload + HEADER_BYTES);
    uint32_t index = (uint32_t)search_lower_u32(heads, count, head);
    while (index < count && heads[index] == head &&
           slice_compare(rest_at(payload, index), rest) <= 0) {
        index++;
    }
    return index > 0 ? index - 1 : 0;
}
