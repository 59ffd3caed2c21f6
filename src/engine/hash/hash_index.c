/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariants:
 *  I1 an entry lies in the page that the directory gives for its hash, reachable from the home
 *     bucket of its hash
 *  I2 a page of depth d stands at 2^(directory depth - d) consecutive places of the directory
 *  I3 a page that the directory no longer names is never written again
 *  I4 a split stores its words from the last to the first: whoever goes forward through the
 *     directory and finds a half at its first place finds the other one behind it, too; whoever
 *     finds the old page there goes to its end at once, and finds all of it in it
 *  I5 a closed bucket is closed in all pages that a split makes of its page, and takes no entry
 */
#include "engine/hash/hash_index.h"

#include "base/assert.h"
#include "base/error.h"
#include "engine/hash/hash_index_internal.h"
#include "os/pages.h"
#include "simd/hash.h"
#include "simd/tags.h"

#define DIRECTORY_DEPTH_MIN 1u
/* With room for fewer than this the next slab is made, and written to once in each so many bytes.
 */
#define PREPARED_PAGES 24u
#define TOUCH_BYTES    4096u
/* A page may be deeper than all are on average by so much, and as deep as this in any case. */
#define DEPTH_SLACK 4u
#define DEPTH_FREE  18u
/* A bucket that overflows in a page filled by less than this part of its limit is closed. */
#define SPARSE_PART 4u

/* ---- memory ---- */

static void count_bytes(struct hash_index *index, uint64_t bytes, bool is_more) {
    if (is_more) {
        atomic_fetch_add_explicit(&index->bytes, bytes, memory_order_relaxed);
    } else {
        atomic_fetch_sub_explicit(&index->bytes, bytes, memory_order_relaxed);
    }
    if (index->options.budget != NULL) {
        if (is_more) {
            budget_add(index->options.budget, BUDGET_INDEX, bytes);
        } else {
            budget_subtract(index->options.budget, BUDGET_INDEX, bytes);
        }
    }
}

static struct index_slab *make_slab(struct hash_index *index) {
    struct index_slab *slab = memory_allocate(index->options.allocator, sizeof(*slab));
    if (slab == NULL) {
        return NULL;
    }
    if (pages_allocate(HUGE_PAGE_BYTES, true, &slab->memory, NULL) != TERN_OK) {
        memory_release(index->options.allocator, slab);
        return NULL;
    }
    slab->used = 0;
    slab->next = NULL;
    count_bytes(index, HUGE_PAGE_BYTES, true);
    return slab;
}

static void free_slab(struct hash_index *index, struct index_slab *slab) {
    pages_release(slab->memory, HUGE_PAGE_BYTES);
    memory_release(index->options.allocator, slab);
    count_bytes(index, HUGE_PAGE_BYTES, false);
}

void hash_index_prepare(struct hash_index *index) {
    mutex_lock(&index->lock);
    bool is_wanted = index->next_slab == NULL && index->slabs != NULL &&
                     index->slabs->used + PREPARED_PAGES * index->page_bytes > HUGE_PAGE_BYTES;
    mutex_unlock(&index->lock);
    struct index_slab *slab = is_wanted ? make_slab(index) : NULL;
    if (slab == NULL) {
        return;
    }
    for (size_t at = 0; at < HUGE_PAGE_BYTES; at += TOUCH_BYTES) {
        ((volatile uint8_t *)slab->memory)[at] = 0;
    }
    mutex_lock(&index->lock);
    struct index_slab *unwanted = index->next_slab;
    index->next_slab = slab;
    mutex_unlock(&index->lock);
    if (unwanted != NULL) {
        free_slab(index, unwanted);
    }
}

/* A page out of a slab of huge pages. */
static struct index_page *carve_page(struct hash_index *index) {
    if (index->slabs == NULL || index->slabs->used + index->page_bytes > HUGE_PAGE_BYTES) {
        struct index_slab *slab = index->next_slab;
        index->next_slab = NULL;
        slab = slab != NULL ? slab : make_slab(index);
        if (slab == NULL) {
            return NULL;
        }
        slab->next = index->slabs;
        index->slabs = slab;
    }
    struct index_page *page =
        (struct index_page *)(void *)((uint8_t *)index->slabs->memory + index->slabs->used);
    index->slabs->used += index->page_bytes;
    return page;
}

static struct index_page *allocate_page(struct hash_index *index) {
    struct index_page *page =
        memory_allocate_aligned(index->options.allocator, 64, index->page_bytes);
    if (page != NULL) {
        count_bytes(index, index->page_bytes, true);
        page->is_mapped = false;
    }
    return page;
}

static struct index_page *take_page(struct hash_index *index) {
    struct index_page *page = NULL;
    bool is_mapped = true;
    mutex_lock(&index->lock);
    if (index->free_pages != NULL) {
        page = index->free_pages;
        index->free_pages = page->next_free;
        index->free_count--;
        is_mapped = page->is_mapped;
    } else if (uses_slabs(index)) {
        page = carve_page(index);
    }
    mutex_unlock(&index->lock);
    if (page == NULL) {
        is_mapped = false;
        page = allocate_page(index);
        if (page == NULL) {
            return NULL;
        }
    }
    memset((void *)page, 0, index->page_bytes);
    page->index = index;
    page->is_mapped = is_mapped;
    atomic_fetch_add_explicit(&index->pages, 1, memory_order_relaxed);
    return page;
}

static void give_page(struct index_page *page) {
    struct hash_index *index = page->index;
    atomic_fetch_sub_explicit(&index->pages, 1, memory_order_relaxed);
    if (!page->is_mapped) {
        memory_release_aligned(index->options.allocator, page);
        count_bytes(index, index->page_bytes, false);
        return;
    }
    mutex_lock(&index->lock);
    page->next_free = index->free_pages;
    index->free_pages = page;
    index->free_count++;
    mutex_unlock(&index->lock);
}

static void release_page(struct epoch_node *node) {
    give_page((struct index_page *)(void *)((char *)node - offsetof(struct index_page, limbo)));
}

static struct index_directory *make_directory(struct hash_index *index, uint32_t depth) {
    size_t bytes = sizeof(struct index_directory) + sizeof(uint64_t) * ((size_t)1 << depth);
    struct index_directory *directory = memory_allocate(index->options.allocator, bytes);
    if (directory != NULL) {
        directory->index = index;
        directory->depth = depth;
        count_bytes(index, bytes, true);
    }
    return directory;
}

static void free_directory(struct index_directory *directory) {
    struct hash_index *index = directory->index;
    count_bytes(index, sizeof(*directory) + sizeof(uint64_t) * ((size_t)1 << directory->depth),
                false);
    memory_release(index->options.allocator, directory);
}

static void release_directory(struct epoch_node *node) {
    free_directory(
        (struct index_directory *)(void *)((char *)node - offsetof(struct index_directory, limbo)));
}

/* ---- life ---- */

tern_status hash_index_create(const struct hash_index_options *options,
                              struct hash_index **out_index, tern_error *error) {
    struct hash_index *index = memory_allocate_zeroed(options->allocator, sizeof(*index));
    if (index == NULL) {
        return ERROR_NO_MEMORY(error, "an index");
    }
    index->options = *options;
    index->page_bytes = (page_bytes_of(options->layout) + 63) / 64 * 64;
    index->page_limit = page_slots_of(options->layout) * options->max_load_percent / 100;
    mutex_init(&index->lock);
    uint32_t depth = DIRECTORY_DEPTH_MIN;
    while (depth < PAGE_DEPTH_MAX - 8 &&
           ((uint64_t)index->page_limit << depth) < options->expected_keys) {
        depth++;
    }
    struct index_directory *directory = make_directory(index, depth);
    index->spare = make_directory(index, DIRECTORY_DEPTH_MIN);
    tern_status status =
        directory != NULL && index->spare != NULL ? TERN_OK : ERROR_NO_MEMORY(error, "an index");
    uint64_t made = 0;
    for (; status == TERN_OK && made < (uint64_t)1 << depth; made++) {
        struct index_page *page = take_page(index);
        if (page == NULL) {
            status = ERROR_NO_MEMORY(error, "an index");
            break;
        }
        page->depth = (uint8_t)depth;
        page->tag_bits = TAG_KNOWN;
        page->prefix = made << (64 - depth);
        atomic_init(&directory->words[made], word_of(page));
    }
    if (status != TERN_OK) {
        for (uint64_t i = 0; i < made; i++) {
            give_page(word_page(atomic_load(&directory->words[i])));
        }
        if (directory != NULL) {
            free_directory(directory);
        }
        hash_index_destroy(index);
        return status;
    }
    atomic_init(&index->first.directory, directory);
    *out_index = index;
    return TERN_OK;
}

static void give_table(struct index_table *table) {
    struct index_directory *directory = directory_of(table);
    if (directory != NULL) {
        uint64_t count = (uint64_t)1 << directory->depth;
        for (uint64_t i = 0; i < count;) {
            uint64_t word = atomic_load(&directory->words[i]);
            i += (uint64_t)1 << (directory->depth - word_depth(word));
            give_page(word_page(word));
        }
        free_directory(directory);
    }
}

void hash_index_destroy(struct hash_index *index) {
    if (index == NULL) {
        return;
    }
    give_table(&index->first);
    give_table(&index->second);
    if (index->spare != NULL) {
        free_directory(index->spare);
    }
    while (index->free_pages != NULL) {
        struct index_page *page = index->free_pages;
        index->free_pages = page->next_free;
        if (!page->is_mapped) {
            memory_release_aligned(index->options.allocator, page);
            count_bytes(index, index->page_bytes, false);
        }
    }
    while (index->slabs != NULL) {
        struct index_slab *slab = index->slabs;
        index->slabs = slab->next;
        free_slab(index, slab);
    }
    if (index->next_slab != NULL) {
        free_slab(index, index->next_slab);
    }
    mutex_destroy(&index->lock);
    memory_release(index->options.allocator, index);
}

/* ---- reading ---- */

void hash_index_prefetch(const struct hash_index *index, uint64_t hash) {
    uint64_t word = word_for(directory_of(&index->first), hash);
    const struct index_page *page = word_page(word);
    enum hash_layout layout = index->options.layout;
    uint32_t bucket = page_bucket_of(layout, hash);
    if (layout == HASH_LAYOUT_CHAINS) {
        __builtin_prefetch(&page->body.chains[bucket]);
    } else if (layout == HASH_LAYOUT_GROUPS) {
        __builtin_prefetch(&page->body.groups[bucket]);
        __builtin_prefetch(&page->body.groups[bucket].entries[7]);
    } else {
        __builtin_prefetch(&page->body.robin.entries[bucket]);
        __builtin_prefetch(&page->body.robin.distances[bucket]);
    }
}

/* Bits of the entries of a group with this tag byte. The writer stores tags byte by byte: whichever
 * are seen, an entry is looked at before it is believed. */
static uint32_t group_matches(const struct group_line *line, uint8_t tag) {
    const uint32_t entries = (1u << GROUP_ENTRIES) - 1;
#if defined(__SANITIZE_THREAD__)
    /* It knows no loads of sixteen atomic bytes. */
    uint8_t tags[TAGS_BYTES] = {0};
    for (uint32_t i = 0; i < GROUP_ENTRIES; i++) {
        tags[i] = atomic_load_explicit(&line->tags[i], memory_order_relaxed);
    }
    return tags_match(tags, tag) & entries;
#else
    return tags_match(line, tag) & entries;
#endif
}

static inline void begin_in(struct hash_probe *probe, const struct hash_index *index,
                            const struct index_table *table, uint64_t hash) {
    uint64_t word = word_for(directory_of(table), hash);
    enum hash_layout layout = index->options.layout;
    probe->page = word_page(word);
    probe->layout = layout;
    probe->tag_mask = tag_mask_of(word_tag_bits(word)) << TAG_SHIFT;
    probe->tag = tag_of(hash, word_depth(word)) << TAG_SHIFT & probe->tag_mask;
    probe->line = page_bucket_of(layout, hash);
    probe->position = 0;
    probe->matches = 0;
    probe->tag_byte = tag_byte_of(hash);
    if (layout == HASH_LAYOUT_CHAINS) {
        probe->matches =
            chain_matches(&probe->page->body.chains[probe->line], probe->tag_mask, probe->tag);
    } else if (layout == HASH_LAYOUT_GROUPS) {
        probe->matches = group_matches(&probe->page->body.groups[probe->line], probe->tag_byte);
    }
}

void hash_probe_begin(struct hash_probe *probe, const struct hash_index *index, uint64_t hash) {
    begin_in(probe, index, &index->first, hash);
    probe->is_second = false;
}

bool hash_probe_begin_second(struct hash_probe *probe, const struct hash_index *index,
                             uint64_t second) {
    if (probe->is_second) {
        return false;
    }
    begin_in(probe, index, &index->second, second);
    probe->is_second = true;
    return true;
}

uint64_t hash_index_second(const struct hash_index *index, tern_slice key) {
    return hash_u64(key.data, key.size, index->options.second_seed) | 1;
}

static index_slot *next_of_chain(struct hash_probe *probe, hash_link *out_link) {
    for (;;) {
        const struct chain_line *line = &probe->page->body.chains[probe->line];
        while (probe->matches != 0) {
            uint32_t at = (uint32_t)__builtin_ctz(probe->matches);
            probe->matches &= probe->matches - 1;
            atomic_thread_fence(memory_order_acquire);
            index_slot *slot = (index_slot *)(uintptr_t)&line->entries[at];
            uint64_t entry = atomic_load_explicit(slot, memory_order_acquire);
            if ((entry & probe->tag_mask) == probe->tag && entry != 0) {
                *out_link = entry & LINK_MASK;
                return slot;
            }
        }
        uint32_t next = atomic_load_explicit(&line->next, memory_order_acquire);
        if (next == 0) {
            return NULL;
        }
        probe->line = next;
        probe->matches =
            chain_matches(&probe->page->body.chains[next], probe->tag_mask, probe->tag);
    }
}

static index_slot *next_of_group(struct hash_probe *probe, hash_link *out_link) {
    for (;;) {
        const struct group_line *line = &probe->page->body.groups[probe->line];
        while (probe->matches != 0) {
            uint32_t at = (uint32_t)__builtin_ctz(probe->matches);
            probe->matches &= probe->matches - 1;
            atomic_thread_fence(memory_order_acquire);
            index_slot *slot = (index_slot *)(uintptr_t)&line->entries[at];
            uint64_t entry = atomic_load_explicit(slot, memory_order_acquire);
            if ((entry & probe->tag_mask) == probe->tag && entry != 0) {
                *out_link = entry & LINK_MASK;
                return slot;
            }
        }
        uint32_t next = atomic_load_explicit(&line->next, memory_order_acquire);
        if (next == 0) {
            return NULL;
        }
        probe->line = next;
        probe->matches = group_matches(&probe->page->body.groups[next], probe->tag_byte);
    }
}

static index_slot *next_of_robin(struct hash_probe *probe, hash_link *out_link) {
    while (probe->position < ROBIN_DISTANCE_MAX) {
        uint32_t at = probe->line + probe->position++;
        if (at >= ROBIN_BUCKETS + ROBIN_TAIL) {
            break;
        }
        uint8_t distance =
            atomic_load_explicit(&probe->page->body.robin.distances[at], memory_order_acquire);
        if (distance < probe->position) {
            break;
        }
        index_slot *slot = (index_slot *)(uintptr_t)&probe->page->body.robin.entries[at];
        uint64_t entry = atomic_load_explicit(slot, memory_order_acquire);
        if (distance == probe->position && (entry & probe->tag_mask) == probe->tag && entry != 0) {
            *out_link = entry & LINK_MASK;
            return slot;
        }
    }
    return NULL;
}

index_slot *hash_probe_next(struct hash_probe *probe, hash_link *out_link) {
    if (probe->layout == HASH_LAYOUT_CHAINS) {
        return next_of_chain(probe, out_link);
    }
    return probe->layout == HASH_LAYOUT_GROUPS ? next_of_group(probe, out_link)
                                               : next_of_robin(probe, out_link);
}

uint32_t hash_index_collect_slowly(const struct hash_index *index, uint64_t hash,
                                   hash_link links[INDEX_COLLECT_MAX]) {
    struct hash_probe probe;
    hash_link link;
    uint32_t count = 0;
    hash_probe_begin(&probe, index, hash);
    while (hash_probe_next(&probe, &link) != NULL) {
        if (count == INDEX_COLLECT_MAX) {
            return count + 1;
        }
        links[count++] = link;
    }
    return count;
}

/* ---- writing ---- */

void hash_index_store(index_slot *slot, hash_link link) {
    uint64_t entry = atomic_load_explicit(slot, memory_order_relaxed);
    atomic_store_explicit(slot, (entry & ~LINK_MASK) | link, memory_order_release);
}

struct splitting {
    struct index_page *halves[2];
    enum hash_layout layout;
    bool has_failed;
    _Atomic uint64_t moves; /* nobody reads the new pages yet */
};

static void move_entry(void *context, const struct page_entry *entry) {
    struct splitting *splitting = context;
    uint64_t tag = entry->entry >> TAG_SHIFT;
    uint32_t half = (uint32_t)(tag >> (TAG_BITS - 1)) & 1;
    struct page_entry moved = *entry;
    moved.entry = (entry->entry & LINK_MASK) | (tag << 1 & TAGS_ALL) << TAG_SHIFT;
    if (!page_insert(splitting->halves[half], splitting->layout, &moved, &splitting->moves)) {
        splitting->has_failed = true;
    }
}

static bool grow_directory(struct hash_index *index, struct index_table *table) {
    struct index_directory *old = directory_of(table);
    struct index_directory *grown = make_directory(index, old->depth + 1);
    if (grown == NULL) {
        return false;
    }
    for (uint64_t i = 0; i < (uint64_t)1 << grown->depth; i++) {
        atomic_init(&grown->words[i],
                    atomic_load_explicit(&old->words[i / 2], memory_order_relaxed));
    }
    atomic_store_explicit(&table->directory, grown, memory_order_release);
    epoch_retire(index->options.epoch, &old->limbo, release_directory);
    return true;
}

enum split { SPLIT_DONE, SPLIT_NO_MEMORY, SPLIT_IN_VAIN };

/* Pages of a good hash are all about as deep. Up to the first of the two bounds nobody counts what
 * depth costs. */
static bool may_split(const struct hash_index *index, const struct index_page *page) {
    uint64_t pages = atomic_load_explicit(&index->pages, memory_order_relaxed);
    uint32_t deepest = 64u - (uint32_t)__builtin_clzll(pages | 1) + DEPTH_SLACK;
    deepest = deepest > DEPTH_FREE ? deepest : DEPTH_FREE;
    deepest = deepest < PAGE_DEPTH_MAX ? deepest : PAGE_DEPTH_MAX;
    return page->tag_bits > 0 && page->depth < deepest;
}

static enum split split_page(struct hash_index *index, struct index_table *table,
                             struct index_page *page) {
    if (!may_split(index, page)) {
        return SPLIT_IN_VAIN;
    }
    if (page->depth == directory_of(table)->depth && !grow_directory(index, table)) {
        return SPLIT_NO_MEMORY;
    }
    struct splitting splitting = {.layout = index->options.layout};
    for (uint32_t i = 0; i < 2; i++) {
        splitting.halves[i] = take_page(index);
        if (splitting.halves[i] == NULL) {
            if (i == 1) {
                give_page(splitting.halves[0]);
            }
            return SPLIT_NO_MEMORY;
        }
        splitting.halves[i]->has_closed = page->has_closed; /* I5 */
        memcpy(splitting.halves[i]->closed, page->closed, sizeof(page->closed));
        splitting.halves[i]->depth = (uint8_t)(page->depth + 1);
        splitting.halves[i]->tag_bits = (uint8_t)(page->tag_bits - 1);
        splitting.halves[i]->prefix = page->prefix | (uint64_t)i << (63 - page->depth);
    }
    for (uint32_t i = 0; i < page_buckets_of(splitting.layout); i++) {
        page_visit_bucket(page, splitting.layout, i, move_entry, &splitting);
    }
    if (splitting.has_failed) {
        give_page(splitting.halves[0]);
        give_page(splitting.halves[1]);
        return SPLIT_IN_VAIN;
    }
    struct index_directory *directory = directory_of(table);
    for (uint32_t i = 2; i-- > 0;) { /* I4 */
        const struct index_page *half = splitting.halves[i];
        uint64_t first = half->prefix >> (64 - directory->depth);
        uint64_t count = (uint64_t)1 << (directory->depth - half->depth);
        for (uint64_t j = count; j-- > 0;) {
            atomic_store_explicit(&directory->words[first + j], word_of(half),
                                  memory_order_release);
        }
    }
    atomic_fetch_add_explicit(&index->splits, 1, memory_order_relaxed);
    epoch_retire(index->options.epoch, &page->limbo, release_page);
    return SPLIT_DONE;
}

static enum hash_insertion close_bucket(struct index_page *page, enum hash_layout layout,
                                        uint32_t bucket) {
    uint32_t at = closed_bit(layout, bucket);
    page->closed[at / 64] |= (uint64_t)1 << (at % 64);
    page->has_closed = 1;
    return HASH_COLLIDES;
}

enum hash_insertion hash_index_insert(struct hash_index *index, uint64_t hash, hash_link link) {
    enum hash_layout layout = index->options.layout;
    struct index_table *table = &index->first;
    uint32_t bucket = page_bucket_of(layout, hash);
    for (;;) {
        struct index_page *page = word_page(word_for(directory_of(table), hash));
        if (page_is_closed(page, layout, bucket)) {
            return HASH_COLLIDES;
        }
        if (page->count >= index->page_limit) {
            enum split split = split_page(index, table, page);
            if (split == SPLIT_DONE) {
                continue;
            }
            if (split == SPLIT_IN_VAIN) {
                return close_bucket(page, layout, bucket);
            }
            table->has_failed = true;
            table->failed_hash = hash;
        }
        const struct page_entry entry = {link | tag_of(hash, page->depth) << TAG_SHIFT, bucket,
                                         tag_byte_of(hash)};
        if (page_insert(page, layout, &entry, &index->head.moves)) {
            atomic_fetch_add_explicit(&index->entries, 1, memory_order_relaxed);
            return HASH_INSERTED;
        }
        /* In a page that is far from full the bucket alone is the trouble. */
        if (page->count < index->page_limit / SPARSE_PART ||
            split_page(index, table, page) != SPLIT_DONE) {
            return close_bucket(page, layout, bucket);
        }
    }
}

/* The second table's first page, which stands for all hashes. */
static bool begin_second(struct hash_index *index) {
    struct index_page *page = take_page(index);
    if (page == NULL) {
        return false;
    }
    page->depth = 0;
    page->tag_bits = TAG_KNOWN;
    page->prefix = 0;
    for (uint64_t i = 0; i < (uint64_t)1 << DIRECTORY_DEPTH_MIN; i++) {
        atomic_init(&index->spare->words[i], word_of(page));
    }
    atomic_store_explicit(&index->second.directory, index->spare, memory_order_release);
    index->spare = NULL;
    return true;
}

bool hash_index_insert_second(struct hash_index *index, uint64_t second, hash_link link) {
    enum hash_layout layout = index->options.layout;
    struct index_table *table = &index->second;
    if (directory_of(table) == NULL && !begin_second(index)) {
        return false;
    }
    for (;;) {
        struct index_page *page = word_page(word_for(directory_of(table), second));
        if (page->count >= index->page_limit) {
            if (split_page(index, table, page) == SPLIT_DONE) {
                continue;
            }
            table->has_failed = true;
            table->failed_hash = second;
        }
        const struct page_entry entry = {link | tag_of(second, page->depth) << TAG_SHIFT,
                                         page_bucket_of(layout, second), tag_byte_of(second)};
        if (page_insert(page, layout, &entry, &index->head.moves)) {
            atomic_fetch_add_explicit(&index->entries, 1, memory_order_relaxed);
            atomic_fetch_add_explicit(&index->head.second_entries, 1, memory_order_release);
            return true;
        }
        if (split_page(index, table, page) != SPLIT_DONE) {
            return false;
        }
    }
}

/* Its spare room must not be used up: nobody could insert then. */
static bool retry_split(struct hash_index *index, struct index_table *table) {
    if (table->has_failed) {
        struct index_page *page = word_page(word_for(directory_of(table), table->failed_hash));
        if (page->count >= index->page_limit && split_page(index, table, page) == SPLIT_NO_MEMORY) {
            return false;
        }
        table->has_failed = false;
    }
    return true;
}

uint64_t hash_index_pages_for(const struct hash_index *index, size_t count) {
    return 2 + count / 16 + (directory_of(&index->second) == NULL ? 1 : 0);
}

tern_status hash_index_reserve_pages(struct hash_index *index, uint64_t pages, tern_error *error) {
    tern_status status = TERN_OK;
    mutex_lock(&index->lock);
    while (status == TERN_OK && index->free_count < pages) {
        struct index_page *page = NULL;
        if (uses_slabs(index)) {
            page = carve_page(index);
            if (page != NULL) {
                page->is_mapped = true;
            }
        } else {
            page = allocate_page(index);
        }
        if (page == NULL) {
            status = ERROR_NO_MEMORY(error, "an index");
            break;
        }
        page->next_free = index->free_pages;
        index->free_pages = page;
        index->free_count++;
    }
    mutex_unlock(&index->lock);
    return status;
}

tern_status hash_index_reserve(struct hash_index *index, size_t count, tern_error *error) {
    if (!retry_split(index, &index->first) || !retry_split(index, &index->second)) {
        return ERROR_NO_MEMORY(error, "an index");
    }
    return hash_index_reserve_pages(index, hash_index_pages_for(index, count), error);
}

void hash_index_note_move(struct hash_index *index) {
    moves_begin(&index->head.moves);
    moves_end(&index->head.moves);
}

uint32_t hash_index_bucket(const struct hash_index *index, uint64_t hash) {
    return page_bucket_of(index->options.layout, hash);
}

size_t hash_index_page_bytes(const struct hash_index *index) {
    return index->page_bytes;
}

uint32_t hash_index_page_limit(const struct hash_index *index) {
    return index->page_limit;
}

static bool is_slot_of(const struct hash_index *index, const struct index_page *page,
                       const index_slot *slot) {
    uintptr_t begin = (uintptr_t)page;
    return (uintptr_t)slot >= begin && (uintptr_t)slot < begin + index->page_bytes;
}

bool hash_index_is_second(const struct hash_index *index, uint64_t hash, const index_slot *slot) {
    return !is_slot_of(index, word_page(word_for(directory_of(&index->first), hash)), slot);
}

void hash_index_remove(struct hash_index *index, uint64_t hash, uint64_t second, index_slot *slot) {
    enum hash_layout layout = index->options.layout;
    bool is_second = hash_index_is_second(index, hash, slot);
    struct index_page *page = is_second ? word_page(word_for(directory_of(&index->second), second))
                                        : word_page(word_for(directory_of(&index->first), hash));
    ASSERT(is_slot_of(index, page, slot));
    page_remove(page, layout, page_bucket_of(layout, is_second ? second : hash), slot,
                &index->head.moves);
    atomic_fetch_sub_explicit(&index->entries, 1, memory_order_relaxed);
    if (is_second) {
        atomic_fetch_sub_explicit(&index->head.second_entries, 1, memory_order_release);
    }
}

/* ---- taking out many ---- */

struct removal {
    const struct index_page *page;
    struct index_page *target;
    enum hash_layout layout;
    uint64_t first, last;
    bool (*is_gone)(void *context, hash_link link, uint64_t hash, uint32_t known);
    void *context;
    uint64_t gone;
    uint32_t tag_bits; /* of what stays */
    bool has_failed;
    _Atomic uint64_t moves; /* nobody reads the new page yet */
};

static void keep_entry(void *context, const struct page_entry *entry) {
    struct removal *removal = context;
    uint64_t hash;
    uint32_t known = entry_tells(removal->page, entry, &hash);
    bool is_within =
        hash <= removal->last && (known >= 64 || (hash | UINT64_MAX >> known) >= removal->first);
    if (is_within && removal->is_gone(removal->context, entry->entry & LINK_MASK, hash, known)) {
        removal->gone++;
        return;
    }
    uint32_t tag_bits = known - removal->page->depth;
    removal->tag_bits = tag_bits < removal->tag_bits ? tag_bits : removal->tag_bits;
    if (!page_insert(removal->target, removal->layout, entry, &removal->moves)) {
        removal->has_failed = true;
    }
}

static void replace_page(struct hash_index *index, struct index_page *page,
                         struct removal *removal) {
    struct index_page *target = take_page(index);
    ASSERT(target != NULL); /* the caller has seen to it */
    target->depth = page->depth;
    target->prefix = page->prefix;
    target->has_closed = page->has_closed; /* I5 */
    memcpy(target->closed, page->closed, sizeof(page->closed));
    removal->page = page;
    removal->target = target;
    removal->gone = 0;
    removal->tag_bits = TAG_KNOWN;
    removal->has_failed = false;
    for (uint32_t i = 0; i < page_buckets_of(removal->layout); i++) {
        page_visit_bucket(page, removal->layout, i, keep_entry, removal);
    }
    if (removal->gone == 0 || removal->has_failed) {
        give_page(target); /* fewer entries fit where more did, in any order: but be it so */
        return;
    }
    target->tag_bits = (uint8_t)removal->tag_bits;
    struct index_directory *directory = directory_of(&index->first);
    uint64_t first = page->prefix >> (64 - directory->depth);
    for (uint64_t j = (uint64_t)1 << (directory->depth - page->depth); j-- > 0;) {
        atomic_store_explicit(&directory->words[first + j], word_of(target), memory_order_release);
    }
    atomic_fetch_sub_explicit(&index->entries, removal->gone, memory_order_relaxed);
    epoch_retire(index->options.epoch, &page->limbo, release_page);
}

void hash_index_remove_range(struct hash_index *index, uint64_t first, uint64_t last,
                             bool (*is_gone)(void *context, hash_link link, uint64_t hash,
                                             uint32_t known),
                             void *context) {
    struct removal removal = {.layout = index->options.layout,
                              .first = first,
                              .last = last,
                              .is_gone = is_gone,
                              .context = context};
    const struct index_directory *directory = directory_of(&index->first);
    uint64_t end = last >> (64 - directory->depth);
    for (uint64_t i = first >> (64 - directory->depth); i <= end;) {
        uint64_t word = atomic_load_explicit(&directory->words[i], memory_order_relaxed);
        uint64_t span = (uint64_t)1 << (directory->depth - word_depth(word));
        replace_page(index, word_page(word), &removal);
        i = (i & ~(span - 1)) + span;
    }
}
