/* SPDX-License-Identifier: Apache-2.0 */
/* Traces of page accesses, made by seed, and what a cache under a policy makes of them. */
#ifndef BENCH_CACHE_TRACES_H
#define BENCH_CACHE_TRACES_H

#include <stdbool.h>
#include <stdint.h>

#include "cache/cache.h"
#include "unit/cache/reference_policies.h"

enum trace_kind {
    TRACE_ZIPF_80,
    TRACE_ZIPF_99,
    TRACE_ZIPF_120,
    TRACE_SCAN,     /* zipf 0.99, one access in five a step of a scan over as many pages again */
    TRACE_LOOP,     /* round and round a tenth more pages than fit */
    TRACE_SHIFTING, /* nine in ten to a twentieth of the pages, which changes ten times */
    TRACE_OLTP,     /* popular pages, recent pages, short range reads, anything */
    TRACE_KINDS
};

const char *trace_name(enum trace_kind kind);
/* Makes the trace of a kind, seed and size; `cache_pages` matters for the loop alone. Free pages.
 */
void trace_make(enum trace_kind kind, uint64_t seed, uint32_t page_count, size_t length,
                uint32_t cache_pages, struct page_trace *out_trace);

struct replay_result {
    uint64_t hits;
    uint64_t ghost_hits;
    uint64_t frames; /* held at the end */
    double seconds;
};

/*
 * Drives a cache of `cache_pages` times 4 KiB in all, its own tables included, with one thread: as
 * a tree would, by the frame where a page was last seen. A miss takes and publishes a frame; no
 * page is read.
 */
void trace_replay(const struct page_trace *trace, tern_cache_policy policy, uint32_t cache_pages,
                  struct replay_result *out_result);

#endif
