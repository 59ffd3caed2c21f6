/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/overlay/overlay_stack.h"

#include "base/error.h"
#include "os/page_pool.h"

/* Each key read may bring back a few pages of 64 KiB: the owner looks after so many. A single
 * read also brings back the way to its key. */
#define SPILLED_KEYS 8u
#define LOOKUP_KEYS  4u

tern_status shared_overlay_create(const struct overlay_options *options,
                                  struct shared_overlay **out_overlay, tern_error *error) {
    struct shared_overlay *shared = memory_allocate(options->allocator, sizeof(*shared));
    if (shared == NULL) {
        return ERROR_NO_MEMORY(error, "an overlay");
    }
    struct overlay *overlay;
    tern_status status = overlay_create(options, &overlay, error);
    if (status != TERN_OK) {
        memory_release(options->allocator, shared);
        return status;
    }
    atomic_init(&shared->references, 1);
    shared->overlay = overlay;
    shared->frozen_seq = SEQ_NONE;
    shared->frozen_time_ms = 0;
    page_spill_init(&shared->spill, options->allocator);
    shared->is_spilled = false;
    atomic_init(&shared->has_spilled, false);
    atomic_init(&shared->spilled_reads, 0);
    shared->pool = options->pool;
    *out_overlay = shared;
    return TERN_OK;
}

void shared_overlay_retain(struct shared_overlay *overlay) {
    atomic_fetch_add_explicit(&overlay->references, 1, memory_order_relaxed);
}

void shared_overlay_release(const tern_allocator *allocator, struct shared_overlay *overlay) {
    if (overlay != NULL &&
        atomic_fetch_sub_explicit(&overlay->references, 1, memory_order_acq_rel) == 1) {
        page_spill_release(&overlay->spill);
        overlay_destroy(overlay->overlay);
        memory_release(allocator, overlay);
    }
}

tern_status overlay_stack_copy(const struct overlay_stack *source, struct overlay_stack *out_copy,
                               tern_error *error) {
    struct overlay_stack copy = *source;
    if (source->has_boundary && source->boundary.size > 0) {
        void *bytes = memory_allocate(source->allocator, source->boundary.size);
        if (bytes == NULL) {
            return ERROR_NO_MEMORY(error, "a view");
        }
        memcpy(bytes, source->boundary.data, source->boundary.size);
        copy.boundary.data = bytes;
    } else {
        copy.boundary = tern_slice_of(NULL, 0);
    }
    if (copy.active != NULL) {
        shared_overlay_retain(copy.active);
    }
    for (uint32_t i = 0; i < copy.frozen_count; i++) {
        shared_overlay_retain(copy.frozen[i]);
    }
    *out_copy = copy;
    return TERN_OK;
}

void overlay_stack_release(struct overlay_stack *stack) {
    shared_overlay_release(stack->allocator, stack->active);
    for (uint32_t i = 0; i < stack->frozen_count; i++) {
        shared_overlay_release(stack->allocator, stack->frozen[i]);
    }
    if (stack->has_boundary) {
        memory_release(stack->allocator, (void *)(uintptr_t)stack->boundary.data);
    }
    stack->active = NULL;
    stack->frozen_count = 0;
    stack->has_boundary = false;
    stack->boundary = tern_slice_of(NULL, 0);
}

/* ---- spilling ---- */

static bool holds(const struct overlay_stack *stack, const struct shared_overlay *overlay) {
    bool found = stack->active == overlay;
    for (uint32_t i = 0; i < stack->frozen_count; i++) {
        found = found || stack->frozen[i] == overlay;
    }
    return found;
}

static tern_status spill_one(struct shared_overlay *shared,
                             const struct engine_environment *environment, uint64_t quantum_bytes,
                             uint64_t *bytes, tern_error *error) {
    tern_status status = TERN_OK;
    if (shared->spill.file == NULL) {
        status = page_spill_open(environment->file_system, environment->directory, &shared->spill,
                                 error);
    }
    if (status != TERN_OK) {
        return status;
    }
    atomic_store_explicit(&shared->has_spilled, true, memory_order_relaxed);
    uint64_t before = overlay_bytes(shared->overlay);
    bool is_whole = false;
    status = overlay_spill(shared->overlay, &shared->spill,
                           shared->spill.size_bytes + quantum_bytes, &is_whole, error);
    *bytes += before - overlay_bytes(shared->overlay);
    if (status != TERN_OK || is_whole) {
        /* What failed begins a file of its own next time. */
        shared->is_spilled = status == TERN_OK;
        page_spill_close(&shared->spill);
    }
    return status;
}

tern_status overlay_stack_spill(const struct overlay_stack *old,
                                const struct overlay_stack *current,
                                const struct engine_environment *environment, size_t quantum_bytes,
                                uint64_t *out_bytes, tern_error *error) {
    uint64_t bytes = 0;
    tern_status status = TERN_OK;
    for (uint32_t i = 0; i <= old->frozen_count && bytes < quantum_bytes; i++) {
        struct shared_overlay *shared = i < old->frozen_count ? old->frozen[i] : old->active;
        if (shared == NULL || shared->is_spilled || (current != NULL && holds(current, shared))) {
            continue;
        }
        status = spill_one(shared, environment, quantum_bytes - bytes, &bytes, error);
        if (status != TERN_OK) {
            break;
        }
    }
    *out_bytes = bytes;
    return status;
}

/* An overlay is in many views: that nobody has read it since is cheaply known. */
static bool may_be_in_memory(struct shared_overlay *shared) {
    return atomic_load_explicit(&shared->has_spilled, memory_order_relaxed) &&
           atomic_exchange_explicit(&shared->spilled_reads, 0, memory_order_relaxed) != 0;
}

void overlay_stack_forget(const struct overlay_stack *stack) {
    for (uint32_t i = 0; i <= stack->frozen_count; i++) {
        struct shared_overlay *shared = i < stack->frozen_count ? stack->frozen[i] : stack->active;
        if (shared != NULL && may_be_in_memory(shared)) {
            page_spill_forget(&shared->spill);
        }
    }
}

static void note_read(struct shared_overlay *shared, uint32_t keys) {
    if (__builtin_expect(!atomic_load_explicit(&shared->has_spilled, memory_order_relaxed), 1)) {
        return;
    }
    uint32_t before = atomic_fetch_add_explicit(&shared->spilled_reads, keys, memory_order_relaxed);
    if (before / SPILLED_KEYS != (before + keys) / SPILLED_KEYS && shared->pool != NULL &&
        shared->pool->on_spilled_reads != NULL) {
        shared->pool->on_spilled_reads(shared->pool->on_low_context);
    }
}

void overlay_stack_note_reads(const struct overlay_stack *stack, uint32_t keys) {
    for (uint32_t i = 0; i < stack->frozen_count; i++) {
        note_read(stack->frozen[i], keys);
    }
    if (stack->active != NULL) {
        note_read(stack->active, keys);
    }
}

/* ---- reading ---- */

static bool counts(const struct overlay_stack *stack, uint32_t frozen, tern_slice key) {
    return frozen + 1 < stack->frozen_count || overlay_stack_counts_oldest(stack, key);
}

tern_status overlay_stack_lookup(const struct overlay_stack *stack, tern_slice key,
                                 uint64_t key_hash, seq_no seq, struct resolution *resolution) {
    for (uint32_t i = 0; i < stack->frozen_count; i++) {
        overlay_prefetch_filter(stack->frozen[i]->overlay, key_hash);
    }
    tern_status status = TERN_OK;
    if (stack->active != NULL) {
        status = overlay_lookup(stack->active->overlay, key, key_hash, seq, resolution);
        note_read(stack->active, LOOKUP_KEYS);
    }
    for (uint32_t i = 0; i < stack->frozen_count; i++) {
        if (status != TERN_OK || resolution->is_complete || !counts(stack, i, key)) {
            break;
        }
        status = overlay_lookup(stack->frozen[i]->overlay, key, key_hash, seq, resolution);
        note_read(stack->frozen[i], LOOKUP_KEYS);
    }
    return status;
}

bool overlay_stack_misses(const struct overlay_stack *stack, tern_slice key, uint64_t key_hash) {
    if (stack->active != NULL && overlay_may_contain(stack->active->overlay, key, key_hash)) {
        return false;
    }
    for (uint32_t i = 0; i < stack->frozen_count; i++) {
        if (counts(stack, i, key) &&
            overlay_may_contain(stack->frozen[i]->overlay, key, key_hash)) {
            return false;
        }
    }
    return true;
}
