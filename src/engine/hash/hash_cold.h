/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cold part of the index: entries of records on disk, themselves on disk.
 *
 * The hash space is cut in groups by the upper bits of the hash; the entries of a group lie in one
 * run of pages of a unit each, in the order of their hashes. In memory are, for each page, the
 * first hash of it and its checksum: 16 bytes for some 340 keys. A look-up reads one page, seldom
 * two.
 *
 * A group is never changed: hash_pour.c writes it anew, with what has come to the index in memory
 * since and without what has died, and puts it in the place of the old one, whose units are free
 * after an epoch. No root refers to any of it, so a crash leaves nothing behind: the space is free
 * at the next open, and the entries are made again from the lists of hashes. So they are when a
 * page cannot be read (hash_mend.c).
 *
 * Invariants:
 *  G1 every live record is in the index in memory (by an entry, a version's chain, a stub), or here
 *  G2 an entry counts as long as its record is live: whoever takes a record out of the index kills
 *     it, and tells of a move before, when what he put in its place could be found (hash_chain.c)
 *  G3 the number of a block that an entry names is not given to another block while the entry is
 *     there (base_keep_numbers)
 *
 * Threads: changes by the maintenance role; readers inside an epoch take no lock but, for a moment,
 * that of the base.
 */
#ifndef TERN_ENGINE_HASH_COLD_H
#define TERN_ENGINE_HASH_COLD_H

#include "engine/hash/hash_base.h"
#include "engine/hash/hash_index.h"

/* What an entry holds of the hash: bits from the top, as many as are known; a bit that ends them;
 * and the lowest ones, which its bucket in memory told. */
#define COLD_FIELD_BITS 52u
#define COLD_LOW_BITS   INDEX_LOW_BITS
#define COLD_KNOWN_MAX  (COLD_FIELD_BITS - 1 - COLD_LOW_BITS)
#define COLD_LOW_SHIFT  (64 - COLD_FIELD_BITS)
#define COLD_LOW_MASK   ((((uint64_t)1 << COLD_LOW_BITS) - 1) << COLD_LOW_SHIFT)
/* Of a group: fewer than are known of any entry. */
#define COLD_DEPTH_MAX 18u

/* An entry as it is handled: `field` has what is known of the hash from the top, the ending bit,
 * zeros, and in the lowest of its bits the lowest ones of the hash. */
struct cold_entry {
    uint64_t field;
    hash_link link;
};

struct cold_page {
    uint64_t checksum;
    uint32_t fence; /* upper bits of its first entry's field */
    _Atomic cache_hint hint;
};

struct cold_group {
    struct epoch_node limbo;
    struct hash_cold *cold;
    uint64_t first; /* hash where the group begins */
    uint64_t entries;
    uint32_t place;
    uint32_t page_count;
    uint8_t depth;
    uint8_t known_min;       /* bits that every entry has */
    _Atomic bool is_damaged; /* a page of it could not be read */
    struct cold_page pages[];
};

struct cold_directory {
    struct epoch_node limbo;
    struct hash_cold *cold;
    uint32_t depth;
    _Atomic(struct cold_group *) groups[];
};

struct hash_cold {
    struct hash_base *base;
    _Atomic(struct cold_directory *) directory; /* NULL: there is nothing */
    _Atomic uint64_t entries, pages, groups;
    _Atomic uint64_t dead; /* about as many entries are of dead records */
    _Atomic uint64_t memory_bytes;
    _Atomic uint64_t lookups, page_reads, page_misses, rounds;
    _Atomic bool has_damaged; /* of some group, perhaps */
    _Atomic uint64_t mended;  /* groups that were damaged and made anew */
};

void hash_cold_init(struct hash_cold *cold, struct hash_base *base);
/* Nobody may be inside. */
void hash_cold_release(struct hash_cold *cold);

/* May it have an entry of any key? */
static inline bool hash_cold_has_any(const struct hash_cold *cold) {
    return atomic_load_explicit(&cold->directory, memory_order_acquire) != NULL;
}

/* Of a hash of which `known` bits from the top are right, and the lowest ones. */
static inline uint64_t cold_field_of(uint64_t hash, uint32_t known) {
    uint64_t end = (uint64_t)1 << (63 - (known < COLD_KNOWN_MAX ? known : COLD_KNOWN_MAX));
    return (hash & ~(end * 2 - 1)) | end | (hash << COLD_LOW_SHIFT & COLD_LOW_MASK);
}

static inline uint32_t cold_known(uint64_t field) {
    return 63 - (uint32_t)__builtin_ctzll(field & ~COLD_LOW_MASK);
}

/* The lowest hash that an entry may be of, by its upper bits; the highest has ones behind those. */
static inline uint64_t cold_hash(uint64_t field) {
    uint64_t upper = field & ~COLD_LOW_MASK;
    return upper & (upper - 1);
}

static inline bool cold_fits(uint64_t field, uint64_t hash) {
    uint32_t unknown = 64 - cold_known(field);
    return field >> unknown == hash >> unknown &&
           ((field ^ hash << COLD_LOW_SHIFT) & COLD_LOW_MASK) == 0;
}

/*
 * Visits the entries whose hashes may lie in [first, last], live ones only, each page read through
 * the cache. `visit` false: enough. Inside an epoch. TERN_CORRUPTION, TERN_IO, TERN_NO_MEMORY.
 */
TERN_MUST_CHECK tern_status hash_cold_visit(struct hash_cold *cold, uint64_t first, uint64_t last,
                                            bool (*visit)(void *context, hash_link link,
                                                          uint64_t field),
                                            void *context, tern_error *error);
/* The live record of a key; LINK_NONE: there is none here. Inside an epoch. */
TERN_MUST_CHECK tern_status hash_cold_find(struct hash_cold *cold, tern_slice key, uint64_t hash,
                                           hash_link *out_link, struct hash_record *out_record,
                                           struct cache_frame **out_frame, tern_error *error);
/*
 * The same for somebody who looks for many keys in the order of their hashes: reads a group at
 * once, into memory of his own, and with `reads_ahead` the blocks that lie around a record.
 * Maintenance role; hash_cold_reader_reset when groups have been replaced.
 */
struct cold_reader {
    const struct cold_group *group;
    uint8_t *units; /* of its pages, as they lie in the file */
    size_t capacity_bytes;
    uint32_t page; /* the one that was looked at last, and is right; UINT32_MAX: none */
};
void hash_cold_reader_reset(struct cold_reader *reader);
/* Gives its memory back. */
void hash_cold_reader_release(struct hash_cold *cold, struct cold_reader *reader);
TERN_MUST_CHECK tern_status hash_cold_find_next(struct hash_cold *cold, struct cold_reader *reader,
                                                tern_slice key, uint64_t hash, bool reads_ahead,
                                                hash_link *out_link, struct hash_record *out_record,
                                                struct cache_frame **out_frame, tern_error *error);
/* Is there an entry for this record? Inside an epoch. */
TERN_MUST_CHECK tern_status hash_cold_has(struct hash_cold *cold, uint64_t hash, hash_link link,
                                          bool *out_has, tern_error *error);
/* The last hash of those that lie in the same page as this one, or in the same group without any.
 * Inside an epoch. */
uint64_t hash_cold_page_end(const struct hash_cold *cold, uint64_t hash);
/* Brings the pages around this hash into the cache. Inside an epoch. */
void hash_cold_fetch_around(struct hash_cold *cold, uint64_t hash);
/* A record that has no entry in memory died. */
void hash_cold_note_dead(struct hash_cold *cold);

/* Of sorted entries the first whose field is not below. */
size_t hash_cold_first_not_below(const struct cold_entry *entries, size_t count, uint64_t field);

/* ---- maintenance role: for hash_pour.c and compaction ---- */

/* Does any of it lie behind so many units of the file? */
bool hash_cold_reaches_behind(const struct hash_cold *cold, uint32_t units);

/* All entries of a group, appended as struct cold_entry. */
TERN_MUST_CHECK tern_status hash_cold_read_group(struct hash_cold *cold, struct cold_group *group,
                                                 struct buffer *out_entries, tern_error *error);
/* Writes sorted entries, at least one, as a group that is in no directory. */
TERN_MUST_CHECK tern_status hash_cold_write_group(struct hash_cold *cold, uint64_t first,
                                                  uint8_t depth, const struct cold_entry *entries,
                                                  size_t count, struct cold_group **out_group,
                                                  tern_error *error);
/* It was never in a directory. Accepts NULL. */
void hash_cold_discard_group(struct cold_group *group);
/* The group of a hash, or NULL, and the range that stands for it. */
struct cold_group *hash_cold_group_at(const struct hash_cold *cold, uint64_t hash,
                                      uint8_t *out_depth);
/* Makes the directory deep enough. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status hash_cold_deepen(struct hash_cold *cold, uint32_t depth,
                                             tern_error *error);
/* Puts groups (some NULL: nothing left) in the place of the one at `first` and `depth`. */
void hash_cold_replace(struct hash_cold *cold, uint64_t first, uint8_t depth,
                       struct cold_group *const *groups, size_t count);
/* No group has an entry: there is nothing any more. */
void hash_cold_drop_empty(struct hash_cold *cold);

#endif
