/* SPDX-License-Identifier: Apache-2.0 */
#include "plain.h"

size_t plain_compare(const void *left, const void *right, size_t size) {
    const uint8_t *a = left;
    const uint8_t *b = right;
    size_t at = 0;
    while (at < size && a[at] == b[at]) {
        at++;
    }
    return at;
}
