/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pages of the index and their layouts, as hash_index.c sees them.
 *
 * Every page has 128 bytes of head, then:
 *   chains   256 buckets and 42 overflow lines of 64 bytes: 7 entries, u16 next line (0: none)
 *   groups   128 groups and 32 overflow groups of 128 bytes: 14 tag bytes, u16 next group,
 *            14 entries
 *   robin    2048 entries and 128 more behind them, so that nothing wraps; then a byte each for
 *            the distance from home plus one (0: empty)
 */
#ifndef TERN_ENGINE_HASH_INDEX_PAGE_H
#define TERN_ENGINE_HASH_INDEX_PAGE_H

#include "engine/hash/hash_index.h"

/* Of a tag the lowest bit that is set ends it: above it are bits of the hash, below it zeros. */
#define TAG_BITS       19u
#define TAG_KNOWN      (TAG_BITS - 1) /* bits of the hash in a new entry's tag */
#define TAG_SHIFT      LINK_BITS
#define TAGS_ALL       (((uint64_t)1 << TAG_BITS) - 1)
#define PAGE_DEPTH_MAX 30u

#define CHAIN_BUCKETS   256u
#define CHAIN_OVERFLOWS 42u
#define CHAIN_ENTRIES   7u

#define GROUP_BUCKETS   128u
#define GROUP_OVERFLOWS 32u
#define GROUP_ENTRIES   14u

/* Lines of a bucket, the first included. At the highest load a good hash fills as many once in
 * 10^13 buckets. */
#define CHAIN_LINES_MAX 5u
#define GROUP_LINES_MAX 4u

#define ROBIN_BUCKETS      2048u
#define ROBIN_TAIL         128u
#define ROBIN_DISTANCE_MAX 120u

_Static_assert(CHAIN_BUCKETS >> INDEX_LOW_BITS > 0 && GROUP_BUCKETS >> INDEX_LOW_BITS > 0 &&
                   ROBIN_BUCKETS >> INDEX_LOW_BITS > 0,
               "the lowest bits of the hash give the bucket");

struct chain_line {
    index_slot entries[CHAIN_ENTRIES];
    _Atomic uint16_t next;
    uint16_t reserved[3];
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct chain_line) == 64, "a bucket is one cache line");

struct group_line {
    _Atomic uint8_t tags[GROUP_ENTRIES]; /* 0: empty */
    _Atomic uint16_t next;
    index_slot entries[GROUP_ENTRIES];
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct group_line) == 128, "a group is two cache lines");

#define CLOSED_WORDS 4u

struct index_page {
    struct epoch_node limbo;
    struct hash_index *index;
    uint64_t prefix;
    uint32_t count;
    uint16_t overflows; /* used */
    uint8_t depth;
    uint8_t tag_bits; /* known bits of the tags */
    uint8_t is_mapped;
    uint8_t has_closed; /* some bit of `closed`, which is a line further on, is set */
    struct index_page *next_free;
    uint64_t closed[CLOSED_WORDS]; /* a bit for each bucket; of robin for eight of them */
    union {
        struct chain_line chains[CHAIN_BUCKETS + CHAIN_OVERFLOWS];
        struct group_line groups[GROUP_BUCKETS + GROUP_OVERFLOWS];
        struct {
            index_slot entries[ROBIN_BUCKETS + ROBIN_TAIL];
            _Atomic uint8_t distances[ROBIN_BUCKETS + ROBIN_TAIL];
        } robin;
    } body __attribute__((aligned(64)));
};

/* Bytes of a page of a layout, entries that its buckets hold, and its buckets. */
size_t page_bytes_of(enum hash_layout layout);
uint32_t page_slots_of(enum hash_layout layout);
uint32_t page_buckets_of(enum hash_layout layout);
/* Home bucket of a hash. */
uint32_t page_bucket_of(enum hash_layout layout, uint64_t hash);

/* An entry as it is handed from page to page; `tag_byte` only of groups. */
struct page_entry {
    uint64_t entry;
    uint32_t bucket;
    uint8_t tag_byte;
};
/* False: no room. `moves` is made odd while entries move. */
bool page_insert(struct index_page *page, enum hash_layout layout, const struct page_entry *entry,
                 _Atomic uint64_t *moves);
void page_remove(struct index_page *page, enum hash_layout layout, uint32_t bucket,
                 index_slot *slot, _Atomic uint64_t *moves);
void page_visit_bucket(const struct index_page *page, enum hash_layout layout, uint32_t bucket,
                       void (*visit)(void *context, const struct page_entry *entry), void *context);

static inline uint8_t tag_byte_of(uint64_t hash) {
    uint8_t byte = (uint8_t)(hash >> 11);
    return byte == 0 ? 1 : byte;
}

static inline void moves_begin(_Atomic uint64_t *moves) {
    atomic_fetch_add_explicit(moves, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}

static inline void moves_end(_Atomic uint64_t *moves) {
    atomic_fetch_add_explicit(moves, 1, memory_order_release);
}

#endif
