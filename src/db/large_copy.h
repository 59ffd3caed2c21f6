/* SPDX-License-Identifier: Apache-2.0 */
/* Copying a value stored apart from one partition to another, in pieces. */
#ifndef TERN_DB_LARGE_COPY_H
#define TERN_DB_LARGE_COPY_H

#include "engine/engine.h"

#define LARGE_COPY_BYTES ((size_t)256 << 10)

/*
 * Reads the value that `record` refers to in `source` through `chunk` (LARGE_COPY_BYTES) and gives
 * the pieces to `append`. TERN_CORRUPTION, and what reading and `append` say.
 */
TERN_MUST_CHECK tern_status large_copy_pieces(struct engine *source, const struct record *record,
                                              uint8_t *chunk,
                                              tern_status (*append)(void *context, tern_slice piece,
                                                                    tern_error *error),
                                              void *context, tern_error *error);

/* Copies it to blocks of `target`, without a log. The record then refers to the copy, by bytes in
 * `out_reference`. */
TERN_MUST_CHECK tern_status large_copy(struct engine *source, struct engine *target,
                                       struct record *record, uint8_t *chunk,
                                       uint8_t out_reference[ENGINE_LARGE_REFERENCE_BYTES_MAX],
                                       tern_error *error);

#endif
