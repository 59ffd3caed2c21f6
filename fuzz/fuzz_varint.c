/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of numbers. First byte: how many are asked for, 255 counts as more than any row has. Every
 * variant reads and refuses what varint_get does, one number after the other.
 */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/varint.h"
#include "simd/variants.h"

#define COUNT_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *read_singly(const uint8_t *source, const uint8_t *end, size_t count,
                                  uint64_t *out_values) {
    for (size_t i = 0; i < count && source != NULL; i++) {
        source = varint_get(source, end, &out_values[i]);
    }
    return source;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    static uint64_t expected[COUNT_MAX], values[COUNT_MAX];
    size_t count = data[0] == 255 ? COUNT_MAX : data[0];
    /* Memory that ends with the row, so that reading past it is noticed. */
    uint8_t *row = malloc(size - 1 > 0 ? size - 1 : 1);
    if (row == NULL) {
        return 0;
    }
    memcpy(row, data + 1, size - 1);
    const uint8_t *end = row + size - 1;
    const uint8_t *after = read_singly(row, end, count, expected);
    for (const struct variant *each = varint_get_many_variants; each->name != NULL; each++) {
        if (each->runs_here()) {
            ASSERT(((varint_get_many_function)each->function)(row, end, count, values) == after);
            ASSERT(after == NULL || memcmp(values, expected, count * sizeof(values[0])) == 0);
        }
    }
    free(row);
    return 0;
}
