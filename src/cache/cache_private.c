/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private frames: one page each, from the allocator, counted by the pins in their header. The bytes
 * lie as in a frame of the pool, 16 bytes into a cache line.
 */
#include "base/assert.h"
#include "cache/cache_internal.h"

struct private_frame {
    struct epoch_node limbo;
    const tern_allocator *allocator;
    struct epoch_domain *epoch;
    struct budget *budget;
    size_t memory_bytes;
    uint64_t reserved; /* so that the frame begins a cache line */
    struct cache_frame frame;
};
_Static_assert(offsetof(struct private_frame, frame) == 64, "the frame begins a cache line");

static struct private_frame *private_of(struct cache_frame *frame) {
    return (struct private_frame *)(void *)((uint8_t *)frame -
                                            offsetof(struct private_frame, frame));
}

struct cache_frame *cache_private_create(struct cache *cache, size_t size_bytes) {
    size_t memory_bytes = offsetof(struct private_frame, frame) + size_bytes;
    struct private_frame *private = memory_allocate_aligned(cache->allocator, 64, memory_bytes);
    if (private == NULL) {
        return NULL;
    }
    private->allocator = cache->allocator;
    private->epoch = cache->epoch;
    private->budget = cache->budget;
    private->memory_bytes = memory_bytes;
    atomic_init(&private->frame.tag, 0);
    atomic_init(&private->frame.state, FRAME_PRIVATE | FRAME_PHASE_FILLING | 1);
    private->frame.size_class = 0;
    budget_add(cache->budget, BUDGET_OTHER, memory_bytes);
    return &private->frame;
}

static void destroy(struct private_frame *private) {
    budget_subtract(private->budget, BUDGET_OTHER, private->memory_bytes);
    memory_release_aligned(private->allocator, private);
}

void cache_private_release(struct cache_frame *frame) {
    cache_unpin(frame);
}

static void release_retired(struct epoch_node *node) {
    cache_unpin(&((struct private_frame *)(void *)node)->frame);
}

void cache_private_release_later(struct cache_frame *frame) {
    ASSERT_DEBUG(cache_frame_is_private(frame));
    struct private_frame *private = private_of(frame);
    epoch_retire(private->epoch, &private->limbo, release_retired);
}

bool cache_frame_is_private(const struct cache_frame *frame) {
    return (atomic_load_explicit(&frame->state, memory_order_relaxed) & FRAME_PRIVATE) != 0;
}

void cache_pin(struct cache_frame *frame) {
    uint32_t before = atomic_fetch_add_explicit(&frame->state, 1, memory_order_acquire);
    ASSERT((before & FRAME_PINS_MASK) != FRAME_PINS_MASK);
}

void cache_unpin(struct cache_frame *frame) {
    uint32_t before = atomic_fetch_sub_explicit(&frame->state, 1, memory_order_acq_rel);
    ASSERT((before & FRAME_PINS_MASK) != 0);
    if ((before & FRAME_PRIVATE) != 0 && (before & FRAME_PINS_MASK) == 1) {
        destroy(private_of(frame));
    }
}
