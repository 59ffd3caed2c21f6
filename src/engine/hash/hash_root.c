/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Roots, directories, lists of hashes, bitmaps: the blocks that say what is live.
 *
 * - root: u8 format (1), u8 'R', u16 0, u32 segments; per segment 80 bytes: references (u32 place,
 *   u32 units, u64 checksum) of directory, hashes and bitmap (units 0: all records live), u32
 *   records, u32 live records, u64 lowest seq, u64 highest seq, u64 zero
 * - directory: u8 format (1), u8 'D', u16 hash function, u32 blocks, u32 records, u32 zero,
 *   u64 seed of the hashes; per block 24 bytes: u32 place, u32 units, u32 bytes of payload,
 *   u16 records, u16 flags, u64 checksum
 * - hashes: u64 a record, in order of the directory
 * - bitmap: a bit a record, lowest first, in whole u64
 *
 * A list of hashes that is damaged, is of another function or seed than the partition's, or holds
 * the same ones again and again, is made anew from the records; a damaged directory, bitmap or root
 * is corruption.
 */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "engine/hash/hash_base.h"
#include "simd/hash.h"

#define ROOT_HEADER_BYTES      8u
#define ROOT_ENTRY_BYTES       80u
#define DIRECTORY_HEADER_BYTES 24u
#define DIRECTORY_ENTRY_BYTES  24u
#define FORMAT                 1u
/* Of a list of hashes, as the places to which its bits are counted. */
#define SPREAD_BINS    256u
#define SPREAD_FACTOR  8u
#define SPREAD_RECORDS 64u

static const tern_allocator *allocator_of(const struct hash_base *base) {
    return base->environment->allocator;
}

static void put_ref(uint8_t *target, const struct hash_ref *ref) {
    put_u32(target, ref->place);
    put_u32(target + 4, ref->units);
    put_u64(target + 8, ref->checksum);
}

static struct hash_ref get_ref(const uint8_t *source) {
    return (struct hash_ref){get_u32(source), get_u32(source + 4), get_u64(source + 8)};
}

/* ---- writing ---- */

/* What one attempt to write a root made; taken back when it fails. */
struct root_draft {
    struct hash_base *base;
    struct written {
        uint32_t segment;
        bool has_directory, has_bitmap;
        struct hash_ref directory, hashes, bitmap;
    } * written;
    uint32_t count;
    struct hash_ref root;
    struct buffer payload;
};

static void free_ref(struct hash_base *base, const struct hash_ref *ref) {
    if (ref->units > 0) {
        hash_file_free(base->file, ref->place, ref->units);
    }
}

static void draft_undo(struct root_draft *draft) {
    for (uint32_t i = 0; i < draft->count; i++) {
        free_ref(draft->base, &draft->written[i].directory);
        free_ref(draft->base, &draft->written[i].hashes);
        free_ref(draft->base, &draft->written[i].bitmap);
    }
    free_ref(draft->base, &draft->root);
}

static tern_status write_directory(struct root_draft *draft, const struct hash_segment *segment,
                                   struct written *written, tern_error *error) {
    struct hash_base *base = draft->base;
    size_t size = DIRECTORY_HEADER_BYTES + (size_t)segment->block_count * DIRECTORY_ENTRY_BYTES;
    draft->payload.size = 0;
    if (buffer_reserve(&draft->payload, size) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a directory");
    }
    uint8_t *target = draft->payload.data;
    memset(target, 0, DIRECTORY_HEADER_BYTES);
    target[0] = FORMAT;
    target[1] = 'D';
    put_u16(target + 2, (uint16_t)base->hasher.function);
    put_u32(target + 4, segment->block_count);
    put_u32(target + 8, segment->record_count);
    put_u64(target + 16, base->hasher.seed);
    target += DIRECTORY_HEADER_BYTES;
    for (uint32_t i = 0; i < segment->block_count; i++, target += DIRECTORY_ENTRY_BYTES) {
        const struct block_info *info = &segment->listed[i];
        put_u32(target, info->place);
        put_u32(target + 4, info->units);
        put_u32(target + 8, info->raw_bytes);
        put_u16(target + 12, info->records);
        put_u16(target + 14, info->flags);
        put_u64(target + 16, info->checksum);
    }
    tern_status status = hash_file_put(base->file, base->compression, draft->payload.data, size,
                                       &written->directory, error);
    if (status == TERN_OK) {
        status = hash_file_put(base->file, TERN_COMPRESSION_NONE, segment->hash_list,
                               (size_t)segment->record_count * 8, &written->hashes, error);
    }
    written->has_directory = true;
    return status;
}

static tern_status write_segment(struct root_draft *draft, uint32_t at, tern_error *error) {
    const struct hash_segment *segment = draft->base->segments[at];
    struct written *written = &draft->written[draft->count++];
    *written = (struct written){.segment = at};
    tern_status status = TERN_OK;
    if (!segment->is_closed) {
        status = write_directory(draft, segment, written, error);
    }
    if (status == TERN_OK && segment->is_bitmap_dirty) {
        size_t words = ((size_t)segment->record_count + 63) / 64;
        status = hash_file_put(draft->base->file, draft->base->compression, segment->live,
                               words * 8, &written->bitmap, error);
        written->has_bitmap = true;
    }
    return status;
}

static tern_status write_root_block(struct root_draft *draft, tern_error *error) {
    struct hash_base *base = draft->base;
    size_t most = ROOT_HEADER_BYTES + (size_t)base->segment_count * ROOT_ENTRY_BYTES;
    draft->payload.size = 0;
    if (buffer_reserve(&draft->payload, most) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a root");
    }
    uint8_t *target = draft->payload.data + ROOT_HEADER_BYTES;
    uint32_t count = 0;
    for (uint32_t i = 0; i < base->segment_count; i++) {
        const struct hash_segment *segment = base->segments[i];
        if (segment == NULL || segment->live_count == 0) {
            continue;
        }
        const struct written *written = NULL;
        for (uint32_t j = 0; j < draft->count && written == NULL; j++) {
            written = draft->written[j].segment == i ? &draft->written[j] : NULL;
        }
        bool has_directory = written != NULL && written->has_directory;
        bool has_bitmap = written != NULL && written->has_bitmap;
        memset(target, 0, ROOT_ENTRY_BYTES);
        put_ref(target, has_directory ? &written->directory : &segment->directory);
        put_ref(target + 16, has_directory ? &written->hashes : &segment->hashes);
        put_ref(target + 32, has_bitmap ? &written->bitmap : &segment->bitmap);
        put_u32(target + 48, segment->record_count);
        put_u32(target + 52, segment->live_count);
        put_u64(target + 56, segment->min_seq);
        put_u64(target + 64, segment->max_seq);
        target += ROOT_ENTRY_BYTES;
        count++;
    }
    draft->payload.data[0] = FORMAT;
    draft->payload.data[1] = 'R';
    put_u16(draft->payload.data + 2, 0);
    put_u32(draft->payload.data + 4, count);
    if (count == 0) {
        return TERN_OK; /* nothing lives: no root at all */
    }
    return hash_file_put(base->file, base->compression, draft->payload.data,
                         (size_t)(target - draft->payload.data), &draft->root, error);
}

static void supersede_ref(struct hash_base *base, const struct hash_ref *ref, uint64_t born) {
    base_supersede(base, ref->place, ref->units, born);
}

/* Nothing comes to it any more. */
static void trim_segment(struct hash_base *base, struct hash_segment *segment) {
    const tern_allocator *allocator = allocator_of(base);
    uint32_t words = (segment->record_count + 63) / 64;
    memory_release(allocator, segment->hash_list);
    memory_release(allocator, segment->listed);
    segment->hash_list = NULL;
    segment->listed = NULL;
    void *blocks = memory_resize(allocator, segment->blocks,
                                 (size_t)segment->block_count * sizeof(segment->blocks[0]));
    if (blocks != NULL) {
        segment->blocks = blocks;
        segment->block_capacity = segment->block_count;
    }
    void *live = memory_resize(allocator, segment->live, (size_t)words * 8);
    if (live != NULL) {
        segment->live = live;
        segment->record_capacity = words * 64;
    }
    base_count_segment(base, segment);
}

static void close_segment(struct hash_base *base, struct hash_segment *segment,
                          const struct written *written) {
    segment->directory = written->directory;
    segment->hashes = written->hashes;
    segment->born = base->generation + 1;
    segment->is_closed = true;
    trim_segment(base, segment);
}

tern_status base_close_segment(struct hash_base *base, uint32_t at, tern_error *error) {
    struct root_draft draft = {.base = base};
    struct written written = {.segment = at};
    buffer_init(&draft.payload, allocator_of(base));
    tern_status status = write_directory(&draft, base->segments[at], &written, error);
    if (status == TERN_OK) {
        mutex_lock(&base->lock);
        close_segment(base, base->segments[at], &written);
        mutex_unlock(&base->lock);
    } else {
        free_ref(base, &written.directory);
        free_ref(base, &written.hashes);
    }
    buffer_release(&draft.payload);
    return status;
}

/* The root is written: cannot fail. */
static void draft_accept(struct root_draft *draft) {
    struct hash_base *base = draft->base;
    uint64_t born = base->generation + 1;
    for (uint32_t i = 0; i < draft->count; i++) {
        const struct written *written = &draft->written[i];
        struct hash_segment *segment = base->segments[written->segment];
        if (written->has_directory) {
            close_segment(base, segment, written);
        }
        if (written->has_bitmap) {
            supersede_ref(base, &segment->bitmap, segment->bitmap_born);
            segment->bitmap = written->bitmap;
            segment->bitmap_born = born;
            segment->is_bitmap_dirty = false;
        }
    }
    for (uint32_t i = 0; i < base->segment_count; i++) {
        struct hash_segment *segment = base->segments[i];
        if (segment != NULL && segment->live_count == 0) {
            supersede_ref(base, &segment->directory, segment->born);
            supersede_ref(base, &segment->hashes, segment->born);
            supersede_ref(base, &segment->bitmap, segment->bitmap_born);
            base->total_records -= segment->record_count;
            base->segments[i] = NULL;
            base_free_segment(base, segment);
        }
    }
    while (base->segment_count > 0 && base->segments[base->segment_count - 1] == NULL) {
        base->segment_count--;
    }
    supersede_ref(base, &base->root, base->root_born);
    base->root = draft->root;
    base->root_born = born;
    base->building = BLOCK_NONE;
    base->is_dirty = false;
}

tern_status base_write_root(struct hash_base *base, tern_error *error) {
    struct root_draft draft = {.base = base};
    const tern_allocator *allocator = allocator_of(base);
    buffer_init(&draft.payload, allocator);
    draft.written =
        memory_allocate(allocator, ((size_t)base->segment_count + 1) * sizeof(draft.written[0]));
    tern_status status = draft.written != NULL ? TERN_OK : ERROR_NO_MEMORY(error, "a root");
    if (status == TERN_OK) {
        status = base_reserve_waiting(base, (size_t)base->segment_count * 4 + 1, error);
    }
    if (status == TERN_OK && base->batch_count == base->batch_capacity) {
        size_t capacity = base->batch_capacity == 0 ? 8 : base->batch_capacity * 2;
        void *grown = memory_resize(allocator, base->batches, capacity * sizeof(base->batches[0]));
        if (grown == NULL) {
            status = ERROR_NO_MEMORY(error, "a root");
        } else {
            base->batches = grown;
            base->batch_capacity = capacity;
        }
    }
    for (uint32_t i = 0; status == TERN_OK && i < base->segment_count; i++) {
        const struct hash_segment *segment = base->segments[i];
        if (segment != NULL && segment->live_count > 0 &&
            (!segment->is_closed || segment->is_bitmap_dirty)) {
            status = write_segment(&draft, i, error);
        }
    }
    if (status == TERN_OK) {
        status = write_root_block(&draft, error);
    }
    if (status == TERN_OK) {
        mutex_lock(&base->lock);
        draft_accept(&draft);
        mutex_unlock(&base->lock);
    } else {
        draft_undo(&draft);
    }
    buffer_release(&draft.payload);
    memory_release(allocator, draft.written);
    return status;
}

/* ---- loading ---- */

tern_status base_directory_decode(const struct hash_base *base, const struct hash_ref *ref,
                                  const struct buffer *payload, struct listed_segment *out_listed,
                                  tern_error *error) {
    struct listed_segment listed = {0};
    if (payload->size >= DIRECTORY_HEADER_BYTES && payload->data[0] == FORMAT &&
        payload->data[1] == 'D') {
        tern_hash_function function = (tern_hash_function)get_u16(payload->data + 2);
        if (!key_hasher_is_known(function)) {
            return base_corrupt(base, ref->place,
                                "the directory of a segment names an unknown hash function", error);
        }
        listed.block_count = get_u32(payload->data + 4);
        listed.record_count = get_u32(payload->data + 8);
        listed.has_our_hashes =
            function == base->hasher.function && get_u64(payload->data + 16) == base->hasher.seed;
        listed.blocks = payload->data + DIRECTORY_HEADER_BYTES;
    }
    if (listed.block_count == 0 ||
        payload->size !=
            DIRECTORY_HEADER_BYTES + (uint64_t)listed.block_count * DIRECTORY_ENTRY_BYTES) {
        return base_corrupt(base, ref->place, "the directory of a segment is malformed", error);
    }
    uint64_t records = 0;
    for (uint32_t i = 0; i < listed.block_count; i++) {
        struct block_info info;
        base_listed_block(&listed, i, &info);
        records += info.records;
        if (info.records == 0 || info.records > LINK_SLOTS_MAX || info.raw_bytes > (1u << 30)) {
            records = UINT64_MAX / 2;
        }
    }
    if (records != listed.record_count) {
        return base_corrupt(base, ref->place, "the directory of a segment miscounts", error);
    }
    *out_listed = listed;
    return TERN_OK;
}

void base_listed_block(const struct listed_segment *listed, uint32_t index,
                       struct block_info *out_info) {
    const uint8_t *source = listed->blocks + (size_t)index * DIRECTORY_ENTRY_BYTES;
    memset(out_info, 0, sizeof(*out_info));
    out_info->place = get_u32(source);
    out_info->units = get_u32(source + 4);
    out_info->raw_bytes = get_u32(source + 8);
    out_info->records = get_u16(source + 12);
    out_info->flags = get_u16(source + 14);
    out_info->checksum = get_u64(source + 16);
}

struct root_load {
    struct hash_base *base;
    struct buffer directory, hashes, bitmap, block;
    bool notes_hashes; /* nobody else looks at segments yet */
};

/* For what cannot be read: no key leads to it, and the entries of many spread over the index. */
static uint64_t hash_of_unreadable(uint32_t place, uint32_t record) {
    uint8_t bytes[8];
    put_u64(bytes, (uint64_t)place << 16 | record);
    return hash_u64(bytes, sizeof(bytes), 0);
}

/* Hashes of a segment whose list is damaged, from its records. */
static tern_status rebuild_hashes(struct root_load *load, const struct listed_segment *listed,
                                  tern_error *error) {
    struct buffer *hashes = &load->hashes;
    hashes->size = 0;
    if (buffer_reserve(hashes, (size_t)listed->record_count * 8 + 1) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "an index");
    }
    for (uint32_t i = 0; i < listed->block_count; i++) {
        struct block_info info;
        base_listed_block(listed, i, &info);
        const struct hash_ref ref = {info.place, info.units, info.checksum};
        tern_error failure = TERN_ERROR_INIT;
        tern_status status = hash_file_read(load->base->file, &ref, &load->block, &failure);
        if (status != TERN_OK && status != TERN_CORRUPTION) {
            error_copy(error, &failure);
            return status;
        }
        for (uint32_t j = 0; j < info.records; j++) {
            struct hash_record record;
            uint64_t hash = hash_of_unreadable(info.place, j); /* verify tells */
            if (status == TERN_OK &&
                record_decode(load->block.data, load->block.size, j, &record)) {
                hash = key_hasher_hash(&load->base->hasher, record.key);
            }
            put_u64(hashes->data + hashes->size, hash);
            hashes->size += 8;
        }
    }
    return TERN_OK;
}

static bool bit_at(const uint8_t *bits, uint32_t at) {
    return (bits[at / 8] >> (at % 8) & 1) != 0;
}

static tern_status load_blocks(struct root_load *load, uint32_t at,
                               const struct listed_segment *listed, bool has_bitmap,
                               tern_error *error) {
    struct hash_base *base = load->base;
    struct hash_segment *segment = base->segments[at];
    for (uint32_t i = 0; i < listed->block_count; i++) {
        struct block_info info;
        uint32_t number = BLOCK_NONE;
        base_listed_block(listed, i, &info);
        info.segment = at;
        info.first_record = segment->record_count;
        for (uint32_t j = 0; j < info.records; j++) {
            uint32_t record = segment->record_count++;
            if (!has_bitmap || bit_at(load->bitmap.data, record)) {
                segment->live[record / 64] |= (uint64_t)1 << (record % 64);
                info.live++;
            }
        }
        if (info.live > 0) {
            tern_status status = hash_file_mark_used(base->file, info.place, info.units, error);
            if (status != TERN_OK) {
                return status;
            }
            if (base_take_block(base, &number) != TERN_OK) {
                return ERROR_NO_MEMORY(error, "an index");
            }
            *base_block(base, number) = info;
            atomic_fetch_add_explicit(&base->block_bytes, (uint64_t)info.units * HASH_UNIT_BYTES,
                                      memory_order_relaxed);
        }
        segment->blocks[segment->block_count++] = number;
        segment->live_count += info.live;
    }
    return TERN_OK;
}

static tern_status mark_refs(struct hash_base *base, const struct hash_segment *segment,
                             tern_error *error) {
    const struct hash_ref *refs[3] = {&segment->directory, &segment->hashes, &segment->bitmap};
    for (size_t i = 0; i < 3; i++) {
        if (refs[i]->units > 0) {
            tern_status status =
                hash_file_mark_used(base->file, refs[i]->place, refs[i]->units, error);
            if (status != TERN_OK) {
                return status;
            }
        }
    }
    return TERN_OK;
}

/* Hashes spread; a list that gathers them in few places is one to be asked whether it is right. */
static bool is_spread(const struct buffer *hashes, uint32_t records) {
    uint32_t low[SPREAD_BINS] = {0};
    uint32_t high[SPREAD_BINS] = {0};
    uint32_t most = records / SPREAD_BINS * SPREAD_FACTOR + SPREAD_RECORDS;
    for (uint32_t i = 0; i < records; i++) {
        uint64_t hash = get_u64(hashes->data + (size_t)i * 8);
        if (++low[hash % SPREAD_BINS] > most || ++high[hash >> 56] > most) {
            return false;
        }
    }
    return true;
}

/* The list of hashes of a segment, or what its records say. */
static tern_status load_hashes(struct root_load *load, const struct hash_segment *segment,
                               const struct listed_segment *listed, tern_error *error) {
    tern_error failure = TERN_ERROR_INIT;
    tern_status status =
        hash_file_read(load->base->file, &segment->hashes, &load->hashes, &failure);
    if (status != TERN_OK && status != TERN_CORRUPTION) {
        error_copy(error, &failure);
        return status;
    }
    bool is_right = status == TERN_OK && listed->has_our_hashes &&
                    load->hashes.size == (size_t)listed->record_count * 8 &&
                    is_spread(&load->hashes, listed->record_count);
    return is_right ? TERN_OK : rebuild_hashes(load, listed, error);
}

static tern_status load_segment(struct root_load *load, const uint8_t *entry, tern_error *error) {
    struct hash_base *base = load->base;
    struct listed_segment listed;
    uint32_t at = 0;
    if (base_new_segment(base, &at) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a segment");
    }
    struct hash_segment *segment = base->segments[at];
    segment->directory = get_ref(entry);
    segment->hashes = get_ref(entry + 16);
    segment->bitmap = get_ref(entry + 32);
    segment->min_seq = get_u64(entry + 56);
    segment->max_seq = get_u64(entry + 64);
    segment->is_closed = true;
    uint32_t records = get_u32(entry + 48);
    uint32_t live = get_u32(entry + 52);
    bool has_bitmap = segment->bitmap.units > 0;
    tern_status status = mark_refs(base, segment, error);
    if (status == TERN_OK) {
        status = hash_file_read(base->file, &segment->directory, &load->directory, error);
    }
    if (status == TERN_OK) {
        status = base_directory_decode(base, &segment->directory, &load->directory, &listed, error);
    }
    if (status == TERN_OK && has_bitmap) {
        status = hash_file_read(base->file, &segment->bitmap, &load->bitmap, error);
    }
    if (status == TERN_OK &&
        (listed.record_count != records ||
         (has_bitmap && load->bitmap.size != ((size_t)records + 63) / 64 * 8))) {
        status =
            base_corrupt(base, segment->directory.place, "a segment and its root differ", error);
    }
    if (status == TERN_OK &&
        base_grow_segment(base, segment, listed.block_count, listed.record_count) != TERN_OK) {
        status = ERROR_NO_MEMORY(error, "a segment");
    }
    if (status == TERN_OK) {
        status = load_blocks(load, at, &listed, has_bitmap, error);
    }
    if (status == TERN_OK) {
        trim_segment(base, segment);
    }
    base->total_records += segment->record_count;
    atomic_fetch_add_explicit(&base->live_records, segment->live_count, memory_order_relaxed);
    if (status == TERN_OK && segment->live_count != live) {
        status =
            base_corrupt(base, segment->directory.place,
                         "a segment has another number of live records than its root says", error);
    }
    return status;
}

static tern_status read_root(struct root_load *load, const struct hash_ref *root,
                             tern_error *error) {
    struct hash_base *base = load->base;
    struct buffer payload;
    uint32_t count = 0;
    buffer_init(&payload, allocator_of(base));
    tern_status status = hash_file_read(base->file, root, &payload, error);
    if (status == TERN_OK) {
        status = hash_file_mark_used(base->file, root->place, root->units, error);
    }
    if (status == TERN_OK) {
        count = payload.size >= ROOT_HEADER_BYTES ? get_u32(payload.data + 4) : 0;
        if (count == 0 || payload.data[0] != FORMAT || payload.data[1] != 'R' ||
            payload.size != ROOT_HEADER_BYTES + (uint64_t)count * ROOT_ENTRY_BYTES) {
            status = base_corrupt(base, root->place, "the root is malformed", error);
        }
    }
    for (uint32_t i = 0; status == TERN_OK && i < count; i++) {
        status = load_segment(load, payload.data + ROOT_HEADER_BYTES + (size_t)i * ROOT_ENTRY_BYTES,
                              error);
    }
    base->root = *root;
    buffer_release(&payload);
    return status;
}

static void begin_load(struct root_load *load, struct hash_base *base) {
    load->base = base;
    load->notes_hashes = false;
    buffer_init(&load->directory, allocator_of(base));
    buffer_init(&load->hashes, allocator_of(base));
    buffer_init(&load->bitmap, allocator_of(base));
    buffer_init(&load->block, allocator_of(base));
}

static void end_load(struct root_load *load) {
    buffer_release(&load->directory);
    buffer_release(&load->hashes);
    buffer_release(&load->bitmap);
    buffer_release(&load->block);
}

tern_status base_load_root(struct hash_base *base, const struct hash_ref *root, tern_error *error) {
    struct root_load load;
    begin_load(&load, base);
    tern_status status = read_root(&load, root, error);
    end_load(&load);
    return status;
}

/* The hashes of a segment: what it is being built with, or its list. */
static tern_status hashes_of(struct root_load *load, const struct hash_segment *segment,
                             const uint8_t **out_hashes, tern_error *error) {
    const struct hash_base *base = load->base;
    struct listed_segment listed;
    if (!segment->is_closed) {
        *out_hashes = (const uint8_t *)segment->hash_list; /* as it will be written */
        return TERN_OK;
    }
    tern_status status = hash_file_read(base->file, &segment->directory, &load->directory, error);
    if (status == TERN_OK) {
        status = base_directory_decode(base, &segment->directory, &load->directory, &listed, error);
    }
    if (status == TERN_OK && (listed.record_count != segment->record_count ||
                              listed.block_count != segment->block_count)) {
        status = base_corrupt(base, segment->directory.place,
                              "the directory of a segment is another one than before", error);
    }
    if (status == TERN_OK) {
        status = load_hashes(load, segment, &listed, error);
        *out_hashes = load->hashes.data;
    }
    return status;
}

static tern_status visit_segment(struct root_load *load, struct hash_segment *segment,
                                 tern_status (*visit)(void *context, uint64_t hash, hash_link link,
                                                      tern_error *error),
                                 void *context, tern_error *error) {
    const struct hash_base *base = load->base;
    const uint8_t *hashes = NULL;
    tern_status status = hashes_of(load, segment, &hashes, error);
    for (uint32_t i = 0; status == TERN_OK && i < segment->block_count; i++) {
        uint32_t number = segment->blocks[i];
        uint32_t records = number != BLOCK_NONE ? base_block(base, number)->records : 0;
        for (uint32_t j = 0; status == TERN_OK && j < records; j++) {
            uint32_t at = base_block(base, number)->first_record + j;
            if ((segment->live[at / 64] >> (at % 64) & 1) != 0) {
                uint64_t hash = get_u64(hashes + (size_t)at * 8);
                if (load->notes_hashes) {
                    base_note_hash(segment, hash);
                }
                status = visit(context, hash, link_to_record(number, j), error);
            }
        }
    }
    return status;
}

static tern_status visit_segments(struct root_load *load, uint64_t first, uint64_t last,
                                  tern_status (*visit)(void *context, uint64_t hash, hash_link link,
                                                       tern_error *error),
                                  void *context, tern_error *error) {
    const struct hash_base *base = load->base;
    tern_status status = TERN_OK;
    for (uint32_t i = 0; status == TERN_OK && i < base->segment_count; i++) {
        struct hash_segment *segment = base->segments[i];
        bool is_apart = segment == NULL || segment->live_count == 0 ||
                        (segment->min_hash <= segment->max_hash &&
                         (segment->max_hash < first || segment->min_hash > last));
        if (!is_apart) {
            status = visit_segment(load, segment, visit, context, error);
        }
    }
    return status;
}

tern_status base_visit_hashes(struct hash_base *base, uint64_t first, uint64_t last,
                              tern_status (*visit)(void *context, uint64_t hash, hash_link link,
                                                   tern_error *error),
                              void *context, tern_error *error) {
    struct root_load load;
    begin_load(&load, base);
    tern_status status = visit_segments(&load, first, last, visit, context, error);
    end_load(&load);
    return status;
}

tern_status base_visit_records(struct hash_base *base,
                               tern_status (*visit)(void *context, uint64_t hash, hash_link link,
                                                    tern_error *error),
                               void *context, tern_error *error) {
    struct root_load load;
    begin_load(&load, base);
    load.notes_hashes = true;
    tern_status status = visit_segments(&load, 0, UINT64_MAX, visit, context, error);
    end_load(&load);
    return status;
}
