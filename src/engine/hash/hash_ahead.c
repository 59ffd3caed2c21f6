/* SPDX-License-Identifier: Apache-2.0 */
/* Reading blocks of records before they are asked for. */
#include "base/error.h"
#include "engine/hash/hash_base.h"

/* Blocks of one read, at most; with fewer than this it does not pay. */
#define AHEAD_MOST  16u
#define AHEAD_LEAST 4u
/* What is read ahead of every segment at once takes at most this part of the cache, and what is
 * read at once this one: frames that have been let go of can be used only after an epoch. */
#define CACHE_PART 4u
#define READ_PART  128u

struct ahead {
    uint32_t number; /* BLOCK_NONE: not a block of records */
    uint32_t raw_bytes;
    struct hash_ref ref;
};

static size_t frame_bytes_for(size_t raw_bytes) {
    size_t bytes = CACHE_FRAME_BYTES_MIN;
    while (bytes < raw_bytes + BLOCK_HEADER_BYTES) {
        bytes *= 2;
    }
    return bytes;
}

/* Segments that whoever goes by the hashes has to do with at a time. Under the lock of the base. */
static uint64_t runs_of(const struct hash_base *base) {
    double runs = 1;
    for (uint32_t i = 0; i < base->segment_count; i++) {
        const struct hash_segment *segment = base->segments[i];
        if (segment != NULL && segment->min_hash <= segment->max_hash) {
            runs += (double)(segment->max_hash - segment->min_hash) / (double)UINT64_MAX;
        }
    }
    return (uint64_t)runs;
}

uint64_t base_runs(struct hash_base *base) {
    mutex_lock(&base->lock);
    uint64_t runs = runs_of(base);
    mutex_unlock(&base->lock);
    return runs;
}

/* Blocks that are read together. */
static uint32_t window_of(const struct hash_base *base) {
    const struct engine_environment *environment = base->environment;
    uint64_t runs = runs_of(base);
    uint64_t frames =
        cache_limit(environment->cache) / frame_bytes_for(base->page_bytes - BLOCK_HEADER_BYTES);
    uint64_t blocks = frames / CACHE_PART / runs;
    blocks = blocks < frames / READ_PART ? blocks : frames / READ_PART;
    if (environment->read_ahead_bytes == TERN_READ_AHEAD_OFF || blocks < AHEAD_LEAST) {
        return 1;
    }
    return blocks < AHEAD_MOST ? (uint32_t)blocks : AHEAD_MOST;
}

static bool is_cached(const struct hash_base *base, uint32_t place) {
    cache_tag tag = cache_tag_of(hash_file_space(base->file), place);
    return cache_lookup(base->environment->cache, tag) != NULL;
}

static bool fits_frame(const struct block_info *info) {
    return info->raw_bytes + BLOCK_HEADER_BYTES <= CACHE_FRAME_BYTES_MAX;
}

/*
 * The blocks of the window that this one lies in, as far as they lie beside it in the file. Windows
 * begin at multiples of their size, so that a segment is read once, wherever in it one begins.
 */
static uint32_t list_around(struct hash_base *base, uint32_t block, struct ahead *list) {
    uint32_t count = 0;
    bool has_block = false;
    mutex_lock(&base->lock);
    uint32_t window = window_of(base);
    uint32_t at = base_block(base, block)->segment;
    const struct hash_segment *segment = at < base->segment_count ? base->segments[at] : NULL;
    uint32_t place = 0;
    while (segment != NULL && window > 1 && place < segment->block_count &&
           segment->blocks[place] != block) {
        place++;
    }
    if (segment != NULL && window > 1 && place < segment->block_count) {
        uint32_t end = place - place % window + window;
        end = end < segment->block_count ? end : segment->block_count;
        for (uint32_t i = place - place % window; i < end; i++) {
            if (segment->blocks[i] == BLOCK_NONE) {
                continue;
            }
            const struct block_info *info = base_block(base, segment->blocks[i]);
            const struct ahead *last = count > 0 ? &list[count - 1] : NULL;
            bool is_beside = last == NULL || last->ref.place + last->ref.units == info->place;
            if (!is_beside && has_block) {
                break;
            }
            count = is_beside ? count : 0;
            has_block = has_block || i == place;
            list[count++] = (struct ahead){
                segment->blocks[i], info->raw_bytes, {info->place, info->units, info->checksum}};
        }
    }
    mutex_unlock(&base->lock);
    return has_block ? count : 0;
}

/* False: the cache has no room. */
static bool publish(struct hash_base *base, const struct ahead *ahead, const uint8_t *units) {
    struct cache *cache = base->environment->cache;
    size_t bytes = frame_bytes_for(ahead->raw_bytes);
    size_t size = 0;
    struct cache_frame *frame = cache_acquire(cache, bytes);
    if (frame == NULL) {
        return false;
    }
    if (hash_file_decode(base->file, &ahead->ref, units, (uint8_t *)frame + BLOCK_HEADER_BYTES,
                         bytes - BLOCK_HEADER_BYTES, &size, NULL) != TERN_OK ||
        size != ahead->raw_bytes) {
        cache_discard(cache, frame);
        return true;
    }
    frame =
        cache_publish(cache, frame, cache_tag_of(hash_file_space(base->file), ahead->ref.place));
    if (ahead->number != BLOCK_NONE) {
        atomic_store_explicit(&base_block(base, ahead->number)->hint, cache_hint_of(cache, frame),
                              memory_order_relaxed);
    }
    return true;
}

static void read_together(struct hash_base *base, const struct ahead *list, uint32_t count) {
    const tern_allocator *allocator = base->environment->allocator;
    size_t bytes = 0;
    size_t got = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += (size_t)list[i].ref.units * HASH_UNIT_BYTES;
    }
    if (count < 2 || bytes > AHEAD_MOST * CACHE_FRAME_BYTES_MAX) {
        return;
    }
    uint8_t *units = memory_allocate_aligned(allocator, HASH_UNIT_BYTES, bytes);
    if (units == NULL) {
        return;
    }
    if (hash_file_read_raw(base->file, list[0].ref.place, units, bytes, &got, NULL) == TERN_OK &&
        got == bytes) {
        const uint8_t *at = units;
        bool has_room = true;
        for (uint32_t i = 0; i < count && has_room; i++) {
            if (list[i].raw_bytes + BLOCK_HEADER_BYTES <= CACHE_FRAME_BYTES_MAX &&
                !is_cached(base, list[i].ref.place)) {
                has_room = publish(base, &list[i], at);
            }
            at += (size_t)list[i].ref.units * HASH_UNIT_BYTES;
        }
    }
    memory_release_aligned(allocator, units);
}

void base_fetch_around(struct hash_base *base, uint32_t block) {
    struct ahead list[AHEAD_MOST];
    const struct block_info *info = base_block(base, block);
    if (fits_frame(info) && !is_cached(base, info->place)) {
        uint32_t count = list_around(base, block, list);
        read_together(base, list, count);
    }
}

void base_fetch_refs(struct hash_base *base, const struct hash_ref *refs, uint32_t count,
                     uint32_t wanted, uint32_t raw_bytes) {
    struct ahead list[AHEAD_MOST];
    uint64_t frames = cache_limit(base->environment->cache) / frame_bytes_for(raw_bytes);
    uint64_t most = frames / READ_PART < AHEAD_MOST ? frames / READ_PART : AHEAD_MOST;
    if (most < AHEAD_LEAST || base->environment->read_ahead_bytes == TERN_READ_AHEAD_OFF ||
        is_cached(base, refs[wanted].place)) {
        return;
    }
    uint32_t begin = wanted - wanted % (uint32_t)most;
    uint32_t some = count - begin < most ? count - begin : (uint32_t)most;
    for (uint32_t i = 0; i < some; i++) {
        list[i] = (struct ahead){BLOCK_NONE, raw_bytes, refs[begin + i]};
    }
    read_together(base, list, some);
}
