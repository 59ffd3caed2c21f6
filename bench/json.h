/* SPDX-License-Identifier: Apache-2.0 */
/* Writes one JSON object of plain members and arrays of numbers on one line. */
#ifndef BENCH_JSON_H
#define BENCH_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json_line {
    FILE *file;
    bool has_member;
};

void json_begin(struct json_line *line, FILE *file);
void json_text(struct json_line *line, const char *name, const char *value);
void json_integer(struct json_line *line, const char *name, uint64_t value);
void json_real(struct json_line *line, const char *name, double value, int decimals);
void json_boolean(struct json_line *line, const char *name, bool value);
void json_reals(struct json_line *line, const char *name, const double *values, unsigned count,
                int decimals);
/* Ends the line and flushes it, so that a reader at the other end of a pipe sees it at once. */
void json_end(struct json_line *line);

#endif
