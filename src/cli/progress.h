/* SPDX-License-Identifier: Apache-2.0 */
/* A line on standard error that says how far long work is: count, rate, percentage, time left. */
#ifndef TERN_CLI_PROGRESS_H
#define TERN_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct progress {
    FILE *stream; /* NULL: shows nothing */
    bool is_terminal;
    const char *unit; /* "records" */
    uint64_t begin_ns;
    uint64_t shown_ns;
    bool is_shown;
};

/* `is_wanted` false: shows nothing. */
void progress_open(struct progress *progress, FILE *stream, bool is_wanted, const char *unit);
/* Cheap; shows at most ten times a second on a terminal, once a second elsewhere. `done` of `total`
 * (0: unknown) gives percentage and time left; `count` the rate. */
void progress_update(struct progress *progress, const char *phase, uint64_t count, uint64_t done,
                     uint64_t total);
/* Removes the line from the terminal. */
void progress_close(struct progress *progress);
double progress_seconds(const struct progress *progress);

#endif
