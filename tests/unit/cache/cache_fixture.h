/* SPDX-License-Identifier: Apache-2.0 */
/* A cache with its epoch and budget, and pages whose bytes say which page they are. */
#ifndef TERN_TESTS_CACHE_FIXTURE_H
#define TERN_TESTS_CACHE_FIXTURE_H

#include "cache/cache.h"

/* Of the caches to come; TERN_CACHE_POLICY_DEFAULT at first. */
void cache_fixture_set_policy(tern_cache_policy policy);
tern_cache_policy cache_fixture_policy(void);

struct cache_fixture {
    struct budget budget;
    struct epoch_domain *epoch;
    struct cache *cache;
    uint32_t space;
};

void cache_fixture_open(struct cache_fixture *fixture, uint64_t limit_bytes,
                        const tern_allocator *allocator);
/* On memory of the kind asked for; the others have small pages. */
void cache_fixture_open_placed(struct cache_fixture *fixture, uint64_t limit_bytes,
                               struct cache_placement placement);
void cache_fixture_close(struct cache_fixture *fixture);

/* Fills a frame of `size_bytes` with the pattern of a tag. */
void page_fill(struct cache_frame *frame, size_t size_bytes, cache_tag tag);
/* True when the frame's bytes are the pattern: all of them, or (quick) some. */
bool page_is_right(const struct cache_frame *frame, size_t size_bytes, cache_tag tag, bool quick);
/* Acquires, fills and publishes; NULL when no frame could be had. Inside an epoch. */
struct cache_frame *page_load(struct cache_fixture *fixture, size_t size_bytes, cache_tag tag);

#endif
