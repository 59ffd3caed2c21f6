/* SPDX-License-Identifier: Apache-2.0 */
/* Segment files: creating, prewriting, mapping, headers, names. */
#ifndef TERN_LOG_SEGMENT_H
#define TERN_LOG_SEGMENT_H

#include "log/log_format.h"
#include "os/file.h"

/*
 * An open segment file: a spare, the active segment, or a finished one. Owned by the list that
 * holds it.
 */
struct log_segment {
    struct log_segment *next;
    tern_file *file;
    uint8_t *memory; /* mapping of the whole file, or NULL: write through the file */
    uint32_t id;
    uint32_t seed;
    uint64_t bytes;
    uint64_t prewritten; /* of a spare in preparation: bytes written once */
    uint32_t end_offset; /* of a finished one: where the chain leaves it */
    bool is_archived;
    bool is_sent_off; /* its writing was begun before any sync asked for it */
    bool can_map;
};

/* Path of a segment file. */
TERN_MUST_CHECK tern_status log_segment_path(const struct log_options *options, uint32_t id,
                                             char out_path[FILE_PATH_BYTES], tern_error *error);

/* Opens an existing segment file; `flags` as tern_open_flags. */
TERN_MUST_CHECK tern_status log_segment_open(const struct log_options *options, uint32_t id,
                                             uint64_t bytes, uint32_t flags,
                                             struct log_segment **out_segment, tern_error *error);

/*
 * Creates the file of a spare with its blocks reserved; nothing is written or synced yet. On
 * failure the file is gone.
 */
TERN_MUST_CHECK tern_status log_segment_create(const struct log_options *options, uint32_t id,
                                               struct log_segment **out_segment, tern_error *error);

/* Writes up to `bytes` more of a spare once, in 4 KiB pieces, and makes them durable. */
TERN_MUST_CHECK tern_status log_segment_prewrite(const struct log_options *options,
                                                 struct log_segment *segment, uint64_t bytes,
                                                 tern_error *error);

/* Maps the segment for appending, where the file system can. */
TERN_MUST_CHECK tern_status log_segment_map(struct log_segment *segment, tern_error *error);
void log_segment_unmap(struct log_segment *segment);

/* Unmaps it, and lets its pages go: the segment will be written past the page cache. */
void log_segment_forget(struct log_segment *segment);

/* Puts bytes at an offset, through the mapping or the file. */
TERN_MUST_CHECK tern_status log_segment_put(struct log_segment *segment, uint64_t offset,
                                            const void *bytes, size_t size, tern_error *error);

/* Unmaps, closes and frees. Accepts NULL. */
void log_segment_close(const struct log_options *options, struct log_segment *segment);

/* Closes and removes the file, on failure paths: the outcome of the removal does not matter. */
void log_segment_drop(const struct log_options *options, struct log_segment *segment);

#endif
