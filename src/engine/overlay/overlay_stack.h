/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The overlays of one partition as one view sees them: the active one, frozen ones (oldest last),
 * and how far the oldest has been drained: for keys below `boundary` the base holds all of it, so
 * it must be skipped there (merge operands must not count twice).
 *
 * A stack is immutable once in a view; overlays are shared between stacks by reference count.
 */
#ifndef TERN_ENGINE_OVERLAY_STACK_H
#define TERN_ENGINE_OVERLAY_STACK_H

#include "engine/overlay/overlay.h"
#include "os/page_spill.h"

#define OVERLAY_STACK_FROZEN_MAX 6

/* A counted overlay with its fence. */
struct shared_overlay {
    _Atomic uint64_t references;
    struct overlay *overlay;
    seq_no frozen_seq;        /* set at freeze: everything in it is <= this */
    uint64_t frozen_time_ms;  /* logged time of frozen_seq */
    struct page_spill spill;  /* what of it has been spilled; maintenance role */
    bool is_spilled;          /* all that can be; maintenance role */
    _Atomic bool has_spilled; /* some of it */
    /* Keys read since it was last forgotten, counted while has_spilled. */
    _Atomic uint32_t spilled_reads;
    struct page_pool *pool; /* whose owner is told of them; may be NULL */
};

struct overlay_stack {
    struct shared_overlay *active;
    struct shared_overlay *frozen[OVERLAY_STACK_FROZEN_MAX]; /* newest first */
    uint32_t frozen_count;
    bool has_boundary;
    tern_slice boundary; /* owned by the stack (allocator) */
    const tern_allocator *allocator;
};

TERN_MUST_CHECK tern_status shared_overlay_create(const struct overlay_options *options,
                                                  struct shared_overlay **out_overlay,
                                                  tern_error *error);
void shared_overlay_retain(struct shared_overlay *overlay);
/* The last reference destroys it: no reader may be inside any more (views come here via epochs). */
void shared_overlay_release(const tern_allocator *allocator, struct shared_overlay *overlay);

/* A stack with the same overlays (retained) and boundary. */
TERN_MUST_CHECK tern_status overlay_stack_copy(const struct overlay_stack *source,
                                               struct overlay_stack *out_copy, tern_error *error);
/* Releases overlays and boundary. */
void overlay_stack_release(struct overlay_stack *stack);

/*
 * Spills overlays of an older view's stack that `current` (NULL: none, nobody writes any more) has
 * no more, about `quantum_bytes`;
 * *out_bytes: how much memory that gave back, 0 when nothing is left to spill. Maintenance role.
 */
TERN_MUST_CHECK tern_status overlay_stack_spill(const struct overlay_stack *old,
                                                const struct overlay_stack *current,
                                                const struct engine_environment *environment,
                                                size_t quantum_bytes, uint64_t *out_bytes,
                                                tern_error *error);

/* After reads of `keys` keys, by whoever reads: of spilled overlays the owner of the page pool is
 * told now and then, so that what they bring back does not become much. Any thread, no locks. */
void overlay_stack_note_reads(const struct overlay_stack *stack, uint32_t keys);
/* What readers have brought back into memory of spilled overlays may go again. Maintenance role. */
void overlay_stack_forget(const struct overlay_stack *stack);

/* True when the oldest frozen overlay counts for this key. */
static inline bool overlay_stack_counts_oldest(const struct overlay_stack *stack, tern_slice key);

/*
 * Adds all versions of the key in the stack, newest overlay first, until complete. What is not
 * complete afterwards goes on in the base. TERN_CANCELLED, TERN_NO_MEMORY.
 */
TERN_MUST_CHECK tern_status overlay_stack_lookup(const struct overlay_stack *stack, tern_slice key,
                                                 uint64_t key_hash, seq_no seq,
                                                 struct resolution *resolution);

/* True when nothing in the stack can concern the key: filters only. Nearly free. */
bool overlay_stack_misses(const struct overlay_stack *stack, tern_slice key, uint64_t key_hash);

static inline bool overlay_stack_counts_oldest(const struct overlay_stack *stack, tern_slice key) {
    if (!stack->has_boundary) {
        return true;
    }
    size_t shorter = key.size < stack->boundary.size ? key.size : stack->boundary.size;
    int order = shorter > 0 ? memcmp(key.data, stack->boundary.data, shorter) : 0;
    return order != 0 ? order > 0 : key.size >= stack->boundary.size;
}

#endif
