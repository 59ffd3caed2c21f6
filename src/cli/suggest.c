/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/suggest.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { LONGEST = 63 };

static size_t least(size_t left, size_t right) {
    return left < right ? left : right;
}

size_t edit_distance(const char *left, const char *right) {
    size_t left_size = strlen(left);
    size_t right_size = strlen(right);
    if (left_size > LONGEST || right_size > LONGEST) {
        return SIZE_MAX;
    }
    /* Three rows of the table of optimal string alignment are enough. */
    size_t rows[3][LONGEST + 1];
    for (size_t j = 0; j <= right_size; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= left_size; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i - 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= right_size; j++) {
            size_t cost = left[i - 1] == right[j - 1] ? 0 : 1;
            row[j] = least(least(above[j] + 1, row[j - 1] + 1), above[j - 1] + cost);
            bool is_swap =
                i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
            if (is_swap) {
                row[j] = least(row[j], rows[(i - 2) % 3][j - 2] + 1);
            }
        }
    }
    return rows[left_size % 3][right_size];
}

void suggestion_offer(struct suggestion *suggestion, const char *candidate) {
    size_t distance = edit_distance(suggestion->typed, candidate);
    size_t typed_size = strlen(suggestion->typed);
    /* What is typed so far may also be a beginning. */
    if (typed_size >= 3 && strncmp(suggestion->typed, candidate, typed_size) == 0) {
        distance = least(distance, 1);
    }
    size_t tolerance = typed_size < 4 ? 1 : typed_size < 9 ? 2 : 3;
    if (distance <= tolerance &&
        (suggestion->best == NULL || distance < suggestion->best_distance)) {
        suggestion->best = candidate;
        suggestion->best_distance = distance;
    }
}
