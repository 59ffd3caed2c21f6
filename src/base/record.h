/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is stored under a key at one moment, as overlays, bases and write sets all see it, and how
 * merge operations fold.
 */
#ifndef TERN_BASE_RECORD_H
#define TERN_BASE_RECORD_H

#include <stdbool.h>
#include <stdint.h>
#include <tern/slice.h>
#include <tern/status.h>

#include "base/buffer.h"

enum record_kind {
    RECORD_NONE = 0,   /* nothing known here, look further down */
    RECORD_PUT = 1,    /* value holds the bytes */
    RECORD_DELETE = 2, /* the key is gone */
    RECORD_MERGE = 3,  /* value holds an operand, merge_kind says which (tern_merge_kind) */
    RECORD_LARGE = 4   /* value holds an engine's reference to a value stored apart */
};

/* Borrowed bytes; who hands it out says how long they live. */
struct record {
    enum record_kind kind;
    uint32_t merge_kind;
    uint64_t expires_ms; /* of PUT and LARGE: logged time from which the key is gone, or 0 */
    uint64_t value_size; /* of LARGE: size of the whole value in bytes */
    tern_slice value;
};

/* True when the record has expired at logged time `now_ms`. */
static inline bool record_has_expired(const struct record *record, uint64_t now_ms) {
    return record->expires_ms != 0 && record->expires_ms <= now_ms;
}

/*
 * Result of merge `kind` with `operand` over `value` (present false: missing), written to
 * *out_result (emptied first; must not be where the inputs live). The operations are total, see
 * tern_merge_kind. TERN_NO_MEMORY.
 */
TERN_MUST_CHECK tern_status record_merge(uint32_t kind, bool present, tern_slice value,
                                         tern_slice operand, struct buffer *out_result);

/*
 * Folds two operands of one kind into one that has the effect of `older` then `newer`:
 * add(a), add(b) -> add(a + b), and so on. TERN_NO_MEMORY.
 */
TERN_MUST_CHECK tern_status record_fold(uint32_t kind, tern_slice older, tern_slice newer,
                                        struct buffer *out_operand);

#endif
