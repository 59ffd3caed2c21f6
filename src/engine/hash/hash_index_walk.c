/* SPDX-License-Identifier: Apache-2.0 */
/* Walking through all entries, and checking the invariants of hash_index.c. */
#include "engine/hash/hash_index_internal.h"

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
    const struct index_directory *directory =
        directory_of(walk->is_second ? &index->second : &index->first);
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
        uint64_t span = walk->depth > 0 ? (uint64_t)1 << (64 - walk->depth) : 0;
        walk->prefix += span;
        walk->has_page = false;
        if (walk->prefix == 0) {
            walk->is_done = walk->is_second || !hash_index_has_second(index);
            walk->is_second = !walk->is_done;
        }
    }
    return true;
}

struct range_visit {
    const struct index_page *page;
    uint64_t first, last;
    enum hash_layout layout;
    bool with_closed;
    void (*visit)(void *context, hash_link link, uint64_t hash, uint32_t known);
    void *context;
};

static void visit_known(void *context, const struct page_entry *entry) {
    const struct range_visit *visit = context;
    uint64_t hash;
    uint32_t known = entry_tells(visit->page, entry, &hash);
    if (!visit->with_closed && page_is_closed(visit->page, visit->layout, entry->bucket)) {
        return;
    }
    if (hash <= visit->last && (known >= 64 || (hash | UINT64_MAX >> known) >= visit->first)) {
        visit->visit(visit->context, entry->entry & LINK_MASK, hash, known);
    }
}

void hash_index_visit_range(
    const struct hash_index *index, uint64_t first, uint64_t last, bool with_closed,
    void (*visit)(void *context, hash_link link, uint64_t hash, uint32_t known), void *context) {
    enum hash_layout layout = index->options.layout;
    struct range_visit visitor = {NULL, first, last, layout, with_closed, visit, context};
    const struct index_directory *directory = directory_of(&index->first);
    uint64_t end = last >> (64 - directory->depth);
    for (uint64_t i = first >> (64 - directory->depth); i <= end;) {
        uint64_t word = atomic_load_explicit(&directory->words[i], memory_order_acquire);
        uint64_t span = (uint64_t)1 << (directory->depth - word_depth(word));
        visitor.page = word_page(word);
        for (uint32_t bucket = 0; bucket < page_buckets_of(layout); bucket++) {
            page_visit_bucket(visitor.page, layout, bucket, visit_known, &visitor);
        }
        i = (i & ~(span - 1)) + span;
    }
}

void hash_index_visit_second(const struct hash_index *index,
                             void (*visit)(void *context, hash_link link), void *context) {
    enum hash_layout layout = index->options.layout;
    struct walk_visit visitor = {visit, context};
    if (!hash_index_has_second(index)) {
        return;
    }
    const struct index_directory *directory = directory_of(&index->second);
    for (uint64_t i = 0; i < (uint64_t)1 << directory->depth;) {
        uint64_t word = atomic_load_explicit(&directory->words[i], memory_order_acquire);
        for (uint32_t bucket = 0; bucket < page_buckets_of(layout); bucket++) {
            page_visit_bucket(word_page(word), layout, bucket, visit_entry, &visitor);
        }
        uint64_t span = (uint64_t)1 << (directory->depth - word_depth(word));
        i = (i & ~(span - 1)) + span;
    }
}

uint64_t hash_index_page_end(const struct hash_index *index, uint64_t hash) {
    uint32_t depth = word_depth(word_for(directory_of(&index->first), hash));
    return depth == 0 ? UINT64_MAX : hash | UINT64_MAX >> depth;
}

uint64_t hash_index_pages_in(const struct hash_index *index, uint64_t first, uint64_t last) {
    const struct index_directory *directory = directory_of(&index->first);
    uint64_t end = last >> (64 - directory->depth);
    uint64_t count = 0;
    for (uint64_t i = first >> (64 - directory->depth); i <= end; count++) {
        uint64_t word = atomic_load_explicit(&directory->words[i], memory_order_relaxed);
        uint64_t span = (uint64_t)1 << (directory->depth - word_depth(word));
        i = (i & ~(span - 1)) + span;
    }
    return count;
}

void hash_index_get_stats(const struct hash_index *index, struct hash_index_stats *out_stats) {
    uint64_t pages = atomic_load_explicit(&index->pages, memory_order_relaxed);
    *out_stats = (struct hash_index_stats){
        .entries = atomic_load_explicit(&index->entries, memory_order_relaxed),
        .second_entries = atomic_load_explicit(&index->head.second_entries, memory_order_relaxed),
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

static const char *check_table(const struct hash_index *index, const struct index_table *table,
                               uint64_t *out_total) {
    const struct index_directory *directory = directory_of(table);
    enum hash_layout layout = index->options.layout;
    uint64_t total = 0;
    *out_total = 0;
    if (directory == NULL) {
        return NULL;
    }
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
    *out_total = total;
    return NULL;
}

const char *hash_index_check(const struct hash_index *index) {
    uint64_t first;
    uint64_t second;
    const char *broken = check_table(index, &index->first, &first);
    broken = broken == NULL ? check_table(index, &index->second, &second) : broken;
    if (broken == NULL && (first + second != atomic_load(&index->entries) ||
                           second != atomic_load(&index->head.second_entries))) {
        broken = "I1: entries are missing";
    }
    return broken;
}
