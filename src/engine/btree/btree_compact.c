/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compaction: a drain without an overlay. Wanted are
 *   - leaves that would fit one page together with their neighbour (one of them under 70 % full);
 *     only without compression, where stored size tells how full a page is
 *   - blocks from `tail_place` on, which is chosen so that what lies behind it fits into the free
 *     space before it; lowest-fit allocation then puts them there, and shrink cuts the tail off
 *
 * The plan stands until there is nothing left to do for it, so that blocks which wait to be freed
 * do not make it run in circles.
 */
#include "base/error.h"
#include "engine/btree/btree_engine_internal.h"
#include "engine/btree/btree_value.h"

/* A gain below this, or below a sixteenth of the file, is not worth the writing. */
#define GAIN_UNITS_MIN ((uint64_t)64 * 1024 / UNIT_BYTES)
#define SPARSE_PERCENT 70u
#define JOINED_PERCENT 90u

/* ---- where the tail begins ---- */

struct tail_search {
    uint64_t end_units;  /* of the last block in use */
    uint64_t total_free; /* below end_units */
    uint64_t free_below; /* while visiting: below `reached` */
    uint64_t used_below;
    uint64_t used_total;
    uint64_t reached;
    uint64_t last_units; /* of the free interval that ends at `reached` */
    uint64_t place;      /* 0: not found */
    uint64_t gain;       /* by how much the file becomes shorter */
};

static bool add_free(void *context, uint64_t place, uint64_t units) {
    struct tail_search *search = context;
    if (place + units >= search->end_units) {
        search->end_units = place;
        return false;
    }
    search->total_free += units;
    return true;
}

/* Between `reached` and `place` all is in use. The tail begins there when what is in use from some
 * point on fits, with a tenth to spare for ends of runs, into what is free before. */
static bool look_before(struct tail_search *search, uint64_t place) {
    uint64_t room = search->free_below / 10 * 9;
    search->used_below += place - search->reached;
    uint64_t used_above = search->used_total - search->used_below;
    if (room <= used_above) {
        return false;
    }
    uint64_t most = room - used_above;
    uint64_t used_here = place - search->reached;
    search->place = used_here > most ? place - most : search->reached;
    search->gain = search->end_units - search->place;
    if (used_here <= most) {
        /* Besides the tail goes what stays empty of the interval before it. */
        uint64_t left = search->free_below - used_above - used_here;
        search->gain += left < search->last_units ? left : search->last_units;
    }
    return true;
}

static bool find_tail(void *context, uint64_t place, uint64_t units) {
    struct tail_search *search = context;
    if (place >= search->end_units || look_before(search, place)) {
        return false;
    }
    search->free_below += units;
    search->reached = place + units;
    search->last_units = units;
    return true;
}

/* First place whose blocks all fit below it; UINT64_MAX when that gains too little. */
static uint64_t choose_tail(struct btree_file *file) {
    struct tail_search search = {.end_units = btree_file_end(file), .reached = FILE_HEADER_UNITS};
    if (search.end_units == 0) {
        return UINT64_MAX;
    }
    btree_file_visit_free(file, add_free, &search);
    search.used_total = search.end_units - FILE_HEADER_UNITS - search.total_free;
    btree_file_visit_free(file, find_tail, &search);
    if (search.place == 0 && search.reached < search.end_units) {
        (void)look_before(&search, search.end_units);
    }
    uint64_t least = search.end_units / 16;
    least = least < GAIN_UNITS_MIN ? GAIN_UNITS_MIN : least;
    if (search.place == 0 || search.gain < least) {
        return UINT64_MAX;
    }
    return search.place;
}

/* ---- what is wanted ---- */

struct tail_value {
    uint64_t tail_place;
    bool is_found;
};

static tern_status look_at_extent(void *context, uint64_t place, uint64_t units) {
    struct tail_value *value = context;
    (void)units;
    value->is_found = value->is_found || place >= value->tail_place;
    return TERN_OK;
}

static bool wants_value(void *context, tern_slice reference) {
    struct btree_engine *engine = context;
    struct tail_value value = {engine->compaction.tail_place, false};
    if (value.tail_place == UINT64_MAX) {
        return false;
    }
    tern_status status =
        btree_value_extents(&engine->tree, reference, look_at_extent, &value, NULL);
    return status == TERN_OK && value.is_found;
}

/* Some value of the leaf lies in the tail. A leaf that cannot be read is left alone. */
static bool leaf_has_tail_value(struct btree_engine *engine, packed_ref ref, uint64_t checksum,
                                _Atomic cache_hint *hint) {
    const uint8_t *payload = NULL;
    void *owned = NULL;
    bool found = false;
    struct epoch_slot *slot = epoch_enter(engine->tree.environment->epoch);
    if (btree_leaf(&engine->tree, ref, checksum, hint, &payload, NULL, &owned, NULL) == TERN_OK) {
        for (uint32_t i = 0; !found && i < leaf_count(payload); i++) {
            struct record record;
            leaf_record(payload, i, &record);
            found = record.kind == RECORD_LARGE && wants_value(engine, record.value);
        }
    }
    epoch_exit(slot);
    memory_release(btree_allocator(engine), owned);
    return found;
}

static bool pair_is_sparse(const struct btree_engine *engine, const struct inner_node *node,
                           uint32_t left) {
    uint32_t page_units = engine->tree.config.options.page_bytes / UNIT_BYTES;
    uint32_t a = ref_units(node->refs[left]);
    uint32_t b = ref_units(node->refs[left + 1]);
    uint32_t smaller = a < b ? a : b;
    return (a + b) * 100 <= page_units * JOINED_PERCENT &&
           smaller * 100 < page_units * SPARSE_PERCENT;
}

static bool leaf_is_sparse(const struct btree_engine *engine, const struct inner_node *node,
                           uint32_t index) {
    if (engine->tree.config.options.compression != TERN_COMPRESSION_NONE) {
        return false;
    }
    return (index > 0 && pair_is_sparse(engine, node, index - 1)) ||
           (index + 1 < node->count && pair_is_sparse(engine, node, index));
}

static bool wants_child(void *context, struct inner_node *node, uint32_t index) {
    struct btree_engine *engine = context;
    uint64_t tail = engine->compaction.tail_place;
    packed_ref ref = node->refs[index];
    if (ref_place(ref) >= tail) {
        return true;
    }
    if (node->level == 1) {
        return leaf_is_sparse(engine, node, index) ||
               (tail != UINT64_MAX && (ref_flags(ref) & REF_HAS_LARGE) != 0 &&
                leaf_has_tail_value(engine, ref, node->checksums[index], &node->hints[index]));
    }
    struct inner_node *child = NULL;
    if (btree_child_node(&engine->tree, node, index, &child, NULL) != TERN_OK) {
        return false;
    }
    for (uint32_t i = 0; i < child->count; i++) {
        /* As deep as the tree has levels. */
        if (wants_child(context, child, i)) {
            return true;
        }
    }
    return false;
}

static bool wants_anything(struct btree_engine *engine, struct btree_root *root) {
    if (root->height == 0) {
        return false;
    }
    if (ref_place(root->child.ref) >= engine->compaction.tail_place) {
        return true;
    }
    if (root->height == 1) {
        return (ref_flags(root->child.ref) & REF_HAS_LARGE) != 0 &&
               engine->compaction.tail_place != UINT64_MAX &&
               leaf_has_tail_value(engine, root->child.ref, root->child.checksum, &root->leaf_hint);
    }
    for (uint32_t i = 0; i < root->top->count; i++) {
        if (wants_child(engine, root->top, i)) {
            return true;
        }
    }
    return false;
}

/* ---- steps ---- */

static tern_status start_compaction(struct btree_engine *engine, bool *out_found,
                                    tern_error *error) {
    struct compaction *compaction = &engine->compaction;
    struct btree_view *view = btree_view_current(engine);
    tern_status status = TERN_OK;
    if (!compaction->is_running) {
        struct btree_file_stats stats;
        btree_file_get_stats(engine->tree.file, &stats);
        compaction->is_running = true;
        compaction->tail_place = choose_tail(engine->tree.file);
        compaction->budget_bytes = 2 * stats.file_bytes;
    }
    *out_found = compaction->budget_bytes > 0 && wants_anything(engine, view->root);
    if (*out_found) {
        status = btree_need_drain(engine, error);
    } else {
        compaction->is_running = false;
    }
    if (status == TERN_OK && *out_found) {
        const struct drain_plan plan = {wants_child, wants_value, engine};
        status = drain_start(engine->drain, view->root, NULL, NULL, &plan, error);
    }
    engine_view_release(&view->head, engine->tree.environment->epoch);
    return status;
}

tern_status btree_compact_step(struct engine *base, size_t quantum_bytes,
                               enum engine_drain_state *out_state, tern_error *error) {
    struct btree_engine *engine = btree_of(base);
    bool is_active = engine->drain != NULL && engine->drain->is_active;
    if (engine->sealed.root != NULL || (is_active && engine->drain->source != NULL)) {
        *out_state = ENGINE_DRAIN_SLICE;
        return TERN_OK;
    }
    if (!is_active) {
        bool found = false;
        tern_status status = start_compaction(engine, &found, error);
        if (status != TERN_OK) {
            return status;
        }
        if (!found) {
            *out_state = ENGINE_DRAIN_IDLE;
            return TERN_OK;
        }
        atomic_fetch_add_explicit(&engine->compactions, 1, memory_order_relaxed);
    }
    struct drain *drain = engine->drain;
    uint64_t before = drain->builder->output.written_bytes;
    tern_status status = drain_run(drain, quantum_bytes, error);
    if (status != TERN_OK) {
        drain_abandon(drain);
        return status;
    }
    uint64_t written =
        drain->builder->output.written_bytes - before + drain->moved_bytes + UNIT_BYTES;
    uint64_t *budget = &engine->compaction.budget_bytes;
    *budget = *budget > written ? *budget - written : 0;
    bool is_slice = drain->is_done || drain->builder->output.written_bytes >= engine->slice_bytes;
    *out_state = is_slice ? ENGINE_DRAIN_SLICE : ENGINE_DRAIN_MORE;
    return TERN_OK;
}
