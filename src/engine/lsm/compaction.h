/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compaction: which tables to merge next, and merging them a quantum at a time. Maintenance role.
 * A compaction under way stays valid while drains publish: they only add runs that are newer than
 * all its inputs. Beside one that takes long there may be a second one, of such runs among
 * themselves (compaction_level_zero.c).
 */
#ifndef TERN_ENGINE_LSM_COMPACTION_H
#define TERN_ENGINE_LSM_COMPACTION_H

#include "engine/lsm/output.h"
#include "engine/lsm/version.h"
#include "engine/overlay/merge_cursor.h"

/* What to merge into what. */
struct compaction_plan {
    struct lsm_table **inputs; /* by run, newest run first, ascending within; one reference each */
    struct run_shape *shapes;
    uint32_t input_count, run_count;
    uint32_t level;           /* of the output */
    bool joins_run;           /* the output becomes part of the level's run */
    bool takes_place;         /* the output becomes a run where the inputs were */
    bool is_long;             /* level 0 cannot go down before it ends, which may take long */
    bool is_move;             /* the inputs only change their level */
    bool is_drop;             /* the inputs only go */
    bool is_all;              /* the inputs are the whole base */
    uint32_t first_older_run; /* runs of the version from here on are older than all inputs */
};

struct compaction_memory {
    tern_slice last_keys[LSM_LEVELS]; /* where the last pick of a level ended; owned */
    uint64_t asked_table; /* first of the newest run when compaction_ask began to look */
    uint32_t asked_places, asked_keys, known_keys;
    bool has_asked;    /* it has seen enough */
    bool is_replacing; /* then: what it found */
    bool is_asking;    /* the last pick chose nothing because it has not */
};

enum lsm_style { LSM_STYLE_LEVELED, LSM_STYLE_TIERED, LSM_STYLE_FIFO };

/* Chooses; *out_plan stays NULL when there is nothing to do, or memory->is_asking: then it is to be
 * called again. `is_at_rest`: nobody has written for long. */
TERN_MUST_CHECK tern_status compaction_pick(struct lsm_version *version, enum lsm_style style,
                                            bool is_at_rest, struct compaction_memory *memory,
                                            struct compaction_plan **out_plan, tern_error *error);
/* All of the base into one run of the last level; NULL when that would gain nothing. */
TERN_MUST_CHECK tern_status compaction_pick_all(struct lsm_version *version,
                                                struct compaction_plan **out_plan,
                                                tern_error *error);
void compaction_plan_destroy(struct lsm *lsm, struct compaction_plan *plan);
void compaction_memory_release(struct compaction_memory *memory, const tern_allocator *allocator);
/* `count` whole runs from `first` on into one run of `level`. NULL: no memory. */
struct compaction_plan *compaction_plan_runs(struct lsm_version *version, uint32_t first,
                                             uint32_t count, uint32_t level, tern_error *error);

/* ---- the length of level 0 (compaction_level_zero.c); `plan`: of the compaction under way, whose
 * inputs do not count, or NULL ---- */

/* Runs of a level before they are merged. */
uint32_t compaction_runs_wanted(enum lsm_style style);
/* Bytes that have to be compacted before level 0 is short again. */
uint64_t compaction_debt(const struct lsm_version *version, enum lsm_style style,
                         const struct compaction_plan *plan);
/* Level 0 is so long that drains must wait. */
bool compaction_is_urgent(const struct lsm_version *version, enum lsm_style style,
                          const struct compaction_plan *plan);
/* Runs that the long compaction does not take are to be merged among themselves; which of them. */
bool compaction_wants_side(const struct lsm_version *version, enum lsm_style style,
                           const struct compaction_plan *plan);
TERN_MUST_CHECK tern_status compaction_pick_side(struct lsm_version *version, enum lsm_style style,
                                                 const struct compaction_plan *plan,
                                                 struct compaction_plan **out_plan,
                                                 tern_error *error);

/* Looks whether most of the keys in level 0 are in older runs, too: at some of them, a few in each
 * call, once for each newest run. True when memory->is_replacing tells; yes when it cannot tell. */
bool compaction_ask(const struct lsm_version *version, struct compaction_memory *memory);

struct compaction {
    struct lsm *lsm;
    struct compaction_plan *plan;
    struct lsm_version *version; /* as it was when the plan was made */
    struct lsm_version *inputs;  /* the inputs as a version of their own */
    struct base_cursor *cursor;
    struct lsm_range *ranges;
    struct lsm_output output;
    struct engine_scratch scratch;
    uint64_t work_bytes;
    bool has_begun;
    bool keeps_expired; /* newer operands may have to learn that a value has expired */
    bool is_done;
    bool is_outdated; /* what was asked for since its plan goes further */
};

/* Takes over the plan. */
TERN_MUST_CHECK tern_status compaction_start(struct lsm_version *version,
                                             struct compaction_plan *plan,
                                             struct compaction **out_compaction, tern_error *error);
TERN_MUST_CHECK tern_status compaction_run(struct compaction *compaction, size_t quantum_bytes,
                                           tern_error *error);
void compaction_destroy(struct compaction *compaction);
/* The edit that puts the result in place; points into the compaction. */
void compaction_edit(const struct compaction *compaction, const struct lsm_version *current,
                     struct version_edit *out_edit);

#endif
