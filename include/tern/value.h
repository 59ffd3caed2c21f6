/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file value.h
 * A value returned in place, without a copy.
 */
#ifndef TERN_VALUE_H
#define TERN_VALUE_H

#include <tern/slice.h>

TERN_BEGIN_DECLS

/**
 * A pinned value: `bytes` stay valid and unchanged until tern_value_release(), at the latest until
 * the transaction it was read in ends (for reads outside of transactions: until released). Holds a
 * page or overlay in memory, so keep it short. At most 1024 are pinned per transaction, beyond that
 * the bytes are copied. Belongs to one thread at a time. Zero-initialise with #TERN_VALUE_INIT.
 */
typedef struct tern_value {
    tern_slice bytes;
    void *hold[3]; /**< private: what keeps the bytes alive */
} tern_value;

/** An empty tern_value. */
#define TERN_VALUE_INIT                                                                            \
    {                                                                                              \
        {NULL, 0}, {                                                                               \
            NULL, NULL, NULL                                                                       \
        }                                                                                          \
    }

/** Lets a pinned value go and empties it. Accepts an empty one. */
TERN_API void tern_value_release(tern_value *value);

TERN_END_DECLS

#endif
