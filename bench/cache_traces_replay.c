/* SPDX-License-Identifier: Apache-2.0 */
#include "cache_traces.h"

#include <stdlib.h>

#include "clock.h"
#include "support/check.h"

#define FRAME_BYTES 4096u

struct replay {
    struct epoch_domain *epoch;
    struct cache *cache;
    const uint8_t *base;
    uint32_t space;
    cache_hint *hints; /* by page */
};

/* True: a hit. */
static bool access_page(struct replay *replay, uint32_t page) {
    cache_tag tag = cache_tag_of(replay->space, (uint64_t)page + 1);
    struct epoch_slot *slot = epoch_enter(replay->epoch);
    cache_hint hint = replay->hints[page];
    bool is_hit = hint != 0 && cache_frame_holds(cache_frame_at(replay->base, hint), tag);
    if (!is_hit) {
        struct cache_frame *frame = cache_acquire(replay->cache, FRAME_BYTES);
        if (frame != NULL) {
            frame = cache_publish(replay->cache, frame, tag);
            replay->hints[page] = cache_hint_of(replay->cache, frame);
        }
    }
    epoch_exit(slot);
    return is_hit;
}

void trace_replay(const struct page_trace *trace, tern_cache_policy policy, uint32_t cache_pages,
                  struct replay_result *out_result) {
    struct budget budget = {0};
    struct replay replay = {.hints = calloc(trace->page_count, sizeof(cache_hint))};
    CHECK(replay.hints != NULL);
    CHECK(epoch_domain_create(tern_allocator_default(), &replay.epoch, NULL) == TERN_OK);
    const struct cache_options options = {.allocator = tern_allocator_default(),
                                          .epoch = replay.epoch,
                                          .budget = &budget,
                                          .limit_bytes = (uint64_t)cache_pages * FRAME_BYTES,
                                          .policy = policy};
    CHECK(cache_create(&options, &replay.cache, NULL) == TERN_OK);
    replay.base = cache_base(replay.cache);
    replay.space = cache_space_open(replay.cache);
    struct replay_result result = {0};
    uint64_t begin = clock_monotonic_ns();
    for (size_t i = 0; i < trace->length; i++) {
        result.hits += access_page(&replay, trace->pages[i]);
    }
    result.seconds = (double)(clock_monotonic_ns() - begin) * 1e-9;
    struct cache_stats stats;
    cache_get_stats(replay.cache, &stats);
    result.frames = stats.frames;
    result.ghost_hits = stats.ghost_hits;
    epoch_synchronize(replay.epoch);
    (void)epoch_reclaim(replay.epoch);
    CHECK(cache_check(replay.cache) == NULL);
    cache_destroy(replay.cache);
    epoch_domain_destroy(replay.epoch);
    free(replay.hints);
    *out_result = result;
}
