/* SPDX-License-Identifier: Apache-2.0 */
/* What the writers of a B+tree file need beyond btree_file.h. */
#ifndef TERN_ENGINE_BTREE_FILE_INTERNAL_H
#define TERN_ENGINE_BTREE_FILE_INTERNAL_H

#include "engine/btree/btree_file.h"
#include "engine/btree/extents.h"
#include "os/io_queue.h"

/* "p-<16 hex digits>.btree" and its terminating zero. */
#define BTREE_FILE_NAME_BYTES 25
void btree_file_name(partition_id id, char out_name[BTREE_FILE_NAME_BYTES]);

/* Alignment of memory given to the writing functions. */
#define BTREE_FILE_MEMORY_ALIGNMENT ((size_t)4096)

/*
 * Space is handed out and taken back in granules: what direct I/O on this file needs, fixed when
 * the file is created. Creates the file when it is missing.
 */
TERN_MUST_CHECK tern_status btree_file_granule(struct btree_file *file, uint64_t *out_units,
                                               tern_error *error);

/*
 * Hands out a run of `units_min` to `units_max` consecutive units for blocks that are written one
 * behind the other: long runs low in the file first, then growth, and scraps only when much of the
 * file is free or `takes_scraps`. TERN_DISK_FULL.
 */
TERN_MUST_CHECK tern_status btree_file_allocate_run(struct btree_file *file, uint64_t units_min,
                                                    uint64_t units_max, bool takes_scraps,
                                                    struct extent *out_run, tern_error *error);

/*
 * Begins to read or write `units` whole units at `place`; io_queue_wait, or btree_file_end_read,
 * says how it ended. The caller has set operation->io.error. False: nothing has begun, because the
 * place cannot be one.
 */
TERN_MUST_CHECK bool btree_file_begin(struct btree_file *file, tern_io_kind kind, uint64_t place,
                                      uint64_t units, void *aligned, struct io_queue *queue,
                                      struct io_operation *operation);
/* TERN_CORRUPTION, without detail, when the file ends early: reading again by itself tells. */
TERN_MUST_CHECK tern_status btree_file_end_read(struct btree_file *file, uint64_t units,
                                                struct io_queue *queue, struct io_operation *read);

/*
 * Reads raw bytes of whole blocks from `place` on into aligned memory; a file that ends early is
 * TERN_CORRUPTION. The place must be one that the file handed out.
 */
TERN_MUST_CHECK tern_status btree_file_read_units(struct btree_file *file, uint64_t place,
                                                  uint64_t units, void *aligned, tern_error *error);

/*
 * Checks and decodes the block of `units` units that lies at `bytes` and was read from `place`; as
 * block_decode otherwise.
 */
TERN_MUST_CHECK tern_status btree_file_decode(const struct btree_file *file, const uint8_t *bytes,
                                              uint64_t place, uint64_t units, uint64_t checksum,
                                              void *target, size_t capacity, const void **in_place,
                                              size_t *out_payload_size, tern_error *error);

/* Asks the system to read ahead into its page cache, without waiting. */
void btree_file_will_need(struct btree_file *file, uint64_t place, uint64_t units);
/* Counts a run that was read ahead. */
void btree_file_note_ahead(struct btree_file *file, uint64_t pages, bool is_strided);

/* End of the file in units; what lies beyond was never handed out. */
uint64_t btree_file_end(struct btree_file *file);

/*
 * No durable root names a block of this file: its header may have been left in the page cache alone
 * by a sync that failed. It is written again before the first block.
 */
void btree_file_distrust_header(struct btree_file *file);

/* The granule without creating anything. */
uint64_t btree_file_known_granule(const struct btree_file *file);

/* Hands out nothing below the end of the file any more: what lies there is not known. */
void btree_file_forget_free(struct btree_file *file);

/* True when the file was there at open or has been created. */
bool btree_file_exists(const struct btree_file *file);

#endif
