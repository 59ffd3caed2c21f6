/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Range deletes of an overlay: a sorted array that is replaced as a whole. `reach` lets a search
 * for the ranges over a key stop as soon as nothing further left can reach it.
 *
 * A range of seq r covers versions with seq < r: what the same commit wrote into the range before
 * is deleted version by version when the range is applied, what it wrote after stays.
 */
#include "engine/overlay/overlay_internal.h"

static size_t set_size(size_t count) {
    return sizeof(struct overlay_range_set) + count * sizeof(struct overlay_range) +
           round_up_u64(count * sizeof(uint32_t), 8);
}

static struct overlay_range_set *current_set(const struct overlay *overlay) {
    return atomic_load_explicit(&overlay->ranges, memory_order_acquire);
}

size_t ranges_room(const struct overlay *overlay, size_t count) {
    const struct overlay_range_set *set = current_set(overlay);
    return overlay_memory_room(set_size((set != NULL ? set->block.size : 0) + count));
}

static tern_slice keep_bytes(struct overlay *overlay, tern_slice bytes) {
    if (bytes.size == 0) {
        return tern_slice_of(NULL, 0);
    }
    uint32_t size_class;
    void *copy = overlay_memory_take(&overlay->memory, bytes.size, &size_class);
    memcpy(copy, bytes.data, bytes.size);
    return tern_slice_of(copy, bytes.size);
}

/* True when range `left` ends before `right` does. */
static bool ends_before(const struct overlay_range *left, const struct overlay_range *right) {
    if (!left->has_end || !right->has_end) {
        return left->has_end;
    }
    return slice_compare(left->end, right->end) < 0;
}

static bool range_covers_end(const struct overlay_range *range, tern_slice key) {
    return !range->has_end || slice_compare(key, range->end) < 0;
}

/* Number of ranges whose begin is not above the key. */
static uint32_t count_begun(const struct overlay_range_set *set, tern_slice key) {
    uint32_t low = 0;
    uint32_t high = set->block.size;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (slice_compare(set->ranges[middle].begin, key) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void insert_range(struct overlay_range_set *set, const struct overlay_range *range) {
    uint32_t at = count_begun(set, range->begin);
    memmove(&set->ranges[at + 1], &set->ranges[at],
            (set->block.size - at) * sizeof(struct overlay_range));
    set->ranges[at] = *range;
    set->block.size++;
}

static void compute_reach(struct overlay_range_set *set, uint32_t *reach) {
    for (uint32_t i = 0; i < set->block.size; i++) {
        reach[i] = i;
        if (i > 0 && !ends_before(&set->ranges[reach[i - 1]], &set->ranges[i])) {
            reach[i] = reach[i - 1];
        }
    }
}

void ranges_add(struct overlay *overlay, const struct engine_change *changes, size_t count,
                seq_no seq) {
    size_t added = 0;
    for (size_t i = 0; i < count; i++) {
        added += changes[i].record.kind == CHANGE_DELETE_RANGE;
    }
    if (added == 0) {
        return;
    }
    struct overlay_range_set *old = current_set(overlay);
    uint32_t old_count = old != NULL ? old->block.size : 0;
    uint32_t size_class;
    struct overlay_range_set *set =
        overlay_memory_take(&overlay->memory, set_size(old_count + added), &size_class);
    set->block = (struct overlay_block){.size = old_count, .size_class = (uint16_t)size_class};
    set->newest_seq = seq;
    if (old_count > 0) {
        memcpy(set->ranges, old->ranges, old_count * sizeof(struct overlay_range));
    }
    for (size_t i = 0; i < count; i++) {
        if (changes[i].record.kind == CHANGE_DELETE_RANGE) {
            struct overlay_range range = {.has_end = changes[i].range_has_end, .seq = seq};
            range.begin = keep_bytes(overlay, changes[i].key);
            range.end = keep_bytes(overlay, range.has_end ? changes[i].record.value
                                                          : tern_slice_of(NULL, 0));
            insert_range(set, &range);
        }
    }
    uint32_t *reach = (uint32_t *)(void *)&set->ranges[set->block.size];
    compute_reach(set, reach);
    set->reach = reach;
    atomic_store_explicit(&overlay->ranges, set, memory_order_release);
    if (old != NULL) {
        overlay_memory_retire(&overlay->memory, &old->block);
    }
}

seq_no overlay_range_seq(const struct overlay *overlay, tern_slice key, seq_no seq) {
    const struct overlay_range_set *set = current_set(overlay);
    seq_no highest = SEQ_NONE;
    if (set == NULL) {
        return highest;
    }
    for (uint32_t i = count_begun(set, key); i > 0; i--) {
        if (!range_covers_end(&set->ranges[set->reach[i - 1]], key)) {
            break;
        }
        const struct overlay_range *range = &set->ranges[i - 1];
        if (range->seq <= seq && range->seq > highest && range_covers_end(range, key)) {
            highest = range->seq;
        }
    }
    return highest;
}

bool overlay_range_cover(const struct overlay *overlay, tern_slice key, seq_no seq, bool backward,
                         struct overlay_range *out_range) {
    const struct overlay_range_set *set = current_set(overlay);
    const struct overlay_range *best = NULL;
    if (set == NULL) {
        return false;
    }
    for (uint32_t i = count_begun(set, key); i > 0; i--) {
        if (!range_covers_end(&set->ranges[set->reach[i - 1]], key)) {
            break;
        }
        const struct overlay_range *range = &set->ranges[i - 1];
        /* Going left, begins only get lower. */
        if (range->seq <= seq && range_covers_end(range, key) &&
            (best == NULL || backward || ends_before(best, range))) {
            best = range;
        }
    }
    if (best == NULL) {
        return false;
    }
    *out_range = *best;
    return true;
}

void overlay_ranges(const struct overlay *overlay, const struct overlay_range **out_ranges,
                    size_t *out_count) {
    const struct overlay_range_set *set = current_set(overlay);
    *out_ranges = set != NULL ? set->ranges : NULL;
    *out_count = set != NULL ? set->block.size : 0;
}

bool ranges_changed_since(const struct overlay *overlay, const struct engine_cursor_bounds *bounds,
                          seq_no since) {
    const struct overlay_range_set *set = current_set(overlay);
    if (set == NULL || set->newest_seq <= since) {
        return false;
    }
    for (uint32_t i = 0; i < set->block.size; i++) {
        const struct overlay_range *range = &set->ranges[i];
        bool begins_before_end = !bounds->has_end || slice_compare(range->begin, bounds->end) < 0;
        bool ends_after_begin = !bounds->has_begin || range_covers_end(range, bounds->begin);
        if (range->seq > since && begins_before_end && ends_after_begin) {
            return true;
        }
    }
    return false;
}
