/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   last run:  | written | buffer (filled) | free ...... |
 *              ^place               ^place + run_used    ^place + units
 *
 * The payload of the next block is built at the end of the buffer, behind room for its header. If
 * it turns out not to fit the run, the buffer is written and the block moves to its beginning, for
 * the next run.
 */
#include "engine/btree/block_output.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"

#define WRITE_BYTES ((size_t)256 * 1024)
#define RUN_UNITS   ((uint64_t)1024 * 1024 / UNIT_BYTES)

tern_status block_output_init(struct block_output *output,
                              const struct engine_environment *environment,
                              tern_compression compression, struct btree_file *file,
                              tern_error *error) {
    *output = (struct block_output){
        .allocator = environment->allocator,
        .file = file,
        .context = {compression, environment->incarnation},
        .granule = 1,
    };
    output->buffer_bytes =
        (size_t)round_up_u64(WRITE_BYTES + block_bound(BLOCK_OUTPUT_PAYLOAD_MAX) + 4096, 4096);
    output->buffer = memory_allocate_aligned(output->allocator, BTREE_FILE_MEMORY_ALIGNMENT,
                                             output->buffer_bytes);
    if (compression != TERN_COMPRESSION_NONE) {
        output->staging = memory_allocate(output->allocator, BLOCK_OUTPUT_PAYLOAD_MAX);
    }
    if (output->buffer == NULL ||
        (compression != TERN_COMPRESSION_NONE && output->staging == NULL)) {
        block_output_release(output);
        return ERROR_NO_MEMORY(error, "writing blocks");
    }
    return TERN_OK;
}

void block_output_release(struct block_output *output) {
    memory_release_aligned(output->allocator, output->buffer);
    memory_release(output->allocator, output->staging);
    memory_release(output->allocator, output->runs);
    output->buffer = output->staging = NULL;
    output->runs = NULL;
}

tern_status block_output_begin(struct block_output *output, tern_error *error) {
    output->filled = 0;
    output->run_count = 0;
    output->run_used = 0;
    output->written_bytes = 0;
    return btree_file_granule(output->file, &output->granule, error);
}

/* Writes the buffer to where it belongs. */
static tern_status write_buffer(struct block_output *output, tern_error *error) {
    if (output->filled == 0) {
        return TERN_OK;
    }
    uint64_t units = output->filled / UNIT_BYTES;
    const struct extent *run = &output->runs[output->run_count - 1];
    tern_status status = btree_file_write(output->file, run->place + output->run_used - units,
                                          output->buffer, units, error);
    if (status == TERN_OK) {
        output->filled = 0;
    }
    return status;
}

/* Gives back what the last run has left. */
static void trim_run(struct block_output *output) {
    if (output->run_count == 0) {
        return;
    }
    struct extent *run = &output->runs[output->run_count - 1];
    if (run->units > output->run_used) {
        btree_file_release_now(output->file, run->place + output->run_used,
                               run->units - output->run_used);
        run->units = output->run_used;
    }
    if (run->units == 0) {
        output->run_count--;
    }
}

static tern_status next_run(struct block_output *output, uint64_t units, tern_error *error) {
    if (output->run_count == output->run_capacity) {
        size_t capacity = output->run_capacity == 0 ? 64 : output->run_capacity * 2;
        void *runs =
            memory_resize(output->allocator, output->runs, capacity * sizeof(output->runs[0]));
        if (runs == NULL) {
            return ERROR_NO_MEMORY(error, "writing blocks");
        }
        output->runs = runs;
        output->run_capacity = capacity;
    }
    uint64_t most = units > RUN_UNITS ? units : RUN_UNITS;
    struct extent run;
    tern_status status =
        btree_file_allocate_run(output->file, units, most, output->takes_scraps, &run, error);
    if (status == TERN_OK) {
        output->runs[output->run_count++] = run;
        output->run_used = 0;
    }
    return status;
}

tern_status block_output_reserve(struct block_output *output, size_t size_max,
                                 uint8_t **out_payload, tern_error *error) {
    ASSERT(size_max <= BLOCK_OUTPUT_PAYLOAD_MAX);
    if (output->filled >= WRITE_BYTES) {
        tern_status status = write_buffer(output, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    *out_payload = output->staging != NULL ? output->staging
                                           : output->buffer + output->filled + BLOCK_HEADER_BYTES;
    return TERN_OK;
}

tern_status block_output_commit(struct block_output *output, size_t size, packed_ref *out_ref,
                                uint64_t *out_checksum, tern_error *error) {
    uint8_t *block = output->buffer + output->filled;
    size_t stored = BLOCK_HEADER_BYTES + size;
    uint64_t checksum = 0;
    tern_status status = TERN_OK;
    if (output->staging != NULL) {
        status =
            block_encode(&output->context, output->staging, size, block, &stored, &checksum, error);
        if (status != TERN_OK) {
            return status;
        }
    } else {
        checksum = block_seal(&output->context, block, size);
    }
    uint64_t units = (stored + UNIT_BYTES - 1) / UNIT_BYTES;
    uint64_t whole_units = round_up_u64(units, output->granule);
    size_t whole_bytes = (size_t)whole_units * UNIT_BYTES;
    memset(block + stored, 0, whole_bytes - stored);
    if (output->run_count == 0 ||
        output->runs[output->run_count - 1].units - output->run_used < whole_units) {
        size_t waiting = output->filled;
        status = write_buffer(output, error);
        if (status != TERN_OK) {
            return status;
        }
        memmove(output->buffer, output->buffer + waiting, whole_bytes);
        trim_run(output);
        status = next_run(output, whole_units, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    const struct extent *run = &output->runs[output->run_count - 1];
    uint64_t place = run->place + output->run_used;
    output->run_used += whole_units;
    output->filled += whole_bytes;
    output->written_bytes += whole_bytes;
    *out_ref = ref_pack(place, (uint32_t)units, 0);
    *out_checksum = checksum;
    return TERN_OK;
}

tern_status block_output_finish(struct block_output *output, tern_error *error) {
    tern_status status = write_buffer(output, error);
    if (status == TERN_OK) {
        trim_run(output);
        if (output->run_count > 0) {
            output->run_used = output->runs[output->run_count - 1].units;
        }
    }
    return status;
}

void block_output_keep(struct block_output *output) {
    output->run_count = 0;
    output->run_used = 0;
    output->filled = 0;
}

void block_output_abandon(struct block_output *output) {
    for (size_t i = 0; i < output->run_count; i++) {
        btree_file_release_now(output->file, output->runs[i].place, output->runs[i].units);
    }
    block_output_keep(output);
}
