/* SPDX-License-Identifier: Apache-2.0 */
#include "base/record.h"

#include <tern/txn.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/compare.h"

static uint64_t number_of(bool present, tern_slice value) {
    return present && value.size == 8 ? get_u64(value.data) : 0;
}

static tern_status set_bytes(struct buffer *out, tern_slice first, tern_slice second) {
    out->size = 0;
    if (second.size > SIZE_MAX - first.size) {
        return TERN_NO_MEMORY;
    }
    tern_status status = buffer_reserve(out, first.size + second.size);
    if (status == TERN_OK) {
        status = buffer_append(out, first.data, first.size);
    }
    if (status == TERN_OK) {
        status = buffer_append(out, second.data, second.size);
    }
    return status;
}

tern_status record_merge(uint32_t kind, bool present, tern_slice value, tern_slice operand,
                         struct buffer *out_result) {
    const tern_slice nothing = tern_slice_of(NULL, 0);
    switch (kind) {
    case TERN_MERGE_ADD: {
        uint8_t sum[8];
        put_u64(sum, number_of(present, value) + number_of(true, operand));
        return set_bytes(out_result, tern_slice_of(sum, 8), nothing);
    }
    case TERN_MERGE_APPEND:
        return set_bytes(out_result, present ? value : nothing, operand);
    default:
        ASSERT(kind == TERN_MERGE_MAX);
        return set_bytes(out_result, present && slice_compare(value, operand) > 0 ? value : operand,
                         nothing);
    }
}

/* All three operations are associative, so folding is merging the newer over the older. */
tern_status record_fold(uint32_t kind, tern_slice older, tern_slice newer,
                        struct buffer *out_operand) {
    return record_merge(kind, true, older, newer, out_operand);
}
