/* SPDX-License-Identifier: Apache-2.0 */
#include "plain.h"

#include "base/varint.h"

const uint8_t *plain_varint(const uint8_t *source, const uint8_t *end, size_t count,
                            uint64_t *out_values) {
    for (size_t i = 0; i < count && source != NULL; i++) {
        source = varint_get(source, end, &out_values[i]);
    }
    return source;
}
