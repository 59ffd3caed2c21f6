/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/lsm/version.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/compare.h"
#include "base/error.h"

/* ---- life ---- */

static tern_status no_memory(tern_error *error) {
    return ERROR_NO_MEMORY(error, "the list of tables");
}

static void version_destroy(struct lsm_version *version) {
    const tern_allocator *allocator = lsm_allocator(version->lsm);
    for (uint32_t i = 0; version->runs != NULL && i < version->run_count; i++) {
        struct lsm_run *run = &version->runs[i];
        for (uint32_t j = 0; run->tables != NULL && j < run->count; j++) {
            table_release(run->tables[j]);
        }
        key_directory_release(&run->directory);
        memory_release(allocator, run->ranges);
        memory_release(allocator, run->tables);
    }
    memory_release(allocator, version->runs);
    memory_release(allocator, version->uses);
    memory_release(allocator, version);
}

void version_retain(struct lsm_version *version) {
    atomic_fetch_add_explicit(&version->references, 1, memory_order_relaxed);
}

void version_release(struct lsm_version *version) {
    if (version != NULL &&
        atomic_fetch_sub_explicit(&version->references, 1, memory_order_acq_rel) == 1) {
        version_destroy(version);
    }
}

/* ---- building ---- */

/* Joins ranges of neighbouring tables that touch, so that a skip goes all the way. */
static void join_ranges(struct lsm_run *run, const struct lsm_table *table) {
    for (uint32_t i = 0; i < table->range_count; i++) {
        struct lsm_range *last = run->range_count > 0 ? &run->ranges[run->range_count - 1] : NULL;
        if (last != NULL && last->has_end && slice_equal(last->end, table->ranges[i].begin)) {
            last->end = table->ranges[i].end;
            last->has_end = table->ranges[i].has_end;
        } else {
            run->ranges[run->range_count++] = table->ranges[i];
        }
    }
}

static bool is_ordered(const struct lsm_table *left, const struct lsm_table *right) {
    return left->has_upper && !table_extents_overlap(left, right) &&
           slice_compare(left->lower, right->lower) < 0;
}

static tern_status build_run(struct lsm *lsm, struct lsm_run *run, struct lsm_table *const *tables,
                             tern_error *error) {
    const tern_allocator *allocator = lsm_allocator(lsm);
    size_t range_count = 0;
    run->tables = memory_allocate(allocator, (run->count + 1u) * sizeof(run->tables[0]));
    tern_slice *lowers = memory_allocate(allocator, (run->count + 1u) * sizeof(lowers[0]));
    tern_status status = run->tables != NULL && lowers != NULL ? TERN_OK : no_memory(error);
    for (uint32_t i = 0; run->tables != NULL && i < run->count; i++) {
        run->tables[i] = tables[i];
        table_retain(tables[i]);
    }
    for (uint32_t i = 0; status == TERN_OK && i < run->count; i++) {
        const struct lsm_table *table = tables[i];
        if (i > 0 && !is_ordered(tables[i - 1], table)) {
            status = ERROR_SET(
                error, TERN_CORRUPTION, "version.order: tables %llu and %llu of one run overlap",
                (unsigned long long)tables[i - 1]->number, (unsigned long long)table->number);
        }
        lowers[i] = table->lower;
        range_count += table->range_count;
        run->file_bytes += table->file_bytes;
        run->records += table->numbers.records;
    }
    if (status == TERN_OK) {
        run->ranges = memory_allocate(allocator, (range_count + 1) * sizeof(run->ranges[0]));
        status = run->ranges != NULL && key_directory_create(&run->directory, allocator, lowers,
                                                             run->count) == TERN_OK
                     ? TERN_OK
                     : no_memory(error);
    }
    for (uint32_t i = 0; status == TERN_OK && i < run->count; i++) {
        join_ranges(run, tables[i]);
    }
    memory_release(allocator, lowers);
    return status;
}

static int compare_uses(const void *left, const void *right) {
    uint64_t a = ((const struct value_use *)left)->number;
    uint64_t b = ((const struct value_use *)right)->number;
    return (a > b) - (a < b);
}

/* Sums up what all tables refer to. */
static tern_status sum_uses(struct lsm_version *version, tern_error *error) {
    size_t count = 0;
    for (uint32_t i = 0; i < version->run_count; i++) {
        for (uint32_t j = 0; j < version->runs[i].count; j++) {
            count += version->runs[i].tables[j]->use_count;
        }
    }
    version->uses =
        memory_allocate(lsm_allocator(version->lsm), (count + 1) * sizeof(version->uses[0]));
    if (version->uses == NULL) {
        return no_memory(error);
    }
    struct value_use *uses = version->uses;
    size_t filled = 0;
    for (uint32_t i = 0; i < version->run_count; i++) {
        for (uint32_t j = 0; j < version->runs[i].count; j++) {
            const struct lsm_table *table = version->runs[i].tables[j];
            memcpy(&uses[filled], table->uses, table->use_count * sizeof(uses[0]));
            filled += table->use_count;
        }
    }
    qsort(uses, filled, sizeof(uses[0]), compare_uses);
    uint32_t kept = 0;
    for (size_t i = 0; i < filled; i++) {
        if (kept > 0 && uses[kept - 1].number == uses[i].number) {
            uses[kept - 1].references += uses[i].references;
            uses[kept - 1].bytes += uses[i].bytes;
        } else {
            uses[kept++] = uses[i];
        }
    }
    version->use_count = kept;
    return TERN_OK;
}

tern_status version_build(struct lsm *lsm, const struct run_shape *shapes, uint32_t run_count,
                          struct lsm_table *const *tables, seq_no complete_seq,
                          uint64_t base_time_ms, struct lsm_version **out_version,
                          tern_error *error) {
    const tern_allocator *allocator = lsm_allocator(lsm);
    struct lsm_version *version = memory_allocate_zeroed(allocator, sizeof(*version));
    if (version == NULL) {
        return no_memory(error);
    }
    atomic_init(&version->references, 1);
    version->lsm = lsm;
    version->complete_seq = complete_seq;
    version->base_time_ms = base_time_ms;
    version->runs = memory_allocate_zeroed(allocator, (run_count + 1u) * sizeof(version->runs[0]));
    tern_status status = version->runs != NULL ? TERN_OK : no_memory(error);
    uint32_t first = 0;
    for (uint32_t i = 0; status == TERN_OK && i < run_count; i++) {
        struct lsm_run *run = &version->runs[version->run_count++];
        run->level = shapes[i].level;
        run->count = shapes[i].count;
        status = build_run(lsm, run, tables + first, error);
        first += shapes[i].count;
    }
    if (status == TERN_OK) {
        status = sum_uses(version, error);
    }
    if (status != TERN_OK) {
        version_destroy(version);
        return status;
    }
    *out_version = version;
    return TERN_OK;
}

tern_status version_create(struct lsm *lsm, struct lsm_version **out_version, tern_error *error) {
    return version_build(lsm, NULL, 0, NULL, SEQ_NONE, 0, out_version, error);
}

/* ---- editing ---- */

/* The lists that make up the new version while it is put together. */
struct draft {
    struct lsm_table **tables;
    struct run_shape *shapes;
    uint32_t table_count;
    uint32_t run_count;
};

static bool is_removed(const struct version_edit *edit, const struct lsm_table *table) {
    for (uint32_t i = 0; i < edit->removed_count; i++) {
        if (edit->removed[i] == table) {
            return true;
        }
    }
    return false;
}

static void begin_run(struct draft *draft, uint32_t level) {
    draft->shapes[draft->run_count++] = (struct run_shape){level, 0};
}

static void put_table(struct draft *draft, struct lsm_table *table) {
    draft->tables[draft->table_count++] = table;
    draft->shapes[draft->run_count - 1].count++;
}

static void end_run(struct draft *draft) {
    if (draft->shapes[draft->run_count - 1].count == 0) {
        draft->run_count--;
    }
}

static void put_added(struct draft *draft, const struct version_edit *edit) {
    begin_run(draft, edit->level);
    for (uint32_t i = 0; i < edit->added_count; i++) {
        put_table(draft, edit->added[i]);
    }
    end_run(draft);
}

/* An old run without what is removed; `added` (when not NULL) merged into it. */
static void put_run(struct draft *draft, const struct lsm_run *run, const struct version_edit *edit,
                    bool takes_added) {
    uint32_t next = takes_added ? 0 : edit->added_count;
    begin_run(draft, run->level);
    for (uint32_t i = 0; i < run->count; i++) {
        struct lsm_table *table = run->tables[i];
        if (is_removed(edit, table)) {
            continue;
        }
        while (next < edit->added_count &&
               slice_compare(edit->added[next]->lower, table->lower) < 0) {
            put_table(draft, edit->added[next++]);
        }
        put_table(draft, table);
    }
    while (next < edit->added_count) {
        put_table(draft, edit->added[next++]);
    }
    end_run(draft);
}

static void make_draft(const struct lsm_version *version, const struct version_edit *edit,
                       struct draft *draft) {
    bool is_placed = edit->added_count == 0;
    if (edit->is_newest && !is_placed) {
        put_added(draft, edit);
        is_placed = true;
    }
    for (uint32_t i = 0; i < version->run_count; i++) {
        const struct lsm_run *run = &version->runs[i];
        bool takes_added = !is_placed && edit->joins_run && run->level == edit->level;
        bool comes_here =
            edit->takes_place ? is_removed(edit, run->tables[0]) : run->level >= edit->level;
        if (!is_placed && !takes_added && comes_here) {
            put_added(draft, edit);
            is_placed = true;
        }
        put_run(draft, run, edit, takes_added);
        is_placed = is_placed || takes_added;
    }
    if (!is_placed) {
        put_added(draft, edit);
    }
}

tern_status version_apply(const struct lsm_version *version, const struct version_edit *edit,
                          struct lsm_version **out_version, tern_error *error) {
    const tern_allocator *allocator = lsm_allocator(version->lsm);
    size_t table_count = edit->added_count;
    for (uint32_t i = 0; i < version->run_count; i++) {
        table_count += version->runs[i].count;
    }
    struct draft draft = {0};
    draft.tables = memory_allocate(allocator, (table_count + 1) * sizeof(draft.tables[0]));
    draft.shapes = memory_allocate(allocator, (version->run_count + 2u) * sizeof(draft.shapes[0]));
    tern_status status = TERN_OK;
    if (draft.tables == NULL || draft.shapes == NULL) {
        status = no_memory(error);
    } else {
        make_draft(version, edit, &draft);
        status = version_build(version->lsm, draft.shapes, draft.run_count, draft.tables,
                               edit->complete_seq, edit->base_time_ms, out_version, error);
    }
    memory_release(allocator, draft.tables);
    memory_release(allocator, draft.shapes);
    return status;
}

/* ---- reading ---- */

struct lsm_table *run_table(const struct lsm_run *run, tern_slice key) {
    uint32_t index = run->count == 1 ? 0 : key_directory_find(&run->directory, key);
    if (index == UINT32_MAX || table_compare_extent(run->tables[index], key) != 0) {
        return NULL;
    }
    return run->tables[index];
}

const struct lsm_range *run_range(const struct lsm_run *run, tern_slice key) {
    uint32_t low = 0;
    uint32_t high = run->range_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (slice_compare(run->ranges[middle].begin, key) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0) {
        return NULL;
    }
    const struct lsm_range *range = &run->ranges[low - 1];
    return !range->has_end || slice_compare(key, range->end) < 0 ? range : NULL;
}

tern_status version_lookup(const struct lsm_version *version, uint32_t first_run, tern_slice key,
                           uint64_t key_hash, struct resolution *resolution, tern_error *error) {
    tern_status status = TERN_OK;
    for (uint32_t i = first_run; status == TERN_OK && i < version->run_count; i++) {
        const struct lsm_run *run = &version->runs[i];
        struct lsm_table *table = run_table(run, key);
        if (table == NULL) {
            continue;
        }
        if (table->numbers.records > 0) {
            status = table_lookup(table, key, key_hash, resolution, error);
        }
        if (status == TERN_OK && !resolution->is_complete && run->range_count > 0 &&
            run_range(run, key) != NULL) {
            const struct record gone = {.kind = RECORD_DELETE};
            status = table_add_record(resolution, &gone, NULL, error);
        }
        if (resolution->is_complete) {
            break;
        }
    }
    return status;
}

bool version_may_hold(const struct lsm_version *version, uint32_t first_run, tern_slice key) {
    for (uint32_t i = first_run; i < version->run_count; i++) {
        if (run_table(&version->runs[i], key) != NULL) {
            return true;
        }
    }
    return false;
}

uint64_t version_file_bytes(const struct lsm_version *version) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < version->run_count; i++) {
        bytes += version->runs[i].file_bytes;
    }
    return bytes;
}

uint64_t version_table_bytes(const struct lsm_version *version) {
    uint64_t least = lsm_table_bytes(version->lsm);
    uint64_t part = version_file_bytes(version) / LSM_TABLES_WANTED;
    return part > least ? part : least;
}

uint64_t version_records(const struct lsm_version *version) {
    uint64_t records = 0;
    for (uint32_t i = 0; i < version->run_count; i++) {
        records += version->runs[i].records;
    }
    return records;
}

const struct value_use *version_use(const struct lsm_version *version, uint64_t number) {
    uint32_t low = 0;
    uint32_t high = version->use_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (version->uses[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool is_found = low < version->use_count && version->uses[low].number == number;
    return is_found ? &version->uses[low] : NULL;
}
