/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a new version. A drain and a compaction may both be under way; neither shows anything
 * before it is whole. Then seal makes a version of their results, sync makes all new files durable,
 * state describes it for the manifest, publish shows it and notes which files it no longer needs.
 *
 *   drain_step, compact_step, maintain_step --> whole --seal--> sealed --publish--> idle
 *
 * A drain that fails is begun anew from its overlay, a compaction from its plan; until one has
 * succeeded, drains do not wait for level 0 to become shorter, and writers do not pay for it. A
 * sealed version stays until it is published, however often the manifest has to be tried.
 *
 * Beside a long compaction there may be one on its side, of runs of level 0 that drains have added
 * since. It ends with the long one at the latest: what it would read below its inputs is gone then.
 */
#include "base/assert.h"
#include "base/error.h"
#include "engine/lsm/lsm_engine_internal.h"

/* Of an overlay that is written and not shown yet, counted as debt: while that waits for the
 * device, writers slow down before their room is used up, and do not stand still then. */
#define UNPUBLISHED_PART 32u

/* The plan of the compaction under way, or NULL. */
static const struct compaction_plan *plan_of(const struct lsm_engine *engine) {
    return engine->compaction != NULL ? engine->compaction->plan : NULL;
}

/* ---- what is left to do ---- */

void lsm_update_debt(struct lsm_engine *engine) {
    struct lsm_view *view = lsm_view_current(engine);
    const struct overlay_stack *stack = &view->stack;
    /* Nobody can work off what fails. */
    uint64_t debt = engine->is_compaction_failing
                        ? 0
                        : compaction_debt(view->version, engine->style, plan_of(engine));
    for (uint32_t i = 0; i < stack->frozen_count; i++) {
        const struct shared_overlay *shared = stack->frozen[i];
        uint64_t bytes = overlay_bytes(shared->overlay);
        uint64_t keys = overlay_key_count(shared->overlay);
        uint64_t least = bytes / UNPUBLISHED_PART;
        if (engine->sealed.source == shared) {
            bytes = 0;
        } else if (engine->drain != NULL && engine->drain->source == shared && keys > 0) {
            uint64_t done = engine->drain->merged_keys;
            uint64_t left = done < keys ? keys - done : 0;
            bytes = (uint64_t)((double)bytes * (double)left / (double)keys);
        }
        debt += bytes > least ? bytes : least;
    }
    atomic_store_explicit(&engine->drain_debt_bytes, debt, memory_order_relaxed);
    engine_view_release(&view->head, engine->lsm.environment->epoch);
}

uint64_t lsm_drain_debt(struct engine *engine) {
    return atomic_load_explicit(&lsm_of(engine)->drain_debt_bytes, memory_order_relaxed);
}

/* ---- compaction ---- */

static void drop_compaction(struct lsm_engine *engine) {
    compaction_destroy(engine->compaction);
    compaction_destroy(engine->side);
    engine->compaction = engine->side = NULL;
}

/* Works on the one, which is there; after a failure neither is. */
static tern_status run_compaction(struct lsm_engine *engine, struct compaction *compaction,
                                  size_t quantum_bytes, enum engine_drain_state *out_state,
                                  tern_error *error) {
    tern_status status = compaction_run(compaction, quantum_bytes, error);
    if (status != TERN_OK) {
        drop_compaction(engine);
        engine->is_compaction_failing = true;
        lsm_update_debt(engine);
        return status;
    }
    *out_state = compaction->is_done ? ENGINE_DRAIN_SLICE : ENGINE_DRAIN_MORE;
    return TERN_OK;
}

static bool is_at_rest(const struct lsm_engine *engine) {
    const _Atomic bool *is_at_rest = engine->lsm.environment->is_at_rest;
    return is_at_rest != NULL && atomic_load_explicit(is_at_rest, memory_order_relaxed);
}

/* Begins the next compaction; with `all` the whole base. None: engine->compaction stays NULL. */
static tern_status start_compaction(struct lsm_engine *engine, bool all, tern_error *error) {
    struct compaction_plan *plan = NULL;
    struct lsm_view *view = lsm_view_current(engine);
    tern_status status = all ? compaction_pick_all(view->version, &plan, error)
                             : compaction_pick(view->version, engine->style, is_at_rest(engine),
                                               &engine->memory, &plan, error);
    if (status == TERN_OK && plan != NULL) {
        status = compaction_start(view->version, plan, &engine->compaction, error);
    }
    engine_view_release(&view->head, engine->lsm.environment->epoch);
    if (status == TERN_OK && engine->compaction != NULL) {
        lsm_update_debt(engine); /* writers have not to pay for what it takes */
    }
    return status;
}

/* Works on the compaction under way, or on the next. */
static tern_status step_compaction(struct lsm_engine *engine, bool all, size_t quantum_bytes,
                                   enum engine_drain_state *out_state, tern_error *error) {
    tern_status status = TERN_OK;
    if (engine->sealed.version != NULL) {
        *out_state = ENGINE_DRAIN_SLICE;
        return TERN_OK;
    }
    if (engine->compaction == NULL) {
        /* Whoever comes first: or others would begin smaller ones as long as writes go on. */
        status = start_compaction(engine, all || engine->wants_all, error);
    }
    if (status == TERN_OK && engine->compaction == NULL) {
        *out_state = engine->memory.is_asking ? ENGINE_DRAIN_MORE : ENGINE_DRAIN_IDLE;
        return TERN_OK;
    }
    if (status != TERN_OK) {
        engine->is_compaction_failing = true;
        lsm_update_debt(engine);
        return status;
    }
    return run_compaction(engine, engine->compaction, quantum_bytes, out_state, error);
}

/* Level 0 has grown long beside a long compaction. */
static bool wants_side(struct lsm_engine *engine) {
    const struct compaction_plan *plan = plan_of(engine);
    if (plan == NULL || !plan->is_long || engine->compaction->is_done ||
        engine->sealed.version != NULL) {
        return false;
    }
    if (engine->side != NULL) {
        return true;
    }
    struct lsm_view *view = lsm_view_current(engine);
    bool wants =
        !engine->is_compaction_failing && compaction_wants_side(view->version, engine->style, plan);
    engine_view_release(&view->head, engine->lsm.environment->epoch);
    return wants;
}

static tern_status start_side(struct lsm_engine *engine, tern_error *error) {
    struct compaction_plan *plan = NULL;
    struct lsm_view *view = lsm_view_current(engine);
    tern_status status =
        compaction_pick_side(view->version, engine->style, plan_of(engine), &plan, error);
    if (status == TERN_OK && plan != NULL) {
        status = compaction_start(view->version, plan, &engine->side, error);
    }
    engine_view_release(&view->head, engine->lsm.environment->epoch);
    return status;
}

/* When wants_side says so. */
static tern_status step_side(struct lsm_engine *engine, size_t quantum_bytes,
                             enum engine_drain_state *out_state, tern_error *error) {
    tern_status status = engine->side == NULL ? start_side(engine, error) : TERN_OK;
    if (status != TERN_OK) {
        return status;
    }
    return run_compaction(engine, engine->side, quantum_bytes, out_state, error);
}

void lsm_compact_begin(struct engine *base) {
    struct lsm_engine *engine = lsm_of(base);
    engine->has_compacted_all = false;
    engine->wants_all = true;
    if (engine->compaction != NULL) {
        engine->compaction->is_outdated = true;
    }
}

void lsm_compact_end(struct engine *engine) {
    lsm_of(engine)->wants_all = false;
}

tern_status lsm_compact_step(struct engine *base, size_t quantum_bytes,
                             enum engine_drain_state *out_state, tern_error *error) {
    struct lsm_engine *engine = lsm_of(base);
    /* Drains have added runs meanwhile, and always would have. */
    if (engine->has_compacted_all && engine->sealed.version == NULL) {
        engine->has_compacted_all = false;
        *out_state = ENGINE_DRAIN_IDLE;
        return TERN_OK;
    }
    /* In turns: neither keeps the other from its end. */
    engine->was_side_turn = !engine->was_side_turn && wants_side(engine);
    return engine->was_side_turn ? step_side(engine, quantum_bytes, out_state, error)
                                 : step_compaction(engine, true, quantum_bytes, out_state, error);
}

tern_status lsm_maintain_step(struct engine *base, size_t quantum_bytes,
                              enum engine_drain_state *out_state, tern_error *error) {
    struct lsm_engine *engine = lsm_of(base);
    return wants_side(engine) ? step_side(engine, quantum_bytes, out_state, error)
                              : step_compaction(engine, false, quantum_bytes, out_state, error);
}

/* Levels stay as they are: what the new style wants otherwise it chooses to merge. */
void lsm_restyle(struct engine *base, const tern_keyspace_options *options) {
    struct lsm_engine *engine = lsm_of(base);
    engine->style = (enum lsm_style)options->compaction;
    engine->lsm.config.options.compaction = options->compaction;
    lsm_update_debt(engine);
}

/* ---- drains ---- */

/* Begins with the oldest frozen overlay, if there is one. */
static tern_status start_drain(struct lsm_engine *engine, tern_error *error) {
    struct lsm_view *view = lsm_view_current(engine);
    const struct overlay_stack *stack = &view->stack;
    tern_status status = TERN_OK;
    if (stack->frozen_count > 0) {
        status = lsm_drain_start(&engine->lsm, stack->frozen[stack->frozen_count - 1],
                                 view->version, &engine->drain, error);
    }
    engine_view_release(&view->head, engine->lsm.environment->epoch);
    return status;
}

static bool must_compact_first(struct lsm_engine *engine) {
    struct lsm_view *view = lsm_view_current(engine);
    bool must = view->stack.frozen_count > 0 && engine->drain == NULL &&
                !engine->is_compaction_failing &&
                compaction_is_urgent(view->version, engine->style, plan_of(engine));
    engine_view_release(&view->head, engine->lsm.environment->epoch);
    return must;
}

tern_status lsm_drain_step(struct engine *base, size_t quantum_bytes,
                           enum engine_drain_state *out_state, tern_error *error) {
    struct lsm_engine *engine = lsm_of(base);
    tern_status status = TERN_OK;
    if (engine->sealed.version != NULL || (engine->drain != NULL && engine->drain->is_done)) {
        *out_state = ENGINE_DRAIN_SLICE;
        return TERN_OK;
    }
    if (must_compact_first(engine)) {
        /* A level 0 that is too long is better than overlays that never go. */
        if (lsm_maintain_step(base, quantum_bytes, out_state, NULL) == TERN_OK &&
            *out_state != ENGINE_DRAIN_IDLE) {
            return TERN_OK;
        }
    }
    if (engine->drain == NULL) {
        status = start_drain(engine, error);
    }
    if (status == TERN_OK && engine->drain == NULL) {
        *out_state = ENGINE_DRAIN_IDLE;
        return TERN_OK;
    }
    if (status == TERN_OK) {
        status = lsm_drain_run(engine->drain, quantum_bytes, error);
    }
    if (status != TERN_OK) {
        lsm_drain_destroy(engine->drain);
        engine->drain = NULL;
    } else {
        *out_state = engine->drain->is_done ? ENGINE_DRAIN_SLICE : ENGINE_DRAIN_MORE;
    }
    lsm_update_debt(engine);
    return status;
}

/* ---- sealing ---- */

/* The version with the drain's run in it. */
static tern_status apply_drain(const struct lsm_engine *engine, const struct lsm_version *version,
                               struct lsm_version **out_version, tern_error *error) {
    const struct lsm_drain *drain = engine->drain;
    uint64_t time_ms = drain->source->frozen_time_ms;
    const struct version_edit edit = {
        .added = drain->output.tables,
        .added_count = drain->output.table_count,
        .is_newest = true,
        .complete_seq = drain->source->frozen_seq,
        .base_time_ms = time_ms > version->base_time_ms ? time_ms : version->base_time_ms,
    };
    return version_apply(version, &edit, out_version, error);
}

static tern_status apply_compaction(const struct compaction *compaction,
                                    const struct lsm_version *version,
                                    struct lsm_version **out_version, tern_error *error) {
    struct version_edit edit;
    compaction_edit(compaction, version, &edit);
    return version_apply(version, &edit, out_version, error);
}

/* The results are in the sealed version now. */
static void finish_drain(struct lsm_engine *engine) {
    struct lsm_drain *drain = engine->drain;
    struct buffer emptied = engine->sealed.garbage;
    engine->sealed.source = drain->source;
    shared_overlay_retain(drain->source);
    engine->sealed.garbage = drain->garbage;
    emptied.size = 0;
    drain->garbage = emptied;
    drain->output.is_kept = true;
    atomic_fetch_add_explicit(&engine->drains, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&engine->drained_bytes, overlay_bytes(drain->source->overlay),
                              memory_order_relaxed);
    lsm_drain_destroy(drain);
    engine->drain = NULL;
}

static void finish_side(struct lsm_engine *engine) {
    engine->side->output.is_kept = true;
    atomic_fetch_add_explicit(&engine->compactions, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&engine->side_merges, 1, memory_order_relaxed);
    compaction_destroy(engine->side);
    engine->side = NULL;
}

/* And with it what is on its side and not done. */
static void finish_compaction(struct lsm_engine *engine) {
    engine->compaction->output.is_kept = true;
    engine->is_compaction_failing = false;
    if (engine->compaction->plan->is_all) {
        engine->has_compacted_all = !engine->compaction->is_outdated;
        engine->wants_all = engine->wants_all && engine->compaction->is_outdated;
    }
    atomic_fetch_add_explicit(engine->compaction->plan->is_move ? &engine->moves
                                                                : &engine->compactions,
                              1, memory_order_relaxed);
    drop_compaction(engine);
}

/* The version with all in it that is done. */
static tern_status apply_done(struct lsm_engine *engine, struct lsm_version **out_sealed,
                              tern_error *error) {
    const struct compaction *done[2] = {engine->compaction, engine->side};
    struct lsm_view *view = lsm_view_current(engine);
    struct lsm_version *sealed = view->version;
    tern_status status = TERN_OK;
    version_retain(sealed);
    for (unsigned i = 0; status == TERN_OK && i < 3; i++) {
        struct lsm_version *next = NULL;
        if (i < 2 && done[i] != NULL && done[i]->is_done) {
            status = apply_compaction(done[i], sealed, &next, error);
        } else if (i == 2 && engine->drain != NULL && engine->drain->is_done) {
            status = apply_drain(engine, sealed, &next, error);
        }
        if (next != NULL) {
            version_release(sealed);
            sealed = next;
        }
    }
    engine_view_release(&view->head, engine->lsm.environment->epoch);
    if (status != TERN_OK) {
        version_release(sealed);
        return status;
    }
    *out_sealed = sealed;
    return TERN_OK;
}

tern_status lsm_seal(struct engine *base, bool *out_changed, tern_error *error) {
    struct lsm_engine *engine = lsm_of(base);
    bool has_drain = engine->drain != NULL && engine->drain->is_done;
    bool has_compaction = engine->compaction != NULL && engine->compaction->is_done;
    bool has_side = engine->side != NULL && engine->side->is_done;
    struct lsm_version *sealed = NULL;
    if (engine->sealed.version != NULL) {
        *out_changed = true;
        return TERN_OK;
    }
    if (!has_drain && !has_compaction && !has_side) {
        *out_changed = false;
        return TERN_OK;
    }
    tern_status status = apply_done(engine, &sealed, error);
    if (status != TERN_OK) {
        return status;
    }
    engine->sealed.version = sealed;
    if (has_side) {
        finish_side(engine);
    }
    if (has_compaction) {
        finish_compaction(engine);
    }
    if (has_drain) {
        finish_drain(engine);
    }
    lsm_update_debt(engine);
    *out_changed = true;
    return TERN_OK;
}

tern_status lsm_sync(struct engine *base, bool *out_in_doubt, tern_error *error) {
    return file_registry_sync(lsm_of(base)->lsm.files, out_in_doubt, error);
}

tern_status lsm_state(struct engine *base, struct buffer *out_state,
                      struct engine_drained *out_drained, tern_error *error) {
    struct lsm_engine *engine = lsm_of(base);
    struct lsm_view *view = lsm_view_current(engine);
    const struct lsm_version *version =
        engine->sealed.version != NULL ? engine->sealed.version : view->version;
    tern_status status = lsm_state_encode(version, out_state, error);
    if (status == TERN_OK) {
        out_drained->complete_seq = version->complete_seq;
    }
    engine_view_release(&view->head, engine->lsm.environment->epoch);
    return status;
}

/* ---- publishing ---- */

static void drop_sealed(struct lsm_engine *engine) {
    struct sealed_version *sealed = &engine->sealed;
    version_release(sealed->version);
    sealed->version = NULL;
    if (sealed->source != NULL) {
        shared_overlay_release(lsm_allocator(&engine->lsm), sealed->source);
        sealed->source = NULL;
    }
    sealed->garbage.size = 0;
}

void lsm_forget_work(struct lsm_engine *engine) {
    lsm_drain_destroy(engine->drain);
    engine->drain = NULL;
    drop_compaction(engine);
    drop_sealed(engine);
}

static bool has_table(const struct lsm_version *version, const struct lsm_table *table) {
    for (uint32_t i = 0; i < version->run_count; i++) {
        const struct lsm_run *run = &version->runs[i];
        uint32_t index = key_directory_find(&run->directory, table->lower);
        if (index != UINT32_MAX && run->tables[index] == table) {
            return true;
        }
    }
    return false;
}

/* Files that views of the old version need and those of the new one do not. */
static void supersede_files(struct lsm_engine *engine, const struct lsm_version *old,
                            uint64_t generation) {
    const struct lsm_version *new_version = engine->sealed.version;
    struct file_registry *files = engine->lsm.files;
    const struct buffer *garbage = &engine->sealed.garbage;
    for (uint32_t i = 0; i < old->run_count; i++) {
        for (uint32_t j = 0; j < old->runs[i].count; j++) {
            const struct lsm_table *table = old->runs[i].tables[j];
            if (!has_table(new_version, table)) {
                file_registry_supersede(files, table->number, generation);
            }
        }
    }
    for (uint32_t i = 0; i < old->use_count; i++) {
        if (version_use(new_version, old->uses[i].number) == NULL) {
            file_registry_supersede(files, old->uses[i].number, generation);
        }
    }
    for (size_t i = 0; i + sizeof(uint64_t) <= garbage->size; i += sizeof(uint64_t)) {
        uint64_t number;
        memcpy(&number, garbage->data + i, sizeof(number));
        if (version_use(new_version, number) == NULL) {
            file_registry_supersede(files, number, generation);
        }
    }
    file_registry_set_generation(files, generation);
}

tern_status lsm_publish(struct engine *base, uint64_t generation, tern_error *error) {
    struct lsm_engine *engine = lsm_of(base);
    struct sealed_version *sealed = &engine->sealed;
    struct overlay_stack stack;
    struct lsm_view *view = NULL;
    if (sealed->version == NULL) {
        return TERN_OK;
    }
    tern_status status = overlay_stack_copy(&engine->current->stack, &stack, error);
    if (status != TERN_OK) {
        return status;
    }
    if (sealed->source != NULL) {
        ASSERT(stack.frozen_count > 0 && stack.frozen[stack.frozen_count - 1] == sealed->source);
        stack.frozen_count--;
        shared_overlay_release(lsm_allocator(&engine->lsm), sealed->source);
    }
    status = lsm_view_create(engine, &stack, sealed->version, engine->current->head.floor_seq,
                             &view, error);
    if (status != TERN_OK) {
        overlay_stack_release(&stack);
        return status;
    }
    supersede_files(engine, engine->current->version, generation);
    drop_sealed(engine);
    lsm_view_install(engine, view);
    lsm_update_debt(engine);
    return TERN_OK;
}

bool lsm_release(struct engine *base, const uint64_t *live, size_t live_count) {
    return file_registry_release(lsm_of(base)->lsm.files, live, live_count);
}

/* Files are as long as what is in them. */
tern_status lsm_shrink(struct engine *base, uint64_t *out_freed_bytes, tern_error *error) {
    (void)base;
    (void)error;
    *out_freed_bytes = 0;
    return TERN_OK;
}
