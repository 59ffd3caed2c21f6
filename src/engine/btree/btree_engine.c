/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine table: opening and closing, the applier's side, values stored apart.
 *
 * Who owns what: the engine holds the current view; a view holds its overlays, its root and what
 * its base holds by key. A root holds its inner nodes. The file belongs to the engine.
 *
 * Locks: `lock` guards the pointer to the current view. The file has its own. Everything else is
 * guarded by the roles of the contract (engine.h).
 */
#include "base/assert.h"
#include "base/bytes.h"
#include "base/compare.h"
#include "base/error.h"
#include "engine/btree/btree_engine_internal.h"
#include "engine/btree/btree_lookup.h"
#include "engine/btree/btree_value.h"
#include "engine/btree/leaf_access.h"
#include "os/file.h"

#define PAGE_BYTES_DEFAULT   8192u
#define FAN_OUT_DEFAULT      256u
#define FILL_PERCENT_DEFAULT 95u
#define SLICE_BYTES_MAX      ((uint64_t)64 << 20)
#define SLICE_BYTES_MIN      ((uint64_t)1 << 20)

struct engine_config btree_config_of(const struct engine_config *config) {
    struct engine_config filled = *config;
    tern_keyspace_options *options = &filled.options;
    options->page_bytes = options->page_bytes != 0 ? options->page_bytes : PAGE_BYTES_DEFAULT;
    options->fan_out = options->fan_out != 0 ? options->fan_out : FAN_OUT_DEFAULT;
    options->fill_percent =
        options->fill_percent != 0 ? options->fill_percent : FILL_PERCENT_DEFAULT;
    return filled;
}

static size_t btree_key_bytes_max(const tern_keyspace_options *options) {
    uint32_t page_bytes = options->page_bytes != 0 ? options->page_bytes : PAGE_BYTES_DEFAULT;
    return (size_t)page_bytes * 5 / 8;
}

/* ---- deriving the free space ---- */

/* What is marked while the tree is walked at open. */
struct space_walk {
    struct btree *tree;
    bool is_incomplete; /* something could not be read: what it refers to is not known */
    tern_error *error;
};

static tern_status mark_extent(void *context, uint64_t place, uint64_t units) {
    struct space_walk *walk = context;
    return btree_file_mark_used(walk->tree->file, place, units, walk->error);
}

static tern_status mark_ref(struct space_walk *walk, packed_ref ref) {
    return mark_extent(walk, ref_place(ref), ref_units(ref));
}

/* Notes damage as such; other failures end the walk. */
static tern_status tolerate(struct space_walk *walk, tern_status status,
                            const tern_error *failure) {
    if (status == TERN_CORRUPTION) {
        walk->is_incomplete = true;
        return TERN_OK;
    }
    if (status != TERN_OK) {
        error_copy(walk->error, failure);
    }
    return status;
}

struct value_walk {
    struct space_walk *walk;
    tern_status mark_status;
};

static tern_status mark_value_extent(void *context, uint64_t place, uint64_t units) {
    struct value_walk *value = context;
    value->mark_status = mark_extent(value->walk, place, units);
    return value->mark_status;
}

/* Values stored apart of the records of one leaf. */
static tern_status mark_values(struct space_walk *walk, packed_ref ref, uint64_t checksum) {
    struct btree *tree = walk->tree;
    const tern_allocator *allocator = tree->environment->allocator;
    tern_error failure = TERN_ERROR_INIT;
    size_t size = 0;
    uint8_t *page = memory_allocate(allocator, tree->config.options.page_bytes);
    if (page == NULL) {
        return ERROR_NO_MEMORY(walk->error, "opening a tree");
    }
    tern_status status = btree_file_read_block(tree->file, ref, checksum, page,
                                               tree->config.options.page_bytes, &size, &failure);
    if (status == TERN_OK && leaf_check(page, size) != NULL) {
        status = TERN_CORRUPTION;
    }
    if (status != TERN_OK) {
        memory_release(allocator, page);
        return tolerate(walk, status, &failure);
    }
    for (uint32_t i = 0; status == TERN_OK && i < leaf_count(page); i++) {
        struct record record;
        leaf_record(page, i, &record);
        if (record.kind == RECORD_LARGE) {
            struct value_walk value = {walk, TERN_OK};
            status = btree_value_extents(tree, record.value, mark_value_extent, &value, &failure);
            status = value.mark_status != TERN_OK ? status : tolerate(walk, status, &failure);
        }
    }
    memory_release(allocator, page);
    return status;
}

static tern_status mark_node(struct space_walk *walk, struct inner_node *node) {
    tern_status status = TERN_OK;
    for (uint32_t i = 0; status == TERN_OK && i < node->count; i++) {
        packed_ref ref = node->refs[i];
        status = mark_ref(walk, ref);
        if (status != TERN_OK) {
            break;
        }
        if (node->level == 1) {
            if ((ref_flags(ref) & REF_HAS_LARGE) != 0) {
                status = mark_values(walk, ref, node->checksums[i]);
            }
            continue;
        }
        struct inner_node *child = NULL;
        tern_error failure = TERN_ERROR_INIT;
        status = btree_child_node(walk->tree, node, i, &child, &failure);
        if (status == TERN_OK) {
            /* As deep as the tree has levels, at most INNER_LEVELS_MAX. */
            status = mark_node(walk, child);
        } else {
            status = tolerate(walk, status, &failure);
        }
    }
    return status;
}

/*
 * Takes everything that the root refers to out of the free space. Where something is damaged the
 * rest can still be read; but then nothing below the file's end is handed out any more, since what
 * cannot be read may be there.
 */
static tern_status derive_space(struct btree *tree, struct btree_root *root, tern_error *error) {
    struct space_walk walk = {.tree = tree, .error = error};
    if (root->height == 0) {
        return TERN_OK;
    }
    tern_status status = mark_ref(&walk, root->child.ref);
    if (status == TERN_OK && root->height > 1) {
        status = mark_node(&walk, root->top);
    } else if (status == TERN_OK && (ref_flags(root->child.ref) & REF_HAS_LARGE) != 0) {
        status = mark_values(&walk, root->child.ref, root->child.checksum);
    }
    if (status == TERN_OK && walk.is_incomplete) {
        btree_file_forget_free(tree->file);
    }
    return status;
}

/* ---- opening and closing ---- */

static tern_status create_active(const struct btree_engine *engine, uint64_t expected_bytes,
                                 struct shared_overlay **out_overlay, tern_error *error) {
    const struct overlay_options options = {
        .allocator = btree_allocator(engine),
        .budget = engine->tree.environment->budget,
        .epoch = engine->tree.environment->epoch,
        .pool = engine->tree.environment->overlay_pool,
        .expected_bytes = expected_bytes,
    };
    return shared_overlay_create(&options, out_overlay, error);
}

/* The first view; takes over nothing. */
static tern_status open_view(struct btree_engine *engine, struct btree_root *root,
                             struct drained_map *drained, tern_error *error) {
    struct overlay_stack stack = {.allocator = btree_allocator(engine)};
    tern_status status = create_active(engine, 0, &stack.active, error);
    if (status != TERN_OK) {
        return status;
    }
    status = btree_view_create(engine, &stack, root, drained, drained_map_newest(drained),
                               &engine->current, error);
    if (status != TERN_OK) {
        overlay_stack_release(&stack);
    }
    return status;
}

static uint64_t slice_bytes_for(const struct budget *budget) {
    uint64_t bytes = budget != NULL ? budget->limit_bytes / 16 : SLICE_BYTES_MAX;
    bytes = bytes > SLICE_BYTES_MAX ? SLICE_BYTES_MAX : bytes;
    return bytes < SLICE_BYTES_MIN ? SLICE_BYTES_MIN : bytes;
}

static void btree_close(struct engine *base) {
    struct btree_engine *engine = btree_of(base);
    if (engine == NULL) {
        return;
    }
    const tern_allocator *allocator = btree_allocator(engine);
    if (engine->tree.file != NULL) {
        btree_forget_sealed(engine);
    }
    if (engine->current != NULL) {
        /* Views that were given up may still wait in limbo. */
        while (atomic_load_explicit(&engine->view_count, memory_order_acquire) > 1) {
            epoch_drain(engine->tree.environment->epoch);
        }
        ASSERT(atomic_load(&engine->current->head.references) == 1);
        btree_view_destroy(&engine->current->head);
    }
    btree_file_close(engine->tree.file);
    mutex_destroy(&engine->lock);
    memory_release(allocator, engine);
}

static tern_status btree_open(const struct engine_environment *environment,
                              const struct engine_config *config, tern_slice state_bytes,
                              struct engine **out_engine, struct engine_drained *out_drained,
                              tern_error *error) {
    struct btree_state state = {0};
    struct btree_root *root = NULL;
    struct btree_engine *engine = memory_allocate_zeroed(environment->allocator, sizeof(*engine));
    if (engine == NULL) {
        return ERROR_NO_MEMORY(error, "a partition");
    }
    engine->head.methods = &btree_engine_methods;
    engine->head.id = config->id;
    engine->head.hasher = engine_config_hasher(config);
    engine->tree.environment = environment;
    engine->tree.config = btree_config_of(config);
    engine->slice_bytes = slice_bytes_for(environment->budget);
    mutex_init(&engine->lock);
    tern_status status = btree_state_decode(environment->allocator, state_bytes, &state, error);
    if (status == TERN_OK) {
        status = btree_file_open(environment, &engine->tree.config, &engine->tree.file, error);
    }
    if (status == TERN_OK) {
        engine->tree.space = btree_file_space(engine->tree.file);
        engine->tree.lookup = btree_lookup_best();
        engine->tree.is_mapping = environment->page_source == TERN_PAGE_SOURCE_MAPPING &&
                                  config->options.compression == TERN_COMPRESSION_NONE;
        if (state.height == 0) {
            btree_file_distrust_header(engine->tree.file);
        }
        status = btree_root_load(&engine->tree, state.height, &state.child, state.records,
                                 state.generation, &root, error);
    }
    if (status == TERN_OK) {
        status = derive_space(&engine->tree, root, error);
    }
    if (status == TERN_OK) {
        engine->generations.opened = state.generation;
        atomic_init(&engine->value_born, generation_next(&engine->generations));
        status = open_view(engine, root, state.map, error);
    }
    if (status == TERN_OK) {
        out_drained->complete_seq = state.map->complete_seq;
        *out_engine = &engine->head;
    }
    btree_root_release(&engine->tree, root);
    drained_map_release(state.map);
    if (status != TERN_OK) {
        btree_close(&engine->head);
    }
    return status;
}

static tern_status btree_destroy(const struct engine_environment *environment, partition_id id,
                                 tern_error *error) {
    char name[BTREE_FILE_NAME_BYTES];
    char path[FILE_PATH_BYTES];
    btree_file_name(id, name);
    tern_status status = path_join(path, environment->directory, name, error);
    if (status == TERN_OK) {
        const tern_file_system *system = environment->file_system;
        status = system->exists(system->context, path, NULL);
        if (status == TERN_NOT_FOUND) {
            return TERN_OK;
        }
        status = system->remove(system->context, path, error);
    }
    return status;
}

/* ---- the applier's side ---- */

static struct overlay *active_overlay(const struct btree_engine *engine) {
    return engine->current->stack.active->overlay;
}

static void btree_find_place(struct engine_view *view, const struct engine_change *change,
                             struct change_place *out_place) {
    overlay_find_place(btree_view_of(view)->stack.active->overlay, change, out_place);
}

static void btree_prefetch(struct engine *base, const struct engine_change *change,
                           const struct change_place *place) {
    overlay_prefetch(active_overlay(btree_of(base)), change, place);
}

static void btree_prefetch_next(struct engine *base, const struct engine_change *change) {
    overlay_prefetch_next(active_overlay(btree_of(base)), change);
}

static tern_status btree_reserve(struct engine *base, size_t count, size_t bytes,
                                 tern_error *error) {
    return overlay_reserve(active_overlay(btree_of(base)), count, bytes, error);
}

static void btree_apply(struct engine *base, const struct engine_change *changes, size_t count,
                        seq_no seq, const struct engine_horizon *horizon) {
    overlay_apply(active_overlay(btree_of(base)), changes, count, seq, horizon);
}

/* The part of a range delete that the base does not hold; false: it holds all of it. */
static bool clip_range(const struct drained_map *drained, struct engine_change *range, seq_no seq) {
    for (uint32_t i = 0; i < drained->count; i++) {
        const struct drained_mark *mark = &drained->marks[i];
        if (seq <= mark->seq && slice_compare(range->key, mark->below) < 0) {
            range->key = mark->below;
        }
    }
    return seq > drained->complete_seq &&
           (!range->range_has_end || slice_compare(range->key, range->record.value) < 0);
}

static bool is_missing(const struct btree_engine *engine, struct engine_change *change,
                       seq_no seq) {
    const struct drained_map *drained = engine->current->drained;
    return change->record.kind == CHANGE_DELETE_RANGE ? clip_range(drained, change, seq)
                                                      : seq > drained_map_seq(drained, change->key);
}

static tern_status btree_lacks(struct engine *base, struct engine_change *change, seq_no seq,
                               bool *out_lacks, tern_error *error) {
    (void)error;
    *out_lacks = is_missing(btree_of(base), change, seq);
    return TERN_OK;
}

static tern_status btree_replay(struct engine *base, const struct engine_change *changes,
                                size_t count, seq_no seq, tern_error *error) {
    struct btree_engine *engine = btree_of(base);
    const tern_allocator *allocator = btree_allocator(engine);
    struct engine_change *kept = memory_allocate(allocator, (count + 1) * sizeof(kept[0]));
    if (kept == NULL) {
        return ERROR_NO_MEMORY(error, "reading the log");
    }
    size_t kept_count = 0;
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        kept[kept_count] = changes[i];
        if (is_missing(engine, &kept[kept_count], seq)) {
            bytes += kept[kept_count].key.size + kept[kept_count].record.value.size;
            kept_count++;
        } else if (changes[i].record.kind == RECORD_LARGE) {
            btree_value_discard(&engine->tree, changes[i].record.value);
        }
    }
    tern_status status = TERN_OK;
    if (kept_count > 0) {
        status = overlay_reserve(active_overlay(engine), kept_count, bytes, error);
    }
    if (status == TERN_OK && kept_count > 0) {
        overlay_apply(active_overlay(engine), kept, kept_count, seq, NULL);
    }
    memory_release(allocator, kept);
    return status;
}

static tern_status btree_freeze(struct engine *base, seq_no seq, uint64_t time_ms,
                                bool *out_changed, tern_error *error) {
    struct btree_engine *engine = btree_of(base);
    const struct overlay_stack *old = &engine->current->stack;
    if (overlay_is_empty(old->active->overlay)) {
        *out_changed = false;
        return TERN_OK;
    }
    if (old->frozen_count == OVERLAY_STACK_FROZEN_MAX) {
        return ERROR_SET(error, TERN_NO_MEMORY,
                         "%u frozen overlays wait to be drained already; let drains run",
                         old->frozen_count);
    }
    struct overlay_stack stack;
    struct shared_overlay *active = NULL;
    struct btree_view *view = NULL;
    tern_status status = overlay_stack_copy(old, &stack, error);
    if (status != TERN_OK) {
        return status;
    }
    status = create_active(engine, overlay_bytes(old->active->overlay), &active, error);
    if (status != TERN_OK) {
        overlay_stack_release(&stack);
        return status;
    }
    memmove(&stack.frozen[1], &stack.frozen[0], stack.frozen_count * sizeof(stack.frozen[0]));
    stack.frozen[0] = stack.active;
    stack.frozen_count++;
    stack.active = active;
    status = btree_view_create(engine, &stack, engine->current->root, engine->current->drained, seq,
                               &view, error);
    if (status != TERN_OK) {
        overlay_stack_release(&stack);
        return status;
    }
    old->active->frozen_seq = seq;
    old->active->frozen_time_ms = time_ms;
    uint64_t bytes = overlay_bytes(old->active->overlay);
    atomic_fetch_add_explicit(&engine->drain_debt_bytes, bytes, memory_order_relaxed);
    btree_view_install(engine, view);
    atomic_store_explicit(&engine->value_born, generation_next(&engine->generations),
                          memory_order_relaxed);
    *out_changed = true;
    return TERN_OK;
}

static void btree_overlay_usage(struct engine *base, uint64_t *out_bytes,
                                uint64_t *out_active_bytes) {
    struct btree_engine *engine = btree_of(base);
    struct btree_view *view = btree_view_current(engine);
    const struct overlay_stack *stack = &view->stack;
    uint64_t active = overlay_bytes(stack->active->overlay);
    uint64_t bytes = active;
    for (uint32_t i = 0; i < stack->frozen_count; i++) {
        bytes += overlay_bytes(stack->frozen[i]->overlay);
    }
    engine_view_release(&view->head, engine->tree.environment->epoch);
    *out_bytes = bytes;
    *out_active_bytes = active;
}

static struct engine_view *btree_current_view(struct engine *engine) {
    return &btree_view_current(btree_of(engine))->head;
}

/* ---- values stored apart ---- */

static tern_status btree_large_begin(struct engine *base, struct engine_large_writer **out_writer,
                                     tern_error *error) {
    struct btree_engine *engine = btree_of(base);
    return btree_value_writer_create(
        &engine->tree, atomic_load_explicit(&engine->value_born, memory_order_relaxed), out_writer,
        error);
}

static void btree_large_discard(struct engine *engine, tern_slice reference) {
    btree_value_discard(&btree_of(engine)->tree, reference);
}

static tern_status btree_large_read(struct engine *engine, tern_slice reference, uint64_t offset,
                                    void *buffer, size_t capacity, size_t *out_size,
                                    tern_error *error) {
    return btree_value_read(&btree_of(engine)->tree, reference, offset, buffer, capacity, out_size,
                            error);
}

static tern_status btree_verify(struct engine_view *view, tern_finding_function on_finding,
                                void *context, tern_progress_function progress,
                                void *progress_context, tern_verify_report *report,
                                tern_error *error) {
    return btree_check(&btree_of(view->engine)->tree, btree_view_of(view)->root, on_finding,
                       context, progress, progress_context, report, error);
}

const struct engine_methods btree_engine_methods = {
    .name = "btree",
    .is_ordered = true,
    .open = btree_open,
    .close = btree_close,
    .destroy = btree_destroy,
    .key_bytes_max = btree_key_bytes_max,
    .prefetch = btree_prefetch,
    .prefetch_next = btree_prefetch_next,
    .reserve = btree_reserve,
    .apply = btree_apply,
    .replay = btree_replay,
    .lacks = btree_lacks,
    .freeze = btree_freeze,
    .overlay_usage = btree_overlay_usage,
    .drain_debt = btree_drain_debt,
    .drain_step = btree_drain_step,
    .seal = btree_seal,
    .sync = btree_sync,
    .state = btree_state,
    .publish = btree_publish,
    .release = btree_release,
    .compact_step = btree_compact_step,
    .spill = btree_spill,
    .space = btree_space,
    .shrink = btree_shrink,
    .current_view = btree_current_view,
    .view_destroy = btree_view_destroy,
    .is_held = btree_is_held,
    .get = btree_get,
    .find_place = btree_find_place,
    .multi_get = btree_multi_get,
    .pin = btree_pin,
    .unpin = btree_unpin,
    .cursor_open = btree_engine_cursor_open,
    .cursor_close = merge_cursor_close,
    .cursor_renew = merge_cursor_renew,
    .cursor_seek = merge_cursor_seek,
    .cursor_first = merge_cursor_first,
    .cursor_next = merge_cursor_next,
    .cursor_previous = merge_cursor_previous,
    .cursor_entry = merge_cursor_entry,
    .cursor_next_batch = merge_cursor_next_batch,
    .cursor_seek_batch = merge_cursor_seek_batch,
    .estimate = btree_engine_estimate,
    .changed_since = btree_changed_since,
    .large_begin = btree_large_begin,
    .large_append = btree_value_writer_append,
    .large_finish = btree_value_writer_finish,
    .large_abandon = btree_value_writer_abandon,
    .large_discard = btree_large_discard,
    .large_read = btree_large_read,
    .verify = btree_verify,
    .salvage = btree_salvage,
    .export_base = btree_export_base,
    .ingest = btree_ingest,
    .cached_places = btree_cached_places,
    .warm = btree_warm,
    .stats = btree_stats,
};
