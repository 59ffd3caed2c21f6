/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One cache of page frames and blocks under the memory budget.
 *
 * Frames come from chunks (2 MiB; less in a cache under 32 MiB) of one reserved address range; a
 * chunk holds frames of one size class (4 KiB to 64 KiB, powers of two), and each class has
 * addresses of its own, so that a stale hint never points into the middle of a frame. A frame is
 * found in two ways: by tag through a hash table, or directly: a pointer to a page remembers the
 * frame where it was last found (a hint), and the frame says in its first 16 bytes which page it
 * holds. A hint may be stale at any time; whoever follows it checks the tag, inside an epoch.
 * Evicting a frame clears the tag, and its memory is reused only after an epoch, so what was found
 * under the right tag stays readable until the reader leaves its epoch. A hit writes at most one
 * flag.
 *
 * Invariants: C1 a tag is in at most one published frame. C2 a published frame's bytes do not
 * change. C3 a frame's memory is reused only after tag cleared, pins zero, epoch past.
 */
#ifndef TERN_CACHE_CACHE_H
#define TERN_CACHE_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <tern/db.h>
#include <tern/error.h>

#include "base/budget.h"
#include "base/memory.h"
#include "os/epoch.h"

struct cache;

/* Space id (24 bits) << 40 | place (40 bits); never 0. */
typedef uint64_t cache_tag;
#define CACHE_PLACE_BITS 40

/* First bytes of every frame; the payload follows. */
struct cache_frame {
    _Atomic cache_tag tag;  /* 0: empty, being filled or evicted */
    _Atomic uint32_t state; /* low 24 bits: pins; CACHE_FRAME_REFERENCED; private flags */
    uint32_t size_class;    /* log2 of the frame's size in bytes */
};
_Static_assert(sizeof(struct cache_frame) == 16, "takes the place of the block header");

#define CACHE_FRAME_REFERENCED ((uint32_t)1 << 24)
#define CACHE_FRAME_BYTES_MIN  ((size_t)4 << 10)
#define CACHE_FRAME_BYTES_MAX  ((size_t)64 << 10)

/* Frame address = base + hint * 4096; 0 is no frame. */
typedef uint32_t cache_hint;

/* What memory the frames are made of; zeros are the defaults. */
struct cache_placement {
    tern_huge_pages huge_pages;
    tern_numa_placement numa;
    uint64_t numa_nodes;
    bool lock;
};

struct cache_options {
    const tern_allocator *allocator;
    struct epoch_domain *epoch;
    struct budget *budget; /* counts BUDGET_CACHE */
    uint64_t limit_bytes;  /* for frames and tables, at least 1 MiB */
    struct cache_placement placement;
    tern_cache_policy policy;
};

/* The default made definite. */
tern_cache_policy cache_policy_resolve(tern_cache_policy policy);
/* "clock", "arc", "clock-pro", "tinylfu", "slru", "lru"; NULL: there is no such policy. */
const char *cache_policy_name(tern_cache_policy policy);
bool cache_policy_parse(const char *name, tern_cache_policy *out_policy);

TERN_MUST_CHECK tern_status cache_create(const struct cache_options *options,
                                         struct cache **out_cache, tern_error *error);
/* No frame may be pinned. Accepts NULL. */
void cache_destroy(struct cache *cache);

/* A new id for a file whose pages will be cached; ids are not reused. */
uint32_t cache_space_open(struct cache *cache);
/* Drops all frames of the space (nobody reads them any more). */
void cache_space_close(struct cache *cache, uint32_t space);

static inline cache_tag cache_tag_of(uint32_t space, uint64_t place) {
    return (cache_tag)space << CACHE_PLACE_BITS | place;
}

/* What every hit needs of a cache: it comes first in it. */
struct cache_address {
    uint8_t *base; /* of the address range; constant for the cache's life */
};

static inline const uint8_t *cache_base(const struct cache *cache) {
    return ((const struct cache_address *)(const void *)cache)->base;
}

static inline struct cache_frame *cache_frame_at(const uint8_t *base, cache_hint hint) {
    return (struct cache_frame *)(uintptr_t)(base + (uint64_t)hint * 4096);
}
cache_hint cache_hint_of(const struct cache *cache, const struct cache_frame *frame);

/* True when the frame holds the page now; marks it referenced. Inside an epoch. */
static inline bool cache_frame_holds(struct cache_frame *frame, cache_tag tag) {
    if (atomic_load_explicit(&frame->tag, memory_order_acquire) != tag) {
        return false;
    }
    uint32_t state = atomic_load_explicit(&frame->state, memory_order_relaxed);
    if ((state & CACHE_FRAME_REFERENCED) == 0) {
        atomic_fetch_or_explicit(&frame->state, CACHE_FRAME_REFERENCED, memory_order_relaxed);
    }
    return true;
}

/* By tag; NULL when it is not cached. Inside an epoch; the frame is readable until it is left. */
struct cache_frame *cache_lookup(struct cache *cache, cache_tag tag);

/*
 * An empty frame of `size_bytes` (power of two), owned by the caller until published or discarded.
 * Evicts when needed (slices of eviction work). NULL when every frame is pinned or the limit leaves
 * no room: the caller reads into memory of its own.
 */
struct cache_frame *cache_acquire(struct cache *cache, size_t size_bytes);
/*
 * Publishes a filled frame. When another thread published the tag first, the frame is discarded and
 * the other returned.
 */
struct cache_frame *cache_publish(struct cache *cache, struct cache_frame *frame, cache_tag tag);
void cache_discard(struct cache *cache, struct cache_frame *frame);

/* The page's place gets new contents: drops a frame with this tag. */
void cache_invalidate(struct cache *cache, cache_tag tag);

/* Keeps a frame found inside the caller's epoch beyond it. */
void cache_pin(struct cache_frame *frame);
void cache_unpin(struct cache_frame *frame);

/*
 * A private frame: memory of its own that looks like a frame, for a page that no frame could be had
 * for. Has one reference, the creator's; pins are further references, and the last one frees it.
 * Its bytes count as BUDGET_OTHER. NULL when out of memory.
 */
struct cache_frame *cache_private_create(struct cache *cache, size_t size_bytes);
/* Drops the creator's reference, at once (nobody else has seen it)... */
void cache_private_release(struct cache_frame *frame);
/* ... or once everyone inside an epoch now has left. */
void cache_private_release_later(struct cache_frame *frame);
bool cache_frame_is_private(const struct cache_frame *frame);

/*
 * Leave to keep a frame of `size_bytes` pinned for long (a cursor does); false when long pins would
 * take more than a quarter of the cache: then copy to a private frame. Any thread.
 */
bool cache_pin_reserve(struct cache *cache, size_t size_bytes);
void cache_pin_unreserve(struct cache *cache, size_t size_bytes);

/*
 * Moves the limit (at least 1 MiB); shrinking evicts now, and gives back memory as soon as pins and
 * epochs allow. Growing beyond the addresses reserved at creation (at least twice the limit then)
 * has no effect. Any thread.
 */
void cache_set_limit(struct cache *cache, uint64_t limit_bytes);
uint64_t cache_limit(const struct cache *cache);

/* What of the placement is in force, and in words why it is not what was asked for. */
struct cache_placement_stats {
    tern_huge_pages huge_pages;
    tern_numa_placement numa;
    uint64_t reserved_bytes; /* in pages of the reserved pool */
    uint64_t locked_bytes;   /* kept in memory */
    const char *huge_text;   /* static */
    const char *numa_text;   /* static */
    const char *lock_text;   /* static */
};

struct cache_stats {
    uint64_t limit_bytes, used_bytes, frames, pinned_frames;
    uint64_t misses, evictions, acquire_failures;
    uint64_t hits_seen;  /* flags of hits that the policy has found and cleared: at least so many */
    uint64_t ghost_hits; /* pages that came back while the policy remembered them */
    uint64_t ghosts;     /* pages that it remembers now */
    tern_cache_policy policy;
    struct cache_placement_stats placement;
};
void cache_get_stats(const struct cache *cache, struct cache_stats *out_stats);

/* Pages evicted so far: a cheap answer to whether the cache is full. */
uint64_t cache_evictions(const struct cache *cache);
/*
 * Places of the space's pages that are in the cache, hot ones first; returns how many were written
 * to `out_places`. Any thread; holds the cache's lock for a chunk at a time.
 */
size_t cache_list_space(struct cache *cache, uint32_t space, uint64_t *out_places, size_t capacity);

/* Checks C1 and the hash table; returns the name of a broken invariant or NULL. Quiescent only. */
const char *cache_check(struct cache *cache);

#endif
