/* SPDX-License-Identifier: Apache-2.0 */
/* Records that come sorted, to build a base from: what every engine's ingest demands of them. */
#ifndef TERN_ENGINE_SORTED_RECORDS_H
#define TERN_ENGINE_SORTED_RECORDS_H

#include "engine/engine.h"

/*
 * Takes records from `next` until it says TERN_NOT_FOUND and gives each to `add`. TERN_INVALID when
 * one does not ascend, is no value, or has a key of none or more than `key_bytes_max` bytes;
 * TERN_NO_MEMORY; and what next and add say.
 */
TERN_MUST_CHECK tern_status sorted_records_load(
    const tern_allocator *allocator, size_t key_bytes_max,
    tern_status (*next)(void *context, tern_slice *out_key, struct record *out_record),
    void *next_context,
    tern_status (*add)(void *context, tern_slice key, const struct record *record,
                       tern_error *error),
    void *add_context, tern_error *error);

#endif
