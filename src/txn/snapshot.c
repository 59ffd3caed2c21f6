/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry of snapshots.
 *
 *   chunk   | bits of slots in use (own line) | slot (64 bytes) | ... 64 slots ... |  -> next chunk
 *   slot    FREE | PENDING | seq | seq with ENDED bit
 *
 * Taking:  set a bit; slot = PENDING; fence; load view and visible_seq; slot = seq.
 * Moving:  the same without the bit; nothing at all when the seq is still the newest.
 * Pruning: (visible_seq was stored); fence; read bits and slots.
 *
 * Invariants:
 *  S1 who prunes either sees a slot PENDING or later, or the taker's fence comes after the pruner's
 *     and the taker reads the pruner's visible_seq or a later one, which pruning spares anyway.
 *  S2 a slot belongs to who set its bit, until it clears the bit.
 *  S3 chunks are only added, and live as long as the registry.
 */
#include "txn/snapshot.h"

#include <stddef.h>

#include "base/assert.h"
#include "base/error.h"
#include "txn/point_read.h"
#include "txn/txn_manager.h"

#define SLOTS_PER_CHUNK   64
#define SLOT_FREE         UINT64_MAX
#define SLOT_PENDING      (UINT64_MAX - 1)
#define SLOT_ENDED        ((uint64_t)1 << 62)
#define LIVE_CAPACITY_MIN 64

struct snapshot_slot {
    _Atomic uint64_t value;
    struct snapshot_chunk *chunk;
    unsigned index;
} __attribute__((aligned(64)));

struct snapshot_chunk {
    _Atomic uint64_t used;
    _Atomic(struct snapshot_chunk *) next;
    struct snapshot_slot slots[SLOTS_PER_CHUNK];
} __attribute__((aligned(64)));

struct snapshot_registry {
    const tern_allocator *allocator;
    struct snapshot_chunk *first;
    seq_no *live; /* of the applier */
    size_t live_capacity;
    seq_no pending_mark; /* the list while somebody is pending and memory is short: one 0 */
    _Atomic uint64_t fence_word;
};

/* ThreadSanitizer knows no fences; a read-modify-write of one word orders as much. */
static void full_fence(struct snapshot_registry *registry) {
#if defined(__SANITIZE_THREAD__)
    (void)atomic_fetch_add_explicit(&registry->fence_word, 1, memory_order_seq_cst);
#else
    (void)registry;
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

static struct snapshot_chunk *create_chunk(const tern_allocator *allocator) {
    struct snapshot_chunk *chunk = memory_allocate_aligned(allocator, 64, sizeof(*chunk));
    if (chunk == NULL) {
        return NULL;
    }
    atomic_init(&chunk->used, 0);
    atomic_init(&chunk->next, NULL);
    for (unsigned i = 0; i < SLOTS_PER_CHUNK; i++) {
        atomic_init(&chunk->slots[i].value, SLOT_FREE);
        chunk->slots[i].chunk = chunk;
        chunk->slots[i].index = i;
    }
    return chunk;
}

tern_status snapshot_registry_create(const tern_allocator *allocator,
                                     struct snapshot_registry **out_registry, tern_error *error) {
    struct snapshot_registry *registry = memory_allocate_zeroed(allocator, sizeof(*registry));
    struct snapshot_chunk *chunk = create_chunk(allocator);
    seq_no *live = memory_allocate(allocator, LIVE_CAPACITY_MIN * sizeof(seq_no));
    if (registry == NULL || chunk == NULL || live == NULL) {
        memory_release(allocator, live);
        memory_release_aligned(allocator, chunk);
        memory_release(allocator, registry);
        return ERROR_NO_MEMORY(error, "the registry of snapshots");
    }
    registry->allocator = allocator;
    registry->first = chunk;
    registry->live = live;
    registry->live_capacity = LIVE_CAPACITY_MIN;
    *out_registry = registry;
    return TERN_OK;
}

static struct snapshot_chunk *next_chunk(const struct snapshot_chunk *chunk) {
    return atomic_load_explicit(&chunk->next, memory_order_acquire);
}

void snapshot_registry_destroy(struct snapshot_registry *registry) {
    if (registry == NULL) {
        return;
    }
    struct snapshot_chunk *chunk = registry->first;
    while (chunk != NULL) {
        struct snapshot_chunk *next = next_chunk(chunk);
        ASSERT(atomic_load_explicit(&chunk->used, memory_order_relaxed) == 0);
        memory_release_aligned(registry->allocator, chunk);
        chunk = next;
    }
    memory_release(registry->allocator, registry->live);
    memory_release(registry->allocator, registry);
}

/* Threads begin to look at different places: their stacks tell them apart. */
static unsigned first_place(void) {
    uintptr_t place = (uintptr_t)__builtin_frame_address(0);
    return (unsigned)((place >> 16) * 0x9e3779b97f4a7c15u >> 58);
}

static struct snapshot_slot *claim_in(struct snapshot_chunk *chunk, unsigned hint) {
    uint64_t used = atomic_load_explicit(&chunk->used, memory_order_relaxed);
    while (used != UINT64_MAX) {
        uint64_t candidates = ~used >> hint << hint;
        unsigned index = (unsigned)__builtin_ctzll(candidates != 0 ? candidates : ~used);
        uint64_t bit = (uint64_t)1 << index;
        used = atomic_fetch_or_explicit(&chunk->used, bit, memory_order_acq_rel);
        if ((used & bit) == 0) {
            return &chunk->slots[index];
        }
    }
    return NULL;
}

/* The slot is PENDING and the fence is behind us. NULL: out of memory. */
static struct snapshot_slot *claim_slot(struct snapshot_registry *registry) {
    unsigned hint = first_place();
    struct snapshot_chunk *chunk = registry->first;
    struct snapshot_slot *slot = claim_in(chunk, hint);
    while (slot == NULL) {
        struct snapshot_chunk *next = next_chunk(chunk);
        if (next == NULL) {
            struct snapshot_chunk *added = create_chunk(registry->allocator);
            if (added == NULL) {
                return NULL;
            }
            if (atomic_compare_exchange_strong_explicit(
                    &chunk->next, &next, added, memory_order_seq_cst, memory_order_acquire)) {
                next = added;
            } else {
                memory_release_aligned(registry->allocator, added);
            }
        }
        chunk = next;
        slot = claim_in(chunk, hint);
    }
    atomic_store_explicit(&slot->value, SLOT_PENDING, memory_order_seq_cst);
    full_fence(registry);
    return slot;
}

static void give_back(struct snapshot_slot *slot) {
    struct snapshot_chunk *chunk = slot->chunk;
    atomic_store_explicit(&slot->value, SLOT_FREE, memory_order_release);
    atomic_fetch_and_explicit(&chunk->used, ~((uint64_t)1 << slot->index), memory_order_release);
}

tern_status snapshot_take(struct txn_manager *manager, struct snapshot *out_snapshot,
                          tern_error *error) {
    struct snapshot_slot *slot = claim_slot(manager->snapshots);
    if (slot == NULL) {
        return ERROR_NO_MEMORY(error, "a snapshot");
    }
    struct engine_moment moment;
    struct database_view *view;
    struct epoch_slot *epoch = epoch_enter(manager->epoch);
    do {
        view = txn_manager_now(manager, &moment);
    } while (!database_view_try_retain(view));
    epoch_exit(epoch);
    atomic_store_explicit(&slot->value, moment.seq, memory_order_release);
    *out_snapshot = (struct snapshot){moment, view, slot};
    return TERN_OK;
}

void snapshot_drop(struct txn_manager *manager, struct snapshot *snapshot) {
    (void)manager;
    if (snapshot->slot == NULL) {
        return;
    }
    give_back(snapshot->slot);
    database_view_release(snapshot->view);
    snapshot->slot = NULL;
    snapshot->view = NULL;
}

struct database_view *snapshot_renew(struct txn_manager *manager, struct snapshot *snapshot) {
    struct engine_moment now;
    struct database_view *former = snapshot->view;
    /* Who holds the view that is current may compare it, and nothing needs to be announced for a
     * seq that is registered. */
    struct database_view *view = txn_manager_now(manager, &now);
    if (view == former && now.seq == snapshot->moment.seq && !snapshot_is_ended(snapshot)) {
        snapshot->moment.time_ms = now.time_ms;
        return NULL;
    }
    atomic_store_explicit(&snapshot->slot->value, SLOT_PENDING, memory_order_release);
    full_fence(manager->snapshots);
    view = txn_manager_now(manager, &now);
    if (view != former) {
        struct epoch_slot *epoch = epoch_enter(manager->epoch);
        do {
            view = txn_manager_now(manager, &now);
        } while (view != former && !database_view_try_retain(view));
        epoch_exit(epoch);
    }
    atomic_store_explicit(&snapshot->slot->value, now.seq, memory_order_release);
    snapshot->moment = now;
    snapshot->view = view;
    return view != former ? former : NULL;
}

bool snapshot_is_ended(const struct snapshot *snapshot) {
    return (atomic_load_explicit(&snapshot->slot->value, memory_order_relaxed) & SLOT_ENDED) != 0;
}

/* Ascending; snapshots are few and mostly come in order already. */
static void sort_ascending(seq_no *numbers, size_t count) {
    for (size_t gap = count / 2; gap > 0; gap /= 2) {
        for (size_t i = gap; i < count; i++) {
            seq_no number = numbers[i];
            size_t j = i;
            for (; j >= gap && numbers[j - gap] > number; j -= gap) {
                numbers[j] = numbers[j - gap];
            }
            numbers[j] = number;
        }
    }
}

static bool make_room(struct snapshot_registry *registry, size_t wanted) {
    if (wanted <= registry->live_capacity) {
        return true;
    }
    size_t capacity = registry->live_capacity * 2;
    seq_no *live =
        memory_resize(registry->allocator, registry->live, capacity * sizeof(*registry->live));
    if (live == NULL) {
        return false;
    }
    registry->live = live;
    registry->live_capacity = capacity;
    return true;
}

/* FREE, and ended ones, select nothing. FREE and PENDING have the ENDED bit set too: look first. */
static bool selects(uint64_t value) {
    return value == SLOT_PENDING || (value & SLOT_ENDED) == 0;
}

void snapshot_registry_horizon(struct snapshot_registry *registry, seq_no visible_seq,
                               struct engine_horizon *out_horizon) {
    size_t count = 0;
    bool keeps_all = false;
    full_fence(registry);
    for (struct snapshot_chunk *chunk = registry->first; chunk != NULL && !keeps_all;
         chunk = next_chunk(chunk)) {
        uint64_t used = atomic_load_explicit(&chunk->used, memory_order_acquire);
        for (; used != 0; used &= used - 1) {
            struct snapshot_slot *slot = &chunk->slots[__builtin_ctzll(used)];
            uint64_t value = atomic_load_explicit(&slot->value, memory_order_acquire);
            if (!selects(value)) {
                continue;
            }
            if (value == SLOT_PENDING || !make_room(registry, count + 1)) {
                keeps_all = true;
                break;
            }
            registry->live[count++] = value;
        }
    }
    if (keeps_all) {
        /* Whoever is pending may have read any visible_seq since it began: nothing is let go. */
        *out_horizon = (struct engine_horizon){&registry->pending_mark, 1, 0};
        return;
    }
    sort_ascending(registry->live, count);
    *out_horizon = (struct engine_horizon){registry->live, count, visible_seq};
}

seq_no snapshot_registry_oldest(struct snapshot_registry *registry, size_t *out_count) {
    seq_no oldest = SEQ_MAX;
    size_t count = 0;
    full_fence(registry);
    for (struct snapshot_chunk *chunk = registry->first; chunk != NULL; chunk = next_chunk(chunk)) {
        uint64_t used = atomic_load_explicit(&chunk->used, memory_order_acquire);
        for (; used != 0; used &= used - 1) {
            struct snapshot_slot *slot = &chunk->slots[__builtin_ctzll(used)];
            uint64_t value = atomic_load_explicit(&slot->value, memory_order_acquire);
            if (selects(value)) {
                seq_no seq = value == SLOT_PENDING ? 0 : value;
                oldest = seq < oldest ? seq : oldest;
                count++;
            }
        }
    }
    if (out_count != NULL) {
        *out_count = count;
    }
    return oldest;
}

size_t snapshot_registry_end(struct snapshot_registry *registry, seq_no below) {
    size_t ended = 0;
    for (struct snapshot_chunk *chunk = registry->first; chunk != NULL; chunk = next_chunk(chunk)) {
        uint64_t used = atomic_load_explicit(&chunk->used, memory_order_acquire);
        for (; used != 0; used &= used - 1) {
            struct snapshot_slot *slot = &chunk->slots[__builtin_ctzll(used)];
            uint64_t value = atomic_load_explicit(&slot->value, memory_order_acquire);
            /* Fails when the owner lets go meanwhile: then nothing is left to end. */
            if (value < below && (value & SLOT_ENDED) == 0 &&
                atomic_compare_exchange_strong_explicit(&slot->value, &value, value | SLOT_ENDED,
                                                        memory_order_acq_rel,
                                                        memory_order_relaxed)) {
                ended++;
            }
        }
    }
    return ended;
}
