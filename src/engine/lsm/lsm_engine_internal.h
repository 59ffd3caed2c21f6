/* SPDX-License-Identifier: Apache-2.0 */
/* What the files behind the engine table share. */
#ifndef TERN_ENGINE_LSM_ENGINE_INTERNAL_H
#define TERN_ENGINE_LSM_ENGINE_INTERNAL_H

#include "engine/lsm/compaction.h"
#include "engine/lsm/drain.h"
#include "engine/lsm/file_registry.h"
#include "engine/lsm/lsm_engine.h"
#include "engine/lsm/state.h"
#include "os/mutex.h"

/* What readers read. Immutable but for the active overlay's contents. */
struct lsm_view {
    struct engine_view head;
    struct overlay_stack stack;
    struct lsm_version *version;
};

/* A version whose tables are written and that waits to be published. */
struct sealed_version {
    struct lsm_version *version;   /* NULL: none */
    struct shared_overlay *source; /* the overlay it drains; NULL: none */
    struct buffer garbage;         /* value files that the drain left without use */
};

struct lsm_engine {
    struct engine head;
    struct lsm lsm;
    enum lsm_style style;

    struct mutex lock;           /* guards `current` against the other role's change */
    struct lsm_view *current;    /* with a reference */
    _Atomic uint64_t view_count; /* views that have not been destroyed */

    /* maintenance role */
    struct lsm_drain *drain;
    struct compaction *compaction;
    struct compaction *side; /* of runs that a long `compaction` does not take; or NULL */
    bool was_side_turn;
    struct compaction_memory memory;
    bool is_compaction_failing; /* none has succeeded since one failed */
    bool wants_all;             /* the next compaction is to be of the whole base */
    bool has_compacted_all;     /* as the last compact_begin wants it */
    struct sealed_version sealed;

    _Atomic uint64_t drain_debt_bytes;
    _Atomic uint64_t drains;
    _Atomic uint64_t drained_bytes; /* of overlays: what write amplification is measured against */
    _Atomic uint64_t compactions;
    _Atomic uint64_t moves;
    _Atomic uint64_t side_merges;
};

static inline struct lsm_engine *lsm_of(struct engine *engine) {
    return (struct lsm_engine *)engine;
}
static inline struct lsm_view *lsm_view_of(struct engine_view *view) {
    return (struct lsm_view *)view;
}

/* ---- views (lsm_view.c) ---- */

/* Takes over the stack; retains the version. One reference. */
TERN_MUST_CHECK tern_status lsm_view_create(struct lsm_engine *engine, struct overlay_stack *stack,
                                            struct lsm_version *version, seq_no floor_seq,
                                            struct lsm_view **out_view, tern_error *error);
void lsm_view_install(struct lsm_engine *engine, struct lsm_view *view);
struct lsm_view *lsm_view_current(struct lsm_engine *engine);
void lsm_view_destroy(struct engine_view *view);
bool lsm_is_held(struct engine *engine);
/* engine_methods.spill */
tern_status lsm_spill(struct engine_view *view, size_t quantum_bytes, uint64_t *out_bytes,
                      tern_error *error);

/* ---- readers (lsm_reader.c, lsm_estimate.c) ---- */

tern_status lsm_get(struct engine_view *view, tern_slice key, uint64_t key_hash,
                    const struct engine_moment *moment, struct engine_scratch *scratch,
                    struct engine_result *out_result, tern_error *error);
tern_status lsm_multi_get(struct engine_view *view, struct engine_get *gets, size_t count,
                          const struct engine_moment *moment, struct engine_scratch *scratch,
                          void (*on_result)(void *context, size_t index), void *context,
                          tern_error *error);
void lsm_pin(struct engine_view *view, const struct engine_result *result);
void lsm_unpin(struct engine_view *view, void *frame);
tern_status lsm_engine_cursor_open(struct engine_view *view, const struct engine_moment *moment,
                                   const struct engine_cursor_bounds *bounds, bool keys_only,
                                   struct engine_cursor **out_cursor, tern_error *error);
tern_status lsm_estimate(struct engine_view *view, const struct engine_cursor_bounds *bounds,
                         uint64_t *out_count, uint64_t *out_bytes, tern_error *error);
bool lsm_changed_since(struct engine_view *view, const struct engine_cursor_bounds *bounds,
                       seq_no since);

/* ---- maintenance (lsm_maintenance.c, lsm_bulk.c) ---- */

tern_status lsm_drain_step(struct engine *engine, size_t quantum_bytes,
                           enum engine_drain_state *out_state, tern_error *error);
tern_status lsm_seal(struct engine *engine, bool *out_changed, tern_error *error);
tern_status lsm_sync(struct engine *engine, bool *out_in_doubt, tern_error *error);
tern_status lsm_state(struct engine *engine, struct buffer *out_state,
                      struct engine_drained *out_drained, tern_error *error);
tern_status lsm_publish(struct engine *engine, uint64_t generation, tern_error *error);
bool lsm_release(struct engine *engine, const uint64_t *live, size_t live_count);
void lsm_compact_begin(struct engine *engine);
void lsm_compact_end(struct engine *engine);
tern_status lsm_compact_step(struct engine *engine, size_t quantum_bytes,
                             enum engine_drain_state *out_state, tern_error *error);
tern_status lsm_maintain_step(struct engine *engine, size_t quantum_bytes,
                              enum engine_drain_state *out_state, tern_error *error);
void lsm_restyle(struct engine *engine, const tern_keyspace_options *options);
tern_status lsm_shrink(struct engine *engine, uint64_t *out_freed_bytes, tern_error *error);
uint64_t lsm_drain_debt(struct engine *engine);
void lsm_update_debt(struct lsm_engine *engine);
/* Gives up what was begun and not published (at close). */
void lsm_forget_work(struct lsm_engine *engine);
tern_status lsm_export_base(struct engine_view *view, const char *target_directory,
                            struct buffer *out_state, tern_error *error);
tern_status lsm_ingest(struct engine *engine,
                       tern_status (*next)(void *context, tern_slice *out_key,
                                           struct record *out_record),
                       void *context, tern_error *error);

/* ---- care (lsm_check.c, lsm_salvage.c, lsm_stats.c) ---- */

tern_status lsm_verify(struct engine_view *view, tern_finding_function on_finding, void *context,
                       tern_progress_function progress, void *progress_context,
                       tern_verify_report *report, tern_error *error);
tern_status lsm_salvage(const struct engine_environment *environment,
                        const struct engine_config *config, tern_slice state,
                        tern_status (*visit)(void *context, tern_slice key,
                                             const struct record *record, uint64_t generation),
                        void *visit_context, tern_finding_function on_finding,
                        void *finding_context, uint64_t *out_lost_pages, tern_error *error);
tern_status lsm_stats(struct engine_view *view, tern_stat_visitor visit, void *context,
                      tern_error *error);

/* Fills what every user of a partition's files needs; close with lsm_leave. */
TERN_MUST_CHECK tern_status lsm_enter(struct lsm *lsm, const struct engine_environment *environment,
                                      const struct engine_config *config, tern_error *error);
void lsm_leave(struct lsm *lsm);

#endif
