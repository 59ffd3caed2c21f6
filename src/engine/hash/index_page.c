/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/hash/index_page.h"

size_t page_bytes_of(enum hash_layout layout) {
    size_t head = offsetof(struct index_page, body);
    switch (layout) {
    case HASH_LAYOUT_ROBIN:
        return head + (ROBIN_BUCKETS + ROBIN_TAIL) * 9;
    case HASH_LAYOUT_GROUPS:
        return head + (GROUP_BUCKETS + GROUP_OVERFLOWS) * sizeof(struct group_line);
    default:
        return head + (CHAIN_BUCKETS + CHAIN_OVERFLOWS) * sizeof(struct chain_line);
    }
}

uint32_t page_slots_of(enum hash_layout layout) {
    switch (layout) {
    case HASH_LAYOUT_ROBIN:
        return ROBIN_BUCKETS;
    case HASH_LAYOUT_GROUPS:
        return GROUP_BUCKETS * GROUP_ENTRIES;
    default:
        return CHAIN_BUCKETS * CHAIN_ENTRIES;
    }
}

uint32_t page_buckets_of(enum hash_layout layout) {
    switch (layout) {
    case HASH_LAYOUT_ROBIN:
        return ROBIN_BUCKETS;
    case HASH_LAYOUT_GROUPS:
        return GROUP_BUCKETS;
    default:
        return CHAIN_BUCKETS;
    }
}

uint32_t page_bucket_of(enum hash_layout layout, uint64_t hash) {
    return (uint32_t)hash & (page_buckets_of(layout) - 1);
}

/* ---- chains ---- */

static bool chain_insert(struct index_page *page, const struct page_entry *entry) {
    struct chain_line *line = &page->body.chains[entry->bucket];
    uint32_t lines = 1;
    for (;; lines++) {
        for (uint32_t i = 0; i < CHAIN_ENTRIES; i++) {
            if (atomic_load_explicit(&line->entries[i], memory_order_relaxed) == 0) {
                atomic_store_explicit(&line->entries[i], entry->entry, memory_order_release);
                return true;
            }
        }
        uint16_t next = atomic_load_explicit(&line->next, memory_order_relaxed);
        if (next == 0) {
            break;
        }
        line = &page->body.chains[next];
    }
    if (page->overflows == CHAIN_OVERFLOWS || lines == CHAIN_LINES_MAX) {
        return false;
    }
    uint16_t next = (uint16_t)(CHAIN_BUCKETS + page->overflows++);
    atomic_store_explicit(&page->body.chains[next].entries[0], entry->entry, memory_order_relaxed);
    atomic_store_explicit(&line->next, next, memory_order_release);
    return true;
}

static void chain_visit(const struct index_page *page, uint32_t bucket,
                        void (*visit)(void *context, const struct page_entry *entry),
                        void *context) {
    uint32_t at = bucket;
    do {
        const struct chain_line *line = &page->body.chains[at];
        for (uint32_t i = 0; i < CHAIN_ENTRIES; i++) {
            uint64_t value = atomic_load_explicit(&line->entries[i], memory_order_acquire);
            if (value != 0) {
                const struct page_entry entry = {value, bucket, 0};
                visit(context, &entry);
            }
        }
        at = atomic_load_explicit(&line->next, memory_order_acquire);
    } while (at != 0);
}

/* ---- groups ---- */

static bool group_insert(struct index_page *page, const struct page_entry *entry) {
    struct group_line *line = &page->body.groups[entry->bucket];
    uint32_t lines = 1;
    for (;; lines++) {
        for (uint32_t i = 0; i < GROUP_ENTRIES; i++) {
            if (atomic_load_explicit(&line->entries[i], memory_order_relaxed) == 0) {
                atomic_store_explicit(&line->entries[i], entry->entry, memory_order_release);
                atomic_store_explicit(&line->tags[i], entry->tag_byte, memory_order_release);
                return true;
            }
        }
        uint16_t next = atomic_load_explicit(&line->next, memory_order_relaxed);
        if (next == 0) {
            break;
        }
        line = &page->body.groups[next];
    }
    if (page->overflows == GROUP_OVERFLOWS || lines == GROUP_LINES_MAX) {
        return false;
    }
    uint16_t next = (uint16_t)(GROUP_BUCKETS + page->overflows++);
    struct group_line *added = &page->body.groups[next];
    atomic_store_explicit(&added->entries[0], entry->entry, memory_order_relaxed);
    atomic_store_explicit(&added->tags[0], entry->tag_byte, memory_order_relaxed);
    atomic_store_explicit(&line->next, next, memory_order_release);
    return true;
}

static void group_visit(const struct index_page *page, uint32_t bucket,
                        void (*visit)(void *context, const struct page_entry *entry),
                        void *context) {
    uint32_t at = bucket;
    do {
        const struct group_line *line = &page->body.groups[at];
        for (uint32_t i = 0; i < GROUP_ENTRIES; i++) {
            uint64_t value = atomic_load_explicit(&line->entries[i], memory_order_acquire);
            if (value != 0) {
                const struct page_entry entry = {
                    value, bucket, atomic_load_explicit(&line->tags[i], memory_order_acquire)};
                visit(context, &entry);
            }
        }
        at = atomic_load_explicit(&line->next, memory_order_acquire);
    } while (at != 0);
}

/* ---- Robin Hood ---- */

/*
 * Distances do not sink by more than one from a slot to the next, so a reader can stop at the first
 * entry that is closer to its home than the reader is to its own (Celis, "Robin Hood Hashing",
 * 1986). Removal shifts back, so there are no tombstones.
 */
static bool robin_insert(struct index_page *page, const struct page_entry *entry,
                         _Atomic uint64_t *moves) {
    index_slot *entries = page->body.robin.entries;
    _Atomic uint8_t *distances = page->body.robin.distances;
    uint32_t at = entry->bucket;
    uint32_t distance = 1;
    while (atomic_load_explicit(&distances[at], memory_order_relaxed) >= distance) {
        at++;
        distance++;
        if (distance > ROBIN_DISTANCE_MAX || at == ROBIN_BUCKETS + ROBIN_TAIL) {
            return false;
        }
    }
    uint32_t end = at;
    while (atomic_load_explicit(&distances[end], memory_order_relaxed) != 0) {
        if (atomic_load_explicit(&distances[end], memory_order_relaxed) >= ROBIN_DISTANCE_MAX ||
            end + 1 == ROBIN_BUCKETS + ROBIN_TAIL) {
            return false;
        }
        end++;
    }
    bool shifts = end != at;
    if (shifts) {
        moves_begin(moves);
    }
    for (uint32_t i = end; i > at; i--) {
        uint64_t moved = atomic_load_explicit(&entries[i - 1], memory_order_relaxed);
        uint8_t from = atomic_load_explicit(&distances[i - 1], memory_order_relaxed);
        atomic_store_explicit(&entries[i], moved, memory_order_release);
        atomic_store_explicit(&distances[i], (uint8_t)(from + 1), memory_order_release);
    }
    atomic_store_explicit(&entries[at], entry->entry, memory_order_release);
    atomic_store_explicit(&distances[at], (uint8_t)distance, memory_order_release);
    if (shifts) {
        moves_end(moves);
    }
    return true;
}

static void robin_remove(struct index_page *page, index_slot *slot) {
    index_slot *entries = page->body.robin.entries;
    _Atomic uint8_t *distances = page->body.robin.distances;
    uint32_t at = (uint32_t)(slot - entries);
    while (at + 1 < ROBIN_BUCKETS + ROBIN_TAIL &&
           atomic_load_explicit(&distances[at + 1], memory_order_relaxed) > 1) {
        uint8_t from = atomic_load_explicit(&distances[at + 1], memory_order_relaxed);
        atomic_store_explicit(&entries[at],
                              atomic_load_explicit(&entries[at + 1], memory_order_relaxed),
                              memory_order_release);
        atomic_store_explicit(&distances[at], (uint8_t)(from - 1), memory_order_release);
        at++;
    }
    atomic_store_explicit(&distances[at], 0, memory_order_release);
    atomic_store_explicit(&entries[at], 0, memory_order_release);
}

static void robin_visit(const struct index_page *page, uint32_t bucket,
                        void (*visit)(void *context, const struct page_entry *entry),
                        void *context) {
    for (uint32_t i = 0; i < ROBIN_DISTANCE_MAX && bucket + i < ROBIN_BUCKETS + ROBIN_TAIL; i++) {
        uint8_t distance =
            atomic_load_explicit(&page->body.robin.distances[bucket + i], memory_order_acquire);
        if (distance < i + 1) {
            break;
        }
        if (distance == i + 1) {
            const struct page_entry entry = {
                atomic_load_explicit(&page->body.robin.entries[bucket + i], memory_order_acquire),
                bucket, 0};
            visit(context, &entry);
        }
    }
}

/* ---- all of them ---- */

bool page_insert(struct index_page *page, enum hash_layout layout, const struct page_entry *entry,
                 _Atomic uint64_t *moves) {
    bool is_in = layout == HASH_LAYOUT_ROBIN    ? robin_insert(page, entry, moves)
                 : layout == HASH_LAYOUT_GROUPS ? group_insert(page, entry)
                                                : chain_insert(page, entry);
    page->count += is_in ? 1 : 0;
    return is_in;
}

void page_remove(struct index_page *page, enum hash_layout layout, uint32_t bucket,
                 index_slot *slot, _Atomic uint64_t *moves) {
    (void)bucket;
    moves_begin(moves);
    if (layout == HASH_LAYOUT_ROBIN) {
        robin_remove(page, slot);
    } else {
        atomic_store_explicit(slot, 0, memory_order_release);
    }
    moves_end(moves);
    page->count--;
}

void page_visit_bucket(const struct index_page *page, enum hash_layout layout, uint32_t bucket,
                       void (*visit)(void *context, const struct page_entry *entry),
                       void *context) {
    if (layout == HASH_LAYOUT_ROBIN) {
        robin_visit(page, bucket, visit, context);
    } else if (layout == HASH_LAYOUT_GROUPS) {
        group_visit(page, bucket, visit, context);
    } else {
        chain_visit(page, bucket, visit, context);
    }
}
