/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of a partition. */
#include "engine/lsm/lsm_engine_internal.h"

struct numbers {
    tern_stat_visitor visit;
    void *context;
    bool has_stopped;
};

static void tell(struct numbers *numbers, const char *name, const char *unit, const char *text,
                 tern_stat_kind kind, uint64_t value) {
    if (numbers->has_stopped) {
        return;
    }
    const tern_stat stat = {name, unit, text, kind, value};
    numbers->has_stopped = !numbers->visit(numbers->context, &stat);
}

/* Names are static, so the levels have theirs here. */
static const char *const level_names[LSM_LEVELS][5] = {
    {"level_0_runs", "level_0_tables", "level_0_bytes", "level_0_records", "level_0_written_bytes"},
    {"level_1_runs", "level_1_tables", "level_1_bytes", "level_1_records", "level_1_written_bytes"},
    {"level_2_runs", "level_2_tables", "level_2_bytes", "level_2_records", "level_2_written_bytes"},
    {"level_3_runs", "level_3_tables", "level_3_bytes", "level_3_records", "level_3_written_bytes"},
    {"level_4_runs", "level_4_tables", "level_4_bytes", "level_4_records", "level_4_written_bytes"},
    {"level_5_runs", "level_5_tables", "level_5_bytes", "level_5_records", "level_5_written_bytes"},
    {"level_6_runs", "level_6_tables", "level_6_bytes", "level_6_records", "level_6_written_bytes"},
    {"level_7_runs", "level_7_tables", "level_7_bytes", "level_7_records", "level_7_written_bytes"},
};

static void tell_level(struct numbers *numbers, const struct lsm_version *version,
                       const struct lsm *lsm, uint32_t level) {
    const char *const *names = level_names[level];
    uint64_t runs = 0, tables = 0, bytes = 0, records = 0;
    for (uint32_t i = 0; i < version->run_count; i++) {
        const struct lsm_run *run = &version->runs[i];
        if (run->level == level) {
            runs++;
            tables += run->count;
            bytes += run->file_bytes;
            records += run->records;
        }
    }
    tell(numbers, names[0], "count", "sorted runs of this level", TERN_STAT_GAUGE, runs);
    tell(numbers, names[1], "count", "tables of this level", TERN_STAT_GAUGE, tables);
    tell(numbers, names[2], "bytes", "size of the tables of this level", TERN_STAT_GAUGE, bytes);
    tell(numbers, names[3], "count", "records of this level, deletes too", TERN_STAT_GAUGE,
         records);
    tell(numbers, names[4], "bytes", "bytes of tables written for this level since open",
         TERN_STAT_COUNTER,
         atomic_load_explicit(&lsm->level_written_bytes[level], memory_order_relaxed));
}

static void tell_base(struct numbers *numbers, const struct lsm_version *version) {
    struct table_numbers sum = {0};
    for (uint32_t i = 0; i < version->run_count; i++) {
        for (uint32_t j = 0; j < version->runs[i].count; j++) {
            const struct table_numbers *table = &version->runs[i].tables[j]->numbers;
            sum.deletes += table->deletes;
            sum.merges += table->merges;
            sum.expiring += table->expiring;
            sum.raw_bytes += table->raw_bytes;
        }
    }
    tell(numbers, "base_keys", "count", "records in tables, of all runs", TERN_STAT_GAUGE,
         version_records(version));
    tell(numbers, "base_bytes", "bytes", "bytes of keys and values in tables", TERN_STAT_GAUGE,
         sum.raw_bytes);
    tell(numbers, "table_deletes", "count", "deletes in tables", TERN_STAT_GAUGE, sum.deletes);
    tell(numbers, "table_merges", "count", "merge operands in tables", TERN_STAT_GAUGE, sum.merges);
    tell(numbers, "table_expiring", "count", "records in tables that will expire", TERN_STAT_GAUGE,
         sum.expiring);
    tell(numbers, "sorted_runs", "count", "sorted runs that a read may have to ask",
         TERN_STAT_GAUGE, version->run_count);
}

static void tell_files(struct numbers *numbers, const struct lsm_engine *engine) {
    const struct lsm *lsm = &engine->lsm;
    struct file_registry_totals totals;
    file_registry_get_totals(lsm->files, &totals);
    uint64_t written = atomic_load_explicit(&lsm->written_bytes, memory_order_relaxed);
    uint64_t drained = atomic_load_explicit(&engine->drained_bytes, memory_order_relaxed);
    tell(numbers, "file_bytes", "bytes", "size of the files", TERN_STAT_GAUGE, totals.bytes);
    tell(numbers, "free_bytes", "bytes", "free space in the files", TERN_STAT_GAUGE, 0);
    tell(numbers, "pending_bytes", "bytes", "files that only older views or manifests need",
         TERN_STAT_GAUGE, totals.pending_bytes);
    tell(numbers, "value_file_bytes", "bytes", "files of values stored apart", TERN_STAT_GAUGE,
         totals.value_bytes);
    tell(numbers, "files", "count", "files", TERN_STAT_GAUGE, totals.files);
    tell(numbers, "written_bytes", "bytes", "bytes written to files", TERN_STAT_COUNTER, written);
    tell(numbers, "read_bytes", "bytes", "bytes read from tables", TERN_STAT_COUNTER,
         atomic_load_explicit(&lsm->read_bytes, memory_order_relaxed));
    tell(numbers, "reads", "count", "reads from tables", TERN_STAT_COUNTER,
         atomic_load_explicit(&lsm->reads, memory_order_relaxed));
    tell(numbers, "drained_bytes", "bytes", "bytes of overlays drained", TERN_STAT_COUNTER,
         drained);
    tell(numbers, "write_amplification_percent", "percent",
         "bytes written to files for each hundred bytes of overlays drained", TERN_STAT_GAUGE,
         drained > 0 ? (uint64_t)((double)written * 100 / (double)drained) : 0);
}

tern_status lsm_stats(struct engine_view *engine_view, tern_stat_visitor visit, void *context,
                      tern_error *error) {
    (void)error;
    struct lsm_view *view = lsm_view_of(engine_view);
    struct lsm_engine *engine = lsm_of(engine_view->engine);
    const struct overlay_stack *stack = &view->stack;
    struct numbers numbers = {visit, context, false};
    uint64_t bytes = overlay_bytes(stack->active->overlay);
    uint64_t keys = overlay_key_count(stack->active->overlay);
    for (uint32_t i = 0; i < stack->frozen_count; i++) {
        bytes += overlay_bytes(stack->frozen[i]->overlay);
        keys += overlay_key_count(stack->frozen[i]->overlay);
    }
    tell_base(&numbers, view->version);
    for (uint32_t i = 0; i < LSM_LEVELS; i++) {
        tell_level(&numbers, view->version, &engine->lsm, i);
    }
    tell_files(&numbers, engine);
    tell(&numbers, "overlay_bytes", "bytes", "memory of the overlays", TERN_STAT_GAUGE, bytes);
    tell(&numbers, "overlay_keys", "count", "keys in the overlays", TERN_STAT_GAUGE, keys);
    tell(&numbers, "frozen_overlays", "count", "overlays that wait to be drained", TERN_STAT_GAUGE,
         stack->frozen_count);
    tell(&numbers, "drain_debt_bytes", "bytes",
         "frozen bytes not written yet, and what level 0 is too long by", TERN_STAT_GAUGE,
         atomic_load_explicit(&engine->drain_debt_bytes, memory_order_relaxed));
    tell(&numbers, "drains", "count", "overlays drained", TERN_STAT_COUNTER,
         atomic_load_explicit(&engine->drains, memory_order_relaxed));
    tell(&numbers, "compactions", "count", "compactions that wrote tables", TERN_STAT_COUNTER,
         atomic_load_explicit(&engine->compactions, memory_order_relaxed));
    tell(&numbers, "level_0_merges", "count",
         "of them, merges of runs of level 0 among themselves beside a long one", TERN_STAT_COUNTER,
         atomic_load_explicit(&engine->side_merges, memory_order_relaxed));
    tell(&numbers, "table_moves", "count", "compactions that only moved a table down",
         TERN_STAT_COUNTER, atomic_load_explicit(&engine->moves, memory_order_relaxed));
    return TERN_OK;
}
