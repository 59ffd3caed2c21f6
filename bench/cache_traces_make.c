/* SPDX-License-Identifier: Apache-2.0 */
#include "cache_traces.h"

#include <math.h>
#include <stdlib.h>

#include "rng.h"
#include "support/check.h"

const char *trace_name(enum trace_kind kind) {
    static const char *const names[TRACE_KINDS] = {
        [TRACE_ZIPF_80] = "zipf-0.80",  [TRACE_ZIPF_99] = "zipf-0.99",
        [TRACE_ZIPF_120] = "zipf-1.20", [TRACE_SCAN] = "zipf-scan",
        [TRACE_LOOP] = "loop",          [TRACE_SHIFTING] = "shifting",
        [TRACE_OLTP] = "oltp",
    };
    return names[kind];
}

/* ---- popularity by rank, exactly, and scattered over the pages ---- */

struct popularity {
    double *sums; /* of the weights up to a rank */
    uint32_t *page_of_rank;
    uint32_t count;
};

static void popularity_make(struct popularity *popularity, uint32_t count, double theta,
                            struct rng *rng) {
    popularity->count = count;
    popularity->sums = calloc(count, sizeof(double));
    popularity->page_of_rank = calloc(count, sizeof(uint32_t));
    CHECK(popularity->sums != NULL && popularity->page_of_rank != NULL);
    double sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += pow((double)i + 1, -theta);
        popularity->sums[i] = sum;
        uint32_t at = (uint32_t)rng_below(rng, (uint64_t)i + 1);
        popularity->page_of_rank[i] = popularity->page_of_rank[at];
        popularity->page_of_rank[at] = i;
    }
}

static uint32_t popularity_next(const struct popularity *popularity, struct rng *rng) {
    double wanted = rng_unit(rng) * popularity->sums[popularity->count - 1];
    uint32_t low = 0;
    uint32_t high = popularity->count - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (popularity->sums[middle] < wanted) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return popularity->page_of_rank[low];
}

static void popularity_release(struct popularity *popularity) {
    free(popularity->sums);
    free(popularity->page_of_rank);
}

/* ---- traces ---- */

static void make_zipf(struct page_trace *trace, double theta, struct rng *rng) {
    struct popularity popularity;
    popularity_make(&popularity, trace->page_count, theta, rng);
    for (size_t i = 0; i < trace->length; i++) {
        trace->pages[i] = popularity_next(&popularity, rng);
    }
    popularity_release(&popularity);
}

/* The scan goes over pages of its own, in runs, as a table scan beside point reads does. */
static void make_scan(struct page_trace *trace, struct rng *rng) {
    struct popularity popularity;
    uint32_t half = trace->page_count / 2;
    uint32_t scanned = 0;
    popularity_make(&popularity, half, 0.99, rng);
    for (size_t i = 0; i < trace->length; i++) {
        if (i % 10000 < 8000) {
            trace->pages[i] = popularity_next(&popularity, rng);
        } else {
            trace->pages[i] = half + scanned;
            scanned = scanned + 1 == half ? 0 : scanned + 1;
        }
    }
    popularity_release(&popularity);
}

static void make_loop(struct page_trace *trace, uint32_t cache_pages) {
    uint32_t around = cache_pages + cache_pages / 10 + 1;
    trace->page_count = around;
    for (size_t i = 0; i < trace->length; i++) {
        trace->pages[i] = (uint32_t)(i % around);
    }
}

static void make_shifting(struct page_trace *trace, struct rng *rng) {
    uint32_t hot = trace->page_count / 20;
    uint32_t begin = 0;
    size_t phase = trace->length / 10 + 1;
    for (size_t i = 0; i < trace->length; i++) {
        if (i % phase == 0) {
            begin = (uint32_t)rng_below(rng, trace->page_count - hot);
        }
        bool is_hot = rng_below(rng, 10) != 0;
        trace->pages[i] = is_hot ? begin + (uint32_t)rng_below(rng, hot)
                                 : (uint32_t)rng_below(rng, trace->page_count);
    }
}

/* Pages that grow at the end (orders) are read soon after; customers and items are popular or not.
 */
static void make_oltp(struct page_trace *trace, struct rng *rng) {
    struct popularity popularity;
    uint32_t stable = trace->page_count / 2;
    uint32_t growing = trace->page_count - stable;
    popularity_make(&popularity, stable, 0.99, rng);
    for (size_t i = 0; i < trace->length;) {
        uint64_t newest = growing / 4 + (uint64_t)i * (growing - growing / 4) / trace->length;
        uint64_t what = rng_below(rng, 100);
        if (what < 60) {
            trace->pages[i++] = popularity_next(&popularity, rng);
        } else if (what < 85) {
            uint64_t back = (uint64_t)(-log(1 - rng_unit(rng)) * growing / 100);
            trace->pages[i++] = stable + (uint32_t)(newest - (back < newest ? back : newest));
        } else if (what < 90) {
            trace->pages[i++] = (uint32_t)rng_below(rng, trace->page_count);
        } else {
            uint32_t page = popularity_next(&popularity, rng);
            uint64_t run = 4 + rng_below(rng, 13);
            for (; run > 0 && page < stable && i < trace->length; run--) {
                trace->pages[i++] = page++;
            }
        }
    }
    popularity_release(&popularity);
}

void trace_make(enum trace_kind kind, uint64_t seed, uint32_t page_count, size_t length,
                uint32_t cache_pages, struct page_trace *out_trace) {
    struct rng rng;
    struct page_trace trace = {calloc(length, sizeof(uint32_t)), length, page_count};
    CHECK(trace.pages != NULL && page_count >= 100);
    rng_seed(&rng, seed, (uint64_t)kind);
    switch (kind) {
    case TRACE_ZIPF_80:
        make_zipf(&trace, 0.80, &rng);
        break;
    case TRACE_ZIPF_99:
        make_zipf(&trace, 0.99, &rng);
        break;
    case TRACE_ZIPF_120:
        make_zipf(&trace, 1.20, &rng);
        break;
    case TRACE_SCAN:
        make_scan(&trace, &rng);
        break;
    case TRACE_LOOP:
        make_loop(&trace, cache_pages);
        break;
    case TRACE_SHIFTING:
        make_shifting(&trace, &rng);
        break;
    default:
        make_oltp(&trace, &rng);
        break;
    }
    *out_trace = trace;
}
