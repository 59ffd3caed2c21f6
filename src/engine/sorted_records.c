/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/sorted_records.h"

#include "base/buffer.h"
#include "base/compare.h"
#include "base/error.h"

tern_status sorted_records_load(const tern_allocator *allocator, size_t key_bytes_max,
                                tern_status (*next)(void *context, tern_slice *out_key,
                                                    struct record *out_record),
                                void *next_context,
                                tern_status (*add)(void *context, tern_slice key,
                                                   const struct record *record, tern_error *error),
                                void *add_context, tern_error *error) {
    struct buffer previous;
    buffer_init(&previous, allocator);
    tern_status status = TERN_OK;
    while (status == TERN_OK) {
        tern_slice key;
        struct record record;
        status = next(next_context, &key, &record);
        if (status != TERN_OK) {
            break;
        }
        if (key.size == 0 || key.size > key_bytes_max ||
            (previous.size > 0 && slice_compare(key, buffer_slice(&previous)) <= 0) ||
            (record.kind != RECORD_PUT && record.kind != RECORD_LARGE)) {
            status = ERROR_SET(error, TERN_INVALID,
                               "records to load must ascend by key, be values, and have keys of 1 "
                               "to %zu bytes",
                               key_bytes_max);
            break;
        }
        previous.size = 0;
        status = buffer_append(&previous, key.data, key.size) == TERN_OK
                     ? add(add_context, key, &record, error)
                     : ERROR_NO_MEMORY(error, "loading records");
    }
    buffer_release(&previous);
    return status == TERN_NOT_FOUND ? TERN_OK : status;
}
