/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inner nodes: building the search form, searching it, and its page.
 *
 * One allocation, each part on a line of its own:
 *
 *   struct inner_node | prefix | samples | heads | hints | nodes | refs | checksums | records |
 * bytes | key offsets | keys
 *
 * N1. Heads are padded with the greatest head to whole blocks of 16, one block more than there are
 *     full ones; samples likewise. So a search needs no bounds.
 * N2. Separators ascend strictly; the prefix is what the first and the last share (none with fewer
 *     than two separators).
 * N3. Everything but hints, loaded children and the reference count is constant after building;
 *     `self` and `self_checksum` are set by the writer before the node is shared.
 *
 * Invariants of an inner page, by the names that node_decode gives:
 *   inner.header      type, level, zero field      inner.count       1 to 4096 children
 *   inner.children    references, counts           inner.separators  sizes within the payload
 *   inner.order       separators ascend            inner.end         nothing after the last one
 */
#include "engine/btree/btree_node.h"

#include "base/assert.h"
#include "base/error.h"
#include "base/varint.h"
#include "engine/btree/node_access.h"
#include "simd/compare.h"

#define LINE_BYTES        64u
#define CHILD_RECORDS_MAX ((uint64_t)1 << 48)
#define CHILD_BYTES_MAX   ((uint64_t)1 << 52)

/* Offsets of the parts. */
struct layout {
    size_t prefix, samples, heads, hints, nodes, refs, checksums, records, bytes, key_offsets, keys;
    size_t size;
    uint32_t sample_count;
};

static size_t part(size_t *position, size_t bytes) {
    size_t start = *position;
    *position = (start + bytes + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    return start;
}

static struct layout lay_out(uint32_t count, bool has_nodes, size_t prefix_size, size_t keys_size) {
    struct layout layout;
    uint32_t separators = count - 1;
    size_t position = sizeof(struct inner_node);
    position = (position + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    layout.sample_count = separators / 16;
    layout.prefix = part(&position, prefix_size);
    layout.samples = part(&position, (size_t)(layout.sample_count / 16 + 1) * LINE_BYTES);
    layout.heads = part(&position, (size_t)(layout.sample_count + 1) * LINE_BYTES);
    layout.hints = part(&position, count * sizeof(cache_hint));
    layout.nodes = part(&position, has_nodes ? count * sizeof(void *) : 0);
    layout.refs = part(&position, count * sizeof(packed_ref));
    layout.checksums = part(&position, count * sizeof(uint64_t));
    layout.records = part(&position, count * sizeof(uint64_t));
    layout.bytes = part(&position, count * sizeof(uint64_t));
    layout.key_offsets = part(&position, count * sizeof(uint32_t));
    layout.keys = part(&position, keys_size);
    layout.size = position;
    return layout;
}

static void fill_heads(struct inner_node *node, const struct layout *layout, uint8_t *base,
                       const tern_slice *separators) {
    uint32_t separator_count = node->count - 1;
    uint32_t *samples = (uint32_t *)(void *)(base + layout->samples);
    uint32_t *heads = (uint32_t *)(void *)(base + layout->heads);
    uint32_t *offsets = (uint32_t *)(void *)(base + layout->key_offsets);
    uint8_t *keys = base + layout->keys;
    memset(samples, 0xff, (size_t)(layout->sample_count / 16 + 1) * LINE_BYTES);
    memset(heads, 0xff, (size_t)(layout->sample_count + 1) * LINE_BYTES);
    uint32_t position = 0;
    for (uint32_t i = 0; i < separator_count; i++) {
        tern_slice rest = slice_after(separators[i], node->prefix_size);
        heads[i] = head_of(rest);
        if (i % 16 == 15) {
            samples[i / 16] = heads[i];
        }
        offsets[i] = position;
        if (rest.size > 0) {
            memcpy(keys + position, rest.data, rest.size);
        }
        position += (uint32_t)rest.size;
    }
    offsets[separator_count] = position;
    node->samples = samples;
    node->heads = heads;
    node->key_offsets = offsets;
    node->keys = keys;
    node->sample_count = (uint16_t)layout->sample_count;
}

static void fill_children(struct inner_node *node, const struct layout *layout, uint8_t *base,
                          const struct node_source *source) {
    _Atomic cache_hint *hints = (_Atomic cache_hint *)(void *)(base + layout->hints);
    packed_ref *refs = (packed_ref *)(void *)(base + layout->refs);
    uint64_t *checksums = (uint64_t *)(void *)(base + layout->checksums);
    uint64_t *records = (uint64_t *)(void *)(base + layout->records);
    uint64_t *bytes = (uint64_t *)(void *)(base + layout->bytes);
    for (uint32_t i = 0; i < node->count; i++) {
        refs[i] = source->children[i].ref;
        atomic_init(&hints[i], source->level == 1 && source->hints != NULL ? source->hints[i] : 0);
        checksums[i] = source->children[i].checksum;
        records[i] = source->children[i].records;
        bytes[i] = source->children[i].bytes;
    }
    node->hints = hints;
    node->refs = refs;
    node->checksums = checksums;
    node->records = records;
    node->bytes = bytes;
    if (source->level == 1) {
        return;
    }
    node->nodes = (_Atomic(struct inner_node *) *)(void *)(base + layout->nodes);
    for (uint32_t i = 0; i < node->count; i++) {
        struct inner_node *child = source->nodes != NULL ? source->nodes[i] : NULL;
        if (child != NULL) {
            node_retain(child);
        }
        atomic_init(&node->nodes[i], child);
    }
}

tern_status node_build(const tern_allocator *allocator, struct budget *budget,
                       const struct node_source *source, struct inner_node **out_node,
                       tern_error *error) {
    ASSERT(source->count >= 1 && source->count <= INNER_CHILDREN_MAX && source->level >= 1);
    uint32_t separators = source->count - 1;
    size_t prefix_size = 0;
    if (separators >= 2) {
        prefix_size =
            slice_common_prefix(source->separators[0], source->separators[separators - 1]);
    }
    size_t keys_size = 0;
    for (uint32_t i = 0; i < separators; i++) {
        keys_size += source->separators[i].size - prefix_size;
    }
    struct layout layout = lay_out(source->count, source->level > 1, prefix_size, keys_size);
    uint8_t *base = memory_allocate_aligned(allocator, LINE_BYTES, layout.size);
    if (base == NULL) {
        return ERROR_NO_MEMORY(error, "an inner node");
    }
    struct inner_node *node = (struct inner_node *)(void *)base;
    *node = (struct inner_node){
        .level = source->level,
        .count = source->count,
        .prefix_size = (uint32_t)prefix_size,
        .prefix = base + layout.prefix,
        .generation = source->generation,
        .memory_bytes = layout.size,
    };
    atomic_init(&node->references, 1);
    if (prefix_size > 0) {
        memcpy(base + layout.prefix, source->separators[0].data, prefix_size);
    }
    fill_heads(node, &layout, base, source->separators);
    fill_children(node, &layout, base, source);
    budget_add(budget, BUDGET_INDEX, layout.size);
    *out_node = node;
    return TERN_OK;
}

void node_retain(struct inner_node *node) {
    atomic_fetch_add_explicit(&node->references, 1, memory_order_relaxed);
}

void node_release(const tern_allocator *allocator, struct budget *budget, struct inner_node *node) {
    if (node == NULL ||
        atomic_fetch_sub_explicit(&node->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (node->nodes != NULL) {
        for (uint32_t i = 0; i < node->count; i++) {
            node_release(allocator, budget,
                         atomic_load_explicit(&node->nodes[i], memory_order_acquire));
        }
    }
    budget_subtract(budget, BUDGET_INDEX, node->memory_bytes);
    memory_release_aligned(allocator, node);
}

/* ---- searching ---- */

static tern_slice rest_of(const struct inner_node *node, uint32_t index) {
    uint32_t start = node->key_offsets[index];
    return tern_slice_of(node->keys + start, node->key_offsets[index + 1] - start);
}

uint32_t node_search_equal_heads(const struct inner_node *node, uint32_t first, uint32_t head,
                                 tern_slice key) {
    uint32_t separators = node->count - 1;
    tern_slice rest = slice_after(key, node->prefix_size);
    uint32_t low = first;
    uint32_t high = first + 1;
    if (high < separators && node->heads[high] == head) {
        high = head == UINT32_MAX
                   ? separators
                   : heads_lower_bound((const uint8_t *)node->heads, separators, head + 1);
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (slice_compare(rest_of(node, middle), rest) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

uint32_t node_search(const struct inner_node *node, tern_slice key) {
    uint32_t head = 0;
    uint32_t index = 0;
    if (node_search_begin(node, key, &head, &index)) {
        return index;
    }
    return node_search_end(node, key, head, index);
}

size_t node_separator(const struct inner_node *node, uint32_t index, uint8_t *out) {
    tern_slice rest = rest_of(node, index);
    memcpy(out, node->prefix, node->prefix_size);
    memcpy(out + node->prefix_size, rest.data, rest.size);
    return node->prefix_size + rest.size;
}

size_t node_separator_size(const struct inner_node *node, uint32_t index) {
    return node->prefix_size + (node->key_offsets[index + 1] - node->key_offsets[index]);
}

/* ---- the page ---- */

tern_status node_encode(const struct inner_node *node, struct buffer *out_payload) {
    size_t size = INNER_HEADER_BYTES + (size_t)node->count * INNER_CHILD_BYTES;
    for (uint32_t i = 0; i + 1 < node->count; i++) {
        size_t separator = node_separator_size(node, i);
        size += varint_size(separator) + separator;
    }
    ASSERT(size <= INNER_PAYLOAD_BYTES_MAX);
    tern_status status = buffer_reserve(out_payload, size);
    if (status != TERN_OK) {
        return status;
    }
    uint8_t *start = out_payload->data + out_payload->size;
    uint8_t *position = start;
    position[0] = PAGE_INNER;
    position[1] = (uint8_t)node->level;
    put_u16(position + 2, 0);
    put_u32(position + 4, node->count);
    put_u64(position + 8, node->generation);
    position += INNER_HEADER_BYTES;
    for (uint32_t i = 0; i < node->count; i++) {
        put_u64(position, node->refs[i]);
        put_u64(position + 8, node->checksums[i]);
        put_u64(position + 16, node->records[i]);
        put_u64(position + 24, node->bytes[i]);
        position += INNER_CHILD_BYTES;
    }
    for (uint32_t i = 0; i + 1 < node->count; i++) {
        position = varint_put(position, node_separator_size(node, i));
        position += node_separator(node, i, position);
    }
    ASSERT(position == start + size);
    out_payload->size += size;
    return TERN_OK;
}

static bool child_is_sound(const struct child_ref *child) {
    uint64_t place = ref_place(child->ref);
    uint64_t units = ref_units(child->ref);
    return place >= FILE_HEADER_UNITS && units > 0 &&
           place + units <= (uint64_t)1 << CACHE_PLACE_BITS &&
           (ref_flags(child->ref) & ~REF_HAS_LARGE) == 0 && child->records > 0 &&
           child->records <= CHILD_RECORDS_MAX && child->bytes <= CHILD_BYTES_MAX;
}

/* Fills arrays of `count` and `count - 1` from a payload; returns the broken invariant or NULL. */
static const char *parse_page(const uint8_t *payload, size_t size, uint32_t count,
                              struct child_ref *children, tern_slice *separators) {
    const uint8_t *position = payload + INNER_HEADER_BYTES;
    const uint8_t *end = payload + size;
    for (uint32_t i = 0; i < count; i++, position += INNER_CHILD_BYTES) {
        children[i] = (struct child_ref){get_u64(position), get_u64(position + 8),
                                         get_u64(position + 16), get_u64(position + 24)};
        if (!child_is_sound(&children[i])) {
            return "inner.children";
        }
    }
    for (uint32_t i = 0; i + 1 < count; i++) {
        uint64_t separator_size = 0;
        position = varint_get(position, end, &separator_size);
        if (position == NULL || separator_size > (uint64_t)(end - position)) {
            return "inner.separators";
        }
        separators[i] = tern_slice_of(position, separator_size);
        position += separator_size;
        if (separator_size == 0 ||
            (i > 0 && slice_compare(separators[i - 1], separators[i]) >= 0)) {
            return "inner.order";
        }
    }
    return position == end ? NULL : "inner.end";
}

static const char *check_page_header(const uint8_t *payload, size_t size, uint16_t level) {
    if (level == 0 || level > INNER_LEVELS_MAX || size < INNER_HEADER_BYTES ||
        size > INNER_PAYLOAD_BYTES_MAX || payload[0] != PAGE_INNER || payload[1] != level ||
        get_u16(payload + 2) != 0) {
        return "inner.header";
    }
    uint32_t count = get_u32(payload + 4);
    if (count == 0 || count > INNER_CHILDREN_MAX ||
        INNER_HEADER_BYTES + (size_t)count * INNER_CHILD_BYTES > size) {
        return "inner.count";
    }
    return NULL;
}

tern_status node_decode_named(const tern_allocator *allocator, struct budget *budget,
                              const uint8_t *payload, size_t size, uint16_t level,
                              const char **out_broken, struct inner_node **out_node,
                              tern_error *error) {
    const char *broken = check_page_header(payload, size, level);
    if (broken != NULL) {
        *out_broken = broken;
        return TERN_CORRUPTION;
    }
    uint32_t count = get_u32(payload + 4);
    struct child_ref *children =
        memory_allocate(allocator, count * (sizeof(struct child_ref) + sizeof(tern_slice)));
    if (children == NULL) {
        return ERROR_NO_MEMORY(error, "an inner page");
    }
    tern_slice *separators = (tern_slice *)(void *)(children + count);
    broken = parse_page(payload, size, count, children, separators);
    tern_status status = TERN_CORRUPTION;
    if (broken != NULL) {
        *out_broken = broken;
    } else {
        const struct node_source source = {
            .level = level,
            .count = count,
            .children = children,
            .separators = separators,
            .generation = get_u64(payload + 8),
        };
        status = node_build(allocator, budget, &source, out_node, error);
    }
    memory_release(allocator, children);
    return status;
}

tern_status node_decode(const tern_allocator *allocator, struct budget *budget,
                        const uint8_t *payload, size_t size, uint16_t level, const char *path,
                        uint64_t offset, struct inner_node **out_node, tern_error *error) {
    const char *broken = NULL;
    tern_status status =
        node_decode_named(allocator, budget, payload, size, level, &broken, out_node, error);
    if (status == TERN_CORRUPTION) {
        return ERROR_AT(error, TERN_CORRUPTION, path, offset, 0,
                        "inner page breaks invariant %s; run verify and repair", broken);
    }
    return status;
}
