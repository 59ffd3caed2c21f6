/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/lsm/table.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/compare.h"
#include "base/error.h"
#include "engine/lsm/table_meta.h"

/* ---- opening and closing ---- */

static void table_destroy(struct lsm_table *table) {
    const tern_allocator *allocator = lsm_allocator(table->lsm);
    (void)file_close(table->file, NULL);
    key_directory_release(&table->directory);
    memory_release(allocator, table->partitions);
    memory_release(allocator, table->hints);
    memory_release(allocator, table->ranges);
    memory_release(allocator, table->uses);
    memory_release(allocator, table->meta);
    memory_release(allocator, table);
}

void table_retain(struct lsm_table *table) {
    atomic_fetch_add_explicit(&table->references, 1, memory_order_relaxed);
}

/* Memory that a table takes as long as it is open, for the budget. */
static uint64_t resident_bytes(const struct lsm_table *table) {
    return sizeof(*table) + table->partition_count * (sizeof(table->partitions[0]) + 48) +
           table->numbers.blocks * sizeof(table->hints[0]);
}

void table_release(struct lsm_table *table) {
    if (table != NULL &&
        atomic_fetch_sub_explicit(&table->references, 1, memory_order_acq_rel) == 1) {
        struct budget *budget = table->lsm->environment->budget;
        if (budget != NULL) {
            budget_subtract(budget, BUDGET_INDEX, resident_bytes(table));
        }
        atomic_fetch_sub_explicit(&table->lsm->table_bytes, table->file_bytes,
                                  memory_order_relaxed);
        table_destroy(table);
    }
}

/* A serial number that no cached block has; a new space when they are used up. */
static void give_serial(struct lsm_table *table) {
    struct lsm *lsm = table->lsm;
    if (lsm->environment->cache == NULL) {
        return;
    }
    if (lsm->space == 0 || lsm->next_serial == LSM_SERIALS) {
        lsm->space = cache_space_open(lsm->environment->cache);
        lsm->next_serial = 0;
    }
    table->space = lsm->space;
    table->serial = lsm->next_serial++;
}

static tern_status read_footer(struct lsm_table *table, const char *path, uint64_t meta_checksum,
                               struct lsm_ref *out_meta, tern_error *error) {
    uint8_t footer[LSM_FOOTER_BYTES];
    partition_id id = 0;
    uint64_t number = 0;
    uint64_t size = 0;
    tern_status status = table->file->methods->size(table->file, &size, error);
    if (status != TERN_OK) {
        return status;
    }
    if (size < LSM_FOOTER_BYTES) {
        return ERROR_AT(error, TERN_CORRUPTION, path, 0, 0, "footer.size: a table of %llu bytes",
                        (unsigned long long)size);
    }
    uint64_t offset = size - LSM_FOOTER_BYTES;
    status = file_read_exact(table->file, path, offset, footer, sizeof(footer), error);
    if (status != TERN_OK) {
        return status;
    }
    const char *wrong = table_footer_decode(footer, &id, &number, out_meta);
    if (wrong == NULL &&
        (number != table->number || (meta_checksum != 0 && out_meta->checksum != meta_checksum) ||
         lsm_place_offset(out_meta->place) + lsm_place_bytes(out_meta->place) != offset)) {
        wrong = "footer.meta";
    }
    if (wrong != NULL) {
        return ERROR_AT(error, TERN_CORRUPTION, path, offset, 0,
                        "%s: the footer of a table is damaged; verify and repair", wrong);
    }
    table->file_bytes = size;
    return TERN_OK;
}

static tern_status read_meta(struct lsm_table *table, const char *path, struct lsm_ref ref,
                             tern_error *error) {
    const tern_allocator *allocator = lsm_allocator(table->lsm);
    struct buffer payload;
    buffer_init(&payload, allocator);
    tern_status status = table_read_block(table, ref, LSM_PAYLOAD_META, &payload, error);
    table->meta = payload.data;
    table->meta_checksum = ref.checksum;
    if (status != TERN_OK) {
        return status;
    }
    const char *wrong = table_meta_decode(table, payload.size, lsm_place_offset(ref.place));
    if (wrong != NULL && strcmp(wrong, "memory") == 0) {
        return ERROR_NO_MEMORY(error, "opening a table");
    }
    if (wrong != NULL) {
        return ERROR_AT(error, TERN_CORRUPTION, path, lsm_place_offset(ref.place), 0,
                        "%s: the meta block of a table is malformed; verify and repair", wrong);
    }
    table->hints = memory_allocate_zeroed(allocator, (size_t)(table->numbers.blocks + 1) *
                                                         sizeof(table->hints[0]));
    return table->hints != NULL ? TERN_OK : ERROR_NO_MEMORY(error, "opening a table");
}

tern_status table_open(struct lsm *lsm, uint64_t number, uint64_t meta_checksum,
                       struct lsm_table **out_table, tern_error *error) {
    char path[FILE_PATH_BYTES];
    const tern_file_system *system = lsm->environment->file_system;
    struct lsm_ref meta = {0};
    struct lsm_table *table = memory_allocate_zeroed(lsm_allocator(lsm), sizeof(*table));
    if (table == NULL) {
        return ERROR_NO_MEMORY(error, "opening a table");
    }
    atomic_init(&table->references, 1);
    table->lsm = lsm;
    table->number = number;
    tern_status status = lsm_file_path(lsm, number, LSM_FILE_TABLE, path, error);
    if (status == TERN_OK) {
        status = system->open(system->context, path, TERN_OPEN_READ, &table->file, error);
        if (status == TERN_NOT_FOUND) {
            status = ERROR_AT(error, TERN_CORRUPTION, path, -1, 0,
                              "a table that the manifest names is not there; repair the database");
        }
    }
    if (status == TERN_OK) {
        status = read_footer(table, path, meta_checksum, &meta, error);
    }
    if (status == TERN_OK) {
        status = read_meta(table, path, meta, error);
    }
    if (status != TERN_OK) {
        table_destroy(table);
        return status;
    }
    give_serial(table);
    atomic_fetch_add_explicit(&lsm->table_bytes, table->file_bytes, memory_order_relaxed);
    if (lsm->environment->budget != NULL) {
        budget_add(lsm->environment->budget, BUDGET_INDEX, resident_bytes(table));
    }
    *out_table = table;
    return TERN_OK;
}

/* ---- extents ---- */

int table_compare_extent(const struct lsm_table *table, tern_slice key) {
    if (slice_compare(key, table->lower) < 0) {
        return -1;
    }
    if (!table->has_upper) {
        return 0;
    }
    int order = slice_compare(key, table->upper);
    return order > 0 || (order == 0 && !table->is_upper_inclusive) ? 1 : 0;
}

static bool ends_before(const struct lsm_table *left, const struct lsm_table *right) {
    if (!left->has_upper) {
        return false;
    }
    int order = slice_compare(left->upper, right->lower);
    return order < 0 || (order == 0 && !left->is_upper_inclusive);
}

bool table_extents_overlap(const struct lsm_table *left, const struct lsm_table *right) {
    return !ends_before(left, right) && !ends_before(right, left);
}
