/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each chunk is read whole and its checksum, taken when the log was replayed, is checked again:
 * what has become of the file since is never returned as data.
 */
#include "db/logged_values.h"

#include <string.h>

#include "base/error.h"
#include "log/log_segment.h"
#include "os/file.h"
#include "simd/hash.h"

#define CAPACITY_MIN 64u

static tern_status read_value(void *context, uint64_t token, uint64_t offset, void *buffer,
                              size_t capacity, size_t *out_size, tern_error *error);

void logged_values_init(struct logged_values *logged, const struct log_options *options,
                        struct budget *budget) {
    *logged = (struct logged_values){
        .values = {.read = read_value, .context = logged}, .options = *options, .budget = budget};
}

void logged_values_release(struct logged_values *logged) {
    if (logged->chunks != NULL) {
        budget_subtract(logged->budget, BUDGET_OTHER, logged->capacity * sizeof(logged->chunks[0]));
        memory_release(logged->options.allocator, logged->chunks);
        logged->chunks = NULL;
    }
}

/* The first chunk that is not before (token, offset). */
static size_t find(const struct logged_values *logged, uint64_t token, uint64_t offset) {
    size_t low = 0;
    size_t high = logged->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct logged_chunk *chunk = &logged->chunks[middle];
        bool is_before = chunk->token < token || (chunk->token == token && chunk->offset < offset);
        low = is_before ? middle + 1 : low;
        high = is_before ? high : middle;
    }
    return low;
}

tern_status logged_values_add(struct logged_values *logged, uint64_t token, uint64_t offset,
                              log_position place, const void *bytes, size_t size,
                              tern_error *error) {
    if (logged->count == logged->capacity) {
        size_t capacity = logged->capacity == 0 ? CAPACITY_MIN : logged->capacity * 2;
        struct logged_chunk *chunks =
            memory_resize(logged->options.allocator, logged->chunks, capacity * sizeof(chunks[0]));
        if (chunks == NULL) {
            return ERROR_NO_MEMORY(error, "where large values lie in the log");
        }
        budget_add(logged->budget, BUDGET_OTHER, (capacity - logged->capacity) * sizeof(chunks[0]));
        logged->chunks = chunks;
        logged->capacity = capacity;
    }
    size_t at = find(logged, token, offset);
    memmove(&logged->chunks[at + 1], &logged->chunks[at],
            (logged->count - at) * sizeof(logged->chunks[0]));
    logged->chunks[at] = (struct logged_chunk){.token = token,
                                               .offset = offset,
                                               .place = place,
                                               .checksum = hash_u64(bytes, size, token),
                                               .size = (uint32_t)size};
    logged->count++;
    return TERN_OK;
}

/* All bytes of a chunk, from the segment that is open, or another one. */
static tern_status load(const struct logged_values *logged, const struct logged_chunk *chunk,
                        struct log_segment **segment, uint8_t *bytes, tern_error *error) {
    uint32_t id = log_position_segment(chunk->place);
    tern_status status = TERN_OK;
    if (*segment == NULL || (*segment)->id != id) {
        log_segment_close(&logged->options, *segment);
        *segment = NULL;
        status = log_segment_open(&logged->options, id, 0, TERN_OPEN_READ, segment, error);
    }
    size_t got = 0;
    if (status == TERN_OK) {
        status = file_read((*segment)->file, log_position_offset(chunk->place), bytes, chunk->size,
                           &got, error);
    }
    if (status == TERN_OK &&
        (got != chunk->size || hash_u64(bytes, chunk->size, chunk->token) != chunk->checksum)) {
        char path[FILE_PATH_BYTES];
        status = log_segment_path(&logged->options, id, path, error);
        if (status == TERN_OK) {
            status = ERROR_AT(error, TERN_CORRUPTION, path, log_position_offset(chunk->place), 0,
                              "a piece of a large value is not what it was when the database was "
                              "opened; run 'tern verify'");
        }
    }
    return status;
}

static tern_status read_value(void *context, uint64_t token, uint64_t offset, void *buffer,
                              size_t capacity, size_t *out_size, tern_error *error) {
    const struct logged_values *logged = context;
    const tern_allocator *allocator = logged->options.allocator;
    struct log_segment *segment = NULL;
    uint8_t *bytes = NULL;
    size_t bytes_size = 0;
    size_t done = 0;
    tern_status status = TERN_OK;
    size_t at = find(logged, token, offset + 1);
    at = at > 0 ? at - 1 : 0; /* where the offset lies in */
    for (; status == TERN_OK && done < capacity && at < logged->count; at++) {
        const struct logged_chunk *chunk = &logged->chunks[at];
        if (chunk->token != token || offset + done < chunk->offset ||
            offset + done >= chunk->offset + chunk->size) {
            break;
        }
        if (bytes_size < chunk->size) {
            memory_release(allocator, bytes);
            bytes = memory_allocate(allocator, chunk->size);
            bytes_size = bytes != NULL ? chunk->size : 0;
        }
        status = bytes != NULL ? load(logged, chunk, &segment, bytes, error)
                               : ERROR_NO_MEMORY(error, "a piece of a large value");
        if (status == TERN_OK) {
            size_t within = (size_t)(offset + done - chunk->offset);
            size_t taken = chunk->size - within;
            taken = taken < capacity - done ? taken : capacity - done;
            memcpy((uint8_t *)buffer + done, bytes + within, taken);
            done += taken;
        }
    }
    log_segment_close(&logged->options, segment);
    memory_release(allocator, bytes);
    if (status == TERN_OK) {
        *out_size = done;
    }
    return status;
}
