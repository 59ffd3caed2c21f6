/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Range deletes of an overlay: sorted arrays that are never changed, newest first, each at least
 * MERGE_RATIO times as long as the one before (O'Neil et al., "The log-structured merge-tree",
 * 1996). A commit's ranges become a new first array, and take in those after it that are not so
 * much longer: a range is copied a logarithmic number of times, and readers ask few arrays. `reach`
 * lets a search for the ranges over a key stop as soon as nothing further left can reach it.
 *
 * A range of seq r covers versions with seq < r: what the same commit wrote into the range before
 * is deleted version by version when the range is applied, what it wrote after stays.
 */
#include "engine/overlay/overlay_internal.h"

#define MERGE_RATIO 8u

static size_t set_size(size_t count) {
    return sizeof(struct overlay_range_set) + count * sizeof(struct overlay_range) +
           round_up_u64(count * sizeof(uint32_t), 8);
}

static struct overlay_range_set *current_set(const struct overlay *overlay) {
    return atomic_load_explicit(&overlay->ranges, memory_order_acquire);
}

size_t overlay_range_count(const struct overlay *overlay) {
    const struct overlay_range_set *set = current_set(overlay);
    return set != NULL ? set->total : 0;
}

/* All of them may have to be merged. */
size_t ranges_room(const struct overlay *overlay, size_t count) {
    return overlay_memory_room(set_size(overlay_range_count(overlay) + count));
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

/* Lets the range at `at` sink in a heap of `count` ranges, whose first begins last. */
static void sink(struct overlay_range *ranges, size_t at, size_t count) {
    struct overlay_range range = ranges[at];
    for (size_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && slice_compare(ranges[child].begin, ranges[child + 1].begin) < 0) {
            child++;
        }
        if (slice_compare(range.begin, ranges[child].begin) >= 0) {
            break;
        }
        ranges[at] = ranges[child];
        at = child;
    }
    ranges[at] = range;
}

static bool are_sorted(const struct overlay_range *ranges, size_t count) {
    for (size_t i = 1; i < count; i++) {
        if (slice_compare(ranges[i - 1].begin, ranges[i].begin) > 0) {
            return false;
        }
    }
    return true;
}

/* By begin. The commit leader waits for this, and a commit may hold a hundred thousand. */
static void sort_ranges(struct overlay_range *ranges, size_t count) {
    if (are_sorted(ranges, count)) {
        return;
    }
    for (size_t i = count / 2; i-- > 0;) {
        sink(ranges, i, count);
    }
    for (size_t end = count; end-- > 1;) {
        struct overlay_range last = ranges[0];
        ranges[0] = ranges[end];
        ranges[end] = last;
        sink(ranges, 0, end);
    }
}

/* Sorted ranges of an older set, and sorted ones at the end of `target`, which has room for all:
 * from the front on, so that what is written lies before what is still to be read. */
static void merge_ranges(const struct overlay_range *older, size_t older_count,
                         struct overlay_range *target, size_t added) {
    const struct overlay_range *newer = target + older_count;
    while (older_count > 0) {
        bool takes_newer = added > 0 && slice_compare(newer->begin, older->begin) < 0;
        *target++ = takes_newer ? *newer++ : *older++;
        added -= takes_newer ? 1 : 0;
        older_count -= takes_newer ? 0 : 1;
    }
}

static void compute_reach(struct overlay_range_set *set, uint32_t *reach) {
    for (uint32_t i = 0; i < set->block.size; i++) {
        reach[i] = i;
        if (i > 0 && !ends_before(&set->ranges[reach[i - 1]], &set->ranges[i])) {
            reach[i] = reach[i - 1];
        }
    }
}

static struct overlay_range_set *older_of(const struct overlay_range_set *set) {
    return (struct overlay_range_set *)(uintptr_t)set->older;
}

static void copy_ranges(struct overlay *overlay, const struct engine_change *changes, size_t count,
                        seq_no seq, struct overlay_range *target) {
    for (size_t i = 0; i < count; i++) {
        if (changes[i].record.kind == CHANGE_DELETE_RANGE) {
            struct overlay_range range = {.has_end = changes[i].range_has_end, .seq = seq};
            range.begin = keep_bytes(overlay, changes[i].key);
            range.end = keep_bytes(overlay, range.has_end ? changes[i].record.value
                                                          : tern_slice_of(NULL, 0));
            *target++ = range;
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
    /* The first sets are taken in, up to `rest`. */
    struct overlay_range_set *old = current_set(overlay);
    struct overlay_range_set *rest = old;
    size_t all = added;
    for (; rest != NULL && rest->block.size < MERGE_RATIO * all; rest = older_of(rest)) {
        all += rest->block.size;
    }
    uint32_t size_class;
    struct overlay_range_set *set =
        overlay_memory_take(&overlay->memory, set_size(all), &size_class);
    set->block = (struct overlay_block){.size = (uint32_t)all, .size_class = (uint16_t)size_class};
    set->older = rest;
    set->total = all + (rest != NULL ? rest->total : 0);
    set->newest_seq = seq;
    copy_ranges(overlay, changes, count, seq, &set->ranges[all - added]);
    sort_ranges(&set->ranges[all - added], added);
    for (const struct overlay_range_set *taken = old; taken != rest; taken = taken->older) {
        uint32_t taken_count = taken->block.size;
        merge_ranges(taken->ranges, taken_count, &set->ranges[all - added - taken_count], added);
        added += taken_count;
    }
    uint32_t *reach = (uint32_t *)(void *)&set->ranges[set->block.size];
    compute_reach(set, reach);
    set->reach = reach;
    atomic_store_explicit(&overlay->ranges, set, memory_order_release);
    while (old != rest) {
        struct overlay_range_set *taken = old;
        old = older_of(taken);
        overlay_memory_retire(&overlay->memory, &taken->block);
    }
}

static seq_no highest_in(const struct overlay_range_set *set, tern_slice key, seq_no seq,
                         seq_no highest) {
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

seq_no overlay_range_seq(const struct overlay *overlay, tern_slice key, seq_no seq) {
    seq_no highest = SEQ_NONE;
    for (const struct overlay_range_set *set = current_set(overlay);
         set != NULL && set->newest_seq > highest; set = set->older) {
        highest = highest_in(set, key, seq, highest);
    }
    return highest;
}

/* The one of the set that reaches further than `best` (NULL: none yet), else that. */
static const struct overlay_range *furthest_in(const struct overlay_range_set *set, tern_slice key,
                                               seq_no seq, bool backward,
                                               const struct overlay_range *best) {
    for (uint32_t i = count_begun(set, key); i > 0; i--) {
        if (!range_covers_end(&set->ranges[set->reach[i - 1]], key)) {
            break;
        }
        const struct overlay_range *range = &set->ranges[i - 1];
        if (range->seq <= seq && range_covers_end(range, key) &&
            (best == NULL || (backward ? slice_compare(range->begin, best->begin) < 0
                                       : ends_before(best, range)))) {
            best = range;
        }
    }
    return best;
}

bool overlay_range_cover(const struct overlay *overlay, tern_slice key, seq_no seq, bool backward,
                         struct overlay_range *out_range) {
    const struct overlay_range *best = NULL;
    for (const struct overlay_range_set *set = current_set(overlay); set != NULL;
         set = set->older) {
        best = furthest_in(set, key, seq, backward, best);
    }
    if (best == NULL) {
        return false;
    }
    *out_range = *best;
    return true;
}

void overlay_range_walk_begin(const struct overlay *overlay, struct overlay_range_walk *out_walk) {
    *out_walk = (struct overlay_range_walk){current_set(overlay), 0};
}

const struct overlay_range *overlay_range_walk_next(struct overlay_range_walk *walk) {
    while (walk->set != NULL && walk->next == walk->set->block.size) {
        *walk = (struct overlay_range_walk){walk->set->older, 0};
    }
    return walk->set != NULL ? &walk->set->ranges[walk->next++] : NULL;
}

static bool set_changed_since(const struct overlay_range_set *set,
                              const struct engine_cursor_bounds *bounds, seq_no since) {
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

bool ranges_changed_since(const struct overlay *overlay, const struct engine_cursor_bounds *bounds,
                          seq_no since) {
    for (const struct overlay_range_set *set = current_set(overlay);
         set != NULL && set->newest_seq > since; set = set->older) {
        if (set_changed_since(set, bounds, since)) {
            return true;
        }
    }
    return false;
}
