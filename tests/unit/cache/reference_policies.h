/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a trace of page numbers would hit in caches that are exact and know no locks: to hold the
 * real ones against. One page a time, counted from the first access; pages are below `page_count`.
 */
#ifndef TERN_TESTS_REFERENCE_POLICIES_H
#define TERN_TESTS_REFERENCE_POLICIES_H

#include <stddef.h>
#include <stdint.h>

struct page_trace {
    uint32_t *pages;
    size_t length;
    uint32_t page_count;
};

/* Hits with room for `capacity` pages. Memory: some 24 bytes a page and an access. */
uint64_t reference_lru_hits(const struct page_trace *trace, uint32_t capacity);
/* New pages come without a mark, as in policy_clock.c. */
uint64_t reference_clock_hits(const struct page_trace *trace, uint32_t capacity);
/* Belady's MIN ("A study of replacement algorithms for a virtual-storage computer", 1966): evicts
 * what is needed last. No policy that must cache what it reads hits more. */
uint64_t reference_belady_hits(const struct page_trace *trace, uint32_t capacity);

#endif
