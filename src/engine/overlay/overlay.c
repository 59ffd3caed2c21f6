/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The overlay as a whole. Where things are:
 *
 *   overlay_tree.c     the B+tree of keys           overlay_memory.c  chunks, free lists, limbo
 *   overlay_chain.c    versions of a key, pruning   overlay_filter.c  which keys are surely not
 * here overlay_version.c  bytes of one version         overlay_ranges.c  range deletes
 *   overlay_iterator.c walking                      overlay_check.c   the invariants
 *
 * Order of what a change does, so that a reader who may see its seq sees all of it: the filter's
 * bits, then the version, then the entry in the tree. A new filter is published when it holds all
 * keys, and until then every new key goes into both; who loaded the old one has a moment from
 * before.
 */
#include "engine/overlay/overlay.h"

#include "base/error.h"
#include "engine/overlay/overlay_internal.h"

/* Few: most keyspaces of many are idle, and each has an overlay. */
#define FIRST_FILTER_KEYS 192u
/* Rough bytes a key takes, to guess the number of keys from expected_bytes. */
#define TYPICAL_KEY_BYTES 160u
/* Leaves carried over to a larger filter with every so many new keys. */
#define FILTER_LEAF_EVERY 8u
#define FOLD_BUFFER_BYTES (4 * VERSION_PILE_VALUE_MAX)
#define PREFETCH_DISTANCE 4u

/* ---- life ---- */

static bool create_parts(struct overlay *overlay) {
    struct overlay_filter *filter = filter_create(overlay->allocator, FIRST_FILTER_KEYS);
    if (filter == NULL) {
        return false;
    }
    overlay->filters = filter;
    overlay_memory_count(&overlay->memory, filter->size_bytes);
    atomic_init(&overlay->filter, filter);
    if (buffer_reserve(&overlay->fold, FOLD_BUFFER_BYTES) != TERN_OK) {
        return false;
    }
    overlay_memory_count(&overlay->memory, overlay->fold.capacity);
    if (!overlay_memory_guarantee(&overlay->memory, sizeof(struct overlay_leaf_node) + 56)) {
        return false;
    }
    atomic_init(&overlay->root, tree_create_root(overlay));
    return true;
}

tern_status overlay_create(const struct overlay_options *options, struct overlay **out_overlay,
                           tern_error *error) {
    struct overlay *overlay =
        memory_allocate_aligned(options->allocator, 64, sizeof(struct overlay));
    if (overlay == NULL) {
        return ERROR_NO_MEMORY(error, "an overlay");
    }
    memset(overlay, 0, sizeof(*overlay));
    overlay->allocator = options->allocator;
    overlay->epoch = options->epoch;
    overlay->expected_bytes = options->expected_bytes;
    overlay_memory_init(&overlay->memory, options->allocator, options->budget, options->epoch,
                        options->pool);
    overlay_memory_count(&overlay->memory, sizeof(*overlay));
    buffer_init(&overlay->fold, options->allocator);
    if (!create_parts(overlay)) {
        overlay_destroy(overlay);
        return ERROR_NO_MEMORY(error, "an overlay");
    }
    *out_overlay = overlay;
    return TERN_OK;
}

void overlay_destroy(struct overlay *overlay) {
    if (overlay == NULL) {
        return;
    }
    while (overlay->filters != NULL) {
        struct overlay_filter *filter = overlay->filters;
        overlay->filters = filter->next;
        filter_destroy(overlay->allocator, filter);
    }
    buffer_release(&overlay->fold);
    overlay_memory_release(&overlay->memory);
    memory_release_aligned(overlay->allocator, overlay);
}

static tern_status spill_filters(struct overlay *overlay, struct page_spill *spill,
                                 tern_error *error) {
    for (struct overlay_filter *filter = overlay->filters; filter != NULL; filter = filter->next) {
        size_t bytes = filter_page_bytes(filter);
        if (bytes == 0 || filter->is_spilled) {
            continue;
        }
        tern_status status = page_spill_put(spill, filter->blocks, bytes, error);
        if (status != TERN_OK) {
            return status;
        }
        filter->is_spilled = true;
        overlay_memory_note_spilled(&overlay->memory, bytes);
    }
    return TERN_OK;
}

tern_status overlay_spill(struct overlay *overlay, struct page_spill *spill, uint64_t limit_bytes,
                          bool *out_is_whole, tern_error *error) {
    bool is_whole = false;
    tern_status status =
        overlay_memory_spill(&overlay->memory, spill, limit_bytes, &is_whole, error);
    if (status == TERN_OK && is_whole) {
        status = spill_filters(overlay, spill, error);
    }
    if (status == TERN_OK) {
        *out_is_whole = is_whole;
    }
    return status;
}

/* ---- the growing filter ---- */

/* Begins a larger filter when this one will soon be full. Without memory it is left at that: the
 * filter only gets less precise. */
static void grow_filter(struct overlay *overlay, uint64_t key_count) {
    const struct overlay_filter *filter =
        atomic_load_explicit(&overlay->filter, memory_order_relaxed);
    if (overlay->next_filter != NULL || key_count <= filter->capacity_keys) {
        return;
    }
    uint64_t expected = overlay->expected_bytes / TYPICAL_KEY_BYTES;
    struct overlay_filter *next = filter_create(
        overlay->allocator, filter_next_capacity(filter->capacity_keys, key_count, expected));
    if (next == NULL) {
        return;
    }
    next->next = overlay->filters;
    overlay->filters = next;
    overlay_memory_count(&overlay->memory, next->size_bytes);
    overlay->next_filter = next;
    overlay->next_filter_leaf = overlay->first_leaf;
}

static void carry_leaf_over(struct overlay *overlay) {
    struct overlay_node *leaf = overlay->next_filter_leaf;
    uint32_t count = atomic_load_explicit(&leaf->count, memory_order_relaxed);
    for (uint32_t i = 0; i < count; i++) {
        __builtin_prefetch(atomic_load_explicit(&node_keys(leaf)[i], memory_order_relaxed));
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct overlay_entry *entry =
            atomic_load_explicit(&node_keys(leaf)[i], memory_order_relaxed);
        filter_add(overlay->next_filter, entry->filter_hash);
    }
    overlay->next_filter_leaf = leaf->next;
    if (leaf->next == NULL) {
        atomic_store_explicit(&overlay->filter, overlay->next_filter, memory_order_release);
        overlay->next_filter = NULL;
    }
}

static void add_to_filter(struct overlay *overlay, uint32_t hash, uint64_t key_count) {
    filter_add(atomic_load_explicit(&overlay->filter, memory_order_relaxed), hash);
    if (overlay->next_filter != NULL) {
        filter_add(overlay->next_filter, hash);
        if (key_count % FILTER_LEAF_EVERY == 0) {
            carry_leaf_over(overlay);
        }
    }
}

/* ---- applier ---- */

static size_t room_for(const struct overlay *overlay, size_t count, size_t bytes) {
    size_t each = sizeof(struct overlay_entry) + 8 + VERSION_OVERHEAD_MAX + 8 + VERSION_SPARE_BYTES;
    return count * each + bytes + bytes / 8 + tree_room(overlay, count) +
           ranges_room(overlay, count);
}

tern_status overlay_reserve(struct overlay *overlay, size_t count, size_t bytes,
                            tern_error *error) {
    if (overlay->applied_since_reserve) {
        overlay->applied_since_reserve = false;
        overlay->reserved_count = overlay->reserved_bytes = 0;
    }
    size_t all_count = overlay->reserved_count + count;
    size_t all_bytes = overlay->reserved_bytes + bytes;
    if (all_count >= UINT32_MAX || all_bytes >= UINT32_MAX ||
        !overlay_memory_guarantee(&overlay->memory, room_for(overlay, all_count, all_bytes))) {
        return ERROR_NO_MEMORY(error, "changes in an overlay");
    }
    overlay->reserved_count = all_count;
    overlay->reserved_bytes = all_bytes;
    grow_filter(overlay, overlay_key_count(overlay) + all_count);
    return TERN_OK;
}

void overlay_prefetch_filter(const struct overlay *overlay, uint64_t key_hash) {
    const struct overlay_filter *filter =
        atomic_load_explicit(&overlay->filter, memory_order_acquire);
    __builtin_prefetch(filter_block(filter, filter_hash(key_hash)));
}

void overlay_prefetch(struct overlay *overlay, const struct engine_change *change,
                      const struct change_place *place) {
    if (change->record.kind != CHANGE_DELETE_RANGE) {
        overlay_prefetch_filter(overlay, change->key_hash);
        tree_prefetch(overlay, change->key, place);
    }
}

void overlay_prefetch_next(const struct overlay *overlay, const struct engine_change *change) {
    if (change->record.kind != CHANGE_DELETE_RANGE) {
        tree_prefetch_entry(overlay, change->key);
    }
}

static void add_key(struct overlay *overlay, const struct engine_change *change, seq_no seq,
                    const struct tree_place *place) {
    uint32_t size_class;
    struct overlay_entry *entry = overlay_memory_take(
        &overlay->memory, sizeof(struct overlay_entry) + change->key.size, &size_class);
    entry->key_size = (uint32_t)change->key.size;
    entry->filter_hash = filter_hash(change->key_hash);
    copy_bytes(entry->key, change->key.data, change->key.size);
    struct version_parts parts = {.record = &change->record, .seq = seq};
    void *memory = overlay_memory_take(&overlay->memory, version_size(&parts), &size_class);
    atomic_init(&entry->newest, version_write(memory, size_class, &parts));
    uint64_t key_count = overlay_key_count(overlay) + 1;
    atomic_store_explicit(&overlay->key_count, key_count, memory_order_relaxed);
    add_to_filter(overlay, entry->filter_hash, key_count);
    tree_insert(overlay, place, entry);
}

/* What this commit wrote into the range before is gone; the range itself is already published. */
static void delete_earlier(struct overlay *overlay, const struct engine_change *changes,
                           size_t count, seq_no seq) {
    const struct engine_change *range = &changes[count];
    for (size_t i = 0; i < count; i++) {
        const struct engine_change *change = &changes[i];
        if (change->record.kind != CHANGE_DELETE_RANGE &&
            slice_compare(change->key, range->key) >= 0 &&
            (!range->range_has_end || slice_compare(change->key, range->record.value) < 0)) {
            struct overlay_entry *entry = tree_find(overlay, change->key);
            ASSERT(entry != NULL);
            chain_delete_same_seq(overlay, entry, seq);
        }
    }
}

static void apply_change(struct overlay *overlay, const struct engine_change *change, seq_no seq,
                         const struct engine_horizon *horizon) {
    struct tree_place place;
    overlay_prefetch_filter(overlay, change->key_hash);
    tree_locate(overlay, change->key, &place);
    leaf_note_seq(place.leaf, seq);
    if (place.entry != NULL) {
        chain_push(overlay, place.entry, &change->record, seq, horizon);
    } else {
        add_key(overlay, change, seq, &place);
    }
}

void overlay_apply(struct overlay *overlay, const struct engine_change *changes, size_t count,
                   seq_no seq, const struct engine_horizon *horizon) {
    ASSERT(seq >= overlay_last_seq(overlay));
    if (count == 0) {
        return;
    }
    overlay->applied_since_reserve = true;
    if (overlay_first_seq(overlay) == SEQ_NONE) {
        atomic_store_explicit(&overlay->first_seq, seq, memory_order_relaxed);
    }
    atomic_store_explicit(&overlay->last_seq, seq, memory_order_release);
    ranges_add(overlay, changes, count, seq);
    bool has_keys =
        false; /* commits put their range deletes first: mostly nothing lies before one */
    for (size_t i = 0; i < count; i++) {
        if (i + PREFETCH_DISTANCE < count) {
            overlay_prefetch(overlay, &changes[i + PREFETCH_DISTANCE], NULL);
        }
        if (changes[i].record.kind != CHANGE_DELETE_RANGE) {
            has_keys = true;
            apply_change(overlay, &changes[i], seq, horizon);
        } else if (has_keys) {
            delete_earlier(overlay, changes, i, seq);
        }
        overlay_memory_collect(&overlay->memory);
    }
    overlay_memory_prefetch(&overlay->memory);
}

/* ---- readers ---- */

void overlay_find_place(const struct overlay *overlay, const struct engine_change *change,
                        struct change_place *out_place) {
    if (change->record.kind != CHANGE_DELETE_RANGE) {
        tree_find_place(overlay, change->key, out_place);
    }
}

bool overlay_is_empty(const struct overlay *overlay) {
    return overlay_last_seq(overlay) == SEQ_NONE;
}

bool overlay_may_contain(const struct overlay *overlay, tern_slice key, uint64_t key_hash) {
    const struct overlay_filter *filter =
        atomic_load_explicit(&overlay->filter, memory_order_acquire);
    return filter_may_contain(filter, filter_hash(key_hash)) ||
           overlay_range_seq(overlay, key, SEQ_MAX) != SEQ_NONE;
}

static tern_status add_range_delete(seq_no range_seq, struct resolution *resolution) {
    if (range_seq == SEQ_NONE || resolution->is_complete) {
        return TERN_OK;
    }
    struct record gone = {.kind = RECORD_DELETE};
    return resolution_add(resolution, &gone, ENGINE_SOURCE_OVERLAY, NULL);
}

static tern_status resolve_entry(const struct overlay *overlay, const struct overlay_entry *entry,
                                 tern_slice key, seq_no seq, struct resolution *resolution) {
    seq_no range_seq = overlay_range_seq(overlay, key, seq);
    if (entry != NULL) {
        tern_status status = chain_resolve(entry, seq, range_seq, resolution);
        if (status != TERN_OK) {
            return status;
        }
    }
    return add_range_delete(range_seq, resolution);
}

tern_status overlay_lookup(const struct overlay *overlay, tern_slice key, uint64_t key_hash,
                           seq_no seq, struct resolution *resolution) {
    const struct overlay_filter *filter =
        atomic_load_explicit(&overlay->filter, memory_order_acquire);
    const struct overlay_entry *entry = NULL;
    if (filter_may_contain(filter, filter_hash(key_hash))) {
        entry = tree_find(overlay, key);
    }
    return resolve_entry(overlay, entry, key, seq, resolution);
}

tern_status overlay_iterator_resolve(const struct overlay_iterator *iterator, seq_no seq,
                                     struct resolution *resolution) {
    const struct overlay_entry *entry = iterator->entries[iterator->position];
    return resolve_entry(iterator->overlay, entry, entry_key(entry), seq, resolution);
}

bool overlay_changed_since(const struct overlay *overlay, const struct engine_cursor_bounds *bounds,
                           seq_no since) {
    if (overlay_last_seq(overlay) <= since) {
        return false;
    }
    return ranges_changed_since(overlay, bounds, since) ||
           tree_changed_since(overlay, bounds, since);
}

seq_no overlay_first_seq(const struct overlay *overlay) {
    return atomic_load_explicit(&overlay->first_seq, memory_order_relaxed);
}

seq_no overlay_last_seq(const struct overlay *overlay) {
    return atomic_load_explicit(&overlay->last_seq, memory_order_acquire);
}

uint64_t overlay_bytes(const struct overlay *overlay) {
    return atomic_load_explicit(&overlay->memory.used_bytes, memory_order_relaxed);
}

uint64_t overlay_key_count(const struct overlay *overlay) {
    return atomic_load_explicit(&overlay->key_count, memory_order_relaxed);
}
