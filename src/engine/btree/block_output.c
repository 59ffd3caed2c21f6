/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   last run:  | written or being written | buffer (filled) | free ...... |
 *              ^place                                       ^place + run_used    ^place + units
 *
 * The payload of the next block is built at the end of the buffer, behind room for its header. If
 * it turns out not to fit the run, the buffer is written and the block moves to the beginning of
 * the next one, for the next run.
 *
 * A full buffer is handed to the queue, and the next is filled: the device writes while the merge
 * goes on. Invariants:
 *  O1 a buffer is not touched, and no run given back, while a write of it is under way
 *  O2 a write that failed is found when its buffer is needed again, or at block_output_finish at
 *     the latest; so never after the blocks have been synced or named by a root
 *  O3 block_output_finish returns when no write is under way: a sync begun after it covers all
 */
#include "engine/btree/block_output.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"

#define WRITE_BYTES ((size_t)256 * 1024)
#define RUN_UNITS   ((uint64_t)1024 * 1024 / UNIT_BYTES)

static tern_status allocate_buffers(struct block_output *output, tern_error *error) {
    size_t bytes =
        (size_t)round_up_u64(WRITE_BYTES + block_bound(BLOCK_OUTPUT_PAYLOAD_MAX) + 4096, 4096);
    for (uint32_t i = 0; i < output->chunk_count; i++) {
        struct output_chunk *chunk = &output->chunks[i];
        atomic_init(&chunk->write.is_complete, true);
        chunk->bytes =
            memory_allocate_aligned(output->allocator, BTREE_FILE_MEMORY_ALIGNMENT, bytes);
        if (chunk->bytes == NULL) {
            return ERROR_NO_MEMORY(error, "writing blocks");
        }
    }
    output->buffer = output->chunks[0].bytes;
    return TERN_OK;
}

tern_status block_output_init(struct block_output *output,
                              const struct engine_environment *environment,
                              tern_compression compression, struct btree_file *file,
                              tern_error *error) {
    *output = (struct block_output){
        .allocator = environment->allocator,
        .queue = environment->write_queue,
        .file = file,
        .context = {compression, environment->incarnation},
        .granule = 1,
    };
    bool overlaps = output->queue != NULL && io_queue_is_asynchronous(output->queue);
    output->chunk_count = overlaps ? BLOCK_OUTPUT_CHUNKS : 1;
    tern_status status = allocate_buffers(output, error);
    if (status == TERN_OK && compression != TERN_COMPRESSION_NONE) {
        output->staging = memory_allocate(output->allocator, BLOCK_OUTPUT_PAYLOAD_MAX);
        if (output->staging == NULL) {
            status = ERROR_NO_MEMORY(error, "writing blocks");
        }
    }
    if (status != TERN_OK) {
        block_output_release(output);
    }
    return status;
}

void block_output_release(struct block_output *output) {
    for (uint32_t i = 0; i < output->chunk_count; i++) {
        memory_release_aligned(output->allocator, output->chunks[i].bytes);
        output->chunks[i].bytes = NULL;
    }
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

/* Until the write of the chunk has ended; O2. */
static tern_status settle(struct block_output *output, struct output_chunk *chunk,
                          tern_error *error) {
    if (output->queue == NULL) {
        return TERN_OK;
    }
    tern_status status = io_queue_wait(output->queue, &chunk->write);
    if (status != TERN_OK) {
        error_copy(error, &chunk->error);
        chunk->write.io.status = TERN_OK; /* told */
    }
    return status;
}

/* Until no write is under way; the first failure of all. */
static tern_status settle_all(struct block_output *output, tern_error *error) {
    tern_status result = TERN_OK;
    for (uint32_t i = 0; i < output->chunk_count; i++) {
        struct output_chunk *chunk = &output->chunks[i];
        tern_status status = settle(output, chunk, result == TERN_OK ? error : NULL);
        result = result == TERN_OK ? status : result;
    }
    return result;
}

/* Sends the buffer to where it belongs and makes the next one ready. */
static tern_status write_buffer(struct block_output *output, tern_error *error) {
    if (output->filled == 0) {
        return TERN_OK;
    }
    uint64_t units = output->filled / UNIT_BYTES;
    const struct extent *run = &output->runs[output->run_count - 1];
    uint64_t place = run->place + output->run_used - units;
    struct output_chunk *chunk = &output->chunks[output->chunk];
    tern_status status = TERN_OK;
    if (output->queue == NULL) {
        status = btree_file_write(output->file, place, chunk->bytes, units, error);
    } else {
        chunk->error = (tern_error)TERN_ERROR_INIT;
        chunk->write.io.error = &chunk->error;
        bool has_begun = btree_file_begin(output->file, TERN_IO_WRITE, place, units, chunk->bytes,
                                          output->queue, &chunk->write);
        ASSERT(has_begun);
        io_queue_flush(output->queue);
        output->chunk = (output->chunk + 1) % output->chunk_count;
        output->buffer = output->chunks[output->chunk].bytes;
        status = settle(output, &output->chunks[output->chunk], error);
    }
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
        status = write_buffer(output, error);
        if (status != TERN_OK) {
            return status;
        }
        /* A write under way only reads what lies before the block. */
        memmove(output->buffer, block, whole_bytes);
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
        status = settle_all(output, error);
    }
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
    tern_status status = settle_all(output, NULL); /* O1 */
    (void)status;                                  /* nobody will read what it wrote */
    for (size_t i = 0; i < output->run_count; i++) {
        btree_file_release_now(output->file, output->runs[i].place, output->runs[i].units);
    }
    block_output_keep(output);
}
