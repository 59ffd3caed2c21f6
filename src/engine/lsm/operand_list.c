/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/lsm/operand_list.h"

#include "base/varint.h"

static tern_status put_operand(struct buffer *target, const struct record *operand) {
    if (buffer_reserve(target, 1 + 2 * VARINT_BYTES_MAX + operand->value.size) != TERN_OK) {
        return TERN_NO_MEMORY;
    }
    uint8_t *end = target->data + target->size;
    *end++ = (uint8_t)operand->merge_kind;
    end = varint_put(end, operand->expires_ms);
    end = varint_put(end, operand->value.size);
    if (operand->value.size > 0) {
        memcpy(end, operand->value.data, operand->value.size);
    }
    target->size = (size_t)(end - target->data) + operand->value.size;
    return TERN_OK;
}

tern_status operand_list_encode(const struct resolution *resolution, struct buffer *out_list) {
    tern_status status = TERN_OK;
    out_list->size = 0;
    for (size_t i = 0; status == TERN_OK && i < resolution->operand_count; i++) {
        status =
            put_operand(out_list, i < RESOLUTION_INLINE_OPERANDS
                                      ? &resolution->inline_operands[i]
                                      : &resolution->more_operands[i - RESOLUTION_INLINE_OPERANDS]);
    }
    return status;
}

uint32_t operand_list_count(tern_slice list) {
    const uint8_t *source = list.data;
    const uint8_t *end = source + list.size;
    uint32_t count = 0;
    while (source < end) {
        uint64_t number = 0;
        source = varint_get(source + 1, end, &number);
        source = varint_get(source, end, &number);
        source += number;
        count++;
    }
    return count;
}
