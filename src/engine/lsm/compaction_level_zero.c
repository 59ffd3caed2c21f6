/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long level 0 is, and what keeps it short.
 *
 * Each drain adds a run to it; compaction takes them all down at once. A compaction that takes long
 * while level 0 cannot go down (of the whole base, or of levels below) would let it grow without
 * end. So what drains add meanwhile is merged beside it, among itself: the newest runs as far as
 * each is not much longer than those before it together, into one run in their place. So a record
 * is merged about once each time that level 0 has doubled.
 *
 * Writers pay for what is over half as much again as is wanted, and drains wait at three times as
 * many runs: both count only runs that no compaction is taking down already. So the longer one
 * takes, the more runs the next one takes at once, and the more cheaply.
 *
 * How much room a merge would give back depends on whether level 0 has newer values of old keys, or
 * new keys. Of each table the first and the last key are known; they tell, about.
 */
#include "engine/lsm/compaction.h"

/* Keys looked for in older runs, about. */
#define KEYS_SAMPLED 32u
/* In one call, of two keys each: blocks have to be read for it. */
#define TABLES_ASKED     2u
#define RUNS_WANTED      4u
#define RUNS_WANTED_FIFO 10u
/* Times the runs wanted, at which drains wait. */
#define RUNS_URGENT 3u
/* A run so much longer than those before it together is left as it is. */
#define LENGTH_FACTOR 2u

uint32_t compaction_runs_wanted(enum lsm_style style) {
    return style == LSM_STYLE_FIFO ? RUNS_WANTED_FIFO : RUNS_WANTED;
}

static bool is_input(const struct compaction_plan *plan, const struct lsm_table *table) {
    for (uint32_t i = 0; plan != NULL && i < plan->input_count; i++) {
        if (plan->inputs[i] == table) {
            return true;
        }
    }
    return false;
}

/* Runs of level 0, newest first, that the compaction under way does not take. */
static uint32_t count_runs(const struct lsm_version *version, const struct compaction_plan *plan,
                           uint64_t *out_bytes) {
    uint32_t count = 0;
    uint64_t bytes = 0;
    while (count < version->run_count && version->runs[count].level == 0 &&
           !is_input(plan, version->runs[count].tables[0])) {
        bytes += version->runs[count++].file_bytes;
    }
    *out_bytes = bytes;
    return count;
}

static uint32_t runs_tolerated(enum lsm_style style) {
    uint32_t wanted = compaction_runs_wanted(style);
    return wanted + wanted / 2;
}

uint64_t compaction_debt(const struct lsm_version *version, enum lsm_style style,
                         const struct compaction_plan *plan) {
    uint64_t bytes = 0;
    uint32_t runs = count_runs(version, plan, &bytes);
    uint32_t over = runs > runs_tolerated(style) ? runs - compaction_runs_wanted(style) : 0;
    return runs > 0 ? bytes / runs * over : 0;
}

bool compaction_is_urgent(const struct lsm_version *version, enum lsm_style style,
                          const struct compaction_plan *plan) {
    uint64_t bytes = 0;
    return count_runs(version, plan, &bytes) >= RUNS_URGENT * compaction_runs_wanted(style);
}

bool compaction_wants_side(const struct lsm_version *version, enum lsm_style style,
                           const struct compaction_plan *plan) {
    uint64_t bytes = 0;
    return count_runs(version, plan, &bytes) > runs_tolerated(style);
}

tern_status compaction_pick_side(struct lsm_version *version, enum lsm_style style,
                                 const struct compaction_plan *plan,
                                 struct compaction_plan **out_plan, tern_error *error) {
    uint64_t bytes = 0;
    uint32_t runs = count_runs(version, plan, &bytes);
    *out_plan = NULL;
    if (runs <= runs_tolerated(style)) {
        return TERN_OK;
    }
    uint32_t count = 1;
    uint64_t sum = version->runs[0].file_bytes;
    while (count < runs && version->runs[count].file_bytes <= LENGTH_FACTOR * sum) {
        sum += version->runs[count++].file_bytes;
    }
    /* Each much longer than the one before it, and yet too many. */
    count = count < 2 ? runs : count;
    *out_plan = compaction_plan_runs(version, 0, count, 0, error);
    if (*out_plan == NULL) {
        return TERN_NO_MEMORY;
    }
    (*out_plan)->takes_place = true;
    return TERN_OK;
}

/* ---- what level 0 replaces ---- */

/* Whether runs from `first_run` on have anything of the key. */
static bool is_known(const struct lsm_version *version, uint32_t first_run, tern_slice key) {
    const struct lsm *lsm = version->lsm;
    struct resolution resolution;
    resolution_init(&resolution, lsm_allocator(lsm));
    struct epoch_slot *slot = epoch_enter(lsm->environment->epoch);
    tern_status status = version_lookup(
        version, first_run, key, key_hasher_hash(&lsm->config.hasher, key), &resolution, NULL);
    epoch_exit(slot);
    bool is_found = resolution.is_complete || resolution.operand_count > 0;
    resolution_release(&resolution);
    return status != TERN_OK || is_found;
}

/* Forgets what was found before the newest run came. */
static void begin_asking(const struct lsm_version *version, struct compaction_memory *memory) {
    uint64_t newest = version->run_count > 0 ? version->runs[0].tables[0]->number : 0;
    if (newest != memory->asked_table) {
        memory->asked_table = newest;
        memory->asked_places = memory->asked_keys = memory->known_keys = 0;
        memory->has_asked = false;
    }
}

static void ask_table(const struct lsm_version *version, struct compaction_memory *memory,
                      uint32_t run, const struct lsm_table *table) {
    if (table->numbers.records > 0) {
        memory->asked_keys += 2;
        memory->known_keys += is_known(version, run + 1, table->first) ? 1 : 0;
        memory->known_keys += is_known(version, run + 1, table->last) ? 1 : 0;
    }
}

bool compaction_ask(const struct lsm_version *version, struct compaction_memory *memory) {
    uint32_t tables = 0;
    uint32_t place = 0; /* of a table among those that are asked about */
    begin_asking(version, memory);
    if (memory->has_asked) {
        return true;
    }
    for (uint32_t i = 0; i < version->run_count && version->runs[i].level == 0; i++) {
        tables += version->runs[i].count;
    }
    uint32_t step = 2 * tables / KEYS_SAMPLED + 1;
    uint32_t end = memory->asked_places + TABLES_ASKED;
    for (uint32_t i = 0; i < version->run_count && version->runs[i].level == 0; i++) {
        const struct lsm_run *run = &version->runs[i];
        for (uint32_t j = 0; j < run->count; j += step, place++) {
            if (place == end) {
                memory->asked_places = end;
                return false;
            }
            if (place >= memory->asked_places) {
                ask_table(version, memory, i, run->tables[j]);
            }
        }
    }
    memory->has_asked = true;
    memory->is_replacing = 2 * memory->known_keys >= memory->asked_keys;
    return true;
}
