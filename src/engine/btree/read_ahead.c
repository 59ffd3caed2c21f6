/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read-ahead: a drain writes leaves one behind the other, so that most neighbours in a level-1 node
 * are neighbours on disk. A cursor that has taken STEPS_BEFORE equal steps, of one leaf (a scan) or
 * of a few (a strided walk), in either direction, reads runs of them with one call: first short
 * ones, then up to the option's length, and never more than a part of the cache. Of a strided run
 * only the leaves that will be stepped on are kept. Steps that differ are random access: then
 * nothing is read ahead.
 */
#include "engine/btree/read_ahead.h"

#include "engine/btree/btree_file_internal.h"

#define STEPS_BEFORE      2u
#define RUN_BYTES_MIN     ((size_t)64 << 10)
#define RUN_BYTES_DEFAULT ((size_t)256 << 10)
#define CACHE_PART        16u
/* Reading what lies between costs less than another read up to about here. */
#define STRIDE_BYTES_MAX ((uint64_t)64 << 10)

/* Leaves first..last of a node, ascending; bytes from the first's place to the last's end. */
struct run {
    uint32_t first, last;
    uint64_t place, end;
};

void read_ahead_release(struct read_ahead *read_ahead, const tern_allocator *allocator) {
    memory_release_aligned(allocator, read_ahead->memory);
    read_ahead->memory = NULL;
}

static packed_ref ref_at(const struct inner_node *node, uint32_t index) {
    return leaf_place_of(node, index).ref;
}

static bool is_cached(struct btree *tree, struct inner_node *node, uint32_t index) {
    const uint8_t *base = cache_base(tree->environment->cache);
    const struct leaf_place place = leaf_place_of(node, index);
    cache_hint hint = atomic_load_explicit(place.hint, memory_order_relaxed);
    return hint != 0 && cache_frame_holds(cache_frame_at(base, hint), leaf_tag(tree, place.ref));
}

/* Lengthens the run by a neighbour when it follows on disk (a granule's slack is allowed). */
static bool extend(struct run *run, const struct inner_node *node, uint32_t index, size_t limit) {
    packed_ref ref = ref_at(node, index);
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

/* Leaves from `index` on that lie together on disk, as far as steps of `stride` leaves go and find
 * nothing in memory. */
static struct run find_run(struct btree *tree, struct inner_node *node, uint32_t index,
                           int32_t stride, size_t limit) {
    packed_ref ref = ref_at(node, index);
    struct run run = {index, index, ref_place(ref), ref_place(ref) + ref_units(ref)};
    for (;;) {
        struct run longer = run;
        int64_t target = (int64_t)(stride > 0 ? run.last : run.first) + stride;
        if (target < 0 || target >= (int64_t)node->count ||
            (!tree->is_mapping && is_cached(tree, node, (uint32_t)target))) {
            return run;
        }
        while (stride > 0 ? longer.last < (uint32_t)target : longer.first > (uint32_t)target) {
            if (!extend(&longer, node, stride > 0 ? longer.last + 1 : longer.first - 1, limit)) {
                return run;
            }
        }
        run = longer;
    }
}

/* Publishes one leaf out of the bytes of a run; false: no frame, or not sound. */
static bool take_leaf(struct btree *tree, struct inner_node *node, uint32_t index,
                      const uint8_t *bytes) {
    struct cache *cache = tree->environment->cache;
    const struct leaf_place place = leaf_place_of(node, index);
    size_t page_bytes = tree->config.options.page_bytes;
    struct cache_frame *frame = cache_acquire(cache, page_bytes);
    if (frame == NULL) {
        return false;
    }
    uint8_t *payload = (uint8_t *)frame + BLOCK_HEADER_BYTES;
    size_t size = 0;
    if (btree_file_decode(tree->file, bytes, ref_place(place.ref), ref_units(place.ref),
                          *place.checksum, payload, page_bytes - BLOCK_HEADER_BYTES, NULL, &size,
                          NULL) != TERN_OK ||
        leaf_check(payload, size) != NULL) {
        cache_discard(cache, frame);
        return false;
    }
    frame = cache_publish(cache, frame, leaf_tag(tree, place.ref));
    atomic_store_explicit(place.hint, cache_hint_of(cache, frame), memory_order_relaxed);
    return true;
}

static size_t bytes_max(const struct btree *tree) {
    uint64_t wanted = tree->environment->read_ahead_bytes;
    return wanted == 0 ? RUN_BYTES_DEFAULT : (size_t)wanted;
}

/* Bytes that may be read at once now; 0: none. */
static size_t limit_now(const struct read_ahead *read_ahead, const struct btree *tree) {
    if (tree->environment->read_ahead_bytes == TERN_READ_AHEAD_OFF ||
        read_ahead->steps + 1 < STEPS_BEFORE) {
        return 0;
    }
    uint64_t stride = (uint64_t)(read_ahead->stride < 0 ? -(int64_t)read_ahead->stride
                                                        : (int64_t)read_ahead->stride);
    if (stride * tree->config.options.page_bytes > STRIDE_BYTES_MAX) {
        return 0;
    }
    size_t limit = read_ahead->steps < 4 * STEPS_BEFORE ? RUN_BYTES_MIN : bytes_max(tree);
    uint64_t part = cache_limit(tree->environment->cache) / CACHE_PART;
    return part < limit ? (size_t)part : limit;
}

static bool has_memory(struct read_ahead *read_ahead, const struct btree *tree) {
    if (read_ahead->memory == NULL) {
        read_ahead->memory =
            memory_allocate_aligned(tree->environment->allocator, BTREE_FILE_MEMORY_ALIGNMENT,
                                    bytes_max(tree) + (size_t)FILE_HEADER_UNITS * UNIT_BYTES);
    }
    return read_ahead->memory != NULL;
}

/* True before the middle of what the system was asked to read: half a run before the end it is
 * asked for the next one, and reads that while the walk goes on. */
static bool is_asked_for(const struct read_ahead *read_ahead, uint64_t place) {
    uint64_t middle =
        read_ahead->asked_place + (read_ahead->asked_end - read_ahead->asked_place) / 2;
    return place >= read_ahead->asked_place && place < read_ahead->asked_end &&
           (read_ahead->stride > 0 ? place < middle : place >= middle);
}

static void ask_for_run(struct read_ahead *read_ahead, struct btree *tree, const struct run *run) {
    btree_file_will_need(tree->file, run->place, run->end - run->place);
    btree_file_note_ahead(tree->file, run->last - run->first + 1,
                          read_ahead->stride != 1 && read_ahead->stride != -1);
    read_ahead->asked_place = run->place;
    read_ahead->asked_end = run->end;
}

void read_ahead_run(struct read_ahead *read_ahead, struct btree *tree, struct inner_node *node,
                    uint32_t index) {
    size_t limit = limit_now(read_ahead, tree);
    if (limit == 0 ||
        (tree->is_mapping && is_asked_for(read_ahead, ref_place(ref_at(node, index))))) {
        return;
    }
    int32_t stride = read_ahead->stride;
    struct run run = find_run(tree, node, index, stride, limit);
    if (run.first == run.last) {
        return;
    }
    if (tree->is_mapping) {
        ask_for_run(read_ahead, tree, &run);
        return;
    }
    if (!has_memory(read_ahead, tree) ||
        btree_file_read_units(tree->file, run.place, run.end - run.place, read_ahead->memory,
                              NULL) != TERN_OK) {
        return;
    }
    /* The leaf that is wanted now comes first, lest its frame be the one that is missing. */
    uint64_t taken = 0;
    for (int64_t at = index; at >= (int64_t)run.first && at <= (int64_t)run.last; at += stride) {
        const uint8_t *bytes =
            read_ahead->memory + (ref_place(ref_at(node, (uint32_t)at)) - run.place) * UNIT_BYTES;
        if (!take_leaf(tree, node, (uint32_t)at, bytes)) {
            break;
        }
        taken++;
    }
    btree_file_note_ahead(tree->file, taken, stride != 1 && stride != -1);
}
