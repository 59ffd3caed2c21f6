/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ties table and pools together: finding, acquiring, publishing, evicting, and the limit.
 *
 * Addresses, reserved at creation:
 *
 *   base | 2 MiB unused (hint 0) | frames of 4 KiB | of 8 KiB | 16 | 32 | 64 KiB |
 *
 * Eviction runs ahead of need: frames in limbo cannot be used before their epoch is past, and the
 * thread that needs one is usually inside an epoch itself. So acquire evicts a batch as soon as
 * fewer frames than a reserve are free or in limbo, and fails only when that was not enough.
 *
 * Memory moves between classes a chunk at a time: every WINDOW_EVICTIONS the class with the least
 * pressure (evictions per chunk) gives a chunk up when another has four times as much.
 *
 * Invariants C1 to C3 (cache.h). C4: used_bytes is what chunks, table and metadata take, and is at
 * most limit_bytes, but for chunks that still drain after the limit was lowered.
 */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "cache/cache_internal.h"

#define LIMIT_BYTES_MIN   ((uint64_t)1 << 20)
#define RANGE_BYTES_LEAST ((uint64_t)1 << 30)
/* Hints of all classes have 32 bits for pages of 4 KiB. */
#define POOL_BYTES_MOST  ((uint64_t)3 << 40)
#define EVICT_BATCH      32u
#define LOOKS_MAX        256u /* in a round of evictions */
#define SWEEP_LOOKS      8u   /* per eviction, for policies that collect hits */
#define RESERVE_FRAMES   64u
#define WINDOW_EVICTIONS 1024u
#define SHRINK_TRIES     64u
#define TABLE_SLICE      1024u /* buckets moved under one holding of the lock */

_Static_assert((FRAME_CLASSES * POOL_BYTES_MOST + HUGE_PAGE_BYTES) >> FRAME_SHIFT_MIN <= UINT32_MAX,
               "every frame has a hint");

static size_t chunk_bytes_for(uint64_t limit_bytes) {
    size_t bytes = HUGE_PAGE_BYTES;
    while (bytes > CACHE_FRAME_BYTES_MAX && bytes * 16 > limit_bytes) {
        bytes /= 2;
    }
    return bytes;
}

static uint64_t frames_for(uint64_t limit_bytes) {
    return limit_bytes >> FRAME_SHIFT_MIN;
}

/* Reserves addresses: room for the limit to grow where the system gives them. */
static tern_status reserve_range(struct cache *cache, uint64_t limit_bytes, tern_error *error) {
    if (limit_bytes > POOL_BYTES_MOST) {
        return ERROR_SET(error, TERN_INVALID, "a cache of %llu bytes; at most %llu are possible",
                         (unsigned long long)limit_bytes, (unsigned long long)POOL_BYTES_MOST);
    }
    uint64_t least = round_up_u64(limit_bytes, HUGE_PAGE_BYTES);
    uint64_t pool = 2 * least > RANGE_BYTES_LEAST ? 2 * least : RANGE_BYTES_LEAST;
    pool = pool < POOL_BYTES_MOST ? pool : POOL_BYTES_MOST;
    for (;; pool = pool / 2 > least ? round_up_u64(pool / 2, HUGE_PAGE_BYTES) : least) {
        void *memory = NULL;
        uint64_t range = HUGE_PAGE_BYTES + pool * FRAME_CLASSES;
        tern_status status = pages_reserve(range, &memory, pool == least ? error : NULL);
        if (status == TERN_OK) {
            cache->address.base = memory;
            cache->range_bytes = range;
            cache->pool_range_bytes = pool;
            return TERN_OK;
        }
        if (pool == least) {
            return status;
        }
    }
}

/* Metadata of frames and chunks: zeroed pages that become memory where they are written. */
static tern_status reserve_metadata(struct cache *cache, tern_error *error) {
    uint64_t chunk_limit = cache->pool_range_bytes / cache->chunk_bytes;
    cache->chunks_bytes = FRAME_CLASSES * chunk_limit * sizeof(struct frame_chunk);
    cache->links_bytes = (cache->range_bytes >> FRAME_SHIFT_MIN) * sizeof(uint32_t);
    void *chunks = NULL;
    tern_status status = pages_allocate(cache->chunks_bytes, false, &chunks, error);
    if (status != TERN_OK) {
        return status;
    }
    void *links = NULL;
    status = pages_allocate(cache->links_bytes, false, &links, error);
    if (status != TERN_OK) {
        pages_release(chunks, cache->chunks_bytes);
        return status;
    }
    cache->links = links;
    for (unsigned i = 0; i < FRAME_CLASSES; i++) {
        cache->pools[i] = (struct frame_pool){
            .cache = cache,
            .base = cache->address.base + HUGE_PAGE_BYTES + i * cache->pool_range_bytes,
            .frame_shift = FRAME_SHIFT_MIN + i,
            .frames_per_chunk = (uint32_t)(cache->chunk_bytes >> (FRAME_SHIFT_MIN + i)),
            .chunks = (struct frame_chunk *)chunks + i * chunk_limit,
            .chunk_limit = (uint32_t)chunk_limit,
        };
    }
    return TERN_OK;
}

static tern_status create_policies(struct cache *cache, tern_error *error) {
    for (unsigned i = 0; i < FRAME_CLASSES; i++) {
        struct frame_pool *pool = &cache->pools[i];
        tern_status status = cache->policy_methods->create(
            cache->allocator, pool, pool->chunk_limit * pool->frames_per_chunk, &pool->policy,
            error);
        if (status != TERN_OK) {
            while (i-- > 0) {
                cache->policy_methods->destroy(cache->allocator, cache->pools[i].policy);
            }
            return status;
        }
    }
    return TERN_OK;
}

static void release_metadata(struct cache *cache) {
    pages_release(cache->pools[0].chunks, cache->chunks_bytes);
    pages_release(cache->links, cache->links_bytes);
}

tern_status cache_create(const struct cache_options *options, struct cache **out_cache,
                         tern_error *error) {
    uint64_t limit =
        options->limit_bytes > LIMIT_BYTES_MIN ? options->limit_bytes : LIMIT_BYTES_MIN;
    const struct cache_policy_methods *policy_methods = cache_policy_methods_of(options->policy);
    if (policy_methods == NULL) {
        return ERROR_SET(error, TERN_INVALID, "there is no cache policy %d", (int)options->policy);
    }
    struct cache *cache = memory_allocate_zeroed(options->allocator, sizeof(*cache));
    if (cache == NULL) {
        return ERROR_NO_MEMORY(error, "the cache");
    }
    cache->allocator = options->allocator;
    cache->epoch = options->epoch;
    cache->budget = options->budget;
    cache->policy_methods = policy_methods;
    cache->policy = cache_policy_resolve(options->policy);
    cache->chunk_bytes = chunk_bytes_for(limit);
    atomic_init(&cache->limit_bytes, limit);
    atomic_init(&cache->next_space, 1);
    tern_status status = reserve_range(cache, limit, error);
    if (status != TERN_OK) {
        goto no_range;
    }
    placement_begin(cache, &options->placement);
    status = reserve_metadata(cache, error);
    if (status != TERN_OK) {
        goto no_metadata;
    }
    status = create_policies(cache, error);
    if (status != TERN_OK) {
        goto no_policies;
    }
    status = table_init(&cache->table, cache->allocator, frames_for(limit), error);
    if (status != TERN_OK) {
        goto no_table;
    }
    mutex_init(&cache->lock);
    cache->fixed_bytes = sizeof(*cache) + table_bytes_for(frames_for(limit));
    atomic_init(&cache->used_bytes, cache->fixed_bytes);
    budget_add(cache->budget, BUDGET_CACHE, cache->fixed_bytes);
    *out_cache = cache;
    return TERN_OK;

no_table:
    for (unsigned i = 0; i < FRAME_CLASSES; i++) {
        cache->policy_methods->destroy(cache->allocator, cache->pools[i].policy);
    }
no_policies:
    release_metadata(cache);
no_metadata:
    pages_release(cache->address.base, cache->range_bytes);
no_range:
    memory_release(cache->allocator, cache);
    return status;
}

void cache_destroy(struct cache *cache) {
    if (cache == NULL) {
        return;
    }
    for (unsigned i = 0; i < FRAME_CLASSES; i++) {
        cache->policy_methods->destroy(cache->allocator, cache->pools[i].policy);
    }
    budget_subtract(cache->budget, BUDGET_CACHE, atomic_load(&cache->used_bytes));
    table_destroy(&cache->table);
    placement_release(cache);
    release_metadata(cache);
    mutex_destroy(&cache->lock);
    memory_release(cache->allocator, cache);
}

cache_hint cache_hint_of(const struct cache *cache, const struct cache_frame *frame) {
    return (cache_hint)((size_t)((const uint8_t *)frame - cache->address.base) >> FRAME_SHIFT_MIN);
}

struct frame_pool *cache_pool_of(struct cache *cache, const struct cache_frame *frame) {
    size_t offset = (size_t)((const uint8_t *)frame - cache->address.base) - HUGE_PAGE_BYTES;
    return &cache->pools[offset / cache->pool_range_bytes];
}

/* ---- finding ---- */

struct cache_frame *cache_lookup(struct cache *cache, cache_tag tag) {
    cache_hint hint = table_find(&cache->table, tag);
    if (hint != 0) {
        struct cache_frame *frame = cache_frame_at(cache->address.base, hint);
        if (cache_frame_holds(frame, tag)) {
            return frame;
        }
    }
    atomic_fetch_add_explicit(&cache->misses, 1, memory_order_relaxed);
    return NULL;
}

/* ---- evicting ---- */

/* Clears tag and table entry. False when the frame holds it no more, or is pinned. */
static bool unpublish(struct cache *cache, struct cache_frame *frame, cache_tag tag,
                      bool even_pinned) {
    struct mutex *stripe = table_stripe(&cache->table, tag);
    mutex_lock(stripe);
    bool held = atomic_load_explicit(&frame->tag, memory_order_relaxed) == tag &&
                (even_pinned || frame_pins(frame) == 0);
    if (held) {
        table_remove(&cache->table, tag, cache_hint_of(cache, frame));
        atomic_store_explicit(&frame->tag, 0, memory_order_release);
    }
    mutex_unlock(stripe);
    return held;
}

/* ---- telling the policy ---- */

/* Publishing holds no lock that the policy is under: it leaves a note for who does. */
static void note_arrival(struct cache *cache, struct cache_frame *frame) {
    struct frame_pool *pool = cache_pool_of(cache, frame);
    cache_hint hint = cache_hint_of(cache, frame);
    cache_hint first = atomic_load_explicit(&pool->arrivals, memory_order_relaxed);
    do {
        cache->links[hint] = first;
    } while (!atomic_compare_exchange_weak_explicit(&pool->arrivals, &first, hint,
                                                    memory_order_release, memory_order_relaxed));
}

/*
 * Tells the policy of what was published, oldest first. Of these only the frame that is being taken
 * out at the moment (NULL: none) can have lost its tag.
 */
static void tell_arrivals(struct frame_pool *pool, const struct cache_frame *leaving,
                          cache_tag leaving_tag) {
    struct cache *cache = pool->cache;
    cache_hint newest = atomic_load_explicit(&pool->arrivals, memory_order_relaxed);
    if (newest == 0) {
        return;
    }
    newest = atomic_exchange_explicit(&pool->arrivals, 0, memory_order_acquire);
    cache_hint oldest = 0;
    while (newest != 0) {
        cache_hint next = cache->links[newest];
        cache->links[newest] = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest != 0) {
        struct cache_frame *frame = cache_frame_at(cache->address.base, oldest);
        oldest = cache->links[oldest];
        cache_tag tag = frame == leaving ? leaving_tag
                                         : atomic_load_explicit(&frame->tag, memory_order_relaxed);
        ASSERT_DEBUG(tag != 0);
        cache->policy_methods->on_insert(pool->policy, frame_pool_index(pool, frame), tag);
    }
}

static void retire(struct cache *cache, struct cache_frame *frame, cache_tag tag, bool was_victim) {
    struct frame_pool *pool = cache_pool_of(cache, frame);
    if (cache->policy_methods->on_remove != NULL) {
        tell_arrivals(pool, frame, tag);
        cache->policy_methods->on_remove(pool->policy, frame_pool_index(pool, frame), tag,
                                         was_victim);
    }
    atomic_fetch_sub_explicit(&cache->published, 1, memory_order_relaxed);
    frame_pool_retire(pool, frame);
    cache->work.now++;
}

bool cache_evict_frame(struct cache *cache, struct cache_frame *frame, bool even_pinned) {
    cache_tag tag = atomic_load_explicit(&frame->tag, memory_order_relaxed);
    if (tag == 0 || !unpublish(cache, frame, tag, even_pinned)) {
        return false;
    }
    retire(cache, frame, tag, !even_pinned);
    return true;
}

/* Lets the class under least pressure give a chunk to one under much more. */
static void balance(struct cache *cache) {
    struct frame_pool *poorest = NULL;
    struct frame_pool *richest = NULL;
    for (unsigned i = 0; i < FRAME_CLASSES; i++) {
        struct frame_pool *pool = &cache->pools[i];
        if (pool->active_chunks == 0) {
            continue;
        }
        /* pressure / chunks, compared without dividing */
        if (poorest == NULL || (uint64_t)pool->pressure * poorest->active_chunks >
                                   (uint64_t)poorest->pressure * pool->active_chunks) {
            poorest = pool;
        }
        if (richest == NULL || (uint64_t)pool->pressure * richest->active_chunks <
                                   (uint64_t)richest->pressure * pool->active_chunks) {
            richest = pool;
        }
    }
    if (poorest != NULL && poorest != richest &&
        (uint64_t)poorest->pressure * richest->active_chunks >=
            4 * (uint64_t)richest->pressure * poorest->active_chunks) {
        frame_pool_drain_chunk(richest);
    }
    for (unsigned i = 0; i < FRAME_CLASSES; i++) {
        cache->pools[i].pressure /= 2;
    }
}

/* Who enters from now on does not hold up what has just been retired. */
static void move_epoch_on(struct cache *cache) {
    (void)epoch_is_past(cache->epoch, epoch_current(cache->epoch));
}

static void evict_batch(struct frame_pool *pool) {
    struct cache *cache = pool->cache;
    const struct cache_policy_methods *methods = cache->policy_methods;
    uint32_t wanted = pool->frame_count < 8                 ? 1
                      : pool->frame_count / 8 > EVICT_BATCH ? EVICT_BATCH
                                                            : (uint32_t)pool->frame_count / 8;
    struct eviction_round round = {LOOKS_MAX + 2 * wanted, 2 * wanted};
    tell_arrivals(pool, NULL, 0);
    if (methods->sweep != NULL) {
        methods->sweep(pool->policy, SWEEP_LOOKS * wanted);
    }
    while (wanted > 0) {
        struct cache_frame *victim = methods->pick(pool->policy, &round);
        if (victim == NULL) {
            break;
        }
        /* Pinned since the look, it comes up again: each look at it costs the round. */
        if (cache_evict_frame(cache, victim, false)) {
            wanted--;
            pool->pressure++;
            cache->window_evictions++;
            atomic_fetch_add_explicit(&cache->evictions, 1, memory_order_relaxed);
        }
    }
    if (cache->window_evictions >= WINDOW_EVICTIONS) {
        cache->window_evictions = 0;
        balance(cache);
    }
    move_epoch_on(cache);
}

/* A class without any memory takes a chunk from the one that has most. */
static void take_from_largest(struct cache *cache) {
    struct frame_pool *largest = NULL;
    for (unsigned i = 0; i < FRAME_CLASSES; i++) {
        struct frame_pool *pool = &cache->pools[i];
        if (pool->draining_chunks > 0) {
            return; /* one is on its way */
        }
        if (pool->active_chunks > 0 &&
            (largest == NULL || pool->active_chunks > largest->active_chunks)) {
            largest = pool;
        }
    }
    if (largest != NULL) {
        frame_pool_drain_chunk(largest);
        move_epoch_on(cache);
    }
}

/* Goes on with chunks that drain: frees what is past its epoch; with `late` also evicts again. */
static void reclaim_draining(struct cache *cache, bool late) {
    for (unsigned i = 0; i < FRAME_CLASSES; i++) {
        if (cache->pools[i].draining_chunks > 0) {
            if (late) {
                frame_pool_drain_late(&cache->pools[i]);
            }
            (void)frame_pool_reclaim(&cache->pools[i]);
        }
    }
}

static struct cache_frame *acquire_locked(struct frame_pool *pool) {
    struct cache *cache = pool->cache;
    tell_arrivals(pool, NULL, 0); /* now and then: no round of evictions finds thousands */
    uint64_t spare = frame_pool_spare(pool);
    if (spare == 0 && frame_pool_grow(pool)) {
        spare = pool->frames_per_chunk;
    }
    uint64_t reserve =
        pool->frame_count / 8 < RESERVE_FRAMES ? pool->frame_count / 8 : RESERVE_FRAMES;
    if (spare <= reserve / 2 + 1) {
        /* Growing comes before evicting; but leave the untouched part of a chunk for its turn. */
        uint64_t cost = frame_pool_chunk_cost(pool);
        bool can_grow = atomic_load_explicit(&cache->used_bytes, memory_order_relaxed) + cost <=
                        atomic_load_explicit(&cache->limit_bytes, memory_order_relaxed);
        if (!can_grow) {
            if (pool->limbo_count > 0 && frame_pool_reclaim(pool)) {
                spare = frame_pool_spare(pool);
            }
            if (spare + pool->limbo_count <= reserve) {
                evict_batch(pool);
            }
            reclaim_draining(cache, ++cache->drain_tick % 64 == 0);
        }
    }
    struct cache_frame *frame = frame_pool_take(pool);
    if (frame == NULL && pool->limbo_count > 0 && frame_pool_reclaim(pool)) {
        frame = frame_pool_take(pool);
    }
    if (frame == NULL && pool->active_chunks == 0) {
        take_from_largest(cache);
        if (frame_pool_grow(pool)) {
            frame = frame_pool_take(pool);
        }
    }
    return frame;
}

struct cache_frame *cache_acquire(struct cache *cache, size_t size_bytes) {
    ASSERT(size_bytes >= CACHE_FRAME_BYTES_MIN && size_bytes <= CACHE_FRAME_BYTES_MAX &&
           (size_bytes & (size_bytes - 1)) == 0);
    struct frame_pool *pool =
        &cache->pools[(unsigned)__builtin_ctzll(size_bytes) - FRAME_SHIFT_MIN];
    cache_lock(cache);
    struct cache_frame *frame = acquire_locked(pool);
    cache_unlock(cache);
    if (frame == NULL) {
        atomic_fetch_add_explicit(&cache->acquire_failures, 1, memory_order_relaxed);
    }
    return frame;
}

/* ---- publishing ---- */

struct cache_frame *cache_publish(struct cache *cache, struct cache_frame *frame, cache_tag tag) {
    ASSERT(tag != 0 && frame_phase(frame) == FRAME_PHASE_FILLING);
    struct cache_frame *other = NULL;
    struct mutex *stripe = table_stripe(&cache->table, tag);
    mutex_lock(stripe);
    cache_hint hint = table_find(&cache->table, tag);
    bool inserted = false;
    if (hint != 0) {
        other = cache_frame_at(cache->address.base, hint);
    } else {
        frame_set_phase(frame, FRAME_PHASE_PUBLISHED);
        atomic_store_explicit(&frame->tag, tag, memory_order_release);
        inserted = table_insert(&cache->table, tag, cache_hint_of(cache, frame));
        if (!inserted) {
            atomic_store_explicit(&frame->tag, 0, memory_order_release);
        } else {
            atomic_fetch_add_explicit(&cache->published, 1, memory_order_relaxed);
            if (cache->policy_methods->on_insert != NULL) {
                note_arrival(cache, frame);
            }
        }
    }
    mutex_unlock(stripe);
    if (other != NULL) {
        cache_discard(cache, frame);
        return other;
    }
    if (!inserted) {
        /* Nobody will find it, but the caller may use it until it leaves its epoch. */
        cache_lock(cache);
        frame_pool_retire(cache_pool_of(cache, frame), frame);
        cache_unlock(cache);
    }
    return frame;
}

void cache_discard(struct cache *cache, struct cache_frame *frame) {
    ASSERT(frame_phase(frame) == FRAME_PHASE_FILLING);
    cache_lock(cache);
    frame_pool_put(cache_pool_of(cache, frame), frame);
    cache_unlock(cache);
}

void cache_invalidate(struct cache *cache, cache_tag tag) {
    struct mutex *stripe = table_stripe(&cache->table, tag);
    cache_lock(cache);
    mutex_lock(stripe);
    cache_hint hint = table_find(&cache->table, tag);
    mutex_unlock(stripe);
    if (hint != 0) {
        struct cache_frame *frame = cache_frame_at(cache->address.base, hint);
        if (unpublish(cache, frame, tag, true)) {
            retire(cache, frame, tag, false);
        }
    } else if (cache->policy_methods->forget != NULL) {
        for (unsigned i = 0; i < FRAME_CLASSES; i++) {
            if (cache->pools[i].policy->ghosts > 0) {
                cache->policy_methods->forget(cache->pools[i].policy, tag);
            }
        }
    }
    cache_unlock(cache);
}

/* ---- spaces ---- */

uint32_t cache_space_open(struct cache *cache) {
    uint32_t space = atomic_fetch_add_explicit(&cache->next_space, 1, memory_order_relaxed);
    ASSERT(space < (uint32_t)1 << (64 - CACHE_PLACE_BITS));
    return space;
}

/* Drops the frames of the space in a chunk; the cache's lock is held. */
static void close_chunk(struct cache *cache, const struct frame_pool *pool, uint32_t chunk,
                        uint32_t space) {
    uint32_t carved = pool->chunks[chunk].state == CHUNK_ABSENT ? 0 : pool->chunks[chunk].carved;
    for (uint32_t i = 0; i < carved; i++) {
        uint32_t index = chunk * pool->frames_per_chunk + i;
        struct cache_frame *frame = frame_pool_at(pool, index);
        if (i + 8 < carved) {
            __builtin_prefetch(frame_pool_at(pool, index + 8));
        }
        cache_tag tag = atomic_load_explicit(&frame->tag, memory_order_relaxed);
        if (tag != 0 && tag >> CACHE_PLACE_BITS == space) {
            (void)cache_evict_frame(cache, frame, true);
        }
    }
}

/* A chunk at a time: others wait for the lock, and a large cache has millions of frames. None of
 * this space is published meanwhile. */
void cache_space_close(struct cache *cache, uint32_t space) {
    for (unsigned p = 0; p < FRAME_CLASSES; p++) {
        const struct frame_pool *pool = &cache->pools[p];
        bool is_last = false;
        for (uint32_t c = 0; !is_last; c++) {
            cache_lock(cache);
            is_last = c >= pool->chunk_high;
            if (!is_last) {
                close_chunk(cache, pool, c, space);
            }
            cache_unlock(cache);
        }
    }
}

/* ---- limit and numbers ---- */

bool cache_pin_reserve(struct cache *cache, size_t size_bytes) {
    uint64_t limit = atomic_load_explicit(&cache->limit_bytes, memory_order_relaxed);
    uint64_t before =
        atomic_fetch_add_explicit(&cache->pin_reserved_bytes, size_bytes, memory_order_relaxed);
    if (before + size_bytes > limit / 4) {
        cache_pin_unreserve(cache, size_bytes);
        return false;
    }
    return true;
}

void cache_pin_unreserve(struct cache *cache, size_t size_bytes) {
    atomic_fetch_sub_explicit(&cache->pin_reserved_bytes, size_bytes, memory_order_relaxed);
}

static uint64_t draining_bytes(const struct cache *cache) {
    uint64_t bytes = 0;
    for (unsigned i = 0; i < FRAME_CLASSES; i++) {
        const struct frame_pool *pool = &cache->pools[i];
        bytes += pool->draining_chunks * frame_pool_chunk_cost(pool);
    }
    return bytes;
}

/* The class with most memory gives a chunk up; false when what will remain is within the limit. */
static bool shrink_slice(struct cache *cache) {
    cache_lock(cache);
    struct frame_pool *largest = &cache->pools[0];
    for (unsigned i = 1; i < FRAME_CLASSES; i++) {
        if (cache->pools[i].active_chunks > largest->active_chunks) {
            largest = &cache->pools[i];
        }
    }
    bool is_over =
        largest->active_chunks > 0 &&
        atomic_load(&cache->used_bytes) - draining_bytes(cache) > atomic_load(&cache->limit_bytes);
    if (is_over) {
        frame_pool_drain_chunk(largest);
    }
    cache_unlock(cache);
    return is_over;
}

static void count_table(struct cache *cache, uint64_t bytes) {
    cache->fixed_bytes += bytes;
    atomic_fetch_add(&cache->used_bytes, bytes);
    budget_add(cache->budget, BUDGET_CACHE, bytes);
}

/* The table follows a limit that grows beyond what it was made for. */
static bool begin_table(struct cache *cache, uint64_t limit_bytes) {
    uint64_t bytes = table_bytes_for(frames_for(limit_bytes));
    if (bytes <= atomic_load(&cache->table.array)->memory_bytes) {
        return true;
    }
    if (atomic_load(&cache->table.older) != NULL ||
        table_begin_move(&cache->table, cache->allocator, frames_for(limit_bytes), NULL) !=
            TERN_OK) {
        return false;
    }
    count_table(cache, bytes);
    return true;
}

static void move_table(struct cache *cache) {
    bool is_moving = true;
    for (uint64_t slices = 0; is_moving; slices++) {
        cache_lock(cache);
        const struct table_array *older = atomic_load(&cache->table.older);
        /* What finds no room stays where it is found, too: it is tried again at the next move. */
        is_moving = older != NULL && slices <= older->bucket_count / TABLE_SLICE;
        if (is_moving) {
            count_table(cache, 0 - table_move(&cache->table, cache->epoch, TABLE_SLICE));
            cache->work.now += TABLE_SLICE;
        }
        cache_unlock(cache);
    }
}

/* Goes on with draining, a slice at a time, for as long as something may come of it. */
static void finish_draining(struct cache *cache) {
    uint64_t tries = SHRINK_TRIES;
    for (uint64_t i = 0; i < tries; i++) {
        cache_lock(cache);
        bool is_draining = draining_bytes(cache) > 0;
        if (is_draining) {
            for (unsigned p = 0; i == 0 && p < FRAME_CLASSES; p++) {
                tries += cache->pools[p].draining_chunks * 2 + cache->pools[p].limbo_count / 256;
            }
            reclaim_draining(cache, true);
        }
        cache_unlock(cache);
        if (!is_draining) {
            return;
        }
    }
}

void cache_set_limit(struct cache *cache, uint64_t limit_bytes) {
    uint64_t limit = limit_bytes > LIMIT_BYTES_MIN ? limit_bytes : LIMIT_BYTES_MIN;
    limit = limit < cache->pool_range_bytes ? limit : cache->pool_range_bytes;
    cache_lock(cache);
    if (limit <= atomic_load(&cache->limit_bytes) || begin_table(cache, limit)) {
        atomic_store(&cache->limit_bytes, limit);
    }
    cache_unlock(cache);
    move_table(cache);
    while (shrink_slice(cache)) {
    }
    for (unsigned i = 0; i < FRAME_CLASSES; i++) {
        struct frame_pool *pool = &cache->pools[i];
        cache_lock(cache);
        if (pool->active_chunks > 0 && frame_pool_spare(pool) == 0) {
            evict_batch(pool);
        }
        cache_unlock(cache);
    }
    finish_draining(cache);
    (void)epoch_reclaim(cache->epoch);
}

uint64_t cache_limit(const struct cache *cache) {
    return atomic_load_explicit(&cache->limit_bytes, memory_order_relaxed);
}
