/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of what users pass in. */
#ifndef TERN_API_API_ARGUMENTS_H
#define TERN_API_API_ARGUMENTS_H

#include <tern/cursor.h>

#include "base/error.h"

static inline bool slice_is_valid(tern_slice slice) {
    return slice.data != NULL || slice.size == 0;
}

static inline bool bound_is_valid(const tern_slice *bound) {
    return bound == NULL || slice_is_valid(*bound);
}

static inline bool requests_are_valid(const tern_get_request *requests, size_t count) {
    for (size_t i = 0; requests != NULL && i < count; i++) {
        if (!slice_is_valid(requests[i].key) ||
            (requests[i].buffer == NULL && requests[i].capacity > 0)) {
            return false;
        }
    }
    return requests != NULL || count == 0;
}

/*
 * Copies an options struct of a caller that may have been built against another release: fields
 * beyond `given_size` keep their defaults. False: not initialised, or from a newer release.
 */
static inline bool options_copy(void *target, size_t target_size, const void *given,
                                size_t given_size) {
    if (given_size < sizeof(size_t) || given_size > target_size) {
        return false;
    }
    memcpy(target, given, given_size);
    return true;
}

static inline bool durability_is_valid(tern_durability durability) {
    return (unsigned)durability <= TERN_DURABILITY_NONE;
}

/* NULL means defaults. */
TERN_MUST_CHECK static inline tern_status write_options_copy(const tern_write_options *given,
                                                             tern_write_options *out_options,
                                                             tern_error *error) {
    *out_options = (tern_write_options){.size = sizeof(*out_options)};
    if (given == NULL) {
        return TERN_OK;
    }
    if (!options_copy(out_options, sizeof(*out_options), given, given->size)) {
        return ERROR_SET(error, TERN_INVALID,
                         "tern_write_options.size is %zu; set it to sizeof(tern_write_options)",
                         given->size);
    }
    if (!durability_is_valid(out_options->durability)) {
        return ERROR_SET(error, TERN_INVALID,
                         "tern_write_options.durability %d is none of "
                         "tern_durability",
                         (int)out_options->durability);
    }
    return TERN_OK;
}

static inline bool merge_kind_is_valid(tern_merge_kind kind) {
    return kind == TERN_MERGE_ADD || kind == TERN_MERGE_APPEND || kind == TERN_MERGE_MAX;
}

#endif
