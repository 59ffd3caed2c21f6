/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a state:
 *   u8      format version (1)
 *   varint  height
 *   varint  generation of the root
 *   when height > 0:
 *     u64     packed reference, u64 checksum of the topmost page
 *     varint  records, varint bytes below it
 *   varint  complete seq
 *   varint  count of marks, each: varint size of key, key, varint seq
 */
#include "engine/btree/btree_state.h"

#include "base/bytes.h"
#include "base/compare.h"
#include "base/error.h"
#include "base/varint.h"

#define STATE_FORMAT_VERSION 1u
#define STATE_BYTES_MAX      ((size_t)64 * 1024)
#define MARKS_MAX            4096u

/* Makes a map with copies of the marks' keys behind it. */
static tern_status create_map(const tern_allocator *allocator, seq_no complete_seq,
                              const struct drained_mark *first, const struct drained_mark *marks,
                              uint32_t count, struct drained_map **out_map, tern_error *error) {
    uint32_t total = count + (first != NULL ? 1 : 0);
    size_t bytes = first != NULL ? first->below.size : 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += marks[i].below.size;
    }
    struct drained_map *map =
        memory_allocate(allocator, sizeof(*map) + total * sizeof(struct drained_mark) + bytes);
    if (map == NULL) {
        return ERROR_NO_MEMORY(error, "the state of a partition");
    }
    atomic_init(&map->references, 1);
    map->allocator = allocator;
    map->complete_seq = complete_seq;
    map->count = total;
    uint8_t *keys = (uint8_t *)&map->marks[total];
    for (uint32_t i = 0; i < total; i++) {
        const struct drained_mark *mark = first == NULL ? &marks[i]
                                          : i == 0      ? first
                                                        : &marks[i - 1];
        if (mark->below.size > 0) {
            memcpy(keys, mark->below.data, mark->below.size);
        }
        map->marks[i] = (struct drained_mark){tern_slice_of(keys, mark->below.size), mark->seq};
        keys += mark->below.size;
    }
    *out_map = map;
    return TERN_OK;
}

tern_status drained_map_create(const tern_allocator *allocator, seq_no complete_seq,
                               struct drained_map **out_map, tern_error *error) {
    return create_map(allocator, complete_seq, NULL, NULL, 0, out_map, error);
}

tern_status drained_map_advance(const struct drained_map *map, const tern_slice *boundary,
                                seq_no seq, struct drained_map **out_map, tern_error *error) {
    if (boundary == NULL) {
        return create_map(map->allocator, seq, NULL, NULL, 0, out_map, error);
    }
    uint32_t kept = 0;
    while (kept < map->count && slice_compare(map->marks[kept].below, *boundary) <= 0) {
        kept++;
    }
    const struct drained_mark first = {*boundary, seq};
    return create_map(map->allocator, map->complete_seq, &first, map->marks + kept,
                      map->count - kept, out_map, error);
}

void drained_map_retain(struct drained_map *map) {
    atomic_fetch_add_explicit(&map->references, 1, memory_order_relaxed);
}

void drained_map_release(struct drained_map *map) {
    if (map != NULL && atomic_fetch_sub_explicit(&map->references, 1, memory_order_acq_rel) == 1) {
        memory_release(map->allocator, map);
    }
}

seq_no drained_map_seq(const struct drained_map *map, tern_slice key) {
    for (uint32_t i = 0; i < map->count; i++) {
        if (slice_compare(key, map->marks[i].below) < 0) {
            return map->marks[i].seq;
        }
    }
    return map->complete_seq;
}

seq_no drained_map_newest(const struct drained_map *map) {
    return map->count > 0 && map->marks[0].seq > map->complete_seq ? map->marks[0].seq
                                                                   : map->complete_seq;
}

size_t drained_map_key_bytes(const struct drained_map *map) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < map->count; i++) {
        bytes += map->marks[i].below.size + 2 * VARINT_BYTES_MAX;
    }
    return bytes;
}

tern_status btree_state_encode(const struct btree_root *root, const struct drained_map *map,
                               struct buffer *out_state, tern_error *error) {
    size_t size_max = 1 + 16 + 8 * VARINT_BYTES_MAX + drained_map_key_bytes(map);
    if (buffer_reserve(out_state, size_max) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "the state of a partition");
    }
    uint8_t *end = out_state->data + out_state->size;
    *end++ = STATE_FORMAT_VERSION;
    end = varint_put(end, root->height);
    end = varint_put(end, root->generation);
    if (root->height > 0) {
        put_u64(end, root->child.ref);
        put_u64(end + 8, root->child.checksum);
        end = varint_put(end + 16, root->child.records);
        end = varint_put(end, root->child.bytes);
    }
    end = varint_put(end, map->complete_seq);
    end = varint_put(end, map->count);
    for (uint32_t i = 0; i < map->count; i++) {
        tern_slice key = map->marks[i].below;
        end = varint_put(end, key.size);
        memcpy(end, key.data, key.size);
        end = varint_put(end + key.size, map->marks[i].seq);
    }
    out_state->size = (size_t)(end - out_state->data);
    return TERN_OK;
}

/* Reads marks; NULL when they are malformed: keys ascend, seqs descend down to complete_seq. */
static const uint8_t *get_marks(const uint8_t *source, const uint8_t *end, uint32_t count,
                                seq_no complete_seq, struct drained_mark *marks) {
    for (uint32_t i = 0; i < count; i++) {
        uint64_t size = 0;
        source = varint_get(source, end, &size);
        if (source == NULL || size > (uint64_t)(end - source)) {
            return NULL;
        }
        marks[i].below = tern_slice_of(source, (size_t)size);
        source = varint_get(source + size, end, &marks[i].seq);
        if (source == NULL || marks[i].seq < complete_seq ||
            (i > 0 && (slice_compare(marks[i - 1].below, marks[i].below) >= 0 ||
                       marks[i - 1].seq < marks[i].seq))) {
            return NULL;
        }
    }
    return source;
}

static tern_status malformed(tern_error *error) {
    return ERROR_SET(error, TERN_CORRUPTION,
                     "the state of a B+tree partition is malformed; repair the database");
}

tern_status btree_state_decode(const tern_allocator *allocator, tern_slice bytes,
                               struct btree_state *out_state, tern_error *error) {
    struct btree_state state = {0};
    if (bytes.size == 0) {
        tern_status status = drained_map_create(allocator, SEQ_NONE, &state.map, error);
        if (status == TERN_OK) {
            *out_state = state;
        }
        return status;
    }
    const uint8_t *source = bytes.data;
    const uint8_t *end = source + bytes.size;
    if (*source != STATE_FORMAT_VERSION) {
        return ERROR_SET(error, TERN_VERSION, "state of a B+tree partition in format %u",
                         (unsigned)*source);
    }
    uint64_t height = 0;
    uint64_t complete_seq = 0;
    uint64_t count = 0;
    source = varint_get(source + 1, end, &height);
    source = source != NULL ? varint_get(source, end, &state.generation) : NULL;
    if (source == NULL || height > INNER_LEVELS_MAX + 1 || bytes.size > STATE_BYTES_MAX) {
        return malformed(error);
    }
    state.height = (uint32_t)height;
    if (height > 0) {
        if (end - source < 16) {
            return malformed(error);
        }
        state.child.ref = get_u64(source);
        state.child.checksum = get_u64(source + 8);
        source = varint_get(source + 16, end, &state.child.records);
        source = source != NULL ? varint_get(source, end, &state.child.bytes) : NULL;
        state.records = state.child.records;
        if (source == NULL || ref_place(state.child.ref) < FILE_HEADER_UNITS ||
            ref_units(state.child.ref) == 0) {
            return malformed(error);
        }
    }
    source = varint_get(source, end, &complete_seq);
    source = source != NULL ? varint_get(source, end, &count) : NULL;
    if (source == NULL || count > MARKS_MAX) {
        return malformed(error);
    }
    struct drained_mark *marks = memory_allocate(allocator, (size_t)(count + 1) * sizeof(marks[0]));
    if (marks == NULL) {
        return ERROR_NO_MEMORY(error, "the state of a partition");
    }
    source = get_marks(source, end, (uint32_t)count, complete_seq, marks);
    tern_status status = source == end ? create_map(allocator, complete_seq, NULL, marks,
                                                    (uint32_t)count, &state.map, error)
                                       : malformed(error);
    memory_release(allocator, marks);
    if (status == TERN_OK) {
        *out_state = state;
    }
    return status;
}
