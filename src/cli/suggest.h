/* SPDX-License-Identifier: Apache-2.0 */
/* Finding what somebody meant to type. */
#ifndef TERN_CLI_SUGGEST_H
#define TERN_CLI_SUGGEST_H

#include <stddef.h>

/* The nearest of what was offered so far. Zero-initialise but for `typed`. */
struct suggestion {
    const char *typed;
    const char *best; /* NULL while nothing is near enough; lives as long as what was offered */
    size_t best_distance;
};

/* Insertions, deletions, substitutions and swaps of neighbours that turn `left` into `right`; texts
 * longer than 63 bytes count as far apart (SIZE_MAX). */
size_t edit_distance(const char *left, const char *right);
void suggestion_offer(struct suggestion *suggestion, const char *candidate);

#endif
