/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The overlay: the in-memory, multi-version, ordered table of recent commits of one partition.
 *
 * A B+tree with inline key heads (first bytes of the key after the node's common prefix, as
 * big-endian numbers). One applier writes; readers take no lock and validate node versions (Leis,
 * Haubenschild, Neumann, "Optimistic Lock Coupling", 2019). Each key has a chain of versions,
 * newest first. A blocked Bloom filter answers most misses with one cache line. Memory comes from
 * chunks of the allocator, counted under the budget's overlay share, released with the overlay.
 *
 * Pruning: when a version is applied, older versions of the key that no snapshot in the horizon can
 * select are unlinked and, after an epoch, their memory is reused. A chain that was cut remembers
 * it, so a reader whose moment lies below the cut learns that it is too old (TERN_CANCELLED)
 * instead of reading through. LARGE versions are never pruned (their blocks are freed at the
 * drain).
 */
#ifndef TERN_ENGINE_OVERLAY_OVERLAY_H
#define TERN_ENGINE_OVERLAY_OVERLAY_H

#include "engine/engine.h"
#include "engine/resolution.h"

struct overlay;
struct page_pool;
struct page_spill;

struct overlay_options {
    const tern_allocator *allocator;
    struct budget *budget;
    struct epoch_domain *epoch;
    struct page_pool *pool;  /* of huge pages to use again; may be NULL */
    uint64_t expected_bytes; /* sizes the filter; grows with the overlay from 64 KiB on */
};

/* An overlay starts at no more than 64 KiB. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status overlay_create(const struct overlay_options *options,
                                           struct overlay **out_overlay, tern_error *error);
/* No reader may be inside. Accepts NULL. */
void overlay_destroy(struct overlay *overlay);

/* ---- applier ---- */

/* Makes sure that `count` changes with `bytes` of keys and values will not fail. */
TERN_MUST_CHECK tern_status overlay_reserve(struct overlay *overlay, size_t count, size_t bytes,
                                            tern_error *error);

/* Touches (prefetches) what applying this change will need: call some changes ahead. */
/* `place`: from overlay_find_place of this overlay, or NULL. */
void overlay_prefetch(struct overlay *overlay, const struct engine_change *change,
                      const struct change_place *place);
/* Goes on with the change that was prefetched last, once that has had some time. */
void overlay_prefetch_next(const struct overlay *overlay, const struct engine_change *change);

/* Applies the changes of one commit (in order; a key may come more than once). horizon may be NULL:
 * then nothing is pruned. */
void overlay_apply(struct overlay *overlay, const struct engine_change *changes, size_t count,
                   seq_no seq, const struct engine_horizon *horizon);

/*
 * Nothing will be applied any more: moves memory to `spill`, until that has `limit_bytes`, where
 * readers find it at the same addresses (os/page_spill.h). *out_is_whole: all that can be moved has
 * been. A few pages always stay in memory.
 */
TERN_MUST_CHECK tern_status overlay_spill(struct overlay *overlay, struct page_spill *spill,
                                          uint64_t limit_bytes, bool *out_is_whole,
                                          tern_error *error);

/* ---- readers, inside an epoch or holding what keeps the overlay alive ---- */

/* Where a change would go: a hint for overlay_prefetch, which sees whether it still holds. */
void overlay_find_place(const struct overlay *overlay, const struct engine_change *change,
                        struct change_place *out_place);

/* No changes at all. */
bool overlay_is_empty(const struct overlay *overlay);

/* False: the key has no version and no range delete here (no false negatives). Cheap. */
bool overlay_may_contain(const struct overlay *overlay, tern_slice key, uint64_t key_hash);

/* First half of a read: prefetches the filter line. */
void overlay_prefetch_filter(const struct overlay *overlay, uint64_t key_hash);

/*
 * Adds the versions of `key` with seq <= `seq`, newest first, to the resolution until it is
 * complete; a range delete counts as a DELETE at its seq. TERN_CANCELLED: cut below the moment.
 */
TERN_MUST_CHECK tern_status overlay_lookup(const struct overlay *overlay, tern_slice key,
                                           uint64_t key_hash, seq_no seq,
                                           struct resolution *resolution);

/* True when a version or range delete with seq > `since` lies within bounds. */
bool overlay_changed_since(const struct overlay *overlay, const struct engine_cursor_bounds *bounds,
                           seq_no since);

/* First and last seq applied; 0 when empty. */
seq_no overlay_first_seq(const struct overlay *overlay);
seq_no overlay_last_seq(const struct overlay *overlay);
uint64_t overlay_bytes(const struct overlay *overlay);
uint64_t overlay_key_count(const struct overlay *overlay);

/* ---- iteration over keys, stable under concurrent applies ---- */

/* On the stack or embedded. Copies a leaf's worth of entries at a time. Close with ..._close. */
#define OVERLAY_ITERATOR_ENTRIES 32
struct overlay_entry;
struct overlay_iterator {
    const struct overlay *overlay;
    const struct overlay_entry *entries[OVERLAY_ITERATOR_ENTRIES];
    uint32_t count;
    uint32_t position; /* == count: stands nowhere */
};

void overlay_iterator_init(struct overlay_iterator *iterator, const struct overlay *overlay);
/* First key >= `key` (any version), or with backward the last <= it; `inclusive` false: strictly.
 */
bool overlay_iterator_seek(struct overlay_iterator *iterator, tern_slice key, bool backward,
                           bool inclusive);
bool overlay_iterator_first(struct overlay_iterator *iterator, bool backward);
bool overlay_iterator_next(struct overlay_iterator *iterator);
bool overlay_iterator_previous(struct overlay_iterator *iterator);
bool overlay_iterator_is_valid(const struct overlay_iterator *iterator);
/* Lives as long as the overlay. */
tern_slice overlay_iterator_key(const struct overlay_iterator *iterator);
/* As overlay_lookup for the key where it stands. */
TERN_MUST_CHECK tern_status overlay_iterator_resolve(const struct overlay_iterator *iterator,
                                                     seq_no seq, struct resolution *resolution);
/* Visits every LARGE version of the key where it stands except the newest version of all: their
 * blocks are garbage once the overlay has been drained. */
void overlay_iterator_garbage(const struct overlay_iterator *iterator,
                              void (*visit)(void *context, tern_slice reference), void *context);

/* ---- range deletes ---- */

struct overlay_range {
    tern_slice begin; /* inclusive; empty: open */
    tern_slice end;   /* exclusive */
    bool has_end;
    seq_no seq;
};
struct overlay_range_set;
/* How many there are. */
size_t overlay_range_count(const struct overlay *overlay);
/* One after the other, in no order. Live until the epoch is left (of a frozen overlay: as long as
 * the overlay), their keys as long as the overlay. A range covers versions with a lower seq; what
 * its own commit wrote into it before is deleted version by version. */
struct overlay_range_walk {
    const struct overlay_range_set *set;
    size_t next;
};
void overlay_range_walk_begin(const struct overlay *overlay, struct overlay_range_walk *out_walk);
/* NULL: no more. */
const struct overlay_range *overlay_range_walk_next(struct overlay_range_walk *walk);
/* Highest seq <= `seq` of a range delete that covers the key; SEQ_NONE when none. */
seq_no overlay_range_seq(const struct overlay *overlay, tern_slice key, seq_no seq);

/* The range delete with seq <= `seq` over the key that reaches furthest in the direction asked for.
 * False: none covers the key. */
bool overlay_range_cover(const struct overlay *overlay, tern_slice key, seq_no seq, bool backward,
                         struct overlay_range *out_range);

/* Checks order, heads, chain and filter invariants; returns the name of a broken one or NULL. */
const char *overlay_check(const struct overlay *overlay);

#endif
