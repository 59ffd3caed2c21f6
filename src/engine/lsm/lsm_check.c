/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verifying a view's base: every block of every table against its checksum and its structure, the
 * order of keys within and between blocks, filters (no false negatives), separators, counts in the
 * meta blocks, and that values stored apart can be read.
 */
#include <stdio.h>

#include "base/compare.h"
#include "base/error.h"
#include "engine/lsm/filter_block.h"
#include "engine/lsm/index_block.h"
#include "engine/lsm/lsm_engine_internal.h"
#include "engine/lsm/run_cursor.h"

#define VALUE_BYTES ((size_t)256 << 10)

struct check {
    struct lsm *lsm;
    struct lsm_table *table;
    tern_finding_function on_finding;
    void *context;
    tern_progress_function progress;
    void *progress_context;
    tern_verify_report *report;
    bool has_stopped;
    bool is_cancelled;
    struct buffer filter;
    struct buffer index;
    struct buffer last; /* key of the table */
    struct buffer value;
    tern_error *error;
};

static void find_in(struct check *check, const char *file, int64_t offset, const char *invariant,
                    const char *message) {
    const tern_finding finding = {file, offset, invariant, message};
    check->report->findings++;
    if (check->on_finding != NULL && !check->has_stopped) {
        check->has_stopped = !check->on_finding(check->context, &finding);
    }
}

/* In the table itself. */
static void find(struct check *check, uint64_t offset, const char *invariant, const char *message) {
    char name[LSM_FILE_NAME_BYTES];
    lsm_file_name(check->lsm->config.id, check->table->number, LSM_FILE_TABLE, name);
    find_in(check, name, (int64_t)offset, invariant, message);
}

/* Damage is a finding, where the failure says that it is; other failures end the check. */
static tern_status tolerate(struct check *check, tern_status status, const tern_error *detail,
                            uint64_t offset, const char *invariant) {
    if (status == TERN_CORRUPTION || status == TERN_IO || status == TERN_NOT_FOUND) {
        const char *slash = strrchr(detail->file, '/');
        if (detail->file[0] != '\0') {
            find_in(check, slash != NULL ? slash + 1 : detail->file, detail->offset, invariant,
                    detail->message);
        } else {
            find(check, offset, invariant, detail->message);
        }
        return TERN_OK;
    }
    if (status != TERN_OK) {
        error_copy(check->error, detail);
    }
    return status;
}

static tern_status check_value(struct check *check, const struct record *record, uint64_t offset) {
    tern_error detail = TERN_ERROR_INIT;
    uint64_t done = 0;
    tern_status status = TERN_OK;
    check->value.size = 0;
    if (buffer_reserve(&check->value, VALUE_BYTES) != TERN_OK) {
        return ERROR_NO_MEMORY(check->error, "verifying");
    }
    while (status == TERN_OK && done < record->value_size) {
        size_t size = 0;
        status = value_read(check->lsm, record->value, done, check->value.data, VALUE_BYTES, &size,
                            &detail);
        if (status == TERN_OK && size == 0) {
            status = ERROR_SET(&detail, TERN_CORRUPTION, "a value stored apart ends early");
        }
        done += size;
        check->report->bytes += size;
    }
    return tolerate(check, status, &detail, offset, "value.pieces");
}

static tern_status check_records(struct check *check, const struct run_cursor *cursor,
                                 uint64_t offset, uint64_t *records) {
    tern_status status = TERN_OK;
    for (uint32_t i = 0; status == TERN_OK && i < cursor->count; i++) {
        const struct engine_entry *entry = &cursor->entries[i];
        uint64_t hash = engine_key_hash(check->table->numbers.hash_seed, entry->key);
        ++*records;
        if (check->last.size > 0 && slice_compare(buffer_slice(&check->last), entry->key) >= 0) {
            find(check, offset, "data.order", "keys of a table are out of order");
        }
        if (check->filter.size > 0 &&
            !bloom_line_may_contain(filter_line(check->filter.data, hash), hash)) {
            find(check, offset, "filter.negative", "a filter denies a key of its table");
        }
        if (index_block_find(check->index.data, entry->key) != cursor->block) {
            find(check, offset, "index.separator", "an index leads to another block");
        }
        check->last.size = 0;
        if (buffer_append(&check->last, entry->key.data, entry->key.size) != TERN_OK) {
            return ERROR_NO_MEMORY(check->error, "verifying");
        }
        if (entry->record.kind == RECORD_LARGE) {
            status = check_value(check, &entry->record, offset);
        }
    }
    return status;
}

static tern_status check_partition(struct check *check, struct run_cursor *cursor,
                                   uint32_t partition, uint64_t *records) {
    const struct table_partition *part = &check->table->partitions[partition];
    tern_error detail = TERN_ERROR_INIT;
    tern_status status = TERN_OK;
    check->filter.size = 0;
    if (partition_has_filter(part)) {
        status = table_read_block(check->table, part->filter, LSM_PAYLOAD_FILTER, &check->filter,
                                  &detail);
        if (status != TERN_OK) {
            check->filter.size = 0;
        }
        status =
            tolerate(check, status, &detail, lsm_place_offset(part->filter.place), "filter.block");
        check->report->pages++;
    }
    if (status != TERN_OK) {
        return status;
    }
    status = table_read_block(check->table, part->index, LSM_PAYLOAD_INDEX, &check->index, &detail);
    check->report->pages++;
    if (status != TERN_OK) {
        return tolerate(check, status, &detail, lsm_place_offset(part->index.place), "index.block");
    }
    if (index_block_count(check->index.data) != part->block_count) {
        find(check, lsm_place_offset(part->index.place), "index.count",
             "an index disagrees with the meta block");
        return TERN_OK;
    }
    uint64_t before = *records;
    for (uint32_t i = 0; status == TERN_OK && i < part->block_count; i++) {
        uint64_t offset = lsm_place_offset(index_block_ref(check->index.data, i).place);
        tern_status entered = run_cursor_enter(cursor, 0, partition, i, &detail);
        check->report->pages++;
        status = entered == TERN_OK ? check_records(check, cursor, offset, records)
                                    : tolerate(check, entered, &detail, offset, "data.block");
    }
    if (status == TERN_OK && check->report->findings == 0 && *records - before != part->records) {
        find(check, lsm_place_offset(part->index.place), "meta.records",
             "a partition has another number of records than the meta block says");
    }
    return status;
}

static tern_status check_table(struct check *check, struct lsm_table *table) {
    struct run_cursor cursor;
    uint64_t records = 0;
    tern_status status = TERN_OK;
    uint64_t findings = check->report->findings;
    check->table = table;
    check->last.size = 0;
    run_cursor_init(&cursor, check->lsm, &check->table, 1, true);
    for (uint32_t i = 0; status == TERN_OK && i < table->partition_count; i++) {
        status = check_partition(check, &cursor, i, &records);
    }
    run_cursor_release(&cursor);
    if (status != TERN_OK) {
        return status;
    }
    if (check->report->findings == findings &&
        (records != table->numbers.records ||
         !slice_equal(buffer_slice(&check->last), table->last))) {
        find(check, 0, "meta.records", "a table has other records than its meta block says");
    }
    check->report->files++;
    check->report->records += records;
    check->report->bytes += table->file_bytes;
    return TERN_OK;
}

tern_status lsm_verify(struct engine_view *engine_view, tern_finding_function on_finding,
                       void *context, tern_progress_function progress, void *progress_context,
                       tern_verify_report *report, tern_error *error) {
    struct lsm *lsm = &lsm_of(engine_view->engine)->lsm;
    const struct lsm_version *version = lsm_view_of(engine_view)->version;
    const tern_allocator *allocator = lsm_allocator(lsm);
    struct check check = {
        .lsm = lsm, .on_finding = on_finding, .context = context, .report = report, .error = error};
    uint64_t done = 0;
    uint64_t total = version_file_bytes(version);
    tern_status status = TERN_OK;
    buffer_init(&check.filter, allocator);
    buffer_init(&check.index, allocator);
    buffer_init(&check.last, allocator);
    buffer_init(&check.value, allocator);
    for (uint32_t i = 0; status == TERN_OK && i < version->run_count; i++) {
        const struct lsm_run *run = &version->runs[i];
        for (uint32_t j = 0; status == TERN_OK && j < run->count; j++) {
            if (progress != NULL && !progress(progress_context, "tables", done, total)) {
                status = ERROR_SET(error, TERN_CANCELLED, "verification was cancelled");
                break;
            }
            status = check_table(&check, run->tables[j]);
            done += run->tables[j]->file_bytes;
        }
    }
    buffer_release(&check.filter);
    buffer_release(&check.index);
    buffer_release(&check.last);
    buffer_release(&check.value);
    return status;
}
