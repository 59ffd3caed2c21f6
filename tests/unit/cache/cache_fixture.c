/* SPDX-License-Identifier: Apache-2.0 */
#include "cache_fixture.h"

#include <string.h>

#include "support/check.h"

static tern_cache_policy fixture_policy;

void cache_fixture_set_policy(tern_cache_policy policy) {
    fixture_policy = policy;
}

tern_cache_policy cache_fixture_policy(void) {
    return fixture_policy;
}

static void open_fixture(struct cache_fixture *fixture, uint64_t limit_bytes,
                         const tern_allocator *allocator, struct cache_placement placement) {
    memset(fixture, 0, sizeof(*fixture));
    CHECK(epoch_domain_create(tern_allocator_default(), &fixture->epoch, NULL) == TERN_OK);
    const struct cache_options options = {
        .allocator = allocator != NULL ? allocator : tern_allocator_default(),
        .epoch = fixture->epoch,
        .budget = &fixture->budget,
        .limit_bytes = limit_bytes,
        .placement = placement,
        .policy = fixture_policy,
    };
    CHECK(cache_create(&options, &fixture->cache, NULL) == TERN_OK);
    fixture->space = cache_space_open(fixture->cache);
}

void cache_fixture_open(struct cache_fixture *fixture, uint64_t limit_bytes,
                        const tern_allocator *allocator) {
    open_fixture(fixture, limit_bytes, allocator,
                 (struct cache_placement){.huge_pages = TERN_HUGE_PAGES_OFF});
}

void cache_fixture_open_placed(struct cache_fixture *fixture, uint64_t limit_bytes,
                               struct cache_placement placement) {
    open_fixture(fixture, limit_bytes, NULL, placement);
}

void cache_fixture_close(struct cache_fixture *fixture) {
    epoch_synchronize(fixture->epoch);
    (void)epoch_reclaim(fixture->epoch);
    const char *broken = cache_check(fixture->cache);
    if (broken != NULL) {
        check_failed(broken, __FILE__, __LINE__);
    }
    cache_destroy(fixture->cache);
    epoch_domain_destroy(fixture->epoch);
    for (int share = 0; share < BUDGET_SHARES; share++) {
        CHECK(budget_used(&fixture->budget, (enum budget_share)share) == 0);
    }
}

static uint64_t pattern(cache_tag tag, size_t word) {
    return (tag + word) * UINT64_C(0x9e3779b97f4a7c15) ^ tag;
}

void page_fill(struct cache_frame *frame, size_t size_bytes, cache_tag tag) {
    uint64_t *words = (uint64_t *)(void *)frame;
    for (size_t i = 2; i < size_bytes / 8; i++) {
        words[i] = pattern(tag, i);
    }
}

bool page_is_right(const struct cache_frame *frame, size_t size_bytes, cache_tag tag, bool quick) {
    const uint64_t *words = (const uint64_t *)(const void *)frame;
    size_t step = quick ? 97 : 1;
    for (size_t i = 2; i < size_bytes / 8; i += step) {
        if (words[i] != pattern(tag, i)) {
            return false;
        }
    }
    return true;
}

struct cache_frame *page_load(struct cache_fixture *fixture, size_t size_bytes, cache_tag tag) {
    struct cache_frame *frame = cache_acquire(fixture->cache, size_bytes);
    if (frame == NULL) {
        return NULL;
    }
    page_fill(frame, size_bytes, tag);
    return cache_publish(fixture->cache, frame, tag);
}
