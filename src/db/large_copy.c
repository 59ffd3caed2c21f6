/* SPDX-License-Identifier: Apache-2.0 */
#include "db/large_copy.h"

#include "base/error.h"

tern_status large_copy_pieces(struct engine *source, const struct record *record, uint8_t *chunk,
                              tern_status (*append)(void *context, tern_slice piece,
                                                    tern_error *error),
                              void *context, tern_error *error) {
    uint64_t offset = 0;
    while (offset < record->value_size) {
        size_t size = 0;
        tern_status status = source->methods->large_read(source, record->value, offset, chunk,
                                                         LARGE_COPY_BYTES, &size, error);
        if (status == TERN_OK && size == 0) {
            status = ERROR_SET(error, TERN_CORRUPTION, "a large value ends early");
        }
        if (status == TERN_OK) {
            status = append(context, tern_slice_of(chunk, size), error);
        }
        if (status != TERN_OK) {
            return status;
        }
        offset += size;
    }
    return TERN_OK;
}

struct copy_target {
    const struct engine_methods *methods;
    struct engine_large_writer *writer;
};

static tern_status append_piece(void *context, tern_slice piece, tern_error *error) {
    struct copy_target *target = context;
    return target->methods->large_append(target->writer, piece.data, piece.size, error);
}

tern_status large_copy(struct engine *source, struct engine *target, struct record *record,
                       uint8_t *chunk, uint8_t out_reference[ENGINE_LARGE_REFERENCE_BYTES_MAX],
                       tern_error *error) {
    struct copy_target copy = {.methods = target->methods};
    size_t size = 0;
    tern_status status = copy.methods->large_begin(target, &copy.writer, error);
    if (status != TERN_OK) {
        return status;
    }
    status = large_copy_pieces(source, record, chunk, append_piece, &copy, error);
    if (status != TERN_OK) {
        copy.methods->large_abandon(copy.writer);
        return status;
    }
    status = copy.methods->large_finish(copy.writer, out_reference, &size, error);
    record->value = tern_slice_of(out_reference, size);
    return status;
}
