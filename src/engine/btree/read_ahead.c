/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read-ahead: a drain writes leaves one behind the other, so that most neighbours in a level-1 node
 * are neighbours on disk. A walk that has taken STEPS_BEFORE leaves in a row reads runs of them:
 * first short ones, then up to RUN_BYTES_MAX, and never more than a part of the cache.
 */
#include "engine/btree/read_ahead.h"

#include "engine/btree/btree_file_internal.h"

#define STEPS_BEFORE  2u
#define RUN_BYTES_MIN ((size_t)64 << 10)
#define RUN_BYTES_MAX ((size_t)256 << 10)
#define CACHE_PART    16u

/* Leaves first..last of a node, ascending; bytes from the first's place to the last's end. */
struct run {
    uint32_t first, last;
    uint64_t place, end;
};

void read_ahead_release(struct read_ahead *read_ahead, const tern_allocator *allocator) {
    memory_release_aligned(allocator, read_ahead->memory);
    read_ahead->memory = NULL;
}

static bool is_cached(struct btree *tree, struct inner_node *node, uint32_t index) {
    const uint8_t *base = cache_base(tree->environment->cache);
    cache_hint hint = atomic_load_explicit(&node->hints[index], memory_order_relaxed);
    return hint != 0 &&
           cache_frame_holds(cache_frame_at(base, hint), leaf_tag(tree, node->refs[index]));
}

/* Lengthens the run by a neighbour when it follows on disk (a granule's slack is allowed). */
static bool extend(struct run *run, const struct inner_node *node, uint32_t index, size_t limit) {
    packed_ref ref = node->refs[index];
    uint64_t place = ref_place(ref);
    uint64_t end = place + ref_units(ref);
    if (index > run->last) {
        if (place < run->end || place > run->end + FILE_HEADER_UNITS ||
            (end - run->place) * UNIT_BYTES > limit) {
            return false;
        }
        run->last = index;
        run->end = end;
    } else {
        if (end > run->place || end + FILE_HEADER_UNITS < run->place ||
            (run->end - place) * UNIT_BYTES > limit) {
            return false;
        }
        run->first = index;
        run->place = place;
    }
    return true;
}

static struct run find_run(struct btree *tree, struct inner_node *node, uint32_t index,
                           bool backward, size_t limit) {
    packed_ref ref = node->refs[index];
    struct run run = {index, index, ref_place(ref), ref_place(ref) + ref_units(ref)};
    for (;;) {
        if (backward ? run.first == 0 : run.last + 1 == node->count) {
            return run;
        }
        uint32_t next = backward ? run.first - 1 : run.last + 1;
        if (is_cached(tree, node, next) || !extend(&run, node, next, limit)) {
            return run;
        }
    }
}

/* Publishes one leaf out of the bytes of a run; false: no frame, or not sound. */
static bool take_leaf(struct btree *tree, struct inner_node *node, uint32_t index,
                      const uint8_t *bytes) {
    struct cache *cache = tree->environment->cache;
    packed_ref ref = node->refs[index];
    size_t page_bytes = tree->config.options.page_bytes;
    struct cache_frame *frame = cache_acquire(cache, page_bytes);
    if (frame == NULL) {
        return false;
    }
    uint8_t *payload = (uint8_t *)frame + BLOCK_HEADER_BYTES;
    size_t size = 0;
    if (btree_file_decode(tree->file, bytes, ref_place(ref), ref_units(ref), node->checksums[index],
                          payload, page_bytes - BLOCK_HEADER_BYTES, NULL, &size, NULL) != TERN_OK ||
        leaf_check(payload, size) != NULL) {
        cache_discard(cache, frame);
        return false;
    }
    frame = cache_publish(cache, frame, leaf_tag(tree, ref));
    atomic_store_explicit(&node->hints[index], cache_hint_of(cache, frame), memory_order_relaxed);
    return true;
}

void read_ahead_run(struct read_ahead *read_ahead, struct btree *tree, struct inner_node *node,
                    uint32_t index) {
    if (read_ahead->steps < STEPS_BEFORE) {
        return;
    }
    size_t limit = read_ahead->steps < 4 * STEPS_BEFORE ? RUN_BYTES_MIN : RUN_BYTES_MAX;
    uint64_t part = cache_limit(tree->environment->cache) / CACHE_PART;
    limit = part < limit ? (size_t)part : limit;
    struct run run = find_run(tree, node, index, read_ahead->backward, limit);
    if (run.first == run.last) {
        return;
    }
    if (read_ahead->memory == NULL) {
        read_ahead->memory =
            memory_allocate_aligned(tree->environment->allocator, BTREE_FILE_MEMORY_ALIGNMENT,
                                    RUN_BYTES_MAX + (size_t)FILE_HEADER_UNITS * UNIT_BYTES);
        if (read_ahead->memory == NULL) {
            return;
        }
    }
    if (btree_file_read_units(tree->file, run.place, run.end - run.place, read_ahead->memory,
                              NULL) != TERN_OK) {
        return;
    }
    /* The leaf that is wanted now comes first, lest its frame be the one that is missing. */
    for (uint32_t i = 0; i <= run.last - run.first; i++) {
        uint32_t at = read_ahead->backward ? run.last - i : run.first + i;
        const uint8_t *bytes =
            read_ahead->memory + (ref_place(node->refs[at]) - run.place) * UNIT_BYTES;
        if (!take_leaf(tree, node, at, bytes)) {
            return;
        }
    }
}
