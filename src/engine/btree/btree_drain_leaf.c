/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merges one leaf of the base with what the overlay holds between its fences. Stretches of records
 * between two keys of the overlay are copied in their encoded form.
 *
 * What becomes of values stored apart: the base's is superseded when its record is not taken over;
 * in the overlay every version but the newest is garbage, and so is the newest when a range delete
 * covers it or it has expired.
 */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/compare.h"
#include "base/error.h"
#include "engine/btree/btree_drain_internal.h"
#include "engine/btree/btree_value.h"
#include "engine/btree/leaf_access.h"

/* ---- reading leaves ---- */

/* The leaf's frame, pinned; NULL when it is not in the cache. */
static struct cache_frame *pin_cached(struct drain *drain, const struct leaf_source *source) {
    const struct engine_environment *environment = drain->tree->environment;
    if (environment->cache == NULL) {
        return NULL;
    }
    cache_tag tag = cache_tag_of(drain->tree->space, ref_place(source->ref));
    struct epoch_slot *slot = epoch_enter(environment->epoch);
    struct cache_frame *frame = NULL;
    if (source->hint != 0) {
        frame = cache_frame_at(cache_base(environment->cache), source->hint);
        /* Not cache_frame_holds: a drain's reading says nothing about how hot the page is. */
        if (atomic_load_explicit(&frame->tag, memory_order_acquire) != tag) {
            frame = NULL;
        }
    }
    if (frame == NULL) {
        frame = cache_lookup(environment->cache, tag);
    }
    if (frame != NULL) {
        cache_pin(frame);
    }
    epoch_exit(slot);
    return frame;
}

void drain_read_ahead(struct drain *drain, const struct inner_node *node, uint32_t index) {
    uint64_t place = ref_place(node->refs[index]);
    bool in_window =
        place >= drain->window_place && place < drain->window_place + drain->window_units;
    if (place != drain->next_place || in_window) {
        return;
    }
    uint64_t granule = drain->builder->output.granule;
    uint64_t units = 0;
    for (uint32_t i = index; i < node->count; i++) {
        uint64_t more = round_up_u64(ref_units(node->refs[i]), granule);
        if (ref_place(node->refs[i]) != place + units ||
            (units + more) * UNIT_BYTES > DRAIN_WINDOW_BYTES) {
            break;
        }
        units += more;
    }
    drain->window_units = 0;
    if (units > 2u * ref_units(node->refs[index])) {
        /* A failure shows when the leaf itself is read. */
        if (btree_file_read_units(drain->tree->file, place, units, drain->window, NULL) ==
            TERN_OK) {
            drain->window_place = place;
            drain->window_units = units;
        }
    }
}

/* Reads the leaf beside the cache, into drain->page. */
static tern_status read_beside(struct drain *drain, const struct leaf_source *source,
                               tern_error *error) {
    struct btree *tree = drain->tree;
    uint64_t place = ref_place(source->ref);
    uint64_t units = ref_units(source->ref);
    size_t capacity = tree->config.options.page_bytes;
    size_t size = 0;
    tern_status status;
    if (place >= drain->window_place &&
        place + units <= drain->window_place + drain->window_units) {
        const uint8_t *stored = drain->window + (size_t)(place - drain->window_place) * UNIT_BYTES;
        status = btree_file_decode(tree->file, stored, place, units, source->checksum, drain->page,
                                   capacity, NULL, &size, error);
    } else {
        status = btree_file_read_block(tree->file, source->ref, source->checksum, drain->page,
                                       capacity, &size, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    drain->next_place = place + round_up_u64(units, drain->builder->output.granule);
    const char *broken = leaf_check(drain->page, size);
    if (broken != NULL) {
        return ERROR_AT(error, TERN_CORRUPTION, btree_file_path(tree->file), place * UNIT_BYTES, 0,
                        "leaf page breaks invariant %s; run verify and repair", broken);
    }
    return TERN_OK;
}

tern_status drain_open_leaf(struct drain *drain, const struct leaf_source *source,
                            tern_error *error) {
    struct leaf_merge *leaf = &drain->leaf;
    ASSERT(!leaf->is_open);
    leaf->pinned = pin_cached(drain, source);
    leaf->payload = drain->page;
    if (leaf->pinned != NULL) {
        leaf->payload = (const uint8_t *)leaf->pinned + BLOCK_HEADER_BYTES;
    } else {
        tern_status status = read_beside(drain, source, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    leaf->is_open = true;
    leaf->index = 0;
    leaf->count = leaf_count(leaf->payload);
    drain->builder->is_caching = drain->cache_has_room || leaf->pinned != NULL;
    drain->work_bytes += (uint64_t)ref_units(source->ref) * UNIT_BYTES;
    return btree_file_release_later(
        drain->tree->file, ref_place(source->ref), ref_units(source->ref),
        generation_born(drain->generations, get_u64(leaf->payload + 8)), error);
}

void drain_close_leaf(struct drain *drain) {
    struct leaf_merge *leaf = &drain->leaf;
    if (leaf->is_open && leaf->pinned != NULL) {
        cache_unpin(leaf->pinned);
    }
    leaf->pinned = NULL;
    leaf->payload = NULL;
    leaf->is_open = false;
}

/* ---- records of the base ---- */

static tern_status release_value(struct drain *drain, tern_slice reference, tern_error *error) {
    return btree_value_release_later(drain->tree, reference, drain->generations, error);
}

/* Record `index` goes: so does its value when that is stored apart. */
static tern_status drop_record(struct drain *drain, uint32_t index, tern_error *error) {
    struct record record;
    leaf_record(drain->leaf.payload, index, &record);
    return record.kind == RECORD_LARGE ? release_value(drain, record.value, error) : TERN_OK;
}

static tern_status drop_records(struct drain *drain, uint32_t end, tern_error *error) {
    struct leaf_merge *leaf = &drain->leaf;
    tern_status status = TERN_OK;
    if ((leaf->payload[1] & PAGE_HAS_LARGE) != 0) {
        for (uint32_t i = leaf->index; status == TERN_OK && i < end; i++) {
            status = drop_record(drain, i, error);
        }
    }
    leaf->index = end;
    return status;
}

/* The time up to which what has expired is dropped: nothing without a source. */
static uint64_t expiry_ms(const struct drain *drain) {
    return drain->source != NULL && !drain->is_stopped ? drain->source->frozen_time_ms : 0;
}

/* Compaction: takes record leaf->index over, with its value moved when the plan wants that. */
static tern_status move_record(struct drain *drain, tern_error *error) {
    struct leaf_merge *leaf = &drain->leaf;
    struct record record;
    leaf_record(leaf->payload, leaf->index, &record);
    if (record.kind != RECORD_LARGE ||
        !drain->plan.wants_value(drain->plan.context, record.value)) {
        uint32_t index = leaf->index;
        return leaf_builder_copy(&drain->builder->leaves, leaf->payload, index, index + 1, 0,
                                 &leaf->index, error);
    }
    uint8_t reference[ENGINE_LARGE_REFERENCE_BYTES_MAX];
    tern_slice old = record.value;
    size_t size = 0;
    tern_status status = tree_builder_copy_value(drain->builder, old, reference, &size, error);
    if (status != TERN_OK) {
        return status;
    }
    record.value = tern_slice_of(reference, size);
    drain->work_bytes += record.value_size;
    drain->moved_bytes += record.value_size;
    drain->key.size = 0;
    size_t key_size =
        leaf_prefix_size(leaf->payload) + leaf_key_suffix(leaf->payload, leaf->index).size;
    if (buffer_reserve(&drain->key, key_size) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a drain");
    }
    key_size = leaf_key_copy(leaf->payload, leaf->index, drain->key.data);
    status = leaf_builder_add(&drain->builder->leaves, tern_slice_of(drain->key.data, key_size),
                              &record, error);
    if (status == TERN_OK) {
        status = release_value(drain, old, error);
    }
    leaf->index++;
    return status;
}

/* Copies records up to `end`, without those that have expired. */
static tern_status copy_records(struct drain *drain, uint32_t end, tern_error *error) {
    struct leaf_merge *leaf = &drain->leaf;
    tern_status status = TERN_OK;
    if (drain->plan.wants_value != NULL && !drain->is_stopped &&
        (leaf->payload[1] & PAGE_HAS_LARGE) != 0) {
        while (status == TERN_OK && leaf->index < end) {
            status = move_record(drain, error);
        }
        return status;
    }
    while (status == TERN_OK && leaf->index < end) {
        status = leaf_builder_copy(&drain->builder->leaves, leaf->payload, leaf->index, end,
                                   expiry_ms(drain), &leaf->index, error);
        if (status == TERN_OK && leaf->index < end) {
            status = drop_records(drain, leaf->index + 1, error);
        }
    }
    return status;
}

/* Takes over the records up to `end` that no range delete covers. */
static tern_status take_records(struct drain *drain, uint32_t end, tern_error *error) {
    struct leaf_merge *leaf = &drain->leaf;
    tern_status status = TERN_OK;
    while (status == TERN_OK && leaf->index < end) {
        uint32_t begin_index = end;
        if (drain_has_range(drain)) {
            const struct drain_range *range = &drain->ranges[drain->range_at];
            bool equal = false;
            uint32_t end_index =
                range->has_end ? leaf_lower_bound(leaf->payload, range->end, &equal) : leaf->count;
            if (end_index <= leaf->index) {
                drain->range_at++;
                continue;
            }
            begin_index = leaf_lower_bound(leaf->payload, range->begin, &equal);
            if (begin_index <= leaf->index) {
                drain->has_merged = true;
                status = drop_records(drain, end_index < end ? end_index : end, error);
                continue;
            }
        }
        status = copy_records(drain, begin_index < end ? begin_index : end, error);
    }
    return status;
}

/* ---- keys of the overlay ---- */

struct garbage_visit {
    struct drain *drain;
    const void *candidate; /* bytes of the newest version, when a range delete covers it */
    bool candidate_was_visited;
    tern_status status;
    tern_error *error;
};

static void visit_garbage(void *context, tern_slice reference) {
    struct garbage_visit *visit = context;
    if (reference.data == visit->candidate) {
        visit->candidate_was_visited = true;
    }
    if (visit->status == TERN_OK) {
        visit->status = release_value(visit->drain, reference, visit->error);
    }
}

/* The newest value stored apart that lies below the range deletes over the current key. */
static tern_status find_covered(struct drain *drain, struct record *out_record, tern_error *error) {
    const struct overlay *overlay = drain->source->overlay;
    tern_slice key = overlay_iterator_key(&drain->keys);
    out_record->kind = RECORD_NONE;
    seq_no seq = overlay_range_seq(overlay, key, drain->source->frozen_seq);
    while (seq != SEQ_NONE) {
        struct resolution resolution;
        resolution_init(&resolution, drain->tree->environment->allocator);
        tern_status status = overlay_iterator_resolve(&drain->keys, seq - 1, &resolution);
        struct record terminal = resolution.terminal;
        bool is_complete = resolution.is_complete;
        resolution_release(&resolution);
        if (status == TERN_NO_MEMORY) {
            return ERROR_NO_MEMORY(error, "a drain");
        }
        if (status != TERN_OK || !is_complete || terminal.kind == RECORD_PUT) {
            return TERN_OK;
        }
        if (terminal.kind == RECORD_LARGE) {
            *out_record = terminal;
            return TERN_OK;
        }
        seq = overlay_range_seq(overlay, key, seq - 1);
    }
    return TERN_OK;
}

/* Values that no version of the key needs any more. */
static tern_status release_garbage(struct drain *drain, const struct record *terminal,
                                   bool terminal_is_kept, tern_error *error) {
    struct garbage_visit visit = {.drain = drain, .error = error};
    struct record newest = {.kind = RECORD_NONE};
    if (terminal->kind == RECORD_LARGE) {
        newest = terminal_is_kept ? newest : *terminal;
    } else if (drain->range_count > 0) {
        tern_status status = find_covered(drain, &newest, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    visit.candidate = newest.kind == RECORD_LARGE ? newest.value.data : NULL;
    overlay_iterator_garbage(&drain->keys, visit_garbage, &visit);
    if (visit.status == TERN_OK && newest.kind == RECORD_LARGE && !visit.candidate_was_visited) {
        visit.status = release_value(drain, newest.value, error);
    }
    return visit.status;
}

static tern_status add_result(struct drain *drain, tern_slice key, struct record *record,
                              tern_error *error) {
    uint8_t reference[ENGINE_LARGE_REFERENCE_BYTES_MAX];
    drain->work_bytes += key.size + record->value.size + 16;
    if (record->kind == RECORD_PUT &&
        record->value.size > leaf_inline_value_max(drain->tree->config.options.page_bytes)) {
        tern_status status =
            tree_builder_put_value(drain->builder, record, reference, record, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    return leaf_builder_add(&drain->builder->leaves, key, record, error);
}

/* Merges the current key of the overlay over `base` (NULL: the base does not have it). */
static tern_status merge_key(struct drain *drain, const struct record *base, tern_error *error) {
    const struct shared_overlay *source = drain->source;
    struct resolution resolution;
    resolution_init(&resolution, drain->tree->environment->allocator);
    tern_status status = overlay_iterator_resolve(&drain->keys, source->frozen_seq, &resolution);
    bool is_from_overlay = resolution.is_complete;
    if (status == TERN_OK && !is_from_overlay && base != NULL) {
        status = resolution_add(&resolution, base, ENGINE_SOURCE_SCRATCH, NULL);
    }
    if (status != TERN_OK) {
        resolution_release(&resolution);
        return ERROR_SET(error, status, "a drain could not resolve a key: %s",
                         tern_status_text(status));
    }
    const struct record terminal = resolution.terminal;
    struct engine_result result;
    status = resolution_finish(&resolution, source->frozen_time_ms, &drain->scratch,
                               btree_value_load, drain->tree, &result, error);
    if (status != TERN_OK) {
        return status;
    }
    bool is_terminal_kept =
        result.record.kind == RECORD_LARGE && result.record.value.data == terminal.value.data;
    const struct record nothing = {.kind = RECORD_NONE};
    const struct record *from_overlay = is_from_overlay ? &terminal : &nothing;
    if (result.record.kind != RECORD_NONE) {
        status = add_result(drain, overlay_iterator_key(&drain->keys), &result.record, error);
    }
    if (status == TERN_OK && base != NULL && base->kind == RECORD_LARGE &&
        (is_from_overlay || !is_terminal_kept)) {
        status = release_value(drain, base->value, error);
    }
    if (status == TERN_OK) {
        status = release_garbage(drain, from_overlay, is_terminal_kept, error);
    }
    return status;
}

/* The current key of the overlay, when it belongs to the open leaf. */
static bool key_in_leaf(const struct drain *drain, tern_slice *out_key) {
    if (!drain_has_key(drain)) {
        return false;
    }
    *out_key = overlay_iterator_key(&drain->keys);
    return !drain->leaf.has_upper || slice_compare(*out_key, buffer_slice(&drain->leaf.upper)) < 0;
}

tern_status drain_merge_leaf(struct drain *drain, uint64_t work_max, tern_error *error) {
    struct leaf_merge *leaf = &drain->leaf;
    tern_status status = TERN_OK;
    tern_slice key;
    while (status == TERN_OK && key_in_leaf(drain, &key)) {
        if (drain->work_bytes >= work_max) {
            return TERN_OK;
        }
        bool equal = false;
        uint32_t position = leaf->index;
        if (leaf->index < leaf->count) {
            position = leaf_lower_bound(leaf->payload, key, &equal);
            ASSERT_DEBUG(position >= leaf->index);
            status = take_records(drain, position, error);
            if (status != TERN_OK) {
                return status;
            }
        }
        struct record base;
        if (equal) {
            leaf_record(leaf->payload, position, &base);
        }
        status = merge_key(drain, equal ? &base : NULL, error);
        if (status == TERN_OK) {
            leaf->index = position + (equal ? 1 : 0);
            drain->merged_keys++;
            drain->has_merged = true;
            (void)overlay_iterator_next(&drain->keys);
        }
    }
    if (status == TERN_OK) {
        status = take_records(drain, leaf->count, error);
    }
    if (status == TERN_OK) {
        drain_close_leaf(drain);
    }
    return status;
}

tern_status drain_leaf_position(struct drain *drain, struct buffer *out_key, bool *out_has,
                                tern_error *error) {
    const struct leaf_merge *leaf = &drain->leaf;
    tern_slice key;
    bool has_key = key_in_leaf(drain, &key);
    out_key->size = 0;
    *out_has = true;
    if (leaf->index < leaf->count) {
        size_t size =
            leaf_prefix_size(leaf->payload) + leaf_key_suffix(leaf->payload, leaf->index).size;
        if (buffer_reserve(out_key, size) != TERN_OK) {
            return ERROR_NO_MEMORY(error, "a drain");
        }
        out_key->size = leaf_key_copy(leaf->payload, leaf->index, out_key->data);
        if (!has_key || slice_compare(buffer_slice(out_key), key) <= 0) {
            return TERN_OK;
        }
        out_key->size = 0;
    }
    if (!has_key) {
        key = buffer_slice(&leaf->upper);
        *out_has = leaf->has_upper;
    }
    if (*out_has && buffer_append(out_key, key.data, key.size) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a drain");
    }
    return TERN_OK;
}
