/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page is a block without compression that takes a unit:
 *   0   u16  entries, n
 *   2   u16  0xC01D: no block of records
 *   4   u32  0
 *   8   n times 12 bytes: u64 bits 0..43 the link without its bit 44, bits 44..63 the lower 20 bits
 *       of the field; u32 the upper 32 bits of the field
 */
#include "engine/hash/hash_cold.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/compare.h"
#include "base/error.h"

#define PAGE_MARK     0xC01Du
#define HEAD_BYTES    8u
#define ENTRY_BYTES   12u
#define PAYLOAD_BYTES (HASH_UNIT_BYTES - BLOCK_HEADER_BYTES)
#define PAGE_ENTRIES  ((PAYLOAD_BYTES - HEAD_BYTES) / ENTRY_BYTES)
#define LINK_STORED   44u
#define FENCE_SHIFT   32u
/* Pages that are read at once. */
#define AHEAD_PAGES 16u
#define PAGE_NONE   UINT32_MAX

static const tern_allocator *allocator_of(const struct hash_cold *cold) {
    return cold->base->environment->allocator;
}

static void count_memory(struct hash_cold *cold, uint64_t bytes, bool is_more) {
    struct budget *budget = cold->base->environment->budget;
    if (is_more) {
        atomic_fetch_add_explicit(&cold->memory_bytes, bytes, memory_order_relaxed);
    } else {
        atomic_fetch_sub_explicit(&cold->memory_bytes, bytes, memory_order_relaxed);
    }
    if (budget != NULL && is_more) {
        budget_add(budget, BUDGET_INDEX, bytes);
    } else if (budget != NULL) {
        budget_subtract(budget, BUDGET_INDEX, bytes);
    }
}

static uint64_t group_bytes(uint32_t pages) {
    return sizeof(struct cold_group) + (uint64_t)pages * sizeof(struct cold_page);
}

static uint64_t directory_bytes(uint32_t depth) {
    return sizeof(struct cold_directory) + (sizeof(void *) << depth);
}

static struct cold_directory *directory_of(const struct hash_cold *cold) {
    return atomic_load_explicit(&cold->directory, memory_order_acquire);
}

static uint64_t index_of(uint64_t hash, uint32_t depth) {
    return depth == 0 ? 0 : hash >> (64 - depth);
}

/* ---- life ---- */

void hash_cold_init(struct hash_cold *cold, struct hash_base *base) {
    cold->base = base;
}

static void free_group(struct cold_group *group) {
    count_memory(group->cold, group_bytes(group->page_count), false);
    memory_release(allocator_of(group->cold), group);
}

static void free_directory(struct cold_directory *directory) {
    count_memory(directory->cold, directory_bytes(directory->depth), false);
    memory_release(allocator_of(directory->cold), directory);
}

static void release_directory(struct epoch_node *node) {
    free_directory(
        (struct cold_directory *)(void *)((char *)node - offsetof(struct cold_directory, limbo)));
}

void hash_cold_discard_group(struct cold_group *group) {
    if (group != NULL) {
        struct hash_file *file = group->cold->base->file;
        for (uint32_t i = 0; i < group->page_count; i++) {
            hash_file_free(file, group->place + i, 1);
        }
        free_group(group);
    }
}

static void release_group(struct epoch_node *node) {
    hash_cold_discard_group(
        (struct cold_group *)(void *)((char *)node - offsetof(struct cold_group, limbo)));
}

void hash_cold_release(struct hash_cold *cold) {
    struct cold_directory *directory = cold->base != NULL ? directory_of(cold) : NULL;
    if (directory == NULL) {
        return;
    }
    uint64_t count = (uint64_t)1 << directory->depth;
    for (uint64_t i = 0; i < count;) {
        struct cold_group *group = atomic_load(&directory->groups[i]);
        uint32_t depth = group != NULL ? group->depth : directory->depth;
        i += (uint64_t)1 << (directory->depth - depth);
        if (group != NULL) {
            free_group(group);
        }
    }
    atomic_store(&cold->directory, NULL);
    free_directory(directory);
}

/* ---- reading ---- */

struct cold_group *hash_cold_group_at(const struct hash_cold *cold, uint64_t hash,
                                      uint8_t *out_depth) {
    const struct cold_directory *directory = directory_of(cold);
    struct cold_group *group = NULL;
    uint32_t depth = 0;
    if (directory != NULL) {
        group = atomic_load_explicit(&directory->groups[index_of(hash, directory->depth)],
                                     memory_order_acquire);
        depth = group != NULL ? group->depth : directory->depth;
    }
    *out_depth = (uint8_t)depth;
    return group;
}

static struct hash_ref ref_of(const struct cold_group *group, uint32_t page) {
    return (struct hash_ref){group->place + page, 1, group->pages[page].checksum};
}

static bool is_well_formed(const uint8_t *payload, size_t size) {
    return size == PAYLOAD_BYTES && get_u16(payload) > 0 && get_u16(payload) <= PAGE_ENTRIES &&
           get_u16(payload + 2) == PAGE_MARK;
}

static struct cold_entry entry_at(const uint8_t *payload, uint32_t at) {
    const uint8_t *source = payload + HEAD_BYTES + (size_t)at * ENTRY_BYTES;
    uint64_t low = get_u64(source);
    return (struct cold_entry){
        (uint64_t)get_u32(source + 8) << FENCE_SHIFT | low >> LINK_STORED << (64 - COLD_FIELD_BITS),
        LINK_DISK | (low & (((uint64_t)1 << LINK_STORED) - 1)),
    };
}

/* A page could not be read: the next drain makes its group anew (hash_mend.c). */
static tern_status note_damage(struct hash_cold *cold, struct cold_group *group, uint32_t page,
                               tern_status status, tern_error *error) {
    if (status == TERN_CORRUPTION || status == TERN_IO) {
        atomic_store(&group->is_damaged, true);
        atomic_store(&cold->has_damaged, true);
    }
    return status == TERN_CORRUPTION
               ? ERROR_AT(error, status, hash_file_path(cold->base->file),
                          (uint64_t)(group->place + page) * HASH_UNIT_BYTES, 0,
                          "a page of the index is damaged: the next checkpoint, or opening the "
                          "database, makes it anew")
               : status;
}

static tern_status read_page(struct hash_cold *cold, struct cold_group *group, uint32_t page,
                             const uint8_t **out_payload, tern_error *error) {
    const struct hash_ref ref = ref_of(group, page);
    struct base_cached cached;
    tern_status status =
        base_read_cached(cold->base, &ref, PAYLOAD_BYTES, &group->pages[page].hint, &cached, error);
    if (status != TERN_OK) {
        return note_damage(cold, group, page, status, error);
    }
    atomic_fetch_add_explicit(&cold->page_reads, 1, memory_order_relaxed);
    if (cached.is_miss) {
        atomic_fetch_add_explicit(&cold->page_misses, 1, memory_order_relaxed);
    }
    if (!is_well_formed(cached.payload, PAYLOAD_BYTES)) {
        return note_damage(cold, group, page, TERN_CORRUPTION, error);
    }
    *out_payload = cached.payload;
    return TERN_OK;
}

/* The last page whose fence lies below, or the first one. */
static uint32_t page_of(const struct cold_group *group, uint32_t fence) {
    uint32_t low = 0;
    uint32_t high = group->page_count;
    while (low + 1 < high) {
        uint32_t middle = low + (high - low) / 2;
        if (group->pages[middle].fence < fence) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The first entry whose field is not below. */
static uint32_t entry_of(const uint8_t *payload, uint32_t count, uint64_t field) {
    uint32_t low = 0;
    uint32_t high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (entry_at(payload, middle).field < field) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Of one group. *out_goes_on false: the visitor has had enough. */
static tern_status visit_group(struct hash_cold *cold, struct cold_group *group, uint64_t first,
                               uint64_t last,
                               bool (*visit)(void *context, hash_link link, uint64_t field),
                               void *context, bool *out_goes_on, tern_error *error) {
    /* An entry of which fewer bits are known stands where its ending bit puts it, and the lowest.
     */
    uint64_t blur = UINT64_MAX >> group->known_min;
    uint64_t from = first & ~blur;
    uint64_t to = last | blur;
    for (uint32_t page = page_of(group, (uint32_t)(from >> FENCE_SHIFT));
         page < group->page_count && group->pages[page].fence <= to >> FENCE_SHIFT; page++) {
        const uint8_t *payload = NULL;
        tern_status status = read_page(cold, group, page, &payload, error);
        if (status != TERN_OK) {
            return status;
        }
        uint32_t count = get_u16(payload);
        for (uint32_t i = entry_of(payload, count, from); i < count; i++) {
            struct cold_entry entry = entry_at(payload, i);
            if (entry.field > to) {
                break;
            }
            uint64_t least = cold_hash(entry.field);
            uint64_t most = least | UINT64_MAX >> cold_known(entry.field);
            if (least <= last && most >= first && base_lives(cold->base, entry.link) &&
                !visit(context, entry.link, entry.field)) {
                *out_goes_on = false;
                return TERN_OK;
            }
        }
    }
    return TERN_OK;
}

tern_status hash_cold_visit(struct hash_cold *cold, uint64_t first, uint64_t last,
                            bool (*visit)(void *context, hash_link link, uint64_t field),
                            void *context, tern_error *error) {
    tern_status status = TERN_OK;
    bool goes_on = true;
    for (uint64_t at = first; hash_cold_has_any(cold) && goes_on && status == TERN_OK;) {
        uint8_t depth = 0;
        struct cold_group *group = hash_cold_group_at(cold, at, &depth);
        uint64_t end = depth == 0 ? UINT64_MAX : at | UINT64_MAX >> depth;
        if (group != NULL) {
            status = visit_group(cold, group, at, last < end ? last : end, visit, context, &goes_on,
                                 error);
        }
        if (end >= last) {
            break;
        }
        at = end + 1;
    }
    return status;
}

struct search {
    struct hash_cold *cold;
    tern_slice key;
    uint64_t hash;
    hash_link link;
    struct hash_record *record;
    struct cache_frame **frame;
    tern_status status;
    tern_error *error;
};

static bool try_record(void *context, hash_link link, uint64_t field) {
    struct search *search = context;
    if (!cold_fits(field, search->hash)) {
        return true;
    }
    search->status =
        base_read_record(search->cold->base, link, search->record, search->frame, search->error);
    if (search->status == TERN_OK && slice_equal(search->record->key, search->key)) {
        search->link = link;
    }
    return search->status == TERN_OK && search->link == LINK_NONE;
}

tern_status hash_cold_find(struct hash_cold *cold, tern_slice key, uint64_t hash,
                           hash_link *out_link, struct hash_record *out_record,
                           struct cache_frame **out_frame, tern_error *error) {
    struct search search = {cold, key, hash, LINK_NONE, out_record, out_frame, TERN_OK, error};
    atomic_fetch_add_explicit(&cold->lookups, 1, memory_order_relaxed);
    tern_status status = hash_cold_visit(cold, hash, hash, try_record, &search, error);
    status = status == TERN_OK ? search.status : status;
    if (status == TERN_OK) {
        *out_link = search.link;
    }
    return status;
}

size_t hash_cold_first_not_below(const struct cold_entry *entries, size_t count, uint64_t field) {
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (entries[middle].field < field) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void hash_cold_reader_reset(struct cold_reader *reader) {
    reader->group = NULL;
}

static void count_scratch(struct hash_cold *cold, uint64_t bytes, bool is_more) {
    struct budget *budget = cold->base->environment->budget;
    if (budget != NULL && is_more) {
        budget_add(budget, BUDGET_OTHER, bytes);
    } else if (budget != NULL) {
        budget_subtract(budget, BUDGET_OTHER, bytes);
    }
}

void hash_cold_reader_release(struct hash_cold *cold, struct cold_reader *reader) {
    if (reader->units != NULL) {
        count_scratch(cold, reader->capacity_bytes, false);
        memory_release_aligned(allocator_of(cold), reader->units);
    }
    *reader = (struct cold_reader){0};
}

/* The pages of a group as they lie in the file. */
static tern_status read_units(struct hash_cold *cold, struct cold_group *group, uint8_t *units,
                              tern_error *error) {
    size_t bytes = (size_t)group->page_count * HASH_UNIT_BYTES;
    size_t got = 0;
    tern_status status =
        hash_file_read_raw(cold->base->file, group->place, units, bytes, &got, error);
    status = status == TERN_OK && got != bytes ? TERN_CORRUPTION : status;
    return note_damage(cold, group, 0, status, error);
}

/* The payload of a page of these. */
static tern_status check_page(struct hash_cold *cold, struct cold_group *group,
                              const uint8_t *units, uint32_t page, const uint8_t **out_payload,
                              tern_error *error) {
    const struct hash_ref ref = ref_of(group, page);
    size_t size = 0;
    tern_status status = hash_file_decode_in_place(
        cold->base->file, &ref, units + (size_t)page * HASH_UNIT_BYTES, out_payload, &size, error);
    status = status == TERN_OK && !is_well_formed(*out_payload, size) ? TERN_CORRUPTION : status;
    return note_damage(cold, group, page, status, error);
}

static tern_status begin_group(struct hash_cold *cold, struct cold_reader *reader,
                               struct cold_group *group, tern_error *error) {
    size_t bytes = (size_t)group->page_count * HASH_UNIT_BYTES;
    reader->group = NULL;
    if (reader->capacity_bytes < bytes) {
        hash_cold_reader_release(cold, reader);
        reader->units = memory_allocate_aligned(allocator_of(cold), HASH_UNIT_BYTES, bytes);
        if (reader->units == NULL) {
            return ERROR_NO_MEMORY(error, "an index");
        }
        reader->capacity_bytes = bytes;
        count_scratch(cold, bytes, true);
    }
    tern_status status = read_units(cold, group, reader->units, error);
    if (status == TERN_OK) {
        reader->group = group;
        reader->page = PAGE_NONE;
        atomic_fetch_add_explicit(&cold->page_reads, group->page_count, memory_order_relaxed);
        atomic_fetch_add_explicit(&cold->page_misses, group->page_count, memory_order_relaxed);
    }
    return status;
}

/* Of the entries of a page the live record of a key. */
static tern_status find_in_page(struct search *search, const uint8_t *payload, uint64_t from,
                                uint64_t to, bool reads_ahead) {
    struct hash_base *base = search->cold->base;
    uint32_t count = get_u16(payload);
    for (uint32_t i = entry_of(payload, count, from); i < count; i++) {
        struct cold_entry entry = entry_at(payload, i);
        if (entry.field > to) {
            break;
        }
        if (!cold_fits(entry.field, search->hash) || !base_holds_live(base, entry.link)) {
            continue;
        }
        if (reads_ahead) {
            base_fetch_around(base, link_block(entry.link));
        }
        if (!try_record(search, entry.link, entry.field)) {
            break;
        }
    }
    return search->status;
}

tern_status hash_cold_find_next(struct hash_cold *cold, struct cold_reader *reader, tern_slice key,
                                uint64_t hash, bool reads_ahead, hash_link *out_link,
                                struct hash_record *out_record, struct cache_frame **out_frame,
                                tern_error *error) {
    struct search search = {cold, key, hash, LINK_NONE, out_record, out_frame, TERN_OK, error};
    uint8_t depth = 0;
    struct cold_group *group = hash_cold_group_at(cold, hash, &depth);
    tern_status status = TERN_OK;
    atomic_fetch_add_explicit(&cold->lookups, 1, memory_order_relaxed);
    if (group != NULL && group != reader->group) {
        status = begin_group(cold, reader, group, error);
    }
    uint64_t blur = group != NULL ? UINT64_MAX >> group->known_min : 0;
    uint32_t page = group != NULL ? page_of(group, (uint32_t)((hash & ~blur) >> FENCE_SHIFT)) : 0;
    for (; status == TERN_OK && group != NULL && search.link == LINK_NONE &&
           page < group->page_count && group->pages[page].fence <= (hash | blur) >> FENCE_SHIFT;
         page++) {
        const uint8_t *payload =
            reader->units + (size_t)page * HASH_UNIT_BYTES + BLOCK_HEADER_BYTES;
        if (page != reader->page) {
            status = check_page(cold, group, reader->units, page, &payload, error);
            reader->page = status == TERN_OK ? page : PAGE_NONE;
        }
        if (status == TERN_OK) {
            status = find_in_page(&search, payload, hash & ~blur, hash | blur, reads_ahead);
        }
    }
    if (status == TERN_OK) {
        *out_link = search.link;
    }
    return status;
}

static bool is_other(void *context, hash_link link, uint64_t field) {
    hash_link *wanted = context;
    (void)field;
    if (link == *wanted) {
        *wanted = LINK_NONE;
    }
    return *wanted != LINK_NONE;
}

tern_status hash_cold_has(struct hash_cold *cold, uint64_t hash, hash_link link, bool *out_has,
                          tern_error *error) {
    hash_link wanted = link;
    tern_status status = hash_cold_visit(cold, hash, hash, is_other, &wanted, error);
    if (status == TERN_OK) {
        *out_has = wanted == LINK_NONE;
    }
    return status;
}

uint64_t hash_cold_page_end(const struct hash_cold *cold, uint64_t hash) {
    uint8_t depth = 0;
    if (!hash_cold_has_any(cold)) {
        return UINT64_MAX;
    }
    const struct cold_group *group = hash_cold_group_at(cold, hash, &depth);
    uint64_t end = depth == 0 ? UINT64_MAX : hash | UINT64_MAX >> depth;
    if (group != NULL) {
        for (uint32_t page = page_of(group, (uint32_t)(hash >> 32)); page < group->page_count;
             page++) {
            uint64_t fence = (uint64_t)group->pages[page].fence << 32;
            if (fence > hash) {
                return fence - 1;
            }
        }
    }
    return end;
}

void hash_cold_fetch_around(struct hash_cold *cold, uint64_t hash) {
    uint8_t depth = 0;
    if (!hash_cold_has_any(cold)) {
        return;
    }
    struct cold_group *group = hash_cold_group_at(cold, hash, &depth);
    if (group == NULL) {
        return;
    }
    uint32_t page = page_of(group, (uint32_t)(hash >> 32));
    uint32_t begin = page - page % AHEAD_PAGES;
    uint32_t count = group->page_count - begin;
    count = count < AHEAD_PAGES ? count : AHEAD_PAGES;
    struct hash_ref refs[AHEAD_PAGES];
    for (uint32_t i = 0; i < count; i++) {
        refs[i] = ref_of(group, begin + i);
    }
    base_fetch_refs(cold->base, refs, count, page - begin, PAYLOAD_BYTES);
}

void hash_cold_note_dead(struct hash_cold *cold) {
    atomic_fetch_add_explicit(&cold->dead, 1, memory_order_relaxed);
}

/* ---- groups ---- */

tern_status hash_cold_read_group(struct hash_cold *cold, struct cold_group *group,
                                 struct buffer *out_entries, tern_error *error) {
    const tern_allocator *allocator = allocator_of(cold);
    uint8_t *units = memory_allocate_aligned(allocator, HASH_UNIT_BYTES,
                                             (size_t)group->page_count * HASH_UNIT_BYTES);
    size_t most = (size_t)group->page_count * PAGE_ENTRIES;
    if (units == NULL || buffer_reserve(out_entries, most * sizeof(struct cold_entry)) != TERN_OK) {
        memory_release_aligned(allocator, units);
        return ERROR_NO_MEMORY(error, "an index");
    }
    tern_status status = read_units(cold, group, units, error);
    for (uint32_t page = 0; status == TERN_OK && page < group->page_count; page++) {
        const uint8_t *payload = NULL;
        status = check_page(cold, group, units, page, &payload, error);
        uint32_t count = status == TERN_OK ? get_u16(payload) : 0;
        struct cold_entry *target =
            (struct cold_entry *)(void *)(out_entries->data + out_entries->size);
        for (uint32_t i = 0; i < count; i++) {
            target[i] = entry_at(payload, i);
        }
        out_entries->size += count * sizeof(struct cold_entry);
    }
    memory_release_aligned(allocator, units);
    return status;
}

static void fill_page(const struct hash_cold *cold, struct cold_page *page, uint8_t *unit,
                      const struct cold_entry *entries, size_t count) {
    uint8_t *payload = unit + BLOCK_HEADER_BYTES;
    memset(unit, 0, HASH_UNIT_BYTES);
    put_u16(payload, (uint16_t)count);
    put_u16(payload + 2, PAGE_MARK);
    for (size_t i = 0; i < count; i++) {
        uint8_t *target = payload + HEAD_BYTES + i * ENTRY_BYTES;
        uint64_t link = entries[i].link & (((uint64_t)1 << LINK_STORED) - 1);
        put_u64(target, link | entries[i].field >> (64 - COLD_FIELD_BITS) << LINK_STORED);
        put_u32(target + 8, (uint32_t)(entries[i].field >> FENCE_SHIFT));
    }
    const struct block_context context = {TERN_COMPRESSION_NONE,
                                          cold->base->environment->incarnation};
    page->checksum = block_seal(&context, unit, PAYLOAD_BYTES);
    page->fence = (uint32_t)(entries[0].field >> FENCE_SHIFT);
}

tern_status hash_cold_write_group(struct hash_cold *cold, uint64_t first, uint8_t depth,
                                  const struct cold_entry *entries, size_t count,
                                  struct cold_group **out_group, tern_error *error) {
    const tern_allocator *allocator = allocator_of(cold);
    uint32_t pages = (uint32_t)((count + PAGE_ENTRIES - 1) / PAGE_ENTRIES);
    struct cold_group *group = memory_allocate_zeroed(allocator, group_bytes(pages));
    uint8_t *units =
        memory_allocate_aligned(allocator, HASH_UNIT_BYTES, (size_t)pages * HASH_UNIT_BYTES);
    if (group == NULL || units == NULL) {
        memory_release(allocator, group);
        memory_release_aligned(allocator, units);
        return ERROR_NO_MEMORY(error, "an index");
    }
    group->cold = cold;
    group->first = first;
    group->depth = depth;
    group->entries = count;
    group->page_count = pages;
    group->known_min = COLD_KNOWN_MAX;
    for (size_t i = 0; i < count; i++) {
        uint32_t known = cold_known(entries[i].field);
        group->known_min = known < group->known_min ? (uint8_t)known : group->known_min;
    }
    for (uint32_t page = 0; page < pages; page++) {
        size_t from = (size_t)page * PAGE_ENTRIES;
        size_t part = count - from < PAGE_ENTRIES ? count - from : PAGE_ENTRIES;
        fill_page(cold, &group->pages[page], units + (size_t)page * HASH_UNIT_BYTES, entries + from,
                  part);
    }
    tern_status status = hash_file_allocate(cold->base->file, pages, &group->place, error);
    if (status == TERN_OK) {
        status = hash_file_write(cold->base->file, group->place, units, pages, error);
        if (status != TERN_OK) {
            hash_file_free(cold->base->file, group->place, pages);
        }
    }
    memory_release_aligned(allocator, units);
    if (status != TERN_OK) {
        memory_release(allocator, group);
        return status;
    }
    count_memory(cold, group_bytes(pages), true);
    *out_group = group;
    return TERN_OK;
}

static struct cold_directory *make_directory(struct hash_cold *cold, uint32_t depth) {
    struct cold_directory *directory =
        memory_allocate_zeroed(allocator_of(cold), directory_bytes(depth));
    if (directory != NULL) {
        directory->cold = cold;
        directory->depth = depth;
        count_memory(cold, directory_bytes(depth), true);
    }
    return directory;
}

tern_status hash_cold_deepen(struct hash_cold *cold, uint32_t depth, tern_error *error) {
    struct cold_directory *old = directory_of(cold);
    if (old != NULL && old->depth >= depth) {
        return TERN_OK;
    }
    struct cold_directory *grown = make_directory(cold, depth);
    if (grown == NULL) {
        return ERROR_NO_MEMORY(error, "an index");
    }
    for (uint64_t i = 0; old != NULL && i < (uint64_t)1 << depth; i++) {
        atomic_init(&grown->groups[i], atomic_load(&old->groups[i >> (depth - old->depth)]));
    }
    atomic_store_explicit(&cold->directory, grown, memory_order_release);
    if (old != NULL) {
        epoch_retire(cold->base->environment->epoch, &old->limbo, release_directory);
    }
    return TERN_OK;
}

static void count_group(struct hash_cold *cold, const struct cold_group *group, bool is_more) {
    uint64_t sign = is_more ? 1 : UINT64_MAX;
    atomic_fetch_add_explicit(&cold->entries, sign * group->entries, memory_order_relaxed);
    atomic_fetch_add_explicit(&cold->pages, sign * group->page_count, memory_order_relaxed);
    atomic_fetch_add_explicit(&cold->groups, sign, memory_order_relaxed);
}

void hash_cold_replace(struct hash_cold *cold, uint64_t first, uint8_t depth,
                       struct cold_group *const *groups, size_t count) {
    struct cold_directory *directory = directory_of(cold);
    uint64_t begin = index_of(first, directory->depth);
    uint64_t span = (uint64_t)1 << (directory->depth - depth);
    struct cold_group *old = atomic_load(&directory->groups[begin]);
    for (uint64_t i = begin; i < begin + span; i++) {
        struct cold_group *group = NULL;
        uint64_t hash = directory->depth == 0 ? 0 : i << (64 - directory->depth);
        for (size_t j = 0; j < count && group == NULL; j++) {
            bool is_home = groups[j] != NULL && (groups[j]->depth == 0 ||
                                                 hash >> (64 - groups[j]->depth) ==
                                                     groups[j]->first >> (64 - groups[j]->depth));
            group = is_home ? groups[j] : NULL;
        }
        atomic_store_explicit(&directory->groups[i], group, memory_order_release);
    }
    for (size_t j = 0; j < count; j++) {
        if (groups[j] != NULL) {
            count_group(cold, groups[j], true);
        }
    }
    if (old != NULL) {
        count_group(cold, old, false);
        epoch_retire(cold->base->environment->epoch, &old->limbo, release_group);
    }
}

bool hash_cold_reaches_behind(const struct hash_cold *cold, uint32_t units) {
    const struct cold_directory *directory = directory_of(cold);
    uint64_t count = directory != NULL ? (uint64_t)1 << directory->depth : 0;
    for (uint64_t i = 0; i < count; i++) {
        const struct cold_group *group = atomic_load(&directory->groups[i]);
        if (group != NULL && group->place + group->page_count > units) {
            return true;
        }
    }
    return false;
}

void hash_cold_drop_empty(struct hash_cold *cold) {
    struct cold_directory *directory = directory_of(cold);
    if (directory != NULL && atomic_load(&cold->groups) == 0) {
        atomic_store_explicit(&cold->directory, NULL, memory_order_release);
        epoch_retire(cold->base->environment->epoch, &directory->limbo, release_directory);
    }
}
