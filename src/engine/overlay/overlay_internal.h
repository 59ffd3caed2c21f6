/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the overlay share; nobody else includes this. */
#ifndef TERN_ENGINE_OVERLAY_OVERLAY_INTERNAL_H
#define TERN_ENGINE_OVERLAY_OVERLAY_INTERNAL_H

#include "base/assert.h"
#include "base/bytes.h"
#include "base/compare.h"
#include "engine/overlay/overlay.h"
#include "engine/overlay/overlay_filter.h"
#include "engine/overlay/overlay_memory.h"

/*
 * A version of a key. Optional words follow the header in this order, then the bytes:
 *
 *   +-------+------------+-------+-------+-------+-----+
 * +---------+-----+------------+------+------ | older | value size | class | kinds | flags | seq |
 * | expires | cut | large size | pile | value |   8   |     4      |   2   |   1   |   1   |  8  |
 * |   8?    | 8?  |     8?     | 16?  | pile
 *   +-------+------------+-------+-------+-------+-----+
 * +---------+-----+------------+------+------
 *
 * `older` is the address of the next older version, or a link of the limbo list with the lowest bit
 * set once the version has been unlinked: whoever meets that bit starts over from the entry.
 * `cut` is the lowest seq of the versions that were unlinked between this one and `older`.
 * `pile` (merge operands only): the effect of this operand and of all below it in the overlay.
 */
struct overlay_version {
    struct overlay_block block; /* link: older; kinds: record kind low, merge kind high */
    seq_no seq;
};

#define VERSION_HAS_EXPIRES    1u
#define VERSION_HAS_CUT        2u
#define VERSION_HAS_LARGE_SIZE 4u
#define VERSION_HAS_PILE       8u

_Static_assert(sizeof(struct overlay_version) == 24, "the header is laid out as drawn");

struct version_pile {
    uint64_t oldest_ms; /* commit time of the oldest operand in it */
    uint32_t size;
    uint32_t reserved;
};

/* A key. Never moves, never goes before the overlay does. */
struct overlay_entry {
    _Atomic(struct overlay_version *) newest;
    uint32_t key_size;
    uint32_t filter_hash;
    uint8_t key[];
};

#define NODE_SLOTS        64u
#define LEAF_SLOTS        32u
#define NODE_PREFIX_WORDS 3u
#define TREE_DEPTH_MAX    12u
/* Pushes that a key waits to be pruned, at most. */
#define PRUNE_DELAY 32u
/* Longest key whose place is remembered between prefetching and applying. */
#define HINT_KEY_BYTES_MAX 40u

/*
 * What nodes begin with; the heads of their keys follow, then the keys. A head is the 8 key bytes
 * after the common prefix, as a big-endian number; in inner nodes the key is a separator: number i
 * is the lowest key below children[i + 1]. Heads lie together because a search reads them and one
 * key at most: half the lines that pairs of both would take. Leaves are small because an insertion
 * touches most of one, and the lines of a leaf are what it has to wait for; inner nodes stay in the
 * processor's caches.
 */
struct overlay_node {
    _Atomic uint64_t version; /* odd: being written */
    _Atomic uint32_t count;
    _Atomic uint32_t prefix_size;
    _Atomic uint64_t newest_seq; /* leaf: no version in it is newer */
    struct overlay_node *next;   /* leaf, for the applier only */
    uint32_t level;              /* 0: leaf */
    uint32_t reserved;
    _Atomic uint64_t prefix[NODE_PREFIX_WORDS]; /* its first bytes */
};

struct overlay_leaf_node {
    struct overlay_node node;
    _Atomic uint64_t heads[LEAF_SLOTS];
    _Atomic(struct overlay_entry *) keys[LEAF_SLOTS];
};

struct overlay_inner_node {
    struct overlay_node node;
    _Atomic uint64_t heads[NODE_SLOTS];
    _Atomic(struct overlay_entry *) keys[NODE_SLOTS];
    _Atomic(struct overlay_node *) children[NODE_SLOTS + 1];
};

_Static_assert(sizeof(struct overlay_node) == 64, "the header is one cache line");
_Static_assert(offsetof(struct overlay_inner_node, heads) ==
                   offsetof(struct overlay_leaf_node, heads),
               "heads are found without knowing the level");

static inline uint32_t node_capacity(const struct overlay_node *node) {
    return node->level == 0 ? LEAF_SLOTS : NODE_SLOTS;
}

static inline _Atomic uint64_t *node_heads(const struct overlay_node *node) {
    return (_Atomic uint64_t *)(uintptr_t)(node + 1);
}

static inline _Atomic(struct overlay_entry *) *node_keys(const struct overlay_node *node) {
    return (_Atomic(struct overlay_entry *) *)(uintptr_t)(node_heads(node) + node_capacity(node));
}

/* Sorted by begin; immutable once published. Behind it come those of before, see overlay_ranges.c.
 */
struct overlay_range_set {
    struct overlay_block block;            /* link: limbo; size: number of ranges */
    const struct overlay_range_set *older; /* all of them with a lower seq, or the same */
    size_t total;                          /* ranges, with those of older sets */
    seq_no newest_seq;
    const uint32_t *reach; /* [i]: which of the ranges 0..i ends last */
    struct overlay_range ranges[];
};

/*
 * Where overlay_prefetch found the place of a key. Leaves change their range only when one is
 * split, so it holds as long as there are as many of them.
 */
struct tree_hint {
    struct overlay_node *leaf; /* NULL: none */
    uint64_t leaf_count;
    size_t key_size;
    uint8_t key[HINT_KEY_BYTES_MAX];
    /* A reader has found the very place, which holds as long as the leaf's version: */
    bool is_exact;
    uint32_t position;
    uint64_t version;
    struct overlay_entry *entry;
};

struct overlay {
    /* Read by everyone, rarely written. */
    _Atomic(struct overlay_node *) root;
    _Atomic(struct overlay_filter *) filter;
    _Atomic(struct overlay_range_set *) ranges;
    const tern_allocator *allocator;
    struct epoch_domain *epoch;

    /* Written by the applier with every change. */
    _Atomic seq_no first_seq __attribute__((aligned(64)));
    _Atomic seq_no last_seq;
    _Atomic uint64_t key_count;
    struct overlay_memory memory;
    struct overlay_node *first_leaf;
    struct overlay_node *last_leaf;
    uint64_t leaf_count;
    uint64_t expected_bytes;
    uint32_t depth;
    uint32_t prune_tick;
    struct tree_hint hint;

    /* Keys that got a version of late and are still to be pruned; see overlay_chain.c. */
    uint32_t unpruned_next;
    struct overlay_entry *unpruned[PRUNE_DELAY];

    /* What was reserved since the last apply. */
    size_t reserved_count;
    size_t reserved_bytes;
    bool applied_since_reserve;

    /* A larger filter being filled leaf by leaf, or NULL. */
    struct overlay_filter *next_filter;
    struct overlay_node *next_filter_leaf;
    struct overlay_filter *filters; /* all, for destroy */

    struct buffer fold; /* for folding; failure to grow leaves operands unfolded */
};

static inline tern_slice entry_key(const struct overlay_entry *entry) {
    return tern_slice_of(entry->key, entry->key_size);
}

/* ---- overlay_version.c ---- */

static inline struct overlay_version *version_of(uintptr_t link) {
    return (struct overlay_version *)link;
}

static inline enum record_kind version_kind(const struct overlay_version *version) {
    return (enum record_kind)(version->block.kinds & 15u);
}

static inline uint32_t version_merge_kind(const struct overlay_version *version) {
    return version->block.kinds >> 4;
}

static inline bool version_is_terminal(const struct overlay_version *version) {
    return version_kind(version) != RECORD_MERGE;
}

/* How many bits of four are set; the instruction for that is not in every x86-64. */
static inline uint32_t count_bits(uint32_t four_bits) {
    return (uint32_t)(UINT64_C(0x4332322132212110) >> (four_bits * 4)) & 15u;
}

/* The i-th optional word that `flag` stands for. */
static inline uint64_t *version_word(const struct overlay_version *version, uint32_t flag) {
    uint32_t before = count_bits(version->block.flags & (flag - 1u));
    return (uint64_t *)(uintptr_t)(version + 1) + before;
}

static inline size_t version_words(uint32_t flags) {
    return (size_t)count_bits(flags & 7u) * 8 +
           ((flags & VERSION_HAS_PILE) != 0 ? sizeof(struct version_pile) : 0);
}

static inline const struct version_pile *version_pile(const struct overlay_version *version) {
    return (const struct version_pile *)version_word(version, VERSION_HAS_PILE);
}

static inline uint8_t *version_bytes(const struct overlay_version *version) {
    return (uint8_t *)(uintptr_t)(version + 1) + version_words(version->block.flags);
}

static inline tern_slice version_pile_value(const struct overlay_version *version) {
    return tern_slice_of(version_bytes(version) + version->block.size, version_pile(version)->size);
}

static inline uint64_t version_expires(const struct overlay_version *version) {
    return (version->block.flags & VERSION_HAS_EXPIRES) != 0
               ? *version_word(version, VERSION_HAS_EXPIRES)
               : 0;
}

static inline _Atomic uint64_t *version_cut_word(const struct overlay_version *version) {
    return (_Atomic uint64_t *)version_word(version, VERSION_HAS_CUT);
}

/* Lowest seq cut out below this version; its own seq when nothing was. */
static inline seq_no version_cut(const struct overlay_version *version) {
    return (version->block.flags & VERSION_HAS_CUT) != 0
               ? atomic_load_explicit(version_cut_word(version), memory_order_acquire)
               : version->seq;
}

static inline uintptr_t version_older(const struct overlay_version *version) {
    return atomic_load_explicit(&version->block.link, memory_order_acquire);
}

void version_record(const struct overlay_version *version, struct record *out_record);

/* Longest operand that piles are kept for. */
#define VERSION_PILE_VALUE_MAX 64u
/* Header and optional words of a version, at most. */
#define VERSION_OVERHEAD_MAX (sizeof(struct overlay_version) + 24 + sizeof(struct version_pile))
/* Beside a change's own version: its pile, one operand folded out of it, and one DELETE. */
#define VERSION_SPARE_BYTES                                                                        \
    (VERSION_PILE_VALUE_MAX + VERSION_OVERHEAD_MAX + 2 * VERSION_PILE_VALUE_MAX +                  \
     sizeof(struct overlay_version) + 8)

/* What a version is made of. */
struct version_parts {
    const struct record *record;
    seq_no seq;
    bool has_cut;
    seq_no cut;
    bool has_pile;
    uint64_t pile_oldest_ms;
    tern_slice pile;
};
size_t version_size(const struct version_parts *parts);
/* Writes a version into memory of version_size bytes. It links to nothing. */
struct overlay_version *version_write(void *memory, uint32_t size_class,
                                      const struct version_parts *parts);

/* ---- overlay_chain.c ---- */

/* Puts a new version on top of an entry that has versions, then prunes and folds below it. */
void chain_push(struct overlay *overlay, struct overlay_entry *entry, const struct record *record,
                seq_no seq, const struct engine_horizon *horizon);

/* Makes the newest version, if it is of this seq, a DELETE: a range delete of the same commit. */
void chain_delete_same_seq(struct overlay *overlay, struct overlay_entry *entry, seq_no seq);

/* Feeds the versions <= seq (and not below range_seq) to the resolution. */
TERN_MUST_CHECK tern_status chain_resolve(const struct overlay_entry *entry, seq_no seq,
                                          seq_no range_seq, struct resolution *resolution);

/* ---- overlay_tree.c ---- */

/* A version of this seq goes into the leaf. */
static inline void leaf_note_seq(struct overlay_node *leaf, seq_no seq) {
    atomic_store_explicit(&leaf->newest_seq, seq, memory_order_release);
}

/* Creates the empty root. NULL when out of memory. */
struct overlay_node *tree_create_root(struct overlay *overlay);

/* Room that `count` insertions can take for nodes, at most. */
size_t tree_room(const struct overlay *overlay, size_t count);

/* The entry with this key or NULL. Readers. */
struct overlay_entry *tree_find(const struct overlay *overlay, tern_slice key);

/* Where a key is or belongs. Readers. */
void tree_find_place(const struct overlay *overlay, tern_slice key, struct change_place *out_place);

/* The same. Applier only. */
struct tree_place {
    struct overlay_node *leaf;
    uint32_t position;
    struct overlay_entry *entry; /* NULL: not there */
};
void tree_locate(struct overlay *overlay, tern_slice key, struct tree_place *out_place);
void tree_insert(struct overlay *overlay, const struct tree_place *place,
                 struct overlay_entry *entry);
/* Prefetches the leaf where the key belongs and remembers it for tree_locate; with a place that is
 * still right, remembers that. Applier only. */
void tree_prefetch(struct overlay *overlay, tern_slice key, const struct change_place *place);
/* The next step, once the leaf has come: prefetches what its key with the same head leads to. */
void tree_prefetch_entry(const struct overlay *overlay, tern_slice key);

/*
 * Copies the entries of the leaf in which the first key >= / > (or the last <= / <) `key` lies, and
 * where in the copy it is. key NULL: the first or last of all. False: there is none.
 */
bool tree_copy_leaf(const struct overlay *overlay, const tern_slice *key, bool backward,
                    bool inclusive, const struct overlay_entry **out_entries, uint32_t *out_count,
                    uint32_t *out_position);

/* True when an entry within bounds has a version newer than `since`. */
bool tree_changed_since(const struct overlay *overlay, const struct engine_cursor_bounds *bounds,
                        seq_no since);

/* ---- overlay_ranges.c ---- */

/* Room that adding `count` ranges takes, without the bytes of their keys. */
size_t ranges_room(const struct overlay *overlay, size_t count);
/* Adds the range deletes among the changes (there is at least one) as one new set. */
void ranges_add(struct overlay *overlay, const struct engine_change *changes, size_t count,
                seq_no seq);
bool ranges_changed_since(const struct overlay *overlay, const struct engine_cursor_bounds *bounds,
                          seq_no since);

#endif
