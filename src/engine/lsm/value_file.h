/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values stored apart: files that hold one value (streamed in before its commit) or many (put apart
 * by a drain or a compaction). A value is a run of blocks of 256 KiB, and an index block when there
 * is more than one. See value_file.c for the bytes.
 */
#ifndef TERN_ENGINE_LSM_VALUE_FILE_H
#define TERN_ENGINE_LSM_VALUE_FILE_H

#include "engine/lsm/lsm.h"

struct value_reference {
    bool has_index;
    uint64_t number;       /* of the file */
    uint64_t size_bytes;   /* of the value */
    uint64_t stored_bytes; /* that it takes in the file */
    struct lsm_ref ref;    /* of the only piece, or of the index */
};

TERN_MUST_CHECK tern_status value_reference_decode(tern_slice bytes,
                                                   struct value_reference *out_reference,
                                                   tern_error *error);
size_t value_reference_encode(const struct value_reference *reference,
                              uint8_t out_bytes[ENGINE_LARGE_REFERENCE_BYTES_MAX]);

/* A file of values being written, one value after the other. One thread. */
struct value_output;
/* Creates the file and registers it; pending until a version refers to it. */
TERN_MUST_CHECK tern_status value_output_create(struct lsm *lsm, struct value_output **out_output,
                                                tern_error *error);
uint64_t value_output_number(const struct value_output *output);
TERN_MUST_CHECK tern_status value_output_append(struct value_output *output, const void *bytes,
                                                size_t size, tern_error *error);
/* Ends the value and begins the next. */
TERN_MUST_CHECK tern_status value_output_finish(
    struct value_output *output, uint8_t out_reference[ENGINE_LARGE_REFERENCE_BYTES_MAX],
    size_t *out_size, tern_error *error);
/* Closes the file. `keep` false: removes it. Accepts NULL. */
tern_status value_output_close(struct value_output *output, bool keep, tern_error *error);

TERN_MUST_CHECK tern_status value_read(struct lsm *lsm, tern_slice reference, uint64_t offset,
                                       void *buffer, size_t capacity, size_t *out_size,
                                       tern_error *error);
/* Loads a whole value: the read_large of resolution_finish; the context is the struct lsm. */
TERN_MUST_CHECK tern_status lsm_value_load(void *lsm, const struct record *large,
                                           struct buffer *out_value, tern_error *error);
/* Copies a value from one partition's file into another's output. */
TERN_MUST_CHECK tern_status lsm_value_copy(struct lsm *source, tern_slice reference,
                                           struct value_output *output,
                                           uint8_t out_reference[ENGINE_LARGE_REFERENCE_BYTES_MAX],
                                           size_t *out_size, tern_error *error);
/* Gives up the file of a value that was streamed in and never applied. */
void value_discard(struct lsm *lsm, tern_slice reference);

#endif
