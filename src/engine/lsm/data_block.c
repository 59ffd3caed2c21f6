/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payload of a data block:
 *   0  u8   type (LSM_PAYLOAD_DATA)
 *   1  u8   flags: 1 some record refers to a value stored apart
 *   2  u16  records
 *   4  u16  restart points
 *   6  u16  buckets of the hash index (0: none)
 *   8  u32  where the restart points begin
 *  12  u32  sum of the sizes of all keys
 *  16  records
 *      u16  offset of the record of each restart point
 *      u8   buckets: number of a restart point, 254 nothing falls here, 255 more than one does
 *
 * Record: u8 kind (bits 0 to 2), has expiry (bit 3); varint bytes shared with the key before (0 at
 * a restart point), varint further key bytes, varint value size, varint expiry when there is one,
 * varint size of the whole value when LARGE, key bytes, value.
 *
 * A search never puts keys together: of the key looked for it knows how many bytes the last record
 * had in common, and what a record shares with the one before tells the rest.
 */
#include "engine/lsm/data_block.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/compare.h"
#include "base/varint.h"
#include "engine/lsm/lsm_format.h"
#include "simd/compare.h"

#define HEADER_BYTES     16u
#define FLAG_HAS_LARGE   1u
#define KIND_MASK        7u
#define HAS_EXPIRY       8u
#define RESTART_INTERVAL DATA_BLOCK_INTERVAL
#define BUCKET_EMPTY     254u
#define BUCKET_COLLISION 255u
#define RESTARTS_HASHED  250u
/* Kind, and the sizes of what is shared, of the key and of the value, each below 2^21. */
#define RECORD_SIZES_BYTES_MAX 10u
/* Blocks of fewer records are searched as fast without buckets. */
#define RECORDS_HASHED 12u
/* Short keys are copied by so many bytes, whatever their size. */
#define KEY_COPY_BYTES 16u
/* How far a walk fetches ahead, and how much where it begins. */
#define RECORDS_AHEAD 8
#define LINES_AHEAD   12u
/* What a search fetches of an interval of short records: all of it. */
#define LINES_FOUND 20u
#define LINE_BYTES  64u
/* More restart points than this are searched without fetching all of them ahead. */
#define RESTARTS_PREFETCHED 32u

void data_block_builder_init(struct data_block_builder *builder, const tern_allocator *allocator) {
    *builder = (struct data_block_builder){.allocator = allocator};
    buffer_init(&builder->entries, allocator);
    buffer_init(&builder->previous, allocator);
}

void data_block_builder_release(struct data_block_builder *builder) {
    buffer_release(&builder->entries);
    buffer_release(&builder->previous);
    memory_release(builder->allocator, builder->restarts);
    memory_release(builder->allocator, builder->hashes);
    builder->restarts = NULL;
    builder->hashes = NULL;
    builder->restart_capacity = builder->hash_capacity = 0;
}

void data_block_builder_reset(struct data_block_builder *builder) {
    builder->entries.size = 0;
    builder->previous.size = 0;
    builder->restart_count = 0;
    builder->count = 0;
    builder->key_bytes = 0;
    builder->has_large = false;
}

static uint32_t bucket_count(uint32_t records, uint32_t restarts) {
    return records >= RECORDS_HASHED && restarts <= RESTARTS_HASHED ? records * 4 / 3 + 1 : 0;
}

size_t data_block_builder_size(const struct data_block_builder *builder, tern_slice key,
                               const struct record *record) {
    size_t entries = builder->entries.size < HEADER_BYTES ? HEADER_BYTES : builder->entries.size;
    /* The number of restart points decides whether there are buckets: it must be the right one. */
    uint32_t restarts = builder->restart_count + (builder->count % RESTART_INTERVAL == 0 ? 1 : 0);
    entries += key.size + record->value.size + RECORD_SIZES_BYTES_MAX;
    entries += record->expires_ms != 0 ? VARINT_BYTES_MAX : 0;
    entries += record->kind == RECORD_LARGE ? VARINT_BYTES_MAX : 0;
    return entries + 2u * restarts + bucket_count(builder->count + 1u, restarts);
}

static tern_status grow(const tern_allocator *allocator, void **array, uint32_t *capacity,
                        uint32_t wanted, size_t item_bytes) {
    if (wanted <= *capacity) {
        return TERN_OK;
    }
    uint32_t larger = wanted * 2 + 64;
    void *memory = memory_resize(allocator, *array, larger * item_bytes);
    if (memory == NULL) {
        return TERN_NO_MEMORY;
    }
    *array = memory;
    *capacity = larger;
    return TERN_OK;
}

static tern_status make_room_slowly(struct data_block_builder *builder, tern_slice key,
                                    const struct record *record) {
    void *restarts = builder->restarts;
    void *hashes = builder->hashes;
    tern_status status = grow(builder->allocator, &restarts, &builder->restart_capacity,
                              builder->restart_count + 1, sizeof(uint16_t));
    builder->restarts = restarts;
    if (status == TERN_OK) {
        status = grow(builder->allocator, &hashes, &builder->hash_capacity, builder->count + 1,
                      sizeof(uint32_t));
        builder->hashes = hashes;
    }
    if (status == TERN_OK) {
        status = buffer_reserve(&builder->entries, HEADER_BYTES + key.size + record->value.size +
                                                       DATA_RECORD_BYTES_MAX);
    }
    return status;
}

static inline tern_status make_room(struct data_block_builder *builder, tern_slice key,
                                    const struct record *record) {
    size_t bytes = HEADER_BYTES + key.size + record->value.size + DATA_RECORD_BYTES_MAX;
    bool has_room = builder->restart_count < builder->restart_capacity &&
                    builder->count < builder->hash_capacity &&
                    builder->entries.capacity - builder->entries.size >= bytes;
    return __builtin_expect(has_room, 1) ? TERN_OK : make_room_slowly(builder, key, record);
}

tern_status data_block_builder_add(struct data_block_builder *builder, tern_slice key,
                                   uint64_t key_hash, const struct record *record) {
    size_t shared = slice_common_prefix(buffer_slice(&builder->previous), key);
    tern_status status = data_block_builder_add_sharing(builder, key, shared, key_hash, record);
    builder->previous.size = 0;
    return status == TERN_OK ? buffer_append(&builder->previous, key.data, key.size) : status;
}

tern_status data_block_builder_add_sharing(struct data_block_builder *builder, tern_slice key,
                                           size_t shared, uint64_t key_hash,
                                           const struct record *record) {
    tern_status status = make_room(builder, key, record);
    if (status != TERN_OK) {
        return status;
    }
    if (builder->entries.size == 0) {
        builder->entries.size = HEADER_BYTES;
    }
    if (builder->count % RESTART_INTERVAL == 0) {
        builder->restarts[builder->restart_count++] = (uint16_t)builder->entries.size;
        shared = 0;
    }
    uint8_t *end = builder->entries.data + builder->entries.size;
    *end++ = (uint8_t)((uint32_t)record->kind | (record->expires_ms != 0 ? HAS_EXPIRY : 0));
    end = varint_put(end, shared);
    end = varint_put(end, key.size - shared);
    end = varint_put(end, record->value.size);
    if (record->expires_ms != 0) {
        end = varint_put(end, record->expires_ms);
    }
    if (record->kind == RECORD_LARGE) {
        end = varint_put(end, record->value_size);
        builder->has_large = true;
    }
    memcpy(end, (const uint8_t *)key.data + shared, key.size - shared);
    end += key.size - shared;
    if (record->value.size > 0) {
        memcpy(end, record->value.data, record->value.size);
        end += record->value.size;
    }
    builder->entries.size = (size_t)(end - builder->entries.data);
    builder->hashes[builder->count++] = (uint32_t)(key_hash >> 32);
    builder->key_bytes += key.size;
    return TERN_OK;
}

static uint32_t bucket_of(uint32_t hash, uint32_t buckets) {
    return (uint32_t)((uint64_t)hash * buckets >> 32);
}

tern_status data_block_builder_finish(struct data_block_builder *builder, tern_slice *out_payload) {
    uint32_t buckets = bucket_count(builder->count, builder->restart_count);
    if (buffer_reserve(&builder->entries, 2u * builder->restart_count + buckets) != TERN_OK) {
        return TERN_NO_MEMORY;
    }
    uint8_t *payload = builder->entries.data;
    size_t entries_end = builder->entries.size;
    payload[0] = LSM_PAYLOAD_DATA;
    payload[1] = builder->has_large ? FLAG_HAS_LARGE : 0;
    put_u16(payload + 2, (uint16_t)builder->count);
    put_u16(payload + 4, (uint16_t)builder->restart_count);
    put_u16(payload + 6, (uint16_t)buckets);
    put_u32(payload + 8, (uint32_t)entries_end);
    put_u32(payload + 12, (uint32_t)builder->key_bytes);
    memcpy(payload + entries_end, builder->restarts, 2u * builder->restart_count);
    uint8_t *bucket = payload + entries_end + 2u * builder->restart_count;
    memset(bucket, BUCKET_EMPTY, buckets);
    for (uint32_t i = 0; buckets > 0 && i < builder->count; i++) {
        uint8_t *place = &bucket[bucket_of(builder->hashes[i], buckets)];
        uint8_t restart = (uint8_t)(i / RESTART_INTERVAL);
        *place = *place == BUCKET_EMPTY || *place == restart ? restart : BUCKET_COLLISION;
    }
    *out_payload = tern_slice_of(payload, entries_end + 2u * builder->restart_count + buckets);
    return TERN_OK;
}

/* ---- reading ---- */

/* One record as it lies in the block. */
struct cell {
    uint32_t shared;
    uint32_t key_size; /* without what is shared */
    const uint8_t *key;
    struct record record;
};

static const uint8_t *read_number(const uint8_t *source, const uint8_t *end, uint64_t *out_value) {
    if (__builtin_expect(source < end && *source < 0x80, 1)) {
        *out_value = *source;
        return source + 1;
    }
    return varint_get(source, end, out_value);
}

/* Reads a record; NULL when it does not lie before `end`. */
static const uint8_t *read_cell(const uint8_t *source, const uint8_t *end, struct cell *cell) {
    uint64_t shared, key_size, value_size;
    if (source >= end) {
        return NULL;
    }
    uint8_t head = *source++;
    struct record *record = &cell->record;
    record->kind = (enum record_kind)(head & KIND_MASK);
    record->merge_kind = 0;
    record->expires_ms = 0;
    source = read_number(source, end, &shared);
    source = source != NULL ? read_number(source, end, &key_size) : NULL;
    source = source != NULL ? read_number(source, end, &value_size) : NULL;
    if (source != NULL && (head & HAS_EXPIRY) != 0) {
        source = varint_get(source, end, &record->expires_ms);
    }
    record->value_size = 0;
    if (source != NULL && record->kind == RECORD_LARGE) {
        source = varint_get(source, end, &record->value_size);
    }
    if (source == NULL || key_size > (uint64_t)(end - source) ||
        value_size > (uint64_t)(end - source) - key_size || shared > UINT16_MAX) {
        return NULL;
    }
    cell->shared = (uint32_t)shared;
    cell->key_size = (uint32_t)key_size;
    cell->key = source;
    record->value = tern_slice_of(source + key_size, (size_t)value_size);
    if (record->kind != RECORD_LARGE) {
        record->value_size = value_size;
    }
    return source + key_size + value_size;
}

/* The same for a payload that was accepted: most records have three sizes of one byte each, and
 * nothing else. */
static inline __attribute__((always_inline)) const uint8_t *
take_cell(const uint8_t *source, const uint8_t *end, struct cell *cell) {
    uint32_t word = get_u32(source);
    uint32_t kind = word & KIND_MASK;
    if (__builtin_expect((word & (0x80808000u | HAS_EXPIRY)) != 0 || kind == RECORD_LARGE, 0)) {
        struct cell slow;
        source = read_cell(source, end, &slow);
        *cell = slow;
        return source;
    }
    cell->shared = word >> 8 & 0x7f;
    cell->key_size = word >> 16 & 0x7f;
    cell->key = source + 4;
    cell->record.kind = (enum record_kind)kind;
    cell->record.merge_kind = 0;
    cell->record.expires_ms = 0;
    cell->record.value_size = word >> 24;
    cell->record.value.data = cell->key + cell->key_size;
    cell->record.value.size = word >> 24;
    return cell->key + cell->key_size + (word >> 24);
}

static bool is_list(tern_slice list) {
    const uint8_t *source = list.data;
    const uint8_t *end = source + list.size;
    uint64_t time_ms, size;
    while (source < end) {
        uint8_t kind = *source;
        source = varint_get(source + 1, end, &time_ms);
        source = source != NULL ? varint_get(source, end, &size) : NULL;
        if (source == NULL || size > (uint64_t)(end - source) || kind < 1 || kind > 3) {
            return false;
        }
        source += size;
    }
    return list.size > 0;
}

static bool is_kind(const struct record *record) {
    switch (record->kind) {
    case RECORD_PUT:
    case RECORD_LARGE:
        return true;
    case RECORD_DELETE:
        return record->value.size == 0;
    case RECORD_MERGE:
        return is_list(record->value);
    default:
        return false;
    }
}

/* Only values expire. */
static bool is_head(uint8_t head) {
    uint32_t kind = head & KIND_MASK;
    return head == kind || (head == (kind | HAS_EXPIRY) &&
                            (kind == (uint32_t)RECORD_PUT || kind == (uint32_t)RECORD_LARGE));
}

const char *data_block_check(const uint8_t *payload, size_t size) {
    if (size < HEADER_BYTES || payload[0] != LSM_PAYLOAD_DATA || payload[1] > FLAG_HAS_LARGE) {
        return "data.header";
    }
    uint32_t count = get_u16(payload + 2);
    uint32_t restarts = get_u16(payload + 4);
    uint32_t buckets = get_u16(payload + 6);
    size_t entries_end = get_u32(payload + 8);
    if (count == 0 || entries_end > size || size - entries_end != 2u * restarts + buckets ||
        restarts != (count + RESTART_INTERVAL - 1) / RESTART_INTERVAL) {
        return "data.header";
    }
    const uint8_t *source = payload + HEADER_BYTES;
    const uint8_t *end = payload + entries_end;
    uint64_t key_bytes = 0;
    size_t previous = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct cell cell;
        if (i % RESTART_INTERVAL == 0) {
            if (get_u16(payload + entries_end + (size_t)i / RESTART_INTERVAL * 2) !=
                (size_t)(source - payload)) {
                return "data.restarts";
            }
            previous = 0;
        }
        const uint8_t *head = source;
        source = read_cell(source, end, &cell);
        if (source == NULL || !is_head(*head) || cell.shared > previous || !is_kind(&cell.record)) {
            return "data.record";
        }
        previous = cell.shared + cell.key_size;
        if (previous == 0) {
            return "data.key";
        }
        key_bytes += previous;
    }
    const uint8_t *bucket = payload + entries_end + 2u * restarts;
    for (uint32_t i = 0; i < buckets; i++) {
        if (bucket[i] >= restarts && bucket[i] < BUCKET_EMPTY) {
            return "data.buckets";
        }
    }
    return source == end && key_bytes == get_u32(payload + 12) ? NULL : "data.size";
}

/* The restart point in whose interval the key must be, by binary search; UINT32_MAX: before all. */
static uint32_t search_restart(const uint8_t *payload, tern_slice key) {
    const uint8_t *end = payload + get_u32(payload + 8);
    uint32_t low = 0;
    uint32_t high = get_u16(payload + 4);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct cell cell;
        (void)take_cell(payload + get_u16(end + (size_t)middle * 2), end, &cell);
        if (slice_compare(tern_slice_of(cell.key, cell.key_size), key) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low - 1;
}

/* Each record tells where the next one begins, so one line would be waited for after the other. */
static void prefetch_interval(const uint8_t *source, const uint8_t *end) {
    size_t size = (size_t)(end - source);
    /* Records are of about one length: where each begins, when they are long. */
    size_t step = size > (size_t)LINES_FOUND * LINE_BYTES ? size / RESTART_INTERVAL : LINE_BYTES;
    for (size_t at = step; at < size; at += step) {
        __builtin_prefetch(source + at);
    }
}

bool data_block_find(const uint8_t *payload, tern_slice key, uint64_t key_hash,
                     struct record *out_record) {
    const uint8_t *end = payload + get_u32(payload + 8);
    uint32_t restarts = get_u16(payload + 4);
    uint32_t buckets = get_u16(payload + 6);
    uint32_t restart = BUCKET_COLLISION;
    if (buckets > 0) {
        restart = end[2u * restarts + bucket_of((uint32_t)(key_hash >> 32), buckets)];
        if (restart == BUCKET_EMPTY) {
            return false;
        }
    }
    if (restart == BUCKET_COLLISION) {
        data_block_prefetch_restarts(payload);
        restart = search_restart(payload, key);
        if (restart == UINT32_MAX) {
            return false;
        }
    }
    const uint8_t *source = payload + get_u16(end + (size_t)restart * 2);
    prefetch_interval(
        source, restart + 1 < restarts ? payload + get_u16(end + (size_t)(restart + 1) * 2) : end);
    const uint8_t *wanted = key.data;
    size_t matched = 0; /* bytes that the key has in common with the record before */
    for (uint32_t i = 0; i < RESTART_INTERVAL && source < end; i++) {
        struct cell cell;
        source = take_cell(source, end, &cell);
        if (cell.shared > matched) {
            continue; /* differs from the key where the one before did: still below it */
        }
        if (cell.shared < matched) {
            return false; /* has gone beyond it */
        }
        size_t left = key.size - matched;
        size_t shorter = cell.key_size < left ? cell.key_size : left;
        size_t same = 0;
        while (same < shorter && cell.key[same] == wanted[matched + same]) {
            same++;
        }
        if (same == shorter) {
            if (cell.key_size == left) {
                *out_record = cell.record;
                return true;
            }
            if (cell.key_size > left) {
                return false;
            }
        } else if (cell.key[same] > wanted[matched + same]) {
            return false;
        }
        matched += same;
    }
    return false;
}

void data_block_prefetch(const uint8_t *payload, uint64_t key_hash) {
    const uint8_t *end = payload + get_u32(payload + 8);
    uint32_t buckets = get_u16(payload + 6);
    __builtin_prefetch(end);
    if (buckets > 0) {
        __builtin_prefetch(end + 2u * get_u16(payload + 4) +
                           bucket_of((uint32_t)(key_hash >> 32), buckets));
    }
}

size_t data_block_size(const uint8_t *payload) {
    return get_u32(payload + 8) + 2u * get_u16(payload + 4) + get_u16(payload + 6);
}

uint32_t data_block_count(const uint8_t *payload) {
    return get_u16(payload + 2);
}

/* Of the last key as many bytes are written as of any other. */
size_t data_block_key_bytes(const uint8_t *payload) {
    return (size_t)get_u32(payload + 12) + KEY_COPY_BYTES;
}

uint32_t data_block_restart(const uint8_t *payload, tern_slice key) {
    uint32_t restart = search_restart(payload, key);
    return restart == UINT32_MAX ? 0 : restart;
}

void data_block_prefetch_restarts(const uint8_t *payload) {
    const uint8_t *end = payload + get_u32(payload + 8);
    uint32_t restarts = get_u16(payload + 4);
    for (uint32_t i = 0; restarts <= RESTARTS_PREFETCHED && i < restarts; i++) {
        __builtin_prefetch(payload + get_u16(end + (size_t)i * 2));
    }
}

void data_block_walk_begin(struct data_block_walk *walk, const uint8_t *payload, uint32_t restart,
                           uint8_t *keys) {
    const uint8_t *end = payload + get_u32(payload + 8);
    *walk = (struct data_block_walk){.source = payload + get_u16(end + (size_t)restart * 2),
                                     .end = end,
                                     .previous = keys,
                                     .keys = keys};
    for (uint32_t i = 1; i <= LINES_AHEAD; i++) {
        __builtin_prefetch(walk->source + (size_t)i * 64);
    }
}

/* The first KEY_COPY_BYTES of a key, or what lies behind a shorter one. */
__extension__ typedef unsigned __int128 short_key;

static inline short_key load_short(const uint8_t *source) {
    return get_u64(source) | (short_key)get_u64(source + 8) << 64;
}

static inline void store_short(uint8_t *target, short_key key) {
    put_u64(target, (uint64_t)key);
    put_u64(target + 8, (uint64_t)(key >> 64));
}

void data_block_walk_take(struct data_block_walk *walk, struct engine_entry *entries,
                          uint32_t count) {
    const uint8_t *source = walk->source;
    const uint8_t *end = walk->end;
    const uint8_t *previous = walk->previous;
    uint8_t *keys = walk->keys;
    /* Loaded anew from where it has just been put together, a key would have to be waited for. */
    short_key key = load_short(previous);
    for (uint32_t i = 0; i < count; i++) {
        struct cell cell;
        struct record *record = &entries[i].record;
        const uint8_t *next = take_cell(source, end, &cell);
        size_t size = (size_t)cell.shared + cell.key_size;
        /* Records are of about one length: where one after the next few will begin. */
        __builtin_prefetch(next + RECORDS_AHEAD * (next - source));
        if (size <= KEY_COPY_BYTES && cell.shared < KEY_COPY_BYTES &&
            (size_t)(end - cell.key) >= KEY_COPY_BYTES) {
            short_key shared = ((short_key)1 << 8 * cell.shared) - 1;
            key = (key & shared) | load_short(cell.key) << 8 * cell.shared;
            store_short(keys, key);
        } else {
            memcpy(keys, previous, cell.shared);
            memcpy(keys + cell.shared, cell.key, cell.key_size);
            key = load_short(keys);
        }
        entries[i].key = tern_slice_of(keys, size);
        /* One by one: as a whole it would go through memory, in pieces that do not match. */
        record->kind = cell.record.kind;
        record->merge_kind = 0;
        record->expires_ms = cell.record.expires_ms;
        record->value_size = cell.record.value_size;
        record->value.data = cell.record.value.data;
        record->value.size = cell.record.value.size;
        source = next;
        previous = keys;
        keys += size;
    }
    walk->source = source;
    walk->previous = previous;
    walk->keys = keys;
}

void data_block_decode(const uint8_t *payload, struct engine_entry *entries, uint8_t *keys) {
    struct data_block_walk walk;
    data_block_walk_begin(&walk, payload, 0, keys);
    data_block_walk_take(&walk, entries, data_block_count(payload));
}
