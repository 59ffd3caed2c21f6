/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Free intervals as an array of runs, each a sorted array of up to RUN_EXTENTS intervals.
 *
 * With n intervals a lookup is two binary searches, a change moves at most one run's worth of
 * memory, and the lowest fit scans n / RUN_EXTENTS numbers that lie side by side: at 100,000
 * intervals about 1,600, less than a cache miss or two. A tree would need as many lines for its
 * path, and an allocation per node.
 *
 * Invariants:
 *   X1 no run is empty; runs and the extents in them ascend by place
 *   X2 an extent ends before the next one begins (never adjacent, never overlapping)
 *   X3 largest[i] is the size of the largest extent of runs[i]
 *   X4 count and total_units are what the runs hold
 */
#include "engine/btree/extents.h"

#include "base/assert.h"

#define RUN_EXTENTS 128u

struct extent_run {
    uint32_t count;
    struct extent items[RUN_EXTENTS];
};

void extents_init(struct extents *extents, const tern_allocator *allocator) {
    *extents = (struct extents){.allocator = allocator};
}

void extents_release(struct extents *extents) {
    for (size_t i = 0; i < extents->run_count; i++) {
        memory_release(extents->allocator, extents->runs[i]);
    }
    memory_release(extents->allocator, extents->runs);
    memory_release(extents->allocator, extents->largest);
    memory_release(extents->allocator, extents->spare);
    extents_init(extents, extents->allocator);
}

static void measure(struct extents *extents, size_t run) {
    uint64_t largest = 0;
    const struct extent_run *items = extents->runs[run];
    for (uint32_t i = 0; i < items->count; i++) {
        if (items->items[i].units > largest) {
            largest = items->items[i].units;
        }
    }
    extents->largest[run] = largest;
}

/* Room for one more run: in the arrays and as a spare. */
static tern_status prepare_run(struct extents *extents) {
    if (extents->run_count == extents->run_capacity) {
        size_t capacity = extents->run_capacity == 0 ? 8 : extents->run_capacity * 2;
        void *runs = memory_resize(extents->allocator, extents->runs,
                                   capacity * sizeof(struct extent_run *));
        if (runs == NULL) {
            return TERN_NO_MEMORY;
        }
        extents->runs = runs;
        void *largest =
            memory_resize(extents->allocator, extents->largest, capacity * sizeof(uint64_t));
        if (largest == NULL) {
            return TERN_NO_MEMORY;
        }
        extents->largest = largest;
        extents->run_capacity = capacity;
    }
    if (extents->spare == NULL) {
        extents->spare = memory_allocate(extents->allocator, sizeof(struct extent_run));
        if (extents->spare == NULL) {
            return TERN_NO_MEMORY;
        }
        extents->spare->count = 0;
    }
    return TERN_OK;
}

static struct extent_run *insert_run(struct extents *extents, size_t at) {
    struct extent_run *run = extents->spare;
    extents->spare = NULL;
    memmove(&extents->runs[at + 1], &extents->runs[at],
            (extents->run_count - at) * sizeof(extents->runs[0]));
    memmove(&extents->largest[at + 1], &extents->largest[at],
            (extents->run_count - at) * sizeof(extents->largest[0]));
    extents->runs[at] = run;
    extents->largest[at] = 0;
    extents->run_count++;
    run->count = 0;
    return run;
}

static void remove_run(struct extents *extents, size_t at) {
    if (extents->spare == NULL) {
        extents->spare = extents->runs[at];
    } else {
        memory_release(extents->allocator, extents->runs[at]);
    }
    extents->run_count--;
    memmove(&extents->runs[at], &extents->runs[at + 1],
            (extents->run_count - at) * sizeof(extents->runs[0]));
    memmove(&extents->largest[at], &extents->largest[at + 1],
            (extents->run_count - at) * sizeof(extents->largest[0]));
}

/* Last run that begins at or before `place`; 0 when none does. */
static size_t find_run(const struct extents *extents, uint64_t place) {
    size_t low = 0;
    size_t high = extents->run_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (extents->runs[middle]->items[0].place <= place) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Number of extents of the run that begin at or before `place`. */
static uint32_t find_item(const struct extent_run *run, uint64_t place) {
    uint32_t low = 0;
    uint32_t high = run->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (run->items[middle].place <= place) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void erase_item(struct extents *extents, size_t run, uint32_t item) {
    struct extent_run *items = extents->runs[run];
    items->count--;
    memmove(&items->items[item], &items->items[item + 1],
            (items->count - item) * sizeof(struct extent));
    extents->count--;
    if (items->count == 0) {
        remove_run(extents, run);
    } else {
        measure(extents, run);
    }
}

/* Inserts where order asks for it; does not join. */
static tern_status insert_item(struct extents *extents, uint64_t place, uint64_t units) {
    if (extents->run_count == 0) {
        tern_status status = prepare_run(extents);
        if (status != TERN_OK) {
            return status;
        }
        (void)insert_run(extents, 0);
    }
    size_t at = find_run(extents, place);
    if (extents->runs[at]->count == RUN_EXTENTS) {
        tern_status status = prepare_run(extents);
        if (status != TERN_OK) {
            return status;
        }
        struct extent_run *right = insert_run(extents, at + 1);
        struct extent_run *left = extents->runs[at];
        left->count = RUN_EXTENTS / 2;
        right->count = RUN_EXTENTS - left->count;
        memcpy(right->items, &left->items[left->count], right->count * sizeof(struct extent));
        measure(extents, at);
        measure(extents, at + 1);
        at = find_run(extents, place);
    }
    struct extent_run *run = extents->runs[at];
    uint32_t item = find_item(run, place);
    memmove(&run->items[item + 1], &run->items[item], (run->count - item) * sizeof(struct extent));
    run->items[item] = (struct extent){place, units};
    run->count++;
    extents->count++;
    if (units > extents->largest[at]) {
        extents->largest[at] = units;
    }
    return TERN_OK;
}

/* The extents before and after a place, as (run, item); false where there is none. */
struct neighbours {
    bool has_before, has_after;
    size_t before_run, after_run;
    uint32_t before_item, after_item;
};

static struct neighbours find_neighbours(const struct extents *extents, uint64_t place) {
    struct neighbours found = {0};
    if (extents->run_count == 0) {
        return found;
    }
    size_t run = find_run(extents, place);
    uint32_t item = find_item(extents->runs[run], place);
    if (item > 0) {
        found.has_before = true;
        found.before_run = run;
        found.before_item = item - 1;
    }
    if (item < extents->runs[run]->count) {
        found.has_after = true;
        found.after_run = run;
        found.after_item = item;
    } else if (run + 1 < extents->run_count) {
        found.has_after = true;
        found.after_run = run + 1;
        found.after_item = 0;
    }
    return found;
}

tern_status extents_add(struct extents *extents, uint64_t place, uint64_t units) {
    if (units == 0) {
        return TERN_OK;
    }
    struct neighbours near = find_neighbours(extents, place);
    struct extent *before =
        near.has_before ? &extents->runs[near.before_run]->items[near.before_item] : NULL;
    struct extent *after =
        near.has_after ? &extents->runs[near.after_run]->items[near.after_item] : NULL;
    if ((before != NULL && before->place + before->units > place) ||
        (after != NULL && place + units > after->place)) {
        return TERN_CORRUPTION;
    }
    bool joins_before = before != NULL && before->place + before->units == place;
    bool joins_after = after != NULL && place + units == after->place;
    if (joins_before) {
        before->units += units + (joins_after ? after->units : 0);
        if (before->units > extents->largest[near.before_run]) {
            extents->largest[near.before_run] = before->units;
        }
        if (joins_after) {
            erase_item(extents, near.after_run, near.after_item);
        }
    } else if (joins_after) {
        after->place = place;
        after->units += units;
        if (after->units > extents->largest[near.after_run]) {
            extents->largest[near.after_run] = after->units;
        }
    } else {
        tern_status status = insert_item(extents, place, units);
        if (status != TERN_OK) {
            return status;
        }
    }
    extents->total_units += units;
    return TERN_OK;
}

tern_status extents_remove(struct extents *extents, uint64_t place, uint64_t units) {
    if (units == 0) {
        return TERN_OK;
    }
    struct neighbours near = find_neighbours(extents, place);
    if (!near.has_before) {
        return TERN_NOT_FOUND;
    }
    struct extent *extent = &extents->runs[near.before_run]->items[near.before_item];
    uint64_t end = extent->place + extent->units;
    if (place >= end || end - place < units) {
        return TERN_NOT_FOUND;
    }
    uint64_t left_units = place - extent->place;
    uint64_t right_units = end - place - units;
    if (left_units == 0 && right_units == 0) {
        erase_item(extents, near.before_run, near.before_item);
    } else if (left_units == 0) {
        *extent = (struct extent){place + units, right_units};
        measure(extents, near.before_run);
    } else {
        uint64_t whole_units = extent->units;
        extent->units = left_units;
        if (right_units > 0) {
            tern_status status = insert_item(extents, place + units, right_units);
            if (status != TERN_OK) {
                extent->units = whole_units;
                return status;
            }
        }
        /* The insertion may have split the run. */
        measure(extents, find_run(extents, place - left_units));
    }
    extents->total_units -= units;
    return TERN_OK;
}

bool extents_take(struct extents *extents, uint64_t units_min, uint64_t units_max,
                  struct extent *out_extent) {
    for (size_t run = 0; run < extents->run_count; run++) {
        if (extents->largest[run] < units_min) {
            continue;
        }
        struct extent_run *items = extents->runs[run];
        for (uint32_t i = 0; i < items->count; i++) {
            struct extent *extent = &items->items[i];
            if (extent->units < units_min) {
                continue;
            }
            uint64_t taken = extent->units < units_max ? extent->units : units_max;
            *out_extent = (struct extent){extent->place, taken};
            extents->total_units -= taken;
            if (taken == extent->units) {
                erase_item(extents, run, i);
            } else {
                *extent = (struct extent){extent->place + taken, extent->units - taken};
                measure(extents, run);
            }
            return true;
        }
        ASSERT(false);
    }
    return false;
}

bool extents_last(const struct extents *extents, struct extent *out_extent) {
    if (extents->run_count == 0) {
        return false;
    }
    const struct extent_run *run = extents->runs[extents->run_count - 1];
    *out_extent = run->items[run->count - 1];
    return true;
}

uint64_t extents_largest(const struct extents *extents) {
    uint64_t largest = 0;
    for (size_t i = 0; i < extents->run_count; i++) {
        if (extents->largest[i] > largest) {
            largest = extents->largest[i];
        }
    }
    return largest;
}

void extents_visit(const struct extents *extents,
                   bool (*visit)(void *context, uint64_t place, uint64_t units), void *context) {
    for (size_t run = 0; run < extents->run_count; run++) {
        const struct extent_run *items = extents->runs[run];
        for (uint32_t i = 0; i < items->count; i++) {
            if (!visit(context, items->items[i].place, items->items[i].units)) {
                return;
            }
        }
    }
}

const char *extents_check(const struct extents *extents) {
    uint64_t total = 0;
    uint64_t count = 0;
    uint64_t next_place = 0;
    for (size_t run = 0; run < extents->run_count; run++) {
        const struct extent_run *items = extents->runs[run];
        uint64_t largest = 0;
        if (items->count == 0) {
            return "X1 no empty run";
        }
        for (uint32_t i = 0; i < items->count; i++) {
            if (count > 0 && items->items[i].place <= next_place) {
                return "X2 extents ascend and are joined";
            }
            next_place = items->items[i].place + items->items[i].units;
            total += items->items[i].units;
            largest = items->items[i].units > largest ? items->items[i].units : largest;
            count++;
        }
        if (largest != extents->largest[run]) {
            return "X3 largest extent of each run";
        }
    }
    return total == extents->total_units && count == extents->count ? NULL : "X4 totals";
}
