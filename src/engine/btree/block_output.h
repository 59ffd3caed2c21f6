/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes blocks one behind the other into runs of free space, in large aligned writes that go on
 * while further blocks are made, and remembers every run so that all of it can be given up.
 */
#ifndef TERN_ENGINE_BTREE_BLOCK_OUTPUT_H
#define TERN_ENGINE_BTREE_BLOCK_OUTPUT_H

#include "engine/btree/btree_file_internal.h"
#include "os/io_queue.h"

/* Buffers: one is being filled, the others may be on their way to the device. */
#define BLOCK_OUTPUT_CHUNKS 4

/* A buffer and the write of it. */
struct output_chunk {
    uint8_t *bytes; /* aligned */
    struct io_operation write;
    tern_error error; /* of the write */
};

/* One thread at a time (the maintenance role). */
struct block_output {
    const tern_allocator *allocator;
    struct io_queue *queue; /* NULL: writes are waited for at once, in one buffer */
    struct btree_file *file;
    struct block_context context;
    uint64_t granule; /* units */
    struct output_chunk chunks[BLOCK_OUTPUT_CHUNKS];
    uint32_t chunk_count;
    uint32_t chunk;      /* the one that is being filled */
    uint8_t *buffer;     /* its bytes: blocks that are not written yet */
    size_t filled;       /* bytes in the buffer */
    uint8_t *staging;    /* payload of a block to be compressed; NULL without compression */
    struct extent *runs; /* the last one is being filled */
    size_t run_count;
    size_t run_capacity;
    uint64_t run_used;      /* units of the last run that hold blocks (written or in the buffer) */
    bool takes_scraps;      /* prefers low places to long runs */
    uint64_t written_bytes; /* of blocks since block_output_begin */
};

/* Largest payload that block_output_reserve takes. */
#define BLOCK_OUTPUT_PAYLOAD_MAX ((size_t)256 * 1024)

TERN_MUST_CHECK tern_status block_output_init(struct block_output *output,
                                              const struct engine_environment *environment,
                                              tern_compression compression, struct btree_file *file,
                                              tern_error *error);
void block_output_release(struct block_output *output);

/* Starts anew; creates the file when it is missing. */
TERN_MUST_CHECK tern_status block_output_begin(struct block_output *output, tern_error *error);
/* Where to build the payload of the next block, `size_max` bytes. */
TERN_MUST_CHECK tern_status block_output_reserve(struct block_output *output, size_t size_max,
                                                 uint8_t **out_payload, tern_error *error);
/* The payload is there: makes a block of it. */
TERN_MUST_CHECK tern_status block_output_commit(struct block_output *output, size_t size,
                                                packed_ref *out_ref, uint64_t *out_checksum,
                                                tern_error *error);
/* Writes what waits, gives back what is left of the last run, and returns when all writes have
 * ended; the first that failed is told. */
TERN_MUST_CHECK tern_status block_output_finish(struct block_output *output, tern_error *error);
/* The blocks belong to a root now: forgets the runs. */
void block_output_keep(struct block_output *output);
/* Gives all runs back, once nothing is being written to them any more. */
void block_output_abandon(struct block_output *output);

#endif
