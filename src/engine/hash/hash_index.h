/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index: from the hash of a key to links (hash_version.h), 8 bytes an entry: a tag of 19 bits
 * and a link of 45.
 *
 * A directory, addressed by the upper bits of the hash, points to pages; a page that is full is
 * split in two by the next bit (extendible hashing: Fagin and others, 1979), so growth costs one
 * page at a time and never a pause. Where an entry goes inside of a page depends on the lower bits
 * of the hash and is the page's layout: the collision strategy.
 *
 * Keys may agree in all bits that an entry's place and tag depend on: chosen so, or of a function
 * that makes them agree. A bucket takes so many entries and a page is split so often, both far more
 * than happens to a good hash; then the bucket is closed, and keys that come to it later have their
 * entry in a second table, which goes by another hash of the key, with a seed that nobody knows. So
 * a look-up costs at most one full bucket more, whatever the keys are. The second table is of the
 * same making, and empty as a rule.
 *
 * The tag holds 18 bits of the hash, those that follow the bits by which the directory came to the
 * page when the entry was made, and a bit that ends them. Each split uses one up, so `tag_bits` of
 * a page, which all its entries have, sinks; a new index (at open) begins with all of them.
 *
 * Threads: one writer (under the engine's index lock); readers inside an epoch take no lock. A
 * split makes two new pages and leaves the old one as it was until no reader can be inside. Entries
 * change in place; moving or removing one is announced by an odd `moves`: a reader that did not
 * find what it was looking for, while `moves` was odd or changed, looks again.
 */
#ifndef TERN_ENGINE_HASH_INDEX_H
#define TERN_ENGINE_HASH_INDEX_H

#include "engine/hash/hash_version.h"

enum hash_layout {
    HASH_LAYOUT_CHAINS = 1, /* buckets of one cache line, overflow lines chained */
    HASH_LAYOUT_ROBIN = 2,  /* open addressing, Robin Hood displacement */
    HASH_LAYOUT_GROUPS = 3  /* groups with a byte of tag an entry, compared at once */
};

/* Of a new index whose pages are as empty as they get, at the default load. */
#define INDEX_BYTES_PER_KEY_MAX 32u

struct hash_index;
struct index_page;

typedef _Atomic uint64_t index_slot;

struct hash_index_options {
    const tern_allocator *allocator;
    struct epoch_domain *epoch;
    struct budget *budget;
    enum hash_layout layout;
    uint64_t expected_keys;
    uint32_t max_load_percent;
    uint64_t second_seed; /* of the second table's hashes */
};

/* What all of them look at; embedded first. */
struct hash_index_head {
    _Atomic uint64_t second_entries;
    _Atomic uint64_t moves;
};

/* Has the second table any entry? */
static inline bool hash_index_has_second(const struct hash_index *index) {
    return atomic_load_explicit(&((const struct hash_index_head *)index)->second_entries,
                                memory_order_acquire) != 0;
}

/* What the second table goes by. Never 0. */
uint64_t hash_index_second(const struct hash_index *index, tern_slice key);

TERN_MUST_CHECK tern_status hash_index_create(const struct hash_index_options *options,
                                              struct hash_index **out_index, tern_error *error);
/* No reader may be inside, and nothing of it in limbo. Accepts NULL. */
void hash_index_destroy(struct hash_index *index);

/* Visits the entries whose tag fits. On the stack. */
struct hash_probe {
    const struct index_page *page;
    uint64_t tag;
    uint64_t tag_mask;
    uint32_t line;     /* chains, groups: bucket; robin: slot */
    uint32_t position; /* robin: distance */
    uint32_t matches;  /* chains, groups: bits of what is left of this line */
    enum hash_layout layout;
    uint8_t tag_byte;
    bool is_second;
};
void hash_probe_begin(struct hash_probe *probe, const struct hash_index *index, uint64_t hash);
/* The next entry's place and link; NULL at the end of the table. */
index_slot *hash_probe_next(struct hash_probe *probe, hash_link *out_link);
/* Goes on in the second table; false: it has been there. */
bool hash_probe_begin_second(struct hash_probe *probe, const struct hash_index *index,
                             uint64_t second);
/* At the end of a table: is there another, where the key may have entries? */
static inline bool hash_probe_goes_on(struct hash_probe *probe, const struct hash_index *index,
                                      tern_slice key) {
    return __builtin_expect(hash_index_has_second(index), 0) &&
           hash_probe_begin_second(probe, index, hash_index_second(index, key));
}

/* Fetches the directory's and then the bucket's line ahead. */
void hash_index_prefetch(const struct hash_index *index, uint64_t hash);

/* For readers that found nothing: compare before and after. */
static inline uint64_t hash_index_moves(const struct hash_index *index) {
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&((const struct hash_index_head *)index)->moves,
                                memory_order_acquire);
}

/* ---- writer ---- */

/* Keeps pages at hand for the splits that `count` insertions may need. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status hash_index_reserve(struct hash_index *index, size_t count,
                                               tern_error *error);
/* Brings memory in that splits will need soon, which takes longer than a split. By somebody else
 * than who inserts; any thread, one at a time. */
void hash_index_prepare(struct hash_index *index);
enum hash_insertion {
    HASH_INSERTED = 1,
    HASH_COLLIDES, /* the bucket is closed: insert by the key's second hash */
};
/* Adds an entry. */
enum hash_insertion hash_index_insert(struct hash_index *index, uint64_t hash, hash_link link);
/* Adds an entry to the second table; false: no memory for the split that it needs. */
bool hash_index_insert_second(struct hash_index *index, uint64_t second, hash_link link);
/* Points an entry at something else of the same key. */
void hash_index_store(index_slot *slot, hash_link link);
/* Takes an entry out, of whichever table; `second` may be 0 while that has none. Slots of the same
 * page found before are void afterwards. */
void hash_index_remove(struct hash_index *index, uint64_t hash, uint64_t second, index_slot *slot);
/* Is this slot, of a key with this hash, one of the second table? */
bool hash_index_is_second(const struct hash_index *index, uint64_t hash, const index_slot *slot);

/* ---- walking ---- */

/*
 * A position: the tables, in each the pages in order of the upper bits of the hash, and the buckets
 * of each.
 *
 * A key may have two entries, one of them in each table. Whoever visits keys takes one of the
 * second table only when it has no entry in the first: a closed bucket takes no entries any more,
 * and of a key's entries the one in the first table stays longest (hash_chain.c), so a key that is
 * there all the time has one in the first table all the time, or never since its bucket was
 * visited.
 */
struct hash_walk {
    uint64_t prefix; /* first hash of the page where the walk stands */
    uint8_t depth;
    uint32_t bucket;
    bool is_done;
    bool has_page;
    bool is_second; /* the next bucket is one of the second table */
};
/*
 * Visits the entries of the next bucket, wherever they are now, and moves on. Whoever is in the
 * index from the first to the last call is visited exactly once. Inside an epoch. False: at the
 * end.
 */
bool hash_index_walk(const struct hash_index *index, struct hash_walk *walk,
                     void (*visit)(void *context, hash_link link), void *context);

/* Of every layout the bucket is given by at least so many of the lowest bits of the hash. */
#define INDEX_LOW_BITS 7u

/*
 * Visits the entries of the first table whose hashes may lie in [first, last], and what is known of
 * the hash: in `hash` `known` bits from the top and the INDEX_LOW_BITS lowest ones, the others
 * zero. `with_closed` false: but for those of buckets that are closed. A reader inside an epoch, or
 * the writer.
 */
void hash_index_visit_range(
    const struct hash_index *index, uint64_t first, uint64_t last, bool with_closed,
    void (*visit)(void *context, hash_link link, uint64_t hash, uint32_t known), void *context);
/* All entries of the second table. */
void hash_index_visit_second(const struct hash_index *index,
                             void (*visit)(void *context, hash_link link), void *context);
/* The end of the page that the hash leads to: the last hash that leads there. */
uint64_t hash_index_page_end(const struct hash_index *index, uint64_t hash);
/*
 * Takes all entries of the first table out whose hashes may lie in [first, last] and that `is_gone`
 * is true for. New pages take the place of the old ones; those must be at hand: as many as
 * hash_index_pages_in says. Writer's side.
 */
void hash_index_remove_range(struct hash_index *index, uint64_t first, uint64_t last,
                             bool (*is_gone)(void *context, hash_link link, uint64_t hash,
                                             uint32_t known),
                             void *context);
uint64_t hash_index_pages_in(const struct hash_index *index, uint64_t first, uint64_t last);
/* Keeps so many pages at hand. */
TERN_MUST_CHECK tern_status hash_index_reserve_pages(struct hash_index *index, uint64_t pages,
                                                     tern_error *error);
/* Pages that hash_index_reserve keeps for so many insertions. */
uint64_t hash_index_pages_for(const struct hash_index *index, size_t count);
/* The home bucket of a hash. */
uint32_t hash_index_bucket(const struct hash_index *index, uint64_t hash);
/* What a page takes, and how many entries it holds when it is split. */
size_t hash_index_page_bytes(const struct hash_index *index);
uint32_t hash_index_page_limit(const struct hash_index *index);
/* Somebody's search may have missed what has moved meanwhile. Writer's side. */
void hash_index_note_move(struct hash_index *index);

struct hash_index_stats {
    uint64_t entries, second_entries, pages, bytes, slots, splits;
};
void hash_index_get_stats(const struct hash_index *index, struct hash_index_stats *out_stats);
/* Name of a broken invariant, or NULL. Writer's side. */
const char *hash_index_check(const struct hash_index *index);

#endif
