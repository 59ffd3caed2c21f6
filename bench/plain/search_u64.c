/* SPDX-License-Identifier: Apache-2.0 */
#include "plain.h"

size_t plain_search_u64(const uint64_t *heads, size_t count, uint64_t head) {
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (heads[middle] < head) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}
