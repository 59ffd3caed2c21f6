/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brings leaves that several searches miss into the cache by reads that go to the device together.
 *
 * Best effort: whatever cannot be done so (no queue, no frame, a read that fails, a page that is
 * damaged) is left for the search itself, which reads the leaf alone and tells what is wrong with
 * it.
 */
#include "base/error.h"
#include "engine/btree/btree_file_internal.h"
#include "engine/btree/btree_read_internal.h"
#include "os/io_queue_pool.h"

struct leaf_read {
    const struct leaf_place *place;
    struct cache_frame *frame;
    uint8_t *stored;
    struct io_operation operation;
};

/* Somebody else's work, or a neighbour's in the batch, makes the read unnecessary. */
static bool is_coming(struct btree *tree, const struct leaf_place *place,
                      const struct leaf_read *reads, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (reads[i].place->ref == place->ref) {
            return true;
        }
    }
    struct cache *cache = tree->environment->cache;
    struct cache_frame *frame = cache_lookup(cache, leaf_tag(tree, place->ref));
    if (frame != NULL) {
        atomic_store_explicit(place->hint, cache_hint_of(cache, frame), memory_order_relaxed);
    }
    return frame != NULL;
}

static void end_read(struct btree *tree, struct io_queue *queue, struct leaf_read *read) {
    struct cache *cache = tree->environment->cache;
    const struct leaf_place *place = read->place;
    uint8_t *payload = (uint8_t *)read->frame + BLOCK_HEADER_BYTES;
    size_t size = 0;
    tern_status status =
        btree_file_end_read(tree->file, ref_units(place->ref), queue, &read->operation);
    if (status == TERN_OK) {
        status = btree_file_decode(tree->file, read->stored, ref_place(place->ref),
                                   ref_units(place->ref), *place->checksum, payload,
                                   tree->config.options.page_bytes - BLOCK_HEADER_BYTES, NULL,
                                   &size, NULL);
    }
    if (status != TERN_OK || leaf_check(payload, size) != NULL) {
        cache_discard(cache, read->frame);
        return;
    }
    struct cache_frame *frame = cache_publish(cache, read->frame, leaf_tag(tree, place->ref));
    atomic_store_explicit(place->hint, cache_hint_of(cache, frame), memory_order_relaxed);
}

void leaves_load(struct btree *tree, const struct leaf_place *const *places, size_t count) {
    struct leaf_read reads[LEAVES_LOAD_MAX];
    size_t page_bytes = tree->config.options.page_bytes;
    struct io_loan *loan =
        io_queue_pool_take(tree->environment->read_queues, LEAVES_LOAD_MAX * page_bytes);
    if (loan == NULL) {
        return;
    }
    size_t begun = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t units = ref_units(places[i]->ref);
        if (units == 0 || units * UNIT_BYTES > page_bytes ||
            is_coming(tree, places[i], reads, begun)) {
            continue;
        }
        struct leaf_read *read = &reads[begun];
        read->place = places[i];
        read->stored = loan->memory + begun * page_bytes;
        read->frame = cache_acquire(tree->environment->cache, page_bytes);
        if (read->frame == NULL) {
            break;
        }
        read->operation.io.error = NULL;
        if (!btree_file_begin(tree->file, TERN_IO_READ, ref_place(places[i]->ref), units,
                              read->stored, loan->queue, &read->operation)) {
            cache_discard(tree->environment->cache, read->frame);
            continue;
        }
        begun++;
    }
    for (size_t i = 0; i < begun; i++) {
        end_read(tree, loan->queue, &reads[i]);
    }
    io_queue_pool_give(loan);
}
