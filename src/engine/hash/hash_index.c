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
 *
 * The directory's word: bits 0..47 page, 48..55 depth of the page, 56..63 known bits of its tags,
 * so that a reader needs nothing from the head of a page.
 */
#include "engine/hash/hash_index.h"

#include "base/assert.h"
#include "base/error.h"
#include "engine/hash/index_page.h"
#include "os/mutex.h"
#include "os/pages.h"
#include "simd/tags.h"

#define DIRECTORY_DEPTH_MIN 1u
/* From this many pages on they come from huge pages. */
#define SLAB_PAGES_MIN 32u

struct index_directory {
    struct epoch_node limbo;
    struct hash_index *index;
    uint32_t depth;
    _Atomic uint64_t words[];
};

struct index_slab {
    struct index_slab *next;
    void *memory;
    size_t used;
};

struct hash_index {
    struct hash_index_options options;
    _Atomic(struct index_directory *) directory;
    _Atomic uint64_t moves;
    uint8_t depth_first; /* of the pages that were made first: tags are whole there */
    size_t page_bytes;
    uint32_t page_limit;
    struct mutex lock; /* of the free pages */
    struct index_page *free_pages;
    uint64_t free_count;
    struct index_slab *slabs;
    _Atomic uint64_t entries, pages, bytes, splits;
    bool has_failed; /* a split found no memory; the page of this hash takes what its spare room can
                      */
    uint64_t failed_hash;
};

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

/* A page out of a slab of huge pages. */
static struct index_page *carve_page(struct hash_index *index) {
    if (index->slabs == NULL || index->slabs->used + index->page_bytes > HUGE_PAGE_BYTES) {
        struct index_slab *slab = memory_allocate(index->options.allocator, sizeof(*slab));
        if (slab == NULL) {
            return NULL;
        }
        if (pages_allocate(HUGE_PAGE_BYTES, true, &slab->memory, NULL) != TERN_OK) {
            memory_release(index->options.allocator, slab);
            return NULL;
        }
        slab->used = 0;
        slab->next = index->slabs;
        index->slabs = slab;
        count_bytes(index, HUGE_PAGE_BYTES, true);
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
    } else if (atomic_load_explicit(&index->pages, memory_order_relaxed) >= SLAB_PAGES_MIN) {
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

/* ---- words of the directory ---- */

#define WORD_PAGE_MASK (((uint64_t)1 << 48) - 1)

static uint64_t word_of(const struct index_page *page) {
    return (uint64_t)(uintptr_t)page | (uint64_t)page->depth << 48 | (uint64_t)page->tag_bits << 56;
}

static struct index_page *word_page(uint64_t word) {
    return (struct index_page *)(uintptr_t)(word & WORD_PAGE_MASK);
}

static uint32_t word_depth(uint64_t word) {
    return (uint32_t)(word >> 48) & 0xff;
}

static uint32_t word_tag_bits(uint64_t word) {
    return (uint32_t)(word >> 56);
}

static uint64_t tag_mask_of(uint32_t tag_bits) {
    return TAGS_ALL & ~((((uint64_t)1 << (TAG_BITS - tag_bits)) - 1));
}

/* The bits of the hash behind those that a page of this depth has in common. */
static uint64_t tag_of(uint64_t hash, uint32_t depth) {
    return hash << depth >> (64 - TAG_BITS);
}

static struct index_directory *directory_of(const struct hash_index *index) {
    return atomic_load_explicit(&index->directory, memory_order_acquire);
}

static uint64_t word_for(const struct index_directory *directory, uint64_t hash) {
    return atomic_load_explicit(&directory->words[hash >> (64 - directory->depth)],
                                memory_order_acquire);
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
    index->depth_first = (uint8_t)depth;
    struct index_directory *directory = make_directory(index, depth);
    tern_status status = directory != NULL ? TERN_OK : ERROR_NO_MEMORY(error, "an index");
    uint64_t made = 0;
    for (; status == TERN_OK && made < (uint64_t)1 << depth; made++) {
        struct index_page *page = take_page(index);
        if (page == NULL) {
            status = ERROR_NO_MEMORY(error, "an index");
            break;
        }
        page->depth = (uint8_t)depth;
        page->tag_bits = TAG_BITS;
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
    atomic_init(&index->directory, directory);
    *out_index = index;
    return TERN_OK;
}

void hash_index_destroy(struct hash_index *index) {
    if (index == NULL) {
        return;
    }
    struct index_directory *directory = directory_of(index);
    if (directory != NULL) {
        uint64_t count = (uint64_t)1 << directory->depth;
        for (uint64_t i = 0; i < count;) {
            uint64_t word = atomic_load(&directory->words[i]);
            i += (uint64_t)1 << (directory->depth - word_depth(word));
            give_page(word_page(word));
        }
        free_directory(directory);
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
        pages_release(slab->memory, HUGE_PAGE_BYTES);
        memory_release(index->options.allocator, slab);
        count_bytes(index, HUGE_PAGE_BYTES, false);
    }
    mutex_destroy(&index->lock);
    memory_release(index->options.allocator, index);
}

/* ---- reading ---- */

uint64_t hash_index_moves(const struct hash_index *index) {
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&index->moves, memory_order_acquire);
}

void hash_index_prefetch(const struct hash_index *index, uint64_t hash) {
    uint64_t word = word_for(directory_of(index), hash);
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

/* Bits of the entries of a bucket whose tag fits, and of empty ones when the tag is 0. */
static uint32_t chain_matches(const struct chain_line *line, const struct hash_probe *probe) {
    uint64_t mask = probe->tag_mask;
    uint64_t tag = probe->tag;
    uint32_t matches = 0;
    for (uint32_t i = 0; i < CHAIN_ENTRIES; i++) {
        uint64_t entry = atomic_load_explicit(&line->entries[i], memory_order_acquire);
        matches |= (uint32_t)((entry & mask) == tag) << i;
    }
    return matches;
}

void hash_probe_begin(struct hash_probe *probe, const struct hash_index *index, uint64_t hash) {
    uint64_t word = word_for(directory_of(index), hash);
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
        probe->matches = chain_matches(&probe->page->body.chains[probe->line], probe);
    } else if (layout == HASH_LAYOUT_GROUPS) {
        probe->matches = group_matches(&probe->page->body.groups[probe->line], probe->tag_byte);
    }
}

static index_slot *next_of_chain(struct hash_probe *probe, hash_link *out_link) {
    for (;;) {
        const struct chain_line *line = &probe->page->body.chains[probe->line];
        while (probe->matches != 0) {
            uint32_t at = (uint32_t)__builtin_ctz(probe->matches);
            probe->matches &= probe->matches - 1;
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
        probe->matches = chain_matches(&probe->page->body.chains[next], probe);
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

static bool grow_directory(struct hash_index *index) {
    struct index_directory *old = directory_of(index);
    if (old->depth == PAGE_DEPTH_MAX) {
        return false;
    }
    struct index_directory *grown = make_directory(index, old->depth + 1);
    if (grown == NULL) {
        return false;
    }
    for (uint64_t i = 0; i < (uint64_t)1 << grown->depth; i++) {
        atomic_init(&grown->words[i],
                    atomic_load_explicit(&old->words[i / 2], memory_order_relaxed));
    }
    atomic_store_explicit(&index->directory, grown, memory_order_release);
    epoch_retire(index->options.epoch, &old->limbo, release_directory);
    return true;
}

static bool split_page(struct hash_index *index, struct index_page *page) {
    if (page->tag_bits == 0 ||
        (page->depth == directory_of(index)->depth && !grow_directory(index))) {
        return false;
    }
    struct splitting splitting = {.layout = index->options.layout};
    for (uint32_t i = 0; i < 2; i++) {
        splitting.halves[i] = take_page(index);
        if (splitting.halves[i] == NULL) {
            if (i == 1) {
                give_page(splitting.halves[0]);
            }
            return false;
        }
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
        return false;
    }
    struct index_directory *directory = directory_of(index);
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
    return true;
}

bool hash_index_insert(struct hash_index *index, uint64_t hash, hash_link link) {
    enum hash_layout layout = index->options.layout;
    for (;;) {
        struct index_page *page = word_page(word_for(directory_of(index), hash));
        if (page->count >= index->page_limit) {
            if (split_page(index, page)) {
                continue;
            }
            index->has_failed = true;
            index->failed_hash = hash;
        }
        const struct page_entry entry = {link | tag_of(hash, page->depth) << TAG_SHIFT,
                                         page_bucket_of(layout, hash), tag_byte_of(hash)};
        if (page_insert(page, layout, &entry, &index->moves)) {
            atomic_fetch_add_explicit(&index->entries, 1, memory_order_relaxed);
            return true;
        }
        if (!split_page(index, page)) {
            return false;
        }
    }
}

tern_status hash_index_reserve(struct hash_index *index, size_t count, tern_error *error) {
    uint64_t wanted = 2 + count / 16;
    tern_status status = TERN_OK;
    if (index->has_failed) {
        /* Its spare room must not be used up: nobody could insert then. */
        struct index_page *page = word_page(word_for(directory_of(index), index->failed_hash));
        if (page->count >= index->page_limit && !split_page(index, page)) {
            return ERROR_NO_MEMORY(error, "an index");
        }
        index->has_failed = false;
    }
    mutex_lock(&index->lock);
    while (status == TERN_OK && index->free_count < wanted) {
        struct index_page *page = NULL;
        if (atomic_load_explicit(&index->pages, memory_order_relaxed) >= SLAB_PAGES_MIN) {
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

void hash_index_remove(struct hash_index *index, uint64_t hash, index_slot *slot) {
    enum hash_layout layout = index->options.layout;
    struct index_page *page = word_page(word_for(directory_of(index), hash));
    page_remove(page, layout, page_bucket_of(layout, hash), slot, &index->moves);
    atomic_fetch_sub_explicit(&index->entries, 1, memory_order_relaxed);
}

/* ---- walking ---- */

struct walk_visit {
    void (*visit)(void *context, hash_link link);
    void *context;
};

static void visit_entry(void *context, const struct page_entry *entry) {
    const struct walk_visit *visit = context;
    visit->visit(visit->context, entry->entry & LINK_MASK);
}

bool hash_index_walk(const struct hash_index *index, struct hash_walk *walk,
                     void (*visit)(void *context, hash_link link), void *context) {
    enum hash_layout layout = index->options.layout;
    struct walk_visit visitor = {visit, context};
    if (walk->is_done) {
        return false;
    }
    const struct index_directory *directory = directory_of(index);
    if (!walk->has_page) {
        walk->depth = (uint8_t)word_depth(word_for(directory, walk->prefix));
        walk->has_page = true;
        walk->bucket = 0;
    }
    /* What was one page when the walk came to it may be many by now. */
    uint64_t first = walk->prefix >> (64 - directory->depth);
    uint64_t end = first + ((uint64_t)1 << (directory->depth - walk->depth));
    for (uint64_t i = first; i < end;) {
        uint64_t word = atomic_load_explicit(&directory->words[i], memory_order_acquire);
        page_visit_bucket(word_page(word), layout, walk->bucket, visit_entry, &visitor);
        uint64_t span = (uint64_t)1 << (directory->depth - word_depth(word));
        i = (i & ~(span - 1)) + span;
    }
    if (++walk->bucket == page_buckets_of(layout)) {
        uint64_t next = walk->prefix + ((uint64_t)1 << (64 - walk->depth));
        walk->is_done = next == 0;
        walk->prefix = next;
        walk->has_page = false;
    }
    return true;
}

void hash_index_get_stats(const struct hash_index *index, struct hash_index_stats *out_stats) {
    uint64_t pages = atomic_load_explicit(&index->pages, memory_order_relaxed);
    *out_stats = (struct hash_index_stats){
        .entries = atomic_load_explicit(&index->entries, memory_order_relaxed),
        .pages = pages,
        .bytes = atomic_load_explicit(&index->bytes, memory_order_relaxed),
        .slots = pages * page_slots_of(index->options.layout),
        .splits = atomic_load_explicit(&index->splits, memory_order_relaxed),
    };
}

static void count_entry(void *context, const struct page_entry *entry) {
    (void)entry;
    ++*(uint64_t *)context;
}

const char *hash_index_check(const struct hash_index *index) {
    const struct index_directory *directory = directory_of(index);
    enum hash_layout layout = index->options.layout;
    uint64_t total = 0;
    for (uint64_t i = 0; i < (uint64_t)1 << directory->depth;) {
        uint64_t word = atomic_load(&directory->words[i]);
        const struct index_page *page = word_page(word);
        uint64_t span = (uint64_t)1 << (directory->depth - page->depth);
        if (word != word_of(page) || page->prefix >> (64 - directory->depth) != i) {
            return "I2: a page does not stand where its prefix says";
        }
        for (uint64_t j = 0; j < span; j++) {
            if (atomic_load(&directory->words[i + j]) != word) {
                return "I2: a page does not stand at all places of its prefix";
            }
        }
        uint64_t count = 0;
        for (uint32_t bucket = 0; bucket < page_buckets_of(layout); bucket++) {
            page_visit_bucket(page, layout, bucket, count_entry, &count);
        }
        if (count != page->count) {
            return "I1: a page counts entries that its buckets do not reach";
        }
        total += count;
        i += span;
    }
    return total == atomic_load(&index->entries) ? NULL : "I1: entries are missing";
}
