/* SPDX-License-Identifier: Apache-2.0 */
#include "reference_policies.h"

#include <stdbool.h>
#include <stdlib.h>

#include "support/check.h"

#define NONE UINT32_MAX

static void *zeroed(size_t count, size_t size) {
    void *memory = calloc(count + 1, size);
    CHECK(memory != NULL);
    return memory;
}

/* ---- least recently used ---- */

struct recency {
    uint32_t *next, *previous; /* by page; the list's head is page_count */
    bool *is_cached;
};

static void unlink_page(struct recency *list, uint32_t page) {
    list->next[list->previous[page]] = list->next[page];
    list->previous[list->next[page]] = list->previous[page];
}

static void link_first(struct recency *list, uint32_t head, uint32_t page) {
    list->next[page] = list->next[head];
    list->previous[page] = head;
    list->previous[list->next[head]] = page;
    list->next[head] = page;
}

uint64_t reference_lru_hits(const struct page_trace *trace, uint32_t capacity) {
    uint32_t head = trace->page_count;
    struct recency list = {zeroed(head + (size_t)1, sizeof(uint32_t)),
                           zeroed(head + (size_t)1, sizeof(uint32_t)),
                           zeroed(head + (size_t)1, sizeof(bool))};
    list.next[head] = head;
    list.previous[head] = head;
    uint64_t hits = 0;
    uint32_t used = 0;
    for (size_t i = 0; i < trace->length; i++) {
        uint32_t page = trace->pages[i];
        if (list.is_cached[page]) {
            hits++;
            unlink_page(&list, page);
        } else if (used == capacity) {
            uint32_t oldest = list.previous[head];
            unlink_page(&list, oldest);
            list.is_cached[oldest] = false;
        } else {
            used++;
        }
        link_first(&list, head, page);
        list.is_cached[page] = true;
    }
    free(list.next);
    free(list.previous);
    free(list.is_cached);
    return hits;
}

/* ---- clock ---- */

uint64_t reference_clock_hits(const struct page_trace *trace, uint32_t capacity) {
    uint32_t *slot_of = zeroed(trace->page_count, sizeof(uint32_t)); /* + 1; 0: not cached */
    uint32_t *page_in = zeroed(capacity, sizeof(uint32_t));
    bool *is_marked = zeroed(capacity, sizeof(bool));
    uint64_t hits = 0;
    uint32_t used = 0;
    uint32_t hand = 0;
    for (size_t i = 0; i < trace->length; i++) {
        uint32_t page = trace->pages[i];
        if (slot_of[page] != 0) {
            hits++;
            is_marked[slot_of[page] - 1] = true;
            continue;
        }
        uint32_t slot = used;
        if (used < capacity) {
            used++;
        } else {
            while (is_marked[hand]) {
                is_marked[hand] = false;
                hand = hand + 1 == capacity ? 0 : hand + 1;
            }
            slot = hand;
            slot_of[page_in[slot]] = 0;
            hand = hand + 1 == capacity ? 0 : hand + 1;
        }
        page_in[slot] = page;
        slot_of[page] = slot + 1;
    }
    free(slot_of);
    free(page_in);
    free(is_marked);
    return hits;
}

/* ---- Belady ---- */

/* A heap of (next use, page), latest first; entries of uses that have come are stale. */
struct use_heap {
    uint64_t *entries; /* next use << 32 | page */
    size_t count;
};

static void heap_push(struct use_heap *heap, uint64_t entry) {
    size_t at = heap->count++;
    while (at > 0 && heap->entries[(at - 1) / 2] < entry) {
        heap->entries[at] = heap->entries[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap->entries[at] = entry;
}

static uint64_t heap_pop(struct use_heap *heap) {
    uint64_t top = heap->entries[0];
    uint64_t last = heap->entries[--heap->count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= heap->count) {
            break;
        }
        child += child + 1 < heap->count && heap->entries[child + 1] > heap->entries[child];
        if (heap->entries[child] <= last) {
            break;
        }
        heap->entries[at] = heap->entries[child];
        at = child;
    }
    heap->entries[at] = last;
    return top;
}

uint64_t reference_belady_hits(const struct page_trace *trace, uint32_t capacity) {
    CHECK(trace->length < NONE);
    uint32_t *next_use = zeroed(trace->length, sizeof(uint32_t));
    uint32_t *seen_at = zeroed(trace->page_count, sizeof(uint32_t));
    uint32_t *cached_until = zeroed(trace->page_count, sizeof(uint32_t)); /* 0: not cached */
    struct use_heap heap = {zeroed(trace->length, sizeof(uint64_t)), 0};
    for (uint32_t page = 0; page < trace->page_count; page++) {
        seen_at[page] = NONE;
    }
    for (size_t i = trace->length; i-- > 0;) {
        next_use[i] = seen_at[trace->pages[i]];
        seen_at[trace->pages[i]] = (uint32_t)i;
    }
    uint64_t hits = 0;
    uint32_t used = 0;
    for (size_t i = 0; i < trace->length; i++) {
        uint32_t page = trace->pages[i];
        if (cached_until[page] != 0) {
            hits++;
        } else if (used < capacity) {
            used++;
        } else {
            uint64_t victim = heap_pop(&heap);
            while (cached_until[(uint32_t)victim] != victim >> 32) {
                victim = heap_pop(&heap);
            }
            cached_until[(uint32_t)victim] = 0;
        }
        cached_until[page] = next_use[i];
        heap_push(&heap, (uint64_t)next_use[i] << 32 | page);
    }
    free(next_use);
    free(seen_at);
    free(cached_until);
    free(heap.entries);
    return hits;
}
