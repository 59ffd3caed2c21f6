/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/overlay/overlay_filter.h"

#include "base/bytes.h"
#include "os/pages.h"

#define FILTER_PAGES_BYTES_MIN ((size_t)16 << 10)
/* A small filter grows fast, so that few are ever filled anew. A large one would cost a single
 * commit the clearing of many pages, and take memory that the keys may never need. */
#define GROWTH_SMALL 16u
#define GROWTH_LARGE 4u

struct overlay_filter *filter_create(const tern_allocator *allocator, uint64_t capacity_keys) {
    uint64_t block_count = capacity_keys * FILTER_BITS_PER_KEY / (FILTER_WORDS * 64) + 1;
    size_t bytes = block_count * sizeof(struct filter_block);
    struct overlay_filter *filter = memory_allocate(allocator, sizeof(*filter));
    if (filter == NULL) {
        return NULL;
    }
    void *blocks = NULL;
    bool is_pages = bytes >= FILTER_PAGES_BYTES_MIN;
    if (bytes >= HUGE_PAGE_BYTES) {
        bytes = round_up_u64(bytes, HUGE_PAGE_BYTES);
        if (pages_allocate(bytes, true, &blocks, NULL) != TERN_OK) {
            blocks = NULL;
        }
    } else if (is_pages) {
        bytes = round_up_u64(bytes, 4096);
        blocks = pages_allocate_small(bytes);
    } else {
        blocks = memory_allocate_aligned(allocator, sizeof(struct filter_block), bytes);
        if (blocks != NULL) {
            memset(blocks, 0, bytes);
        }
    }
    if (blocks == NULL) {
        memory_release(allocator, filter);
        return NULL;
    }
    *filter = (struct overlay_filter){
        .blocks = blocks,
        .block_count = bytes / sizeof(struct filter_block),
        .capacity_keys = capacity_keys,
        .size_bytes = bytes + sizeof(*filter),
        .is_pages = is_pages,
    };
    return filter;
}

uint64_t filter_next_capacity(uint64_t capacity_keys, uint64_t key_count, uint64_t expected_keys) {
    uint64_t wanted = capacity_keys * GROWTH_SMALL;
    if (wanted * FILTER_BITS_PER_KEY / 8 > HUGE_PAGE_BYTES) {
        wanted = capacity_keys * GROWTH_LARGE;
    }
    if (expected_keys > capacity_keys && expected_keys < wanted) {
        wanted = expected_keys;
    }
    return wanted < key_count * 2 ? key_count * 2 : wanted;
}

void filter_destroy(const tern_allocator *allocator, struct overlay_filter *filter) {
    if (filter == NULL) {
        return;
    }
    size_t bytes = filter->size_bytes - sizeof(*filter);
    if (bytes >= HUGE_PAGE_BYTES) {
        pages_release(filter->blocks, bytes);
    } else if (filter->is_pages) {
        pages_release_small(filter->blocks, bytes);
    } else {
        memory_release_aligned(allocator, filter->blocks);
    }
    memory_release(allocator, filter);
}
