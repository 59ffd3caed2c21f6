/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/lsm/output.h"

#include "base/compare.h"
#include "base/error.h"
#include "base/varint.h"
#include "engine/lsm/file_registry.h"

/* Range deletes of one table, as its meta block has them; about. */
#define RANGE_BYTES_MAX ((size_t)1 << 20)

void output_init(struct lsm_output *output, struct lsm *lsm, uint32_t level, uint64_t target_bytes,
                 uint64_t age_seq, const struct lsm_range *ranges, uint32_t range_count) {
    *output = (struct lsm_output){.lsm = lsm,
                                  .level = level,
                                  .target_bytes = target_bytes,
                                  .age_seq = age_seq,
                                  .ranges = ranges,
                                  .range_count = range_count};
    arena_init(&output->arena, lsm_allocator(lsm), 1024);
}

static tern_status no_memory(tern_error *error) {
    return ERROR_NO_MEMORY(error, "writing tables");
}

static bool has_range(const struct lsm_output *output, struct lsm_range *out_range) {
    if (output->range_at == output->range_count) {
        return false;
    }
    *out_range = output->has_first_range ? output->first_range : output->ranges[output->range_at];
    return true;
}

/* The range deletes below `boundary` (NULL: all that are left); what reaches over it is cut. */
static tern_status take_ranges(struct lsm_output *output, const tern_slice *boundary,
                               struct lsm_range *ranges, uint32_t *out_count, tern_error *error) {
    struct lsm_range range;
    uint32_t count = 0;
    while (has_range(output, &range) &&
           (boundary == NULL || slice_compare(range.begin, *boundary) < 0)) {
        bool is_cut =
            boundary != NULL && (!range.has_end || slice_compare(range.end, *boundary) > 0);
        if (is_cut) {
            tern_slice copy = arena_copy(&output->arena, *boundary);
            if (copy.data == NULL) {
                return no_memory(error);
            }
            output->first_range = range;
            output->first_range.begin = copy;
            output->has_first_range = true;
            range.end = copy;
            range.has_end = true;
        } else {
            output->range_at++;
            output->has_first_range = false;
        }
        ranges[count++] = range;
        if (is_cut) {
            break;
        }
    }
    *out_count = count;
    return TERN_OK;
}

static size_t range_bytes(const struct lsm_range *range) {
    return range->begin.size + 1 + (range->has_end ? range->end.size : 0) + 2 * VARINT_BYTES_MAX;
}

static tern_status keep_table(struct lsm_output *output, struct lsm_table *table,
                              tern_error *error) {
    if (output->table_count == output->table_capacity) {
        uint32_t capacity = output->table_capacity * 2 + 8;
        struct lsm_table **grown =
            memory_resize(lsm_allocator(output->lsm), output->tables, capacity * sizeof(grown[0]));
        if (grown == NULL) {
            return no_memory(error);
        }
        output->tables = grown;
        output->table_capacity = capacity;
    }
    tern_status status = file_registry_add(output->lsm->files, table->number, LSM_FILE_TABLE,
                                           table->file_bytes, true, error);
    if (status == TERN_OK) {
        output->tables[output->table_count++] = table;
    }
    return status;
}

/* Completes the table being written; nothing of it is at or above `boundary`. */
static tern_status end_table(struct lsm_output *output, const tern_slice *boundary,
                             tern_error *error) {
    const tern_allocator *allocator = lsm_allocator(output->lsm);
    struct lsm_table *table = NULL;
    uint32_t count = 0;
    struct lsm_range *ranges = memory_allocate(
        allocator, (output->range_count - output->range_at + 1u) * sizeof(ranges[0]));
    tern_status status =
        ranges != NULL ? take_ranges(output, boundary, ranges, &count, error) : no_memory(error);
    if (status == TERN_OK) {
        output->written_bytes += table_writer_bytes(output->writer);
        status = table_writer_finish(output->writer, ranges, count, output->age_seq, &table, error);
        output->writer = NULL;
        output->range_bytes = output->has_first_range ? range_bytes(&output->first_range) : 0;
    }
    memory_release(allocator, ranges);
    if (status != TERN_OK) {
        return status;
    }
    status = keep_table(output, table, error);
    if (status != TERN_OK) {
        uint64_t number = table->number;
        table_release(table);
        (void)lsm_file_remove(output->lsm, number, LSM_FILE_TABLE, NULL);
    }
    return status;
}

static tern_status need_writer(struct lsm_output *output, tern_error *error) {
    return output->writer != NULL
               ? TERN_OK
               : table_writer_create(output->lsm, output->level, &output->writer, error);
}

/*
 * Counts the range deletes that begin below `key` (NULL: all that are left) for the table being
 * written. Where they get too many for its meta block, a table ends before the next of them: all
 * keys so far are below that one, but for one at its very begin.
 */
static tern_status count_ranges(struct lsm_output *output, const tern_slice *key,
                                tern_error *error) {
    tern_status status = TERN_OK;
    while (status == TERN_OK && output->counted_ranges < output->range_count) {
        const struct lsm_range *range = &output->ranges[output->counted_ranges];
        if (key != NULL && slice_compare(range->begin, *key) >= 0) {
            break;
        }
        bool is_too_much =
            output->range_bytes > 0 && output->range_bytes + range_bytes(range) > RANGE_BYTES_MAX &&
            (output->writer == NULL || table_writer_is_below(output->writer, range->begin));
        if (is_too_much) {
            status = need_writer(output, error);
            status = status == TERN_OK ? end_table(output, &range->begin, error) : status;
        }
        if (status == TERN_OK) {
            output->range_bytes += range_bytes(range);
            output->counted_ranges++;
        }
    }
    return status;
}

static tern_status need_values(struct lsm_output *output, tern_error *error) {
    return output->values != NULL ? TERN_OK
                                  : value_output_create(output->lsm, &output->values, error);
}

/* Much that is loaded at once makes longer tables, too. */
static uint64_t target_bytes(const struct lsm_output *output) {
    uint64_t part = output->written_bytes / LSM_TABLES_WANTED;
    return part > output->target_bytes ? part : output->target_bytes;
}

static tern_status add_stored(struct lsm_output *output, tern_slice key,
                              const struct record *record, tern_error *error) {
    tern_status status = count_ranges(output, &key, error);
    if (status == TERN_OK && output->writer != NULL &&
        (table_writer_bytes(output->writer) >= target_bytes(output) ||
         table_writer_is_full(output->writer))) {
        status = end_table(output, &key, error);
    }
    if (status == TERN_OK) {
        status = need_writer(output, error);
    }
    return status == TERN_OK ? table_writer_add(output->writer, key, record, error) : status;
}

tern_status output_add(struct lsm_output *output, tern_slice key, const struct record *record,
                       tern_error *error) {
    if (record->kind != RECORD_PUT || record->value.size <= lsm_inline_bytes_max(output->lsm)) {
        return add_stored(output, key, record, error);
    }
    uint8_t reference[ENGINE_LARGE_REFERENCE_BYTES_MAX];
    size_t size = 0;
    tern_status status = need_values(output, error);
    if (status == TERN_OK) {
        status = value_output_append(output->values, record->value.data, record->value.size, error);
    }
    if (status == TERN_OK) {
        status = value_output_finish(output->values, reference, &size, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    output->written_bytes += record->value.size;
    const struct record large = {.kind = RECORD_LARGE,
                                 .expires_ms = record->expires_ms,
                                 .value_size = record->value.size,
                                 .value = tern_slice_of(reference, size)};
    return add_stored(output, key, &large, error);
}

tern_status output_add_copy(struct lsm_output *output, struct lsm *source, tern_slice key,
                            const struct record *record, tern_error *error) {
    uint8_t reference[ENGINE_LARGE_REFERENCE_BYTES_MAX];
    struct record copy = *record;
    size_t size = 0;
    tern_status status = need_values(output, error);
    if (status == TERN_OK) {
        status = lsm_value_copy(source, record->value, output->values, reference, &size, error);
    }
    copy.value = tern_slice_of(reference, size);
    output->written_bytes += record->value_size;
    return status == TERN_OK ? add_stored(output, key, &copy, error) : status;
}

tern_status output_finish(struct lsm_output *output, tern_error *error) {
    struct lsm_range range;
    tern_status status = count_ranges(output, NULL, error);
    if (status == TERN_OK && has_range(output, &range)) {
        status = need_writer(output, error);
    }
    if (status == TERN_OK && output->writer != NULL) {
        status = end_table(output, NULL, error);
    }
    if (status == TERN_OK && output->values != NULL) {
        output->value_number = value_output_number(output->values);
        status = value_output_close(output->values, true, error);
        output->values = NULL;
    }
    return status;
}

void output_release(struct lsm_output *output) {
    const tern_allocator *allocator = lsm_allocator(output->lsm);
    table_writer_abandon(output->writer);
    output->writer = NULL;
    if (output->values != NULL) {
        (void)value_output_close(output->values, false, NULL);
        output->values = NULL;
    }
    if (output->value_number != 0 && !output->is_kept) {
        file_registry_forget(output->lsm->files, output->value_number);
        (void)lsm_file_remove(output->lsm, output->value_number, LSM_FILE_VALUES, NULL);
    }
    for (uint32_t i = 0; i < output->table_count; i++) {
        struct lsm_table *table = output->tables[i];
        uint64_t number = table->number;
        table_release(table);
        if (!output->is_kept) {
            file_registry_forget(output->lsm->files, number);
            (void)lsm_file_remove(output->lsm, number, LSM_FILE_TABLE, NULL);
        }
    }
    memory_release(allocator, output->tables);
    output->tables = NULL;
    output->table_count = output->table_capacity = 0;
    arena_release(&output->arena);
}
