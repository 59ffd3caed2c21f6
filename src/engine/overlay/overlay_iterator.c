/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking over keys. An iterator holds the entries of one leaf as they were at one moment, and
 * looks for the next leaf by the key at the edge of its copy: entries never move or go, so what was
 * there when it was positioned is met, each once and in order, however the leaves are split.
 */
#include "engine/overlay/overlay_internal.h"

_Static_assert(OVERLAY_ITERATOR_ENTRIES == LEAF_SLOTS, "a copy has room for a leaf");

/* Entries fetched ahead of the position while walking, and newest versions, which can be found once
 * the entry is there; of a key written once both lie together. */
#define FETCH_AHEAD         8u
#define FETCH_VERSION_AHEAD 4u
#define FETCH_LINES         3u

static inline void fetch_lines(const void *begin) {
    for (unsigned i = 0; i < FETCH_LINES; i++) {
        __builtin_prefetch((const char *)begin + (size_t)64 * i);
    }
}

static inline void fetch_ahead(const struct overlay_iterator *iterator, bool backward) {
    uint32_t position = iterator->position;
    uint32_t ahead = backward ? position - FETCH_AHEAD : position + FETCH_AHEAD;
    if (ahead < iterator->count) {
        fetch_lines(iterator->entries[ahead]);
    }
    ahead = backward ? position - FETCH_VERSION_AHEAD : position + FETCH_VERSION_AHEAD;
    if (ahead < iterator->count) {
        fetch_lines(atomic_load_explicit(&iterator->entries[ahead]->newest, memory_order_relaxed));
    }
}

/* What fetch_ahead would have asked for before it came to where the copy begins. */
static void fetch_first(const struct overlay_iterator *iterator, bool backward) {
    uint32_t at = iterator->position;
    for (unsigned i = 0; i < FETCH_AHEAD && at < iterator->count; i++) {
        fetch_lines(iterator->entries[at]);
        at = backward ? at - 1 : at + 1;
    }
}

void overlay_iterator_init(struct overlay_iterator *iterator, const struct overlay *overlay) {
    iterator->overlay = overlay;
    iterator->count = 0;
    iterator->position = 0;
}

static bool copy_leaf(struct overlay_iterator *iterator, const tern_slice *key, bool backward,
                      bool inclusive) {
    if (!tree_copy_leaf(iterator->overlay, key, backward, inclusive, iterator->entries,
                        &iterator->count, &iterator->position)) {
        iterator->position = iterator->count = 0;
        return false;
    }
    fetch_first(iterator, backward);
    return true;
}

bool overlay_iterator_seek(struct overlay_iterator *iterator, tern_slice key, bool backward,
                           bool inclusive) {
    return copy_leaf(iterator, &key, backward, inclusive);
}

bool overlay_iterator_first(struct overlay_iterator *iterator, bool backward) {
    return copy_leaf(iterator, NULL, backward, true);
}

static bool copy_neighbour(struct overlay_iterator *iterator, bool backward) {
    tern_slice key = overlay_iterator_key(iterator);
    return copy_leaf(iterator, &key, backward, false);
}

bool overlay_iterator_next(struct overlay_iterator *iterator) {
    if (!overlay_iterator_is_valid(iterator)) {
        return false;
    }
    if (iterator->position + 1 < iterator->count) {
        iterator->position++;
        fetch_ahead(iterator, false);
        return true;
    }
    return copy_neighbour(iterator, false);
}

bool overlay_iterator_previous(struct overlay_iterator *iterator) {
    if (!overlay_iterator_is_valid(iterator)) {
        return false;
    }
    if (iterator->position > 0) {
        iterator->position--;
        fetch_ahead(iterator, true);
        return true;
    }
    return copy_neighbour(iterator, true);
}

bool overlay_iterator_is_valid(const struct overlay_iterator *iterator) {
    return iterator->position < iterator->count;
}

tern_slice overlay_iterator_key(const struct overlay_iterator *iterator) {
    ASSERT_DEBUG(overlay_iterator_is_valid(iterator));
    return entry_key(iterator->entries[iterator->position]);
}

void overlay_iterator_garbage(const struct overlay_iterator *iterator,
                              void (*visit)(void *context, tern_slice reference), void *context) {
    const struct overlay_entry *entry = iterator->entries[iterator->position];
    const struct overlay_version *version =
        atomic_load_explicit(&entry->newest, memory_order_acquire);
    /* Only frozen overlays are drained: nothing is unlinked meanwhile. */
    for (version = version_of(version_older(version)); version != NULL;
         version = version_of(version_older(version))) {
        if (version_kind(version) == RECORD_LARGE) {
            visit(context, tern_slice_of(version_bytes(version), version->block.size));
        }
    }
}
