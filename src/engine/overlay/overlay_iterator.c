/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walking over keys. An iterator holds the entries of one leaf as they were at one moment, and
 * looks for the next leaf by the key at the edge of its copy: entries never move or go, so what was
 * there when it was positioned is met, each once and in order, however the leaves are split.
 */
#include "engine/overlay/overlay_internal.h"

_Static_assert(OVERLAY_ITERATOR_ENTRIES == NODE_SLOTS, "a copy has room for a leaf");

/* Entries fetched ahead of the position while walking; what is read of one mostly lies together. */
#define FETCH_AHEAD 8u

static inline void fetch_ahead(const struct overlay_iterator *iterator, bool backward) {
    uint32_t ahead = backward ? iterator->position - FETCH_AHEAD : iterator->position + FETCH_AHEAD;
    if (ahead < iterator->count) {
        const char *entry = (const char *)iterator->entries[ahead];
        __builtin_prefetch(entry);
        __builtin_prefetch(entry + 64);
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
