/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table from tag to frame: buckets of one cache line, found without locks.
 *
 *   bucket  tags[5] | hints[5] | overflows
 *
 * A tag lies in the first bucket of its hash, or, when that is full, in one of the next
 * REACH_BUCKETS; `overflows` of the first bucket counts how many of its tags lie further on, so
 * that a miss normally costs one line. Entries never move. A reader that races with an insertion or
 * removal may miss the tag or be given a frame that no longer holds it; the frame's own tag tells.
 *
 * A table grows by another beside it: new entries go there, old ones are moved a slice at a time,
 * and until that is done readers ask both, the new one first.
 *
 * T1. An entry's tag becomes visible after its hint. T2. A tag is inserted and removed under the
 * stripe of its hash; slots of buckets that stripes share are claimed with TAG_BUSY. T3. A tag
 * is in one of the two tables, moved under its stripe; which tables there are changes under all
 * stripes. A reader without the stripe may miss a tag on its way.
 */
#include "base/assert.h"
#include "base/error.h"
#include "cache/cache_internal.h"
#include "cache/tag_hash.h"

#define TAG_BUSY      UINT64_MAX
#define REACH_BUCKETS 32u

static uint32_t bits_for(uint64_t frame_count) {
    /* At most half full: 2.5 entries a bucket. */
    uint64_t buckets = frame_count * 2 / 5 + 1;
    uint32_t bits = 4;
    while (bits < 40 && (UINT64_C(1) << bits) < buckets) {
        bits++;
    }
    return bits;
}

uint64_t table_bytes_for(uint64_t frame_count) {
    return sizeof(struct table_bucket) << bits_for(frame_count);
}

static tern_status array_create(const tern_allocator *allocator, uint64_t frame_count,
                                struct table_array **out_array, tern_error *error) {
    struct table_array *array = memory_allocate_zeroed(allocator, sizeof(*array));
    if (array == NULL) {
        return ERROR_NO_MEMORY(error, "the cache table");
    }
    array->allocator = allocator;
    array->bucket_bits = bits_for(frame_count);
    array->bucket_count = UINT64_C(1) << array->bucket_bits;
    array->memory_bytes = sizeof(struct table_bucket) << array->bucket_bits;
    void *memory = NULL;
    tern_status status =
        pages_allocate(array->memory_bytes, array->memory_bytes >= HUGE_PAGE_BYTES, &memory, error);
    if (status != TERN_OK) {
        memory_release(allocator, array);
        return status;
    }
    array->buckets = memory;
    *out_array = array;
    return TERN_OK;
}

static void array_release(struct epoch_node *node) {
    struct table_array *array = (struct table_array *)node;
    pages_release(array->buckets, array->memory_bytes);
    memory_release(array->allocator, array);
}

tern_status table_init(struct cache_table *table, const tern_allocator *allocator,
                       uint64_t frame_count, tern_error *error) {
    struct table_array *array = NULL;
    tern_status status = array_create(allocator, frame_count, &array, error);
    if (status != TERN_OK) {
        return status;
    }
    atomic_init(&table->array, array);
    atomic_init(&table->older, NULL);
    for (unsigned i = 0; i < TABLE_STRIPES; i++) {
        mutex_init(&table->stripes[i]);
    }
    return TERN_OK;
}

void table_destroy(struct cache_table *table) {
    for (unsigned i = 0; i < TABLE_STRIPES; i++) {
        mutex_destroy(&table->stripes[i]);
    }
    array_release(&atomic_load(&table->array)->limbo);
    struct table_array *older = atomic_load(&table->older);
    if (older != NULL) {
        array_release(&older->limbo);
    }
}

struct mutex *table_stripe(struct cache_table *table, cache_tag tag) {
    return &table->stripes[tag_hash(tag) % TABLE_STRIPES];
}

static uint64_t first_bucket(const struct table_array *array, cache_tag tag) {
    return tag_hash(tag) >> (64 - array->bucket_bits);
}

static struct table_bucket *bucket_at(const struct table_array *array, uint64_t index) {
    return &array->buckets[index & ((UINT64_C(1) << array->bucket_bits) - 1)];
}

static cache_hint array_find(const struct table_array *array, cache_tag tag) {
    uint64_t first = first_bucket(array, tag);
    for (uint32_t reach = 0; reach < REACH_BUCKETS; reach++) {
        struct table_bucket *bucket = bucket_at(array, first + reach);
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            if (atomic_load_explicit(&bucket->tags[i], memory_order_acquire) == tag) {
                return atomic_load_explicit(&bucket->hints[i], memory_order_relaxed);
            }
        }
        if (reach == 0 && atomic_load_explicit(&bucket->overflows, memory_order_acquire) == 0) {
            break;
        }
    }
    return 0;
}

cache_hint table_find(const struct cache_table *table, cache_tag tag) {
    cache_hint hint = array_find(atomic_load_explicit(&table->array, memory_order_acquire), tag);
    if (hint == 0) {
        const struct table_array *older = atomic_load_explicit(&table->older, memory_order_acquire);
        hint = older != NULL ? array_find(older, tag) : 0;
    }
    return hint;
}

static bool array_insert(struct table_array *array, cache_tag tag, cache_hint hint) {
    uint64_t first = first_bucket(array, tag);
    for (uint32_t reach = 0; reach < REACH_BUCKETS; reach++) {
        struct table_bucket *bucket = bucket_at(array, first + reach);
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            cache_tag expected = 0;
            if (atomic_load_explicit(&bucket->tags[i], memory_order_relaxed) != 0 ||
                !atomic_compare_exchange_strong_explicit(&bucket->tags[i], &expected, TAG_BUSY,
                                                         memory_order_acq_rel,
                                                         memory_order_relaxed)) {
                continue;
            }
            atomic_store_explicit(&bucket->hints[i], hint, memory_order_relaxed);
            if (reach > 0) {
                atomic_fetch_add_explicit(&bucket_at(array, first)->overflows, 1,
                                          memory_order_release);
            }
            atomic_store_explicit(&bucket->tags[i], tag, memory_order_release);
            return true;
        }
    }
    return false;
}

bool table_insert(struct cache_table *table, cache_tag tag, cache_hint hint) {
    return array_insert(atomic_load_explicit(&table->array, memory_order_acquire), tag, hint);
}

/* False: it is not there. */
static bool array_remove(struct table_array *array, cache_tag tag, cache_hint hint) {
    uint64_t first = first_bucket(array, tag);
    for (uint32_t reach = 0; reach < REACH_BUCKETS; reach++) {
        struct table_bucket *bucket = bucket_at(array, first + reach);
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            if (atomic_load_explicit(&bucket->tags[i], memory_order_relaxed) != tag) {
                continue;
            }
            ASSERT(atomic_load_explicit(&bucket->hints[i], memory_order_relaxed) == hint);
            atomic_store_explicit(&bucket->tags[i], 0, memory_order_release);
            if (reach > 0) {
                atomic_fetch_sub_explicit(&bucket_at(array, first)->overflows, 1,
                                          memory_order_release);
            }
            return true;
        }
    }
    return false;
}

void table_remove(struct cache_table *table, cache_tag tag, cache_hint hint) {
    struct table_array *older = atomic_load_explicit(&table->older, memory_order_acquire);
    bool removed =
        array_remove(atomic_load_explicit(&table->array, memory_order_acquire), tag, hint) ||
        (older != NULL && array_remove(older, tag, hint));
    ASSERT(removed);
}

/* ---- growth ---- */

static void set_arrays(struct cache_table *table, struct table_array *array,
                       struct table_array *older) {
    for (unsigned i = 0; i < TABLE_STRIPES; i++) {
        mutex_lock(&table->stripes[i]);
    }
    atomic_store_explicit(&table->older, older, memory_order_release);
    atomic_store_explicit(&table->array, array, memory_order_release);
    for (unsigned i = TABLE_STRIPES; i > 0; i--) {
        mutex_unlock(&table->stripes[i - 1]);
    }
}

tern_status table_begin_move(struct cache_table *table, const tern_allocator *allocator,
                             uint64_t frame_count, tern_error *error) {
    ASSERT(atomic_load(&table->older) == NULL);
    struct table_array *array = NULL;
    tern_status status = array_create(allocator, frame_count, &array, error);
    if (status == TERN_OK) {
        table->move_bucket = 0;
        set_arrays(table, array, atomic_load(&table->array));
    }
    return status;
}

/* False: the new table has no room within reach. */
static bool move_entry(struct cache_table *table, struct table_array *array,
                       struct table_array *older, cache_tag tag) {
    struct mutex *stripe = table_stripe(table, tag);
    mutex_lock(stripe);
    cache_hint hint = array_find(older, tag);
    bool moved = hint == 0 || array_insert(array, tag, hint);
    if (hint != 0 && moved) {
        (void)array_remove(older, tag, hint);
    }
    mutex_unlock(stripe);
    return moved;
}

uint64_t table_move(struct cache_table *table, struct epoch_domain *epoch, uint32_t buckets_max) {
    struct table_array *array = atomic_load(&table->array);
    struct table_array *older = atomic_load(&table->older);
    for (; buckets_max > 0 && table->move_bucket < older->bucket_count; buckets_max--) {
        struct table_bucket *bucket = &older->buckets[table->move_bucket];
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            cache_tag tag = atomic_load_explicit(&bucket->tags[i], memory_order_relaxed);
            if (tag != 0 && !move_entry(table, array, older, tag)) {
                return 0;
            }
        }
        table->move_bucket++;
    }
    if (table->move_bucket < older->bucket_count) {
        return 0;
    }
    uint64_t bytes = older->memory_bytes;
    set_arrays(table, array, NULL);
    epoch_retire(epoch, &older->limbo, array_release);
    return bytes;
}
