/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Getting out of damaged files what can be read. With a state its runs are merged as a reader
 * would; without one every table that is found becomes a run of its own, ordered by the level it
 * was written for and by age: what a reader would see, as far as can be told, with deletes that
 * compaction had finished already undone.
 *
 * A block that cannot be read is left out, told of and counted; older versions of its keys may then
 * come up again. Which keys it had the index tells, where that can be read, else the list of the
 * table's partitions; of a table that cannot be opened, its neighbours in the run.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/compare.h"
#include "base/error.h"
#include "base/slice_text.h"
#include "engine/lsm/index_block.h"
#include "engine/lsm/lsm_engine_internal.h"
#include "engine/lsm/run_cursor.h"

/* A finding with two keys in it. */
#define MESSAGE_BYTES (TERN_ERROR_MESSAGE_BYTES + 2 * SLICE_TEXT_BYTES + 160)

struct salvage {
    struct lsm lsm;
    tern_status (*visit)(void *context, tern_slice key, const struct record *record,
                         uint64_t generation);
    void *visit_context;
    tern_finding_function on_finding;
    void *finding_context;
    bool has_stopped;
    uint64_t told_number; /* of the last finding with a place */
    int64_t told_offset;
    uint64_t lost_pages;
    tern_error *error;
};

/* A place is told of once: all blocks of a partition are lost by one block of its index. */
static void report(struct salvage *salvage, uint64_t number, int64_t offset, const char *invariant,
                   const char *message) {
    char name[LSM_FILE_NAME_BYTES];
    bool is_told = offset >= 0 && number == salvage->told_number && offset == salvage->told_offset;
    if (salvage->on_finding == NULL || salvage->has_stopped || is_told) {
        return;
    }
    salvage->told_number = number;
    salvage->told_offset = offset;
    lsm_file_name(salvage->lsm.config.id, number, LSM_FILE_TABLE, name);
    const tern_finding finding = {name, offset, invariant, message};
    salvage->has_stopped = !salvage->on_finding(salvage->finding_context, &finding);
}

static void lose_table(void *context, uint64_t number, const tern_error *detail,
                       const struct lsm_table *before, const struct lsm_table *after) {
    struct salvage *salvage = context;
    char message[MESSAGE_BYTES];
    char begin[SLICE_TEXT_BYTES] = "the first";
    char end[SLICE_TEXT_BYTES] = "the last";
    (void)snprintf(message, sizeof(message),
                   "%s; of its records, from %s%s to %s%s, only what other tables have is left",
                   detail->message, before != NULL ? "behind " : "",
                   before != NULL ? slice_text(before->upper, begin) : begin,
                   after != NULL ? "before " : "",
                   after != NULL ? slice_text(after->lower, end) : end);
    report(salvage, number, detail->offset, "table.open", message);
    salvage->lost_pages++;
}

/* ---- merging what can be read ---- */

/* Where the block begins that the cursor could not read, and where the next; false: the index of
 * its partition cannot be read either. */
static bool find_separators(const struct run_cursor *cursor, struct buffer *begin,
                            struct buffer *end) {
    const struct lsm_table *table = cursor->tables[cursor->table];
    const struct table_partition *partition = &table->partitions[cursor->partition];
    const uint8_t *index = cursor->index.data;
    if (!cursor->has_index || cursor->index_table != cursor->table ||
        cursor->index_partition != cursor->partition) {
        return false;
    }
    return index_block_separator(index, cursor->block, begin) == TERN_OK &&
           (cursor->block + 1 == partition->block_count ||
            index_block_separator(index, cursor->block + 1, end) == TERN_OK);
}

/* Tells which keys the block that the cursor could not read had, or all of its partition. */
static void lose_block(struct salvage *salvage, const struct run_cursor *cursor,
                       const tern_error *detail) {
    const struct lsm_table *table = cursor->tables[cursor->table];
    const struct table_partition *partition = &table->partitions[cursor->partition];
    char message[MESSAGE_BYTES];
    char first[SLICE_TEXT_BYTES];
    char last[SLICE_TEXT_BYTES];
    char of[64] = "its records";
    struct buffer begin;
    struct buffer end;
    buffer_init(&begin, lsm_allocator(&salvage->lsm));
    buffer_init(&end, lsm_allocator(&salvage->lsm));
    tern_slice from = partition->lower;
    bool is_to_last = cursor->partition + 1 == table->partition_count;
    tern_slice to = is_to_last ? table->last : partition[1].lower;
    if (find_separators(cursor, &begin, &end)) {
        from = buffer_slice(&begin);
        if (cursor->block + 1 < partition->block_count) {
            to = buffer_slice(&end);
            is_to_last = false;
        }
    } else {
        (void)snprintf(of, sizeof(of), "%" PRIu64 " records", partition->records);
    }
    (void)snprintf(message, sizeof(message),
                   "%s; of %s, from %s to %s%s, only what older tables have is left",
                   detail->message, of, slice_text(from, first), is_to_last ? "" : "before ",
                   slice_text(to, last));
    report(salvage, table->number, detail->offset, "data.block", message);
    salvage->lost_pages++;
    buffer_release(&begin);
    buffer_release(&end);
}

/* Steps over blocks that cannot be read. */
static tern_status make_valid(struct salvage *salvage, struct run_cursor *cursor,
                              tern_status status, tern_error *detail) {
    while (status == TERN_CORRUPTION || status == TERN_IO) {
        lose_block(salvage, cursor, detail);
        error_clear(detail);
        /* As if it stood on the last record of the block. */
        status = run_cursor_skip_block(cursor, detail);
    }
    if (status != TERN_OK) {
        error_copy(salvage->error, detail);
    }
    return status;
}

static bool is_covered(const struct lsm_version *version, uint32_t run, tern_slice key) {
    for (uint32_t i = 0; i < run; i++) {
        if (run_range(&version->runs[i], key) != NULL) {
            return true;
        }
    }
    return false;
}

/* Merges what the cursors have of the lowest key and hands it out. */
static tern_status visit_key(struct salvage *salvage, const struct lsm_version *version,
                             struct run_cursor *cursors, tern_slice key,
                             struct engine_scratch *scratch) {
    struct resolution resolution;
    struct engine_result result;
    tern_error detail = TERN_ERROR_INIT;
    tern_status status = TERN_OK;
    resolution_init(&resolution, lsm_allocator(&salvage->lsm));
    for (uint32_t i = 0; status == TERN_OK && i < version->run_count; i++) {
        const struct run_cursor *cursor = &cursors[i];
        if (run_cursor_is_valid(cursor) && slice_equal(run_cursor_entry(cursor)->key, key) &&
            !is_covered(version, i, key)) {
            status = table_add_record(&resolution, &run_cursor_entry(cursor)->record, NULL,
                                      salvage->error);
        }
        if (resolution.is_complete) {
            break;
        }
    }
    if (status != TERN_OK) {
        resolution_release(&resolution);
        return status;
    }
    status = resolution_finish(&resolution, version->base_time_ms, scratch, lsm_value_load,
                               &salvage->lsm, &result, &detail);
    if (status == TERN_CORRUPTION || status == TERN_IO) {
        char message[MESSAGE_BYTES];
        char text[SLICE_TEXT_BYTES];
        (void)snprintf(message, sizeof(message), "%s; the value of %s is lost", detail.message,
                       slice_text(key, text));
        report(salvage, 0, -1, "value.pieces", message);
        salvage->lost_pages++;
        return TERN_OK;
    }
    if (status != TERN_OK) {
        error_copy(salvage->error, &detail);
        return status;
    }
    return result.record.kind == RECORD_NONE
               ? TERN_OK
               : salvage->visit(salvage->visit_context, key, &result.record, version->complete_seq);
}

static const struct run_cursor *lowest(const struct run_cursor *cursors, uint32_t count) {
    const struct run_cursor *found = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (run_cursor_is_valid(&cursors[i]) &&
            (found == NULL ||
             slice_compare(run_cursor_entry(&cursors[i])->key, run_cursor_entry(found)->key) < 0)) {
            found = &cursors[i];
        }
    }
    return found;
}

static tern_status merge_runs(struct salvage *salvage, const struct lsm_version *version,
                              struct run_cursor *cursors) {
    struct engine_scratch scratch;
    struct buffer key;
    tern_error detail = TERN_ERROR_INIT;
    tern_status status = TERN_OK;
    const struct run_cursor *next;
    engine_scratch_init(&scratch, lsm_allocator(&salvage->lsm));
    buffer_init(&key, lsm_allocator(&salvage->lsm));
    for (uint32_t i = 0; status == TERN_OK && i < version->run_count; i++) {
        status = make_valid(salvage, &cursors[i],
                            run_cursor_seek(&cursors[i], NULL, false, &detail), &detail);
    }
    while (status == TERN_OK && (next = lowest(cursors, version->run_count)) != NULL) {
        tern_slice found = run_cursor_entry(next)->key;
        key.size = 0;
        if (buffer_append(&key, found.data, found.size) != TERN_OK) {
            status = ERROR_NO_MEMORY(salvage->error, "salvaging");
            break;
        }
        status = visit_key(salvage, version, cursors, buffer_slice(&key), &scratch);
        for (uint32_t i = 0; status == TERN_OK && i < version->run_count; i++) {
            if (run_cursor_is_valid(&cursors[i]) &&
                slice_equal(run_cursor_entry(&cursors[i])->key, buffer_slice(&key))) {
                status = make_valid(salvage, &cursors[i],
                                    run_cursor_step(&cursors[i], false, &detail), &detail);
            }
        }
    }
    engine_scratch_release(&scratch);
    buffer_release(&key);
    return status;
}

static tern_status visit_version(struct salvage *salvage, const struct lsm_version *version) {
    const tern_allocator *allocator = lsm_allocator(&salvage->lsm);
    struct run_cursor *cursors =
        memory_allocate(allocator, (version->run_count + 1u) * sizeof(cursors[0]));
    if (cursors == NULL) {
        return ERROR_NO_MEMORY(salvage->error, "salvaging");
    }
    for (uint32_t i = 0; i < version->run_count; i++) {
        const struct lsm_run *run = &version->runs[i];
        run_cursor_init(&cursors[i], &salvage->lsm, run->tables, run->count, true);
    }
    tern_status status = merge_runs(salvage, version, cursors);
    for (uint32_t i = 0; i < version->run_count; i++) {
        run_cursor_release(&cursors[i]);
    }
    memory_release(allocator, cursors);
    return status;
}

/* ---- without a state ---- */

struct found_tables {
    struct salvage *salvage;
    struct lsm_table **tables;
    uint32_t count, capacity;
    tern_status status;
};

static bool visit_name(void *context, const char *name) {
    struct found_tables *found = context;
    struct salvage *salvage = found->salvage;
    struct lsm_table *table = NULL;
    tern_error detail = TERN_ERROR_INIT;
    uint64_t number = 0;
    enum lsm_file_kind kind;
    if (!lsm_file_parse(salvage->lsm.config.id, name, &number, &kind) || kind != LSM_FILE_TABLE) {
        return true;
    }
    if (found->count == found->capacity) {
        uint32_t capacity = found->capacity * 2 + 16;
        struct lsm_table **grown =
            memory_resize(lsm_allocator(&salvage->lsm), found->tables, capacity * sizeof(grown[0]));
        if (grown == NULL) {
            found->status = ERROR_NO_MEMORY(salvage->error, "salvaging");
            return false;
        }
        found->tables = grown;
        found->capacity = capacity;
    }
    found->status = table_open(&salvage->lsm, number, 0, &table, &detail);
    if (found->status == TERN_OK) {
        found->tables[found->count++] = table;
    } else if (found->status == TERN_NO_MEMORY) {
        error_copy(salvage->error, &detail);
    } else {
        lose_table(salvage, number, &detail, NULL, NULL);
        found->status = TERN_OK;
    }
    return found->status == TERN_OK;
}

/* Newest first, as far as tables tell. */
static int compare_age(const void *left, const void *right) {
    const struct lsm_table *a = *(struct lsm_table *const *)left;
    const struct lsm_table *b = *(struct lsm_table *const *)right;
    if (a->numbers.level != b->numbers.level) {
        return a->numbers.level < b->numbers.level ? -1 : 1;
    }
    if (a->numbers.age_seq != b->numbers.age_seq) {
        return a->numbers.age_seq > b->numbers.age_seq ? -1 : 1;
    }
    return (a->number < b->number) - (a->number > b->number);
}

static tern_status find_tables(struct salvage *salvage, struct lsm_version **out_version) {
    const struct engine_environment *environment = salvage->lsm.environment;
    const tern_allocator *allocator = environment->allocator;
    const tern_file_system *system = environment->file_system;
    struct found_tables found = {.salvage = salvage};
    struct run_shape *shapes = NULL;
    seq_no newest = SEQ_NONE;
    tern_status status =
        system->list(system->context, environment->directory, visit_name, &found, salvage->error);
    status = status == TERN_OK ? found.status : status;
    if (status == TERN_OK) {
        shapes = memory_allocate(allocator, (found.count + 1u) * sizeof(shapes[0]));
        status = shapes != NULL ? TERN_OK : ERROR_NO_MEMORY(salvage->error, "salvaging");
    }
    if (status == TERN_OK) {
        if (found.count > 0) {
            qsort(found.tables, found.count, sizeof(found.tables[0]), compare_age);
        }
        for (uint32_t i = 0; i < found.count; i++) {
            uint64_t age = found.tables[i]->numbers.age_seq;
            shapes[i] = (struct run_shape){found.tables[i]->numbers.level, 1};
            newest = age > newest ? age : newest;
        }
        status = version_build(&salvage->lsm, shapes, found.count, found.tables, newest, 0,
                               out_version, salvage->error);
    }
    if (status == TERN_OK && found.count > 0) {
        char message[96];
        (void)snprintf(message, sizeof(message), "%u tables were found without a manifest's word",
                       found.count);
        report(salvage, found.tables[0]->number, -1, "tables.scan", message);
    }
    for (uint32_t i = 0; i < found.count; i++) {
        table_release(found.tables[i]);
    }
    memory_release(allocator, found.tables);
    memory_release(allocator, shapes);
    return status;
}

tern_status lsm_salvage(const struct engine_environment *environment,
                        const struct engine_config *config, tern_slice state,
                        tern_status (*visit)(void *context, tern_slice key,
                                             const struct record *record, uint64_t generation),
                        void *visit_context, tern_finding_function on_finding,
                        void *finding_context, uint64_t *out_lost_pages, tern_error *error) {
    struct salvage salvage = {
        .visit = visit,
        .visit_context = visit_context,
        .on_finding = on_finding,
        .finding_context = finding_context,
        .told_offset = -1,
        .error = error,
    };
    struct lsm_version *version = NULL;
    tern_error detail = TERN_ERROR_INIT;
    tern_status status = lsm_enter(&salvage.lsm, environment, config, error);
    if (status != TERN_OK) {
        return status;
    }
    if (state.size > 0) {
        status = lsm_state_open(&salvage.lsm, state, lose_table, &salvage, &version, &detail);
        if (status == TERN_CORRUPTION || status == TERN_VERSION) {
            report(&salvage, 0, -1, "tables.state", detail.message);
            salvage.lost_pages++;
            status = TERN_OK;
        } else if (status != TERN_OK) {
            error_copy(error, &detail);
        }
    }
    if (status == TERN_OK && version == NULL) {
        status = find_tables(&salvage, &version);
    }
    if (status == TERN_OK) {
        status = visit_version(&salvage, version);
    }
    version_release(version);
    lsm_leave(&salvage.lsm);
    if (status == TERN_OK) {
        *out_lost_pages = salvage.lost_pages;
    }
    return status;
}
