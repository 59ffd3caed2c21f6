/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of a state:
 *   u8      format version (1)
 *   varint  complete seq
 *   varint  base time in ms
 *   varint  next file number
 *   varint  runs, newest first, each: varint level (not below that of the run before), varint
 *           tables, each: varint number (only once), u64 checksum of the meta block
 */
#include "engine/lsm/state.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/varint.h"

#define STATE_FORMAT_VERSION 1u

tern_status lsm_state_encode(const struct lsm_version *version, struct buffer *out_state,
                             tern_error *error) {
    size_t size_max = 1 + 4 * VARINT_BYTES_MAX;
    for (uint32_t i = 0; i < version->run_count; i++) {
        size_max += 2 * VARINT_BYTES_MAX + version->runs[i].count * (VARINT_BYTES_MAX + 8u);
    }
    size_t begin = out_state->size;
    if (buffer_reserve(out_state, size_max) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "the state of a partition");
    }
    uint8_t *end = out_state->data + begin;
    *end++ = STATE_FORMAT_VERSION;
    end = varint_put(end, version->complete_seq);
    end = varint_put(end, version->base_time_ms);
    end = varint_put(end, atomic_load_explicit(&version->lsm->next_file, memory_order_relaxed));
    end = varint_put(end, version->run_count);
    for (uint32_t i = 0; i < version->run_count; i++) {
        const struct lsm_run *run = &version->runs[i];
        end = varint_put(end, run->level);
        end = varint_put(end, run->count);
        for (uint32_t j = 0; j < run->count; j++) {
            end = varint_put(end, run->tables[j]->number);
            put_u64(end, run->tables[j]->meta_checksum);
            end += 8;
        }
    }
    out_state->size = (size_t)(end - out_state->data);
    return TERN_OK;
}

/* ---- decoding ---- */

/* A table that could not be opened: it stood in that run, before the table of that index. */
struct lost_table {
    struct lost_table *next;
    uint64_t number;
    uint32_t run, index;
    tern_error detail;
};

struct decoded {
    struct run_shape *shapes;
    struct lsm_table **tables;
    uint32_t run_count, table_count;
    struct lost_table *lost; /* the last one first */
    seq_no complete_seq;
    uint64_t base_time_ms;
};

struct opening {
    struct lsm *lsm;
    lsm_lost_function on_lost; /* NULL: all have to be there */
    void *context;
    tern_error *error;
};

static tern_status malformed(tern_error *error) {
    return ERROR_SET(error, TERN_CORRUPTION,
                     "the state of an LSM partition is malformed; repair the database");
}

static tern_status note_lost(struct opening *opening, struct decoded *decoded, uint64_t number,
                             const tern_error *detail) {
    struct lost_table *lost = memory_allocate(lsm_allocator(opening->lsm), sizeof(*lost));
    if (lost == NULL) {
        return ERROR_NO_MEMORY(opening->error, "the state of a partition");
    }
    *lost = (struct lost_table){.next = decoded->lost,
                                .number = number,
                                .run = decoded->run_count - 1,
                                .index = decoded->table_count,
                                .detail = *detail};
    decoded->lost = lost;
    return TERN_OK;
}

/* The first one first. */
static void turn_round(struct lost_table **list) {
    struct lost_table *turned = NULL;
    while (*list != NULL) {
        struct lost_table *lost = *list;
        *list = lost->next;
        lost->next = turned;
        turned = lost;
    }
    *list = turned;
}

/* Each with its neighbours in the run. */
static void tell_lost(const struct opening *opening, struct decoded *decoded) {
    turn_round(&decoded->lost);
    for (const struct lost_table *lost = decoded->lost; lost != NULL; lost = lost->next) {
        uint32_t begin = 0;
        for (uint32_t i = 0; i < lost->run; i++) {
            begin += decoded->shapes[i].count;
        }
        uint32_t end = begin + decoded->shapes[lost->run].count;
        opening->on_lost(opening->context, lost->number, &lost->detail,
                         lost->index > begin ? decoded->tables[lost->index - 1] : NULL,
                         lost->index < end ? decoded->tables[lost->index] : NULL);
    }
}

static tern_status open_one(struct opening *opening, struct decoded *decoded, uint64_t number,
                            uint64_t checksum) {
    tern_error failure = TERN_ERROR_INIT;
    struct lsm_table *table = NULL;
    tern_status status = table_open(opening->lsm, number, checksum, &table, &failure);
    if (status == TERN_OK) {
        decoded->tables[decoded->table_count++] = table;
        decoded->shapes[decoded->run_count - 1].count++;
        return TERN_OK;
    }
    if (opening->on_lost != NULL && status != TERN_NO_MEMORY) {
        return note_lost(opening, decoded, number, &failure);
    }
    error_copy(opening->error, &failure);
    return status;
}

/* What choosing a compaction relies on: older runs are not above newer ones. */
static bool is_level_fit(const struct decoded *decoded, uint64_t level) {
    return level < LSM_LEVELS &&
           (decoded->run_count == 0 || level >= decoded->shapes[decoded->run_count - 1].level);
}

static int compare_numbers(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* No table is named twice. */
static tern_status check_numbers(const struct opening *opening, const struct decoded *decoded) {
    const tern_allocator *allocator = lsm_allocator(opening->lsm);
    uint32_t count = decoded->table_count;
    uint64_t *numbers = memory_allocate(allocator, (count + 1u) * sizeof(numbers[0]));
    if (numbers == NULL) {
        return ERROR_NO_MEMORY(opening->error, "the state of a partition");
    }
    for (uint32_t i = 0; i < count; i++) {
        numbers[i] = decoded->tables[i]->number;
    }
    qsort(numbers, count, sizeof(numbers[0]), compare_numbers);
    bool is_twice = false;
    for (uint32_t i = 1; i < count; i++) {
        is_twice = is_twice || numbers[i - 1] == numbers[i];
    }
    memory_release(allocator, numbers);
    return is_twice ? malformed(opening->error) : TERN_OK;
}

static tern_status open_runs(struct opening *opening, struct decoded *decoded,
                             const uint8_t *source, const uint8_t *end, uint64_t run_count) {
    tern_status status = TERN_OK;
    for (uint64_t i = 0; status == TERN_OK && i < run_count; i++) {
        uint64_t level = 0;
        uint64_t count = 0;
        source = varint_get(source, end, &level);
        source = source != NULL ? varint_get(source, end, &count) : NULL;
        if (source == NULL || !is_level_fit(decoded, level) ||
            count > (uint64_t)(end - source) / 9) {
            return malformed(opening->error);
        }
        decoded->shapes[decoded->run_count++] = (struct run_shape){(uint32_t)level, 0};
        for (uint64_t j = 0; status == TERN_OK && j < count; j++) {
            uint64_t number = 0;
            source = varint_get(source, end, &number);
            if (source == NULL || end - source < 8) {
                return malformed(opening->error);
            }
            status = open_one(opening, decoded, number, get_u64(source));
            source += 8;
        }
    }
    if (status == TERN_OK && source != end) {
        return malformed(opening->error);
    }
    return status == TERN_OK ? check_numbers(opening, decoded) : status;
}

tern_status lsm_state_open(struct lsm *lsm, tern_slice bytes, lsm_lost_function on_lost,
                           void *context, struct lsm_version **out_version, tern_error *error) {
    const tern_allocator *allocator = lsm_allocator(lsm);
    struct opening opening = {lsm, on_lost, context, error};
    struct decoded decoded = {0};
    if (bytes.size == 0) {
        return version_create(lsm, out_version, error);
    }
    const uint8_t *source = bytes.data;
    const uint8_t *end = source + bytes.size;
    if (*source != STATE_FORMAT_VERSION) {
        return ERROR_SET(error, TERN_VERSION, "state of an LSM partition in format %u",
                         (unsigned)*source);
    }
    uint64_t next_file = 0;
    uint64_t run_count = 0;
    source = varint_get(source + 1, end, &decoded.complete_seq);
    source = source != NULL ? varint_get(source, end, &decoded.base_time_ms) : NULL;
    source = source != NULL ? varint_get(source, end, &next_file) : NULL;
    source = source != NULL ? varint_get(source, end, &run_count) : NULL;
    if (source == NULL || run_count > (uint64_t)(end - source) || next_file > LSM_FILE_NUMBER_MAX) {
        return malformed(error);
    }
    if (next_file > atomic_load(&lsm->next_file)) {
        atomic_store(&lsm->next_file, next_file);
    }
    decoded.shapes =
        memory_allocate(allocator, (size_t)(run_count + 1) * sizeof(decoded.shapes[0]));
    decoded.tables = memory_allocate(allocator, (bytes.size / 9 + 1) * sizeof(decoded.tables[0]));
    tern_status status = TERN_OK;
    if (decoded.shapes == NULL || decoded.tables == NULL) {
        status = ERROR_NO_MEMORY(error, "the state of a partition");
    } else {
        status = open_runs(&opening, &decoded, source, end, run_count);
    }
    if (status == TERN_OK) {
        tell_lost(&opening, &decoded);
        status = version_build(lsm, decoded.shapes, decoded.run_count, decoded.tables,
                               decoded.complete_seq, decoded.base_time_ms, out_version, error);
    }
    while (decoded.lost != NULL) {
        struct lost_table *lost = decoded.lost;
        decoded.lost = lost->next;
        memory_release(allocator, lost);
    }
    for (uint32_t i = 0; i < decoded.table_count; i++) {
        table_release(decoded.tables[i]);
    }
    memory_release(allocator, decoded.shapes);
    memory_release(allocator, decoded.tables);
    return status;
}
