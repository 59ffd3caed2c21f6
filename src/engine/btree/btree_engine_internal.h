/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind the engine table share. */
#ifndef TERN_ENGINE_BTREE_ENGINE_INTERNAL_H
#define TERN_ENGINE_BTREE_ENGINE_INTERNAL_H

#include "engine/btree/btree_drain.h"
#include "engine/btree/btree_engine.h"
#include "engine/btree/btree_state.h"
#include "os/mutex.h"

/* What readers read. Immutable but for the active overlay's contents. */
struct btree_view {
    struct engine_view head;
    struct overlay_stack stack;
    struct btree_root *root;
    struct drained_map *drained;
};

/* A root whose blocks are written and that waits to be published. */
struct sealed_root {
    struct btree_root *root; /* NULL: none */
    struct drained_map *drained;
    struct shared_overlay *source; /* the overlay it drains; NULL: none */
    bool is_finished;              /* all of the source is in the root */
    tern_slice boundary;           /* in `drained`, when it is not */
    uint64_t source_keys;          /* of the source that are in the root */
};

/* A compaction from its plan until there is nothing to gain any more. */
struct compaction {
    bool is_running;
    uint64_t tail_place;   /* blocks from here on are moved down; UINT64_MAX: none */
    uint64_t budget_bytes; /* what may still be written; ends a compaction that gains nothing */
};

struct btree_engine {
    struct engine head;
    struct btree tree;
    struct generation_map generations; /* applier and maintenance role both held to change it */
    _Atomic uint64_t value_born;       /* page generation for values written now */

    struct mutex lock;          /* guards `current` against the other role's change */
    struct btree_view *current; /* with a reference */

    /* maintenance role */
    struct drain *drain; /* made for a drain, given up when there is nothing left to do */
    struct sealed_root sealed;
    uint64_t source_keys; /* of the oldest frozen overlay that are in the base */
    uint64_t slice_bytes;
    struct compaction compaction;
    _Atomic uint64_t view_count; /* views that have not been destroyed */

    _Atomic uint64_t drain_debt_bytes;
    _Atomic uint64_t frozen_bytes;
    _Atomic uint64_t drains;
    _Atomic uint64_t slices;
    _Atomic uint64_t drained_leaves;
    _Atomic uint64_t compactions;
};

static inline struct btree_engine *btree_of(struct engine *engine) {
    return (struct btree_engine *)engine;
}
static inline struct btree_view *btree_view_of(struct engine_view *view) {
    return (struct btree_view *)view;
}
static inline const tern_allocator *btree_allocator(const struct btree_engine *engine) {
    return engine->tree.environment->allocator;
}

/* ---- views (btree_view.c) ---- */

/* Takes over the stack; retains root and map. One reference. */
TERN_MUST_CHECK tern_status btree_view_create(struct btree_engine *engine,
                                              struct overlay_stack *stack, struct btree_root *root,
                                              struct drained_map *drained, seq_no floor_seq,
                                              struct btree_view **out_view, tern_error *error);
/* Makes it the current one; takes over the reference. */
void btree_view_install(struct btree_engine *engine, struct btree_view *view);
/* The current view with a reference for the caller. */
struct btree_view *btree_view_current(struct btree_engine *engine);
/* engine_methods.spill */
tern_status btree_spill(struct engine_view *view, size_t quantum_bytes, uint64_t *out_bytes,
                        tern_error *error);
/* When nobody else can hold it: no epoch. */
void btree_view_destroy(struct engine_view *view);
bool btree_is_held(struct engine *engine);

/* ---- readers (btree_reader.c) ---- */

tern_status btree_get(struct engine_view *view, tern_slice key, uint64_t key_hash,
                      const struct engine_moment *moment, struct engine_scratch *scratch,
                      struct engine_result *out_result, tern_error *error);
tern_status btree_multi_get(struct engine_view *view, struct engine_get *gets, size_t count,
                            const struct engine_moment *moment, struct engine_scratch *scratch,
                            void (*on_result)(void *context, size_t index), void *context,
                            tern_error *error);
void btree_pin(struct engine_view *view, const struct engine_result *result);
void btree_unpin(struct engine_view *view, void *frame);
tern_status btree_engine_cursor_open(struct engine_view *view, const struct engine_moment *moment,
                                     const struct engine_cursor_bounds *bounds, bool keys_only,
                                     struct engine_cursor **out_cursor, tern_error *error);
tern_status btree_engine_estimate(struct engine_view *view,
                                  const struct engine_cursor_bounds *bounds, uint64_t *out_count,
                                  uint64_t *out_bytes, tern_error *error);
bool btree_changed_since(struct engine_view *view, const struct engine_cursor_bounds *bounds,
                         seq_no since);

/* ---- the cache's contents over a restart (btree_warm.c) ---- */

size_t btree_cached_places(struct engine_view *view, uint64_t *out_places, size_t capacity);
tern_status btree_warm(struct engine_view *view, const uint64_t *places, size_t count,
                       struct engine_warming *warming, bool *out_more, tern_error *error);

/* ---- maintenance (btree_maintenance.c, btree_compact.c, btree_bulk.c) ---- */

tern_status btree_drain_step(struct engine *engine, size_t quantum_bytes,
                             enum engine_drain_state *out_state, tern_error *error);
tern_status btree_seal(struct engine *engine, bool *out_changed, tern_error *error);
tern_status btree_sync(struct engine *engine, bool *out_in_doubt, tern_error *error);
tern_status btree_state(struct engine *engine, struct buffer *out_state,
                        struct engine_drained *out_drained, tern_error *error);
tern_status btree_publish(struct engine *engine, uint64_t generation, tern_error *error);
bool btree_release(struct engine *engine, const uint64_t *live, size_t live_count);
tern_status btree_shrink(struct engine *engine, uint64_t *out_freed_bytes, tern_error *error);
void btree_space(struct engine *engine, struct engine_space *out_space);
uint64_t btree_drain_debt(struct engine *engine);
tern_status btree_compact_step(struct engine *engine, size_t quantum_bytes,
                               enum engine_drain_state *out_state, tern_error *error);
tern_status btree_export_base(struct engine_view *view, const char *target_directory,
                              struct buffer *out_state, tern_error *error);
tern_status btree_ingest(struct engine *engine,
                         tern_status (*next)(void *context, tern_slice *out_key,
                                             struct record *out_record),
                         void *context, tern_error *error);
/* Makes the drain when there is none. */
TERN_MUST_CHECK tern_status btree_need_drain(struct btree_engine *engine, tern_error *error);
/* Forgets a sealed root that was never published (at close). */
void btree_forget_sealed(struct btree_engine *engine);
void btree_update_debt(struct btree_engine *engine);

/* ---- care (btree_salvage.c, btree_stats.c) ---- */

tern_status btree_salvage(const struct engine_environment *environment,
                          const struct engine_config *config, tern_slice state,
                          tern_status (*visit)(void *context, tern_slice key,
                                               const struct record *record, uint64_t generation),
                          void *visit_context, tern_finding_function on_finding,
                          void *finding_context, uint64_t *out_lost_pages, tern_error *error);
tern_status btree_stats(struct engine_view *view, tern_stat_visitor visit, void *context,
                        tern_error *error);

/* Options with defaults for what is zero. */
struct engine_config btree_config_of(const struct engine_config *config);

#endif
