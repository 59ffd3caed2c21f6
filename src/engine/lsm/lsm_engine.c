/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine table: opening and closing, the applier's side, values stored apart.
 *
 * Who owns what: the engine holds the current view; a view holds its overlays and its version; a
 * version holds its tables. The registry knows how long each file is needed.
 *
 * Locks: `lock` guards the pointer to the current view. The registry has its own. Everything else
 * is guarded by the roles of the contract (engine.h).
 */
#include "engine/lsm/lsm_engine_internal.h"

#include "base/assert.h"
#include "base/error.h"
#include "engine/lsm/value_file.h"
#include "engine/lsm_options.h"

#define PAGE_BYTES_DEFAULT 8192u
#define FAN_OUT_DEFAULT    256u

/* ---- what all users of the files need ---- */

tern_status lsm_enter(struct lsm *lsm, const struct engine_environment *environment,
                      const struct engine_config *config, tern_error *error) {
    *lsm = (struct lsm){.environment = environment, .config = *config};
    lsm->config.hasher = engine_config_hasher(config);
    tern_keyspace_options *options = &lsm->config.options;
    options->page_bytes = options->page_bytes != 0 ? options->page_bytes : PAGE_BYTES_DEFAULT;
    options->fan_out = options->fan_out != 0 ? options->fan_out : FAN_OUT_DEFAULT;
    lsm->filter_bits = lsm_options_filter(options);
    atomic_init(&lsm->next_file, 1);
    return file_registry_create(lsm, &lsm->files, error);
}

void lsm_leave(struct lsm *lsm) {
    if (lsm->space != 0) {
        cache_space_close(lsm->environment->cache, lsm->space);
    }
    file_registry_destroy(lsm->files);
    lsm->files = NULL;
}

/* ---- opening and closing ---- */

static tern_status create_active(const struct lsm_engine *engine, uint64_t expected_bytes,
                                 struct shared_overlay **out_overlay, tern_error *error) {
    const struct overlay_options options = {
        .allocator = lsm_allocator(&engine->lsm),
        .budget = engine->lsm.environment->budget,
        .epoch = engine->lsm.environment->epoch,
        .pool = engine->lsm.environment->overlay_pool,
        .expected_bytes = expected_bytes,
    };
    return shared_overlay_create(&options, out_overlay, error);
}

static tern_status open_view(struct lsm_engine *engine, struct lsm_version *version,
                             tern_error *error) {
    struct overlay_stack stack = {.allocator = lsm_allocator(&engine->lsm)};
    tern_status status = create_active(engine, 0, &stack.active, error);
    if (status != TERN_OK) {
        return status;
    }
    status =
        lsm_view_create(engine, &stack, version, version->complete_seq, &engine->current, error);
    if (status != TERN_OK) {
        overlay_stack_release(&stack);
    }
    return status;
}

/* Registers the files that the version names. */
static tern_status register_files(struct lsm_engine *engine, const struct lsm_version *version,
                                  tern_error *error) {
    struct lsm *lsm = &engine->lsm;
    tern_status status = TERN_OK;
    for (uint32_t i = 0; status == TERN_OK && i < version->run_count; i++) {
        const struct lsm_run *run = &version->runs[i];
        for (uint32_t j = 0; status == TERN_OK && j < run->count; j++) {
            const struct lsm_table *table = run->tables[j];
            status = file_registry_add(lsm->files, table->number, LSM_FILE_TABLE, table->file_bytes,
                                       false, error);
        }
    }
    for (uint32_t i = 0; status == TERN_OK && i < version->use_count; i++) {
        status = file_registry_add(lsm->files, version->uses[i].number, LSM_FILE_VALUES,
                                   version->uses[i].bytes, false, error);
    }
    return status;
}

struct listing {
    struct lsm *lsm;
    tern_status status;
    tern_error *error;
};

/* Files of a process that ended before a manifest named them, or after one no longer did. */
static bool visit_name(void *context, const char *name) {
    struct listing *listing = context;
    struct lsm *lsm = listing->lsm;
    uint64_t number = 0;
    enum lsm_file_kind kind;
    if (!lsm_file_parse(lsm->config.id, name, &number, &kind)) {
        return true;
    }
    /* A number that was never given must not use up those that are left. */
    if (number >= atomic_load(&lsm->next_file) && number < LSM_FILE_NUMBER_MAX / 2) {
        atomic_store(&lsm->next_file, number + 1);
    }
    if (!file_registry_knows(lsm->files, number)) {
        listing->status = file_registry_add_orphan(lsm->files, number, kind, listing->error);
    }
    return listing->status == TERN_OK;
}

static tern_status find_orphans(struct lsm *lsm, tern_error *error) {
    const struct engine_environment *environment = lsm->environment;
    const tern_file_system *system = environment->file_system;
    struct listing listing = {lsm, TERN_OK, error};
    if (environment->read_only) {
        return TERN_OK;
    }
    tern_status status =
        system->list(system->context, environment->directory, visit_name, &listing, error);
    return status == TERN_OK ? listing.status : status;
}

/* Sizes of files of values: what versions refer to may be less. */
static void measure_values(struct lsm *lsm, const struct lsm_version *version) {
    const tern_file_system *system = lsm->environment->file_system;
    for (uint32_t i = 0; i < version->use_count; i++) {
        char path[FILE_PATH_BYTES];
        tern_file *file = NULL;
        uint64_t size = 0;
        if (lsm_file_path(lsm, version->uses[i].number, LSM_FILE_VALUES, path, NULL) == TERN_OK &&
            system->open(system->context, path, TERN_OPEN_READ, &file, NULL) == TERN_OK) {
            if (file->methods->size(file, &size, NULL) == TERN_OK) {
                file_registry_set_bytes(lsm->files, version->uses[i].number, size);
            }
            (void)file_close(file, NULL);
        }
    }
}

static void lsm_close(struct engine *base) {
    struct lsm_engine *engine = lsm_of(base);
    if (engine == NULL) {
        return;
    }
    const tern_allocator *allocator = lsm_allocator(&engine->lsm);
    lsm_forget_work(engine);
    if (engine->current != NULL) {
        /* Views that were given up may still wait in limbo. */
        while (atomic_load_explicit(&engine->view_count, memory_order_acquire) > 1) {
            epoch_drain(engine->lsm.environment->epoch);
        }
        ASSERT(atomic_load(&engine->current->head.references) == 1);
        lsm_view_destroy(&engine->current->head);
    }
    compaction_memory_release(&engine->memory, allocator);
    buffer_release(&engine->sealed.garbage);
    lsm_leave(&engine->lsm);
    mutex_destroy(&engine->lock);
    memory_release(allocator, engine);
}

static tern_status lsm_open(const struct engine_environment *environment,
                            const struct engine_config *config, tern_slice state,
                            struct engine **out_engine, struct engine_drained *out_drained,
                            tern_error *error) {
    struct lsm_version *version = NULL;
    struct lsm_engine *engine = memory_allocate_zeroed(environment->allocator, sizeof(*engine));
    if (engine == NULL) {
        return ERROR_NO_MEMORY(error, "a partition");
    }
    engine->head.methods = &lsm_engine_methods;
    engine->head.id = config->id;
    engine->head.hasher = engine_config_hasher(config);
    engine->style = (enum lsm_style)config->options.compaction;
    mutex_init(&engine->lock);
    buffer_init(&engine->sealed.garbage, environment->allocator);
    tern_status status = lsm_enter(&engine->lsm, environment, config, error);
    if (status == TERN_OK) {
        status = lsm_state_open(&engine->lsm, state, NULL, NULL, &version, error);
    }
    if (status == TERN_OK) {
        status = register_files(engine, version, error);
    }
    if (status == TERN_OK) {
        measure_values(&engine->lsm, version);
        status = find_orphans(&engine->lsm, error);
    }
    if (status == TERN_OK) {
        status = open_view(engine, version, error);
    }
    if (status == TERN_OK) {
        out_drained->complete_seq = version->complete_seq;
        lsm_update_debt(engine);
        *out_engine = &engine->head;
    }
    version_release(version);
    if (status != TERN_OK) {
        lsm_close(&engine->head);
    }
    return status;
}

struct removal {
    partition_id id;
    char name[LSM_FILE_NAME_BYTES];
    bool is_found;
};

static bool find_file(void *context, const char *name) {
    struct removal *removal = context;
    uint64_t number = 0;
    enum lsm_file_kind kind;
    if (lsm_file_parse(removal->id, name, &number, &kind)) {
        lsm_file_name(removal->id, number, kind, removal->name);
        removal->is_found = true;
        return false;
    }
    return true;
}

static tern_status lsm_destroy(const struct engine_environment *environment, partition_id id,
                               tern_error *error) {
    const tern_file_system *system = environment->file_system;
    for (;;) {
        char path[FILE_PATH_BYTES];
        struct removal removal = {.id = id};
        tern_status status =
            system->list(system->context, environment->directory, find_file, &removal, error);
        if (status != TERN_OK || !removal.is_found) {
            return status;
        }
        status = path_join(path, environment->directory, removal.name, error);
        if (status == TERN_OK) {
            status = system->remove(system->context, path, error);
        }
        if (status != TERN_OK) {
            return status;
        }
    }
}

/* ---- the applier's side ---- */

static struct overlay *active_overlay(const struct lsm_engine *engine) {
    return engine->current->stack.active->overlay;
}

static void lsm_find_place(struct engine_view *view, const struct engine_change *change,
                           struct change_place *out_place) {
    overlay_find_place(lsm_view_of(view)->stack.active->overlay, change, out_place);
}

static void lsm_prefetch(struct engine *base, const struct engine_change *change,
                         const struct change_place *place) {
    overlay_prefetch(active_overlay(lsm_of(base)), change, place);
}

static void lsm_prefetch_next(struct engine *base, const struct engine_change *change) {
    overlay_prefetch_next(active_overlay(lsm_of(base)), change);
}

static tern_status lsm_reserve(struct engine *base, size_t count, size_t bytes, tern_error *error) {
    return overlay_reserve(active_overlay(lsm_of(base)), count, bytes, error);
}

static void lsm_apply(struct engine *base, const struct engine_change *changes, size_t count,
                      seq_no seq, const struct engine_horizon *horizon) {
    overlay_apply(active_overlay(lsm_of(base)), changes, count, seq, horizon);
}

static tern_status lsm_lacks(struct engine *base, struct engine_change *change, seq_no seq,
                             bool *out_lacks, tern_error *error) {
    (void)change;
    (void)error;
    *out_lacks = seq > lsm_of(base)->current->version->complete_seq;
    return TERN_OK;
}

static tern_status lsm_replay(struct engine *base, const struct engine_change *changes,
                              size_t count, seq_no seq, tern_error *error) {
    struct lsm_engine *engine = lsm_of(base);
    size_t bytes = 0;
    if (seq <= engine->current->version->complete_seq) {
        for (size_t i = 0; i < count; i++) {
            if (changes[i].record.kind == RECORD_LARGE) {
                value_discard(&engine->lsm, changes[i].record.value);
            }
        }
        return TERN_OK;
    }
    for (size_t i = 0; i < count; i++) {
        bytes += changes[i].key.size + changes[i].record.value.size;
    }
    if (count == 0) {
        return TERN_OK;
    }
    tern_status status = overlay_reserve(active_overlay(engine), count, bytes, error);
    if (status == TERN_OK) {
        overlay_apply(active_overlay(engine), changes, count, seq, NULL);
    }
    return status;
}

static tern_status lsm_freeze(struct engine *base, seq_no seq, uint64_t time_ms, bool *out_changed,
                              tern_error *error) {
    struct lsm_engine *engine = lsm_of(base);
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
    struct lsm_view *view = NULL;
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
    status = lsm_view_create(engine, &stack, engine->current->version, seq, &view, error);
    if (status != TERN_OK) {
        overlay_stack_release(&stack);
        return status;
    }
    old->active->frozen_seq = seq;
    old->active->frozen_time_ms = time_ms;
    atomic_fetch_add_explicit(&engine->drain_debt_bytes, overlay_bytes(old->active->overlay),
                              memory_order_relaxed);
    lsm_view_install(engine, view);
    *out_changed = true;
    return TERN_OK;
}

static void lsm_overlay_usage(struct engine *base, uint64_t *out_bytes,
                              uint64_t *out_active_bytes) {
    struct lsm_engine *engine = lsm_of(base);
    struct lsm_view *view = lsm_view_current(engine);
    const struct overlay_stack *stack = &view->stack;
    uint64_t active = overlay_bytes(stack->active->overlay);
    uint64_t bytes = active;
    for (uint32_t i = 0; i < stack->frozen_count; i++) {
        bytes += overlay_bytes(stack->frozen[i]->overlay);
    }
    engine_view_release(&view->head, engine->lsm.environment->epoch);
    *out_bytes = bytes;
    *out_active_bytes = active;
}

static struct engine_view *lsm_current_view(struct engine *engine) {
    return &lsm_view_current(lsm_of(engine))->head;
}

/* ---- values stored apart ---- */

struct engine_large_writer {
    const tern_allocator *allocator;
    struct value_output *output;
};

static tern_status lsm_large_begin(struct engine *base, struct engine_large_writer **out_writer,
                                   tern_error *error) {
    struct lsm_engine *engine = lsm_of(base);
    const tern_allocator *allocator = lsm_allocator(&engine->lsm);
    struct engine_large_writer *writer = memory_allocate(allocator, sizeof(*writer));
    if (writer == NULL) {
        return ERROR_NO_MEMORY(error, "writing a value");
    }
    writer->allocator = allocator;
    tern_status status = value_output_create(&engine->lsm, &writer->output, error);
    if (status != TERN_OK) {
        memory_release(allocator, writer);
        return status;
    }
    *out_writer = writer;
    return TERN_OK;
}

static tern_status lsm_large_append(struct engine_large_writer *writer, const void *bytes,
                                    size_t size, tern_error *error) {
    return value_output_append(writer->output, bytes, size, error);
}

static tern_status lsm_large_finish(struct engine_large_writer *writer, uint8_t *out_reference,
                                    size_t *out_reference_size, tern_error *error) {
    uint8_t reference[ENGINE_LARGE_REFERENCE_BYTES_MAX];
    size_t size = 0;
    tern_status status = value_output_finish(writer->output, reference, &size, error);
    tern_status closed =
        value_output_close(writer->output, status == TERN_OK, status == TERN_OK ? error : NULL);
    status = status == TERN_OK ? closed : status;
    memory_release(writer->allocator, writer);
    if (status == TERN_OK) {
        memcpy(out_reference, reference, size);
        *out_reference_size = size;
    }
    return status;
}

static void lsm_large_abandon(struct engine_large_writer *writer) {
    if (writer != NULL) {
        (void)value_output_close(writer->output, false, NULL);
        memory_release(writer->allocator, writer);
    }
}

static void lsm_large_discard(struct engine *engine, tern_slice reference) {
    value_discard(&lsm_of(engine)->lsm, reference);
}

static tern_status lsm_large_read(struct engine *engine, tern_slice reference, uint64_t offset,
                                  void *buffer, size_t capacity, size_t *out_size,
                                  tern_error *error) {
    return value_read(&lsm_of(engine)->lsm, reference, offset, buffer, capacity, out_size, error);
}

const struct engine_methods lsm_engine_methods = {
    .name = "lsm",
    .is_ordered = true,
    .open = lsm_open,
    .close = lsm_close,
    .destroy = lsm_destroy,
    .key_bytes_max = lsm_key_bytes_max,
    .prefetch = lsm_prefetch,
    .prefetch_next = lsm_prefetch_next,
    .reserve = lsm_reserve,
    .apply = lsm_apply,
    .replay = lsm_replay,
    .lacks = lsm_lacks,
    .freeze = lsm_freeze,
    .overlay_usage = lsm_overlay_usage,
    .drain_debt = lsm_drain_debt,
    .drain_step = lsm_drain_step,
    .seal = lsm_seal,
    .sync = lsm_sync,
    .state = lsm_state,
    .publish = lsm_publish,
    .release = lsm_release,
    .compact_begin = lsm_compact_begin,
    .compact_end = lsm_compact_end,
    .compact_step = lsm_compact_step,
    .maintain_step = lsm_maintain_step,
    .restyle = lsm_restyle,
    .spill = lsm_spill,
    .shrink = lsm_shrink,
    .current_view = lsm_current_view,
    .view_destroy = lsm_view_destroy,
    .is_held = lsm_is_held,
    .get = lsm_get,
    .find_place = lsm_find_place,
    .multi_get = lsm_multi_get,
    .pin = lsm_pin,
    .unpin = lsm_unpin,
    .cursor_open = lsm_engine_cursor_open,
    .cursor_close = merge_cursor_close,
    .cursor_renew = merge_cursor_renew,
    .cursor_seek = merge_cursor_seek,
    .cursor_first = merge_cursor_first,
    .cursor_next = merge_cursor_next,
    .cursor_previous = merge_cursor_previous,
    .cursor_entry = merge_cursor_entry,
    .cursor_next_batch = merge_cursor_next_batch,
    .cursor_seek_batch = merge_cursor_seek_batch,
    .estimate = lsm_estimate,
    .changed_since = lsm_changed_since,
    .large_begin = lsm_large_begin,
    .large_append = lsm_large_append,
    .large_finish = lsm_large_finish,
    .large_abandon = lsm_large_abandon,
    .large_discard = lsm_large_discard,
    .large_read = lsm_large_read,
    .verify = lsm_verify,
    .salvage = lsm_salvage,
    .export_base = lsm_export_base,
    .ingest = lsm_ingest,
    .stats = lsm_stats,
};
