/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Choosing what to compact.
 *
 * Levelled, with dynamic level sizes (RocksDB): the last level is as large as the data; each level
 * above may hold a tenth of the one below, and level 0 goes to the first level that may hold
 * `base_bytes` (levels above it stay empty). What is over its size most is compacted first, a table
 * at a time, round the keys. Level 0 also goes down when it is as large as all below and mostly has
 * newer values of the same keys: then merging costs no more than what was written already, and
 * space is never more than about twice the data. If its keys are new there is no space to win, and
 * it may be twice as large. When nobody has written for long it goes down when it is a quarter of
 * what it would be merged with: readers find fewer runs then. Its oldest run goes down as it is
 * whenever nothing is in its way: keys that only ascend are not written again.
 *
 * A level below 0 is one run then. One of several, which another style has left, is merged into one
 * before anything is chosen in it; what goes down to it until then joins its newest run.
 *
 * Tiered: levels hold up to four runs; when a level has more, all go to one run of the next.
 * FIFO: as tiered with more runs, and the oldest run goes when all in it has expired. It stays as
 * long as younger runs have operands: those committed before the expiry of what they were added to
 * go with it, and without it they would count again. Merging the runs is what ends them then.
 *
 * Whatever the style, tables go early that consist mostly of deletes (they hide what lies below and
 * slow scans down) or of records that have expired.
 */
#include "base/compare.h"
#include "base/error.h"
#include "engine/lsm/compaction.h"

#define LAST_LEVEL   (LSM_LEVELS - 1)
#define LEVEL_FACTOR 10u
/* Level 0 times this, when nobody writes, is worth a merge with what it covers. */
#define REST_FACTOR 4u
/* Level 0 of new keys may be so many eighths of all below: twice as large, but for drains that are
 * not all as long as the first. */
#define NEW_KEYS_EIGHTHS 15u
#define DELETES_PERCENT  40u
#define EXPIRED_PERCENT  50u

struct level_numbers {
    uint64_t bytes;
    uint64_t target;
    uint32_t runs;
    uint32_t first_run; /* of the version; run_count when there is none */
};

struct shape {
    struct level_numbers levels[LSM_LEVELS];
    uint64_t below_bytes; /* of all levels but 0 */
    uint32_t base_level;  /* where level 0 goes */
};

static void look_at(const struct lsm_version *version, struct shape *out_shape) {
    struct shape shape = {0};
    uint64_t largest = 0;
    for (uint32_t i = version->run_count; i-- > 0;) {
        const struct lsm_run *run = &version->runs[i];
        struct level_numbers *level = &shape.levels[run->level];
        level->bytes += run->file_bytes;
        level->runs++;
        level->first_run = i;
        if (run->level == 0) {
            largest = run->file_bytes > largest ? run->file_bytes : largest;
        } else {
            shape.below_bytes += run->file_bytes;
        }
    }
    uint64_t base_bytes = largest * compaction_runs_wanted(LSM_STYLE_LEVELED);
    uint64_t base_bytes_min = lsm_table_bytes(version->lsm) / 2;
    base_bytes = base_bytes > base_bytes_min ? base_bytes : base_bytes_min;
    shape.base_level = LAST_LEVEL;
    shape.levels[LAST_LEVEL].target = UINT64_MAX;
    uint64_t target = shape.levels[LAST_LEVEL].bytes;
    for (uint32_t i = LAST_LEVEL; i-- > 1;) {
        target /= LEVEL_FACTOR;
        shape.levels[i].target = target > base_bytes ? target : base_bytes;
        bool is_used = target >= base_bytes && shape.base_level == i + 1;
        if (is_used || shape.levels[i].runs > 0) {
            shape.base_level = i;
        }
    }
    *out_shape = shape;
}

/* ---- making plans ---- */

static struct compaction_plan *create_plan(const struct lsm_version *version, tern_error *error) {
    const tern_allocator *allocator = lsm_allocator(version->lsm);
    size_t tables = 0;
    for (uint32_t i = 0; i < version->run_count; i++) {
        tables += version->runs[i].count;
    }
    struct compaction_plan *plan = memory_allocate_zeroed(allocator, sizeof(*plan));
    if (plan != NULL) {
        plan->inputs = memory_allocate(allocator, (tables + 1) * sizeof(plan->inputs[0]));
        plan->shapes =
            memory_allocate(allocator, (version->run_count + 1u) * sizeof(plan->shapes[0]));
        plan->first_older_run = version->run_count;
    }
    if (plan == NULL || plan->inputs == NULL || plan->shapes == NULL) {
        compaction_plan_destroy(version->lsm, plan);
        (void)ERROR_NO_MEMORY(error, "a compaction");
        return NULL;
    }
    return plan;
}

void compaction_plan_destroy(struct lsm *lsm, struct compaction_plan *plan) {
    if (plan == NULL) {
        return;
    }
    for (uint32_t i = 0; i < plan->input_count; i++) {
        table_release(plan->inputs[i]);
    }
    memory_release(lsm_allocator(lsm), plan->inputs);
    memory_release(lsm_allocator(lsm), plan->shapes);
    memory_release(lsm_allocator(lsm), plan);
}

static void add_table(struct compaction_plan *plan, struct lsm_table *table) {
    table_retain(table);
    plan->inputs[plan->input_count++] = table;
    plan->shapes[plan->run_count - 1].count++;
}

static void begin_run(struct compaction_plan *plan, uint32_t level) {
    plan->shapes[plan->run_count++] = (struct run_shape){level, 0};
}

static void end_run(struct compaction_plan *plan) {
    if (plan->shapes[plan->run_count - 1].count == 0) {
        plan->run_count--;
    }
}

static void add_run(struct compaction_plan *plan, const struct lsm_run *run) {
    begin_run(plan, run->level);
    for (uint32_t i = 0; i < run->count; i++) {
        add_table(plan, run->tables[i]);
    }
    end_run(plan);
}

/* The output joins the newest run of its level; other runs of that level are older. */
static void set_older(struct compaction_plan *plan, const struct lsm_version *version) {
    uint32_t first = 0;
    while (first < version->run_count && version->runs[first].level < plan->level) {
        first++;
    }
    bool has_level = first < version->run_count && version->runs[first].level == plan->level;
    plan->first_older_run = has_level ? first + 1 : first;
}

/* Adds the tables of a run that overlap any input so far. Since the output may then reach as far as
 * those, but not further, one pass is enough: they do not overlap their neighbours. */
static uint32_t add_overlapping(struct compaction_plan *plan, const struct lsm_run *run) {
    uint32_t input_count = plan->input_count;
    uint32_t added = 0;
    begin_run(plan, run->level);
    for (uint32_t i = 0; i < run->count; i++) {
        bool overlaps = false;
        for (uint32_t j = 0; !overlaps && j < input_count; j++) {
            overlaps = table_extents_overlap(run->tables[i], plan->inputs[j]);
        }
        if (overlaps) {
            add_table(plan, run->tables[i]);
            added++;
        }
    }
    end_run(plan);
    return added;
}

/* From the lowest key of some tables to the highest. */
struct span {
    const struct lsm_table *lowest;
    const struct lsm_table *highest;
};

static void widen(struct span *span, const struct lsm_table *table) {
    if (span->lowest == NULL || slice_compare(table->lower, span->lowest->lower) < 0) {
        span->lowest = table;
    }
    const struct lsm_table *highest = span->highest;
    if (highest == NULL ||
        (highest->has_upper &&
         (!table->has_upper || slice_compare(table->upper, highest->upper) > 0))) {
        span->highest = table;
    }
}

static bool is_within(const struct lsm_table *table, const struct span *span) {
    bool is_below = table->has_upper && slice_compare(table->upper, span->lowest->lower) < 0;
    bool is_above =
        span->highest->has_upper && slice_compare(table->lower, span->highest->upper) > 0;
    return !is_below && !is_above;
}

/* Bytes of the run's tables that lie within. */
static uint64_t bytes_within(const struct lsm_run *run, const struct span *span) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; run != NULL && i < run->count; i++) {
        bytes += is_within(run->tables[i], span) ? run->tables[i]->file_bytes : 0;
    }
    return bytes;
}

/* A merge of inputs with gaps between them writes tables over the gaps: what lies there must be an
 * input too. So all from the first to the last that overlap are taken. */
static uint32_t add_between(struct compaction_plan *plan, const struct lsm_run *run) {
    uint32_t input_count = plan->input_count;
    uint32_t first = UINT32_MAX;
    uint32_t last = 0;
    struct span span = {0};
    for (uint32_t j = 0; j < input_count; j++) {
        widen(&span, plan->inputs[j]);
    }
    for (uint32_t i = 0; i < run->count; i++) {
        if (is_within(run->tables[i], &span)) {
            first = first == UINT32_MAX ? i : first;
            last = i;
        }
    }
    if (first == UINT32_MAX) {
        return 0;
    }
    begin_run(plan, run->level);
    for (uint32_t i = first; i <= last; i++) {
        add_table(plan, run->tables[i]);
    }
    end_run(plan);
    return last - first + 1;
}

static const struct lsm_run *run_of_level(const struct lsm_version *version,
                                          const struct shape *shape, uint32_t level) {
    return shape->levels[level].runs > 0 ? &version->runs[shape->levels[level].first_run] : NULL;
}

static bool is_plain(const struct lsm_table *table) {
    return table->numbers.deletes == 0 && table->numbers.merges == 0 && table->range_count == 0;
}

/* The inputs can go down as they are: nothing is in their way, and nothing would be cleaned up. */
static bool can_move(const struct compaction_plan *plan) {
    if (plan->run_count != 1) {
        return false;
    }
    for (uint32_t i = 0; plan->level == LAST_LEVEL && i < plan->input_count; i++) {
        if (!is_plain(plan->inputs[i])) {
            return false;
        }
    }
    return true;
}

/* ---- levelled ---- */

static struct compaction_plan *plan_level_zero(struct lsm_version *version,
                                               const struct shape *shape, tern_error *error) {
    struct compaction_plan *plan = create_plan(version, error);
    if (plan == NULL) {
        return NULL;
    }
    plan->level = shape->base_level;
    plan->joins_run = true;
    for (uint32_t i = 0; i < shape->levels[0].runs; i++) {
        add_run(plan, &version->runs[i]);
    }
    const struct lsm_run *below = run_of_level(version, shape, plan->level);
    uint32_t added = below != NULL ? add_between(plan, below) : 0;
    plan->is_move = added == 0 && can_move(plan);
    set_older(plan, version);
    return plan;
}

/* One table of a level to the next. */
static struct compaction_plan *plan_table(struct lsm_version *version, const struct shape *shape,
                                          uint32_t run_index, uint32_t table_index,
                                          tern_error *error) {
    const struct lsm_run *run = &version->runs[run_index];
    struct compaction_plan *plan = create_plan(version, error);
    if (plan == NULL) {
        return NULL;
    }
    plan->level = run->level < LAST_LEVEL ? run->level + 1 : LAST_LEVEL;
    plan->joins_run = true;
    begin_run(plan, run->level);
    add_table(plan, run->tables[table_index]);
    uint32_t added = 0;
    if (run->level < LAST_LEVEL) {
        const struct lsm_run *below = run_of_level(version, shape, plan->level);
        added = below != NULL ? add_overlapping(plan, below) : 0;
        plan->is_move = added == 0 && can_move(plan);
    }
    set_older(plan, version);
    return plan;
}

/* The table of the run where the last pick of its level ended. */
static uint32_t next_table(const struct lsm_run *run, const struct compaction_memory *memory) {
    tern_slice after = memory->last_keys[run->level];
    for (uint32_t i = 0; after.data != NULL && i < run->count; i++) {
        if (slice_compare(run->tables[i]->lower, after) > 0) {
            return i;
        }
    }
    return 0;
}

static void remember(struct lsm_version *version, struct compaction_memory *memory, uint32_t level,
                     tern_slice key) {
    const tern_allocator *allocator = lsm_allocator(version->lsm);
    memory_release(allocator, (void *)(uintptr_t)memory->last_keys[level].data);
    void *copy = memory_allocate(allocator, key.size + 1);
    if (copy != NULL && key.size > 0) {
        memcpy(copy, key.data, key.size);
    }
    /* Without memory it begins with the first table again. */
    memory->last_keys[level] = tern_slice_of(copy, copy != NULL ? key.size : 0);
}

void compaction_memory_release(struct compaction_memory *memory, const tern_allocator *allocator) {
    for (uint32_t i = 0; i < LSM_LEVELS; i++) {
        memory_release(allocator, (void *)(uintptr_t)memory->last_keys[i].data);
        memory->last_keys[i] = tern_slice_of(NULL, 0);
    }
}

static bool wants_early(const struct lsm_version *version, const struct lsm_table *table,
                        bool is_last, bool is_below_operands) {
    const struct table_numbers *numbers = &table->numbers;
    if (numbers->records == 0) {
        return !is_last || table->range_count > 0;
    }
    bool has_deletes = numbers->deletes * 100 >= numbers->records * DELETES_PERCENT;
    /* Below operands what has expired has to stay. */
    bool has_expired = !is_below_operands &&
                       numbers->expiring * 100 >= numbers->records * EXPIRED_PERCENT &&
                       numbers->expires_max <= version->base_time_ms;
    return has_deletes || has_expired;
}

/* A table below level 0 that is mostly deletes or mostly expired. */
static bool find_early(const struct lsm_version *version, uint32_t *out_run, uint32_t *out_table) {
    bool has_operands = false;
    for (uint32_t i = 0; i < version->run_count; i++) {
        const struct lsm_run *run = &version->runs[i];
        for (uint32_t j = 0; run->level == LAST_LEVEL && j < run->count; j++) {
            has_operands = has_operands || run->tables[j]->numbers.merges > 0;
        }
        for (uint32_t j = 0; run->level > 0 && j < run->count; j++) {
            if (wants_early(version, run->tables[j], run->level == LAST_LEVEL, has_operands)) {
                *out_run = i;
                *out_table = j;
                return true;
            }
        }
        for (uint32_t j = 0; j < run->count; j++) {
            has_operands = has_operands || run->tables[j]->numbers.merges > 0;
        }
    }
    return false;
}

struct compaction_plan *compaction_plan_runs(struct lsm_version *version, uint32_t first,
                                             uint32_t count, uint32_t level, tern_error *error) {
    struct compaction_plan *plan = create_plan(version, error);
    if (plan == NULL) {
        return NULL;
    }
    plan->level = level;
    for (uint32_t i = 0; i < count; i++) {
        add_run(plan, &version->runs[first + i]);
    }
    plan->first_older_run = first + count;
    return plan;
}

/* The uppermost level below 0 of more than one run; LSM_LEVELS: there is none. */
static uint32_t find_crowded(const struct shape *shape) {
    uint32_t level = 1;
    while (level < LSM_LEVELS && shape->levels[level].runs <= 1) {
        level++;
    }
    return level;
}

static bool wants_level_zero(const struct lsm_version *version, const struct shape *shape,
                             bool is_at_rest, struct compaction_memory *memory) {
    const struct level_numbers *zero = &shape->levels[0];
    uint64_t below = shape->below_bytes;
    if (zero->runs == 0 || zero->runs >= compaction_runs_wanted(LSM_STYLE_LEVELED)) {
        return zero->runs > 0;
    }
    if (is_at_rest) {
        struct span span = {0};
        for (uint32_t i = 0; i < zero->runs; i++) {
            const struct lsm_run *run = &version->runs[zero->first_run + i];
            widen(&span, run->tables[0]);
            widen(&span, run->tables[run->count - 1]);
        }
        const struct lsm_run *base = run_of_level(version, shape, shape->base_level);
        return zero->bytes * REST_FACTOR >= bytes_within(base, &span);
    }
    bool is_double = zero->bytes / NEW_KEYS_EIGHTHS >= below / 8;
    if (zero->bytes < below || is_double) {
        return is_double;
    }
    memory->is_asking = !compaction_ask(version, memory);
    return !memory->is_asking && memory->is_replacing;
}

/* The oldest run of level 0, if it can go down as it is; else *out_plan stays NULL. */
static tern_status plan_oldest(struct lsm_version *version, const struct shape *shape,
                               struct compaction_plan **out_plan, tern_error *error) {
    const struct level_numbers *zero = &shape->levels[0];
    const struct lsm_run *below = run_of_level(version, shape, shape->base_level);
    if (zero->runs == 0 || shape->levels[shape->base_level].runs > 1) {
        return TERN_OK;
    }
    const struct lsm_run *oldest = &version->runs[zero->first_run + zero->runs - 1];
    const struct span span = {oldest->tables[0], oldest->tables[oldest->count - 1]};
    if (bytes_within(below, &span) > 0) {
        return TERN_OK;
    }
    struct compaction_plan *plan = create_plan(version, error);
    if (plan == NULL) {
        return TERN_NO_MEMORY;
    }
    plan->level = shape->base_level;
    plan->joins_run = true;
    add_run(plan, oldest);
    if (!can_move(plan)) {
        compaction_plan_destroy(version->lsm, plan);
        return TERN_OK;
    }
    plan->is_move = true;
    set_older(plan, version);
    *out_plan = plan;
    return TERN_OK;
}

static struct compaction_plan *pick_leveled(struct lsm_version *version, bool is_at_rest,
                                            struct compaction_memory *memory, tern_error *error) {
    struct shape shape;
    look_at(version, &shape);
    struct compaction_plan *move = NULL;
    if (plan_oldest(version, &shape, &move, error) != TERN_OK || move != NULL) {
        return move;
    }
    if (wants_level_zero(version, &shape, is_at_rest, memory)) {
        return plan_level_zero(version, &shape, error);
    }
    if (memory->is_asking) {
        return NULL;
    }
    uint32_t crowded = find_crowded(&shape);
    if (crowded < LSM_LEVELS) {
        const struct level_numbers *level = &shape.levels[crowded];
        struct compaction_plan *plan =
            compaction_plan_runs(version, level->first_run, level->runs, crowded, error);
        if (plan != NULL) {
            plan->is_long = true;
        }
        return plan;
    }
    uint32_t worst = 0;
    double worst_score = 1.0;
    for (uint32_t i = 1; i < LAST_LEVEL; i++) {
        double score = (double)shape.levels[i].bytes / ((double)shape.levels[i].target + 1);
        if (shape.levels[i].runs > 0 && score > worst_score) {
            worst = i;
            worst_score = score;
        }
    }
    if (worst > 0) {
        uint32_t run_index = shape.levels[worst].first_run;
        const struct lsm_run *run = &version->runs[run_index];
        uint32_t table = next_table(run, memory);
        struct compaction_plan *plan = plan_table(version, &shape, run_index, table, error);
        remember(version, memory, worst, run->tables[table]->lower);
        return plan;
    }
    uint32_t run_index = 0;
    uint32_t table = 0;
    if (find_early(version, &run_index, &table)) {
        return plan_table(version, &shape, run_index, table, error);
    }
    return NULL;
}

/* ---- tiered and FIFO ---- */

static struct compaction_plan *pick_tiered(struct lsm_version *version, uint32_t runs_max,
                                           tern_error *error) {
    for (uint32_t first = 0; first < version->run_count;) {
        uint32_t level = version->runs[first].level;
        uint32_t count = 0;
        while (first + count < version->run_count && version->runs[first + count].level == level) {
            count++;
        }
        if (count >= runs_max) {
            struct compaction_plan *plan = compaction_plan_runs(
                version, first, count, level < LAST_LEVEL ? level + 1 : level, error);
            if (plan != NULL) {
                plan->is_long = level > 0;
            }
            return plan;
        }
        first += count;
    }
    return NULL;
}

static bool has_expired(const struct lsm_version *version, const struct lsm_run *run) {
    for (uint32_t i = 0; i < run->count; i++) {
        const struct table_numbers *numbers = &run->tables[i]->numbers;
        if (numbers->expiring + numbers->deletes < numbers->records ||
            (numbers->expiring > 0 && numbers->expires_max > version->base_time_ms)) {
            return false;
        }
    }
    return true;
}

static bool run_has_operands(const struct lsm_run *run) {
    for (uint32_t i = 0; i < run->count; i++) {
        if (run->tables[i]->numbers.merges > 0) {
            return true;
        }
    }
    return false;
}

/* The oldest run can go as a whole. */
static bool can_drop_last(const struct lsm_version *version) {
    if (version->run_count == 0 || !has_expired(version, &version->runs[version->run_count - 1])) {
        return false;
    }
    for (uint32_t i = 0; i + 1 < version->run_count; i++) {
        if (run_has_operands(&version->runs[i])) {
            return false;
        }
    }
    return true;
}

static struct compaction_plan *pick_fifo(struct lsm_version *version, tern_error *error) {
    if (can_drop_last(version)) {
        uint32_t last = version->run_count - 1;
        struct compaction_plan *plan =
            compaction_plan_runs(version, last, 1, version->runs[last].level, error);
        if (plan != NULL) {
            plan->is_drop = true;
        }
        return plan;
    }
    return pick_tiered(version, compaction_runs_wanted(LSM_STYLE_FIFO), error);
}

/* ---- the whole ---- */

tern_status compaction_pick(struct lsm_version *version, enum lsm_style style, bool is_at_rest,
                            struct compaction_memory *memory, struct compaction_plan **out_plan,
                            tern_error *error) {
    tern_error failure = TERN_ERROR_INIT;
    memory->is_asking = false;
    switch (style) {
    case LSM_STYLE_TIERED:
        *out_plan = pick_tiered(version, compaction_runs_wanted(style), &failure);
        break;
    case LSM_STYLE_FIFO:
        *out_plan = pick_fifo(version, &failure);
        break;
    default:
        *out_plan = pick_leveled(version, is_at_rest, memory, &failure);
        break;
    }
    if (*out_plan == NULL && failure.status != TERN_OK) {
        error_copy(error, &failure);
        return failure.status;
    }
    return TERN_OK;
}

static bool is_settled(const struct lsm_version *version) {
    if (version->run_count == 0) {
        return true;
    }
    const struct lsm_run *run = &version->runs[0];
    if (version->run_count > 1 || run->level != LAST_LEVEL) {
        return false;
    }
    for (uint32_t i = 0; i < run->count; i++) {
        const struct table_numbers *numbers = &run->tables[i]->numbers;
        if (!is_plain(run->tables[i]) ||
            (numbers->expiring > 0 && numbers->expires_min <= version->base_time_ms)) {
            return false;
        }
    }
    return true;
}

tern_status compaction_pick_all(struct lsm_version *version, struct compaction_plan **out_plan,
                                tern_error *error) {
    *out_plan = NULL;
    if (is_settled(version)) {
        return TERN_OK;
    }
    struct compaction_plan *plan =
        compaction_plan_runs(version, 0, version->run_count, LAST_LEVEL, error);
    if (plan == NULL) {
        return TERN_NO_MEMORY;
    }
    plan->is_all = plan->is_long = true;
    *out_plan = plan;
    return TERN_OK;
}
