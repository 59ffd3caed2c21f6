/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the index is made of, for hash_index.c and hash_index_walk.c. The directory's word: bits
 * 0..47 page, 48..55 depth of the page, 56..63 known bits of its tags, so that a reader needs
 * nothing from the head of a page.
 */
#ifndef TERN_ENGINE_HASH_INDEX_INTERNAL_H
#define TERN_ENGINE_HASH_INDEX_INTERNAL_H

#include "engine/hash/index_page.h"
#include "os/mutex.h"
#include "os/pages.h"
#include "simd/tags.h"

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

struct index_table {
    _Atomic(struct index_directory *) directory; /* of the second table NULL until it is needed */
    bool has_failed; /* a split found no memory; the page of this hash takes what its spare room can
                      */
    uint64_t failed_hash;
};

struct hash_index {
    struct hash_index_head head;
    struct index_table first, second;
    struct hash_index_options options;
    struct index_directory *spare; /* what the second table begins with */
    size_t page_bytes;
    uint32_t page_limit;
    struct mutex lock; /* of the free pages */
    struct index_page *free_pages;
    uint64_t free_count;
    struct index_slab *slabs;
    struct index_slab *next_slab; /* its memory has been brought in already */
    _Atomic uint64_t entries, pages, bytes, splits;
};

/* From this many pages on they come from slabs of huge pages, if two slabs are no more than this
 * part of the budget: the one in use and the one made ahead. */
#define SLAB_PAGES_MIN   32u
#define SLAB_BUDGET_PART 32u

static inline bool uses_slabs(const struct hash_index *index) {
    uint64_t limit = index->options.budget != NULL ? index->options.budget->limit_bytes : 0;
    return atomic_load_explicit(&index->pages, memory_order_relaxed) >= SLAB_PAGES_MIN &&
           (limit == 0 || limit / SLAB_BUDGET_PART >= 2 * HUGE_PAGE_BYTES);
}

/* Of Robin Hood the bit is that of eight buckets. */
static inline uint32_t closed_bit(enum hash_layout layout, uint32_t bucket) {
    return layout == HASH_LAYOUT_ROBIN ? bucket / 8 : bucket;
}

static inline bool page_is_closed(const struct index_page *page, enum hash_layout layout,
                                  uint32_t bucket) {
    uint32_t at = closed_bit(layout, bucket);
    return __builtin_expect(page->has_closed, 0) && (page->closed[at / 64] >> (at % 64) & 1) != 0;
}

/* ---- words of the directory ---- */

#define WORD_PAGE_MASK (((uint64_t)1 << 48) - 1)

static inline uint64_t word_of(const struct index_page *page) {
    return (uint64_t)(uintptr_t)page | (uint64_t)page->depth << 48 | (uint64_t)page->tag_bits << 56;
}

static inline struct index_page *word_page(uint64_t word) {
    return (struct index_page *)(uintptr_t)(word & WORD_PAGE_MASK);
}

static inline uint32_t word_depth(uint64_t word) {
    return (uint32_t)(word >> 48) & 0xff;
}

static inline uint32_t word_tag_bits(uint64_t word) {
    return (uint32_t)(word >> 56);
}

static inline uint64_t tag_mask_of(uint32_t tag_bits) {
    return TAGS_ALL & ~((((uint64_t)1 << (TAG_BITS - tag_bits)) - 1));
}

/* The bits of the hash behind those that a page of this depth has in common. */
static inline uint64_t tag_of(uint64_t hash, uint32_t depth) {
    return (hash << depth >> (64 - TAG_KNOWN)) << 1 | 1;
}

/* What an entry tells of the hash: so many bits from the top by its tag, and the lowest ones by its
 * bucket, in *out_hash, the others zero. */
static inline uint32_t entry_tells(const struct index_page *page, const struct page_entry *entry,
                                   uint64_t *out_hash) {
    uint64_t tag = entry->entry >> TAG_SHIFT;
    uint64_t bits = tag & (tag - 1);
    uint64_t low = entry->bucket & (((uint64_t)1 << INDEX_LOW_BITS) - 1);
    *out_hash = page->prefix | bits << (64 - TAG_BITS) >> page->depth | low;
    return page->depth + TAG_KNOWN - (uint32_t)__builtin_ctzll(tag);
}

static inline struct index_directory *directory_of(const struct index_table *table) {
    return atomic_load_explicit(&table->directory, memory_order_acquire);
}

static inline uint64_t word_for(const struct index_directory *directory, uint64_t hash) {
    return atomic_load_explicit(&directory->words[hash >> (64 - directory->depth)],
                                memory_order_acquire);
}

/* ---- looking ---- */

/* Bits of the entries of a bucket whose tag fits, and of empty ones when the tag is 0. */
static inline uint32_t chain_matches(const struct chain_line *line, uint64_t mask, uint64_t tag) {
    const uint32_t entries = (1u << CHAIN_ENTRIES) - 1;
#if defined(__SANITIZE_THREAD__)
    /* It knows no loads of two atomic words. */
    uint64_t words[TAGS_WORDS] __attribute__((aligned(16))) = {0};
    for (uint32_t i = 0; i < CHAIN_ENTRIES; i++) {
        words[i] = atomic_load_explicit(&line->entries[i], memory_order_relaxed);
    }
    return tags_match_words(words, mask, tag) & entries;
#else
    return tags_match_words(line, mask, tag) & entries;
#endif
}

/* Entries of one look at the first table, at most. */
#define INDEX_COLLECT_MAX 4u

uint32_t hash_index_collect_slowly(const struct hash_index *index, uint64_t hash,
                                   hash_link links[INDEX_COLLECT_MAX]);

/* The links of all entries of the first table whose tag fits, in one go; more than
 * INDEX_COLLECT_MAX: there are more than are in `links`. */
static inline uint32_t hash_index_collect(const struct hash_index *index, uint64_t hash,
                                          hash_link links[INDEX_COLLECT_MAX]) {
    if (index->options.layout != HASH_LAYOUT_CHAINS) {
        return hash_index_collect_slowly(index, hash, links);
    }
    uint64_t word = word_for(directory_of(&index->first), hash);
    uint64_t mask = tag_mask_of(word_tag_bits(word)) << TAG_SHIFT;
    uint64_t tag = tag_of(hash, word_depth(word)) << TAG_SHIFT & mask;
    const struct index_page *page = word_page(word);
    uint32_t line_number = (uint32_t)hash & (CHAIN_BUCKETS - 1);
    uint32_t count = 0;
    do {
        const struct chain_line *line = &page->body.chains[line_number];
        uint32_t matches = chain_matches(line, mask, tag);
        for (; matches != 0; matches &= matches - 1) {
            uint32_t at = (uint32_t)__builtin_ctz(matches);
            uint64_t entry = atomic_load_explicit(&line->entries[at], memory_order_acquire);
            if ((entry & mask) != tag || entry == 0) {
                continue; /* changed meanwhile */
            }
            if (count == INDEX_COLLECT_MAX) {
                return count + 1;
            }
            links[count++] = entry & LINK_MASK;
        }
        line_number = atomic_load_explicit(&line->next, memory_order_acquire);
    } while (__builtin_expect(line_number != 0, 0));
    return count;
}

#endif
