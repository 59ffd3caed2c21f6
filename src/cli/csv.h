/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing comma-separated values (RFC 4180), any bytes in quoted fields. */
#ifndef TERN_CLI_CSV_H
#define TERN_CLI_CSV_H

#include "cli/input.h"

/* Most fields that a record may have. */
enum { CSV_FIELDS_MAX = 4096 };

/* Set `input`, `delimiter` and what else differs; zero-initialise the rest. */
struct csv_reader {
    struct input *input;
    char delimiter;
    char comment;       /* lines that begin with it are left out; 0 for none */
    bool has_no_quotes; /* double quotes mean themselves */
    /* The record read last; lives until the next call. */
    tern_slice *fields;
    size_t field_count;
    uint64_t line_no;    /* where it began */
    const char *problem; /* static sentence on CSV_INVALID */
    /* Private. */
    struct buffer bytes;
    size_t *ends;
    size_t capacity;
};

enum csv_result { CSV_RECORD, CSV_END, CSV_INVALID, CSV_FAILED };

/* Empty lines are left out. After CSV_INVALID reading goes on with the line behind the bad record.
 */
enum csv_result csv_reader_next(struct csv_reader *reader);
void csv_reader_release(struct csv_reader *reader);

/* Appends a field, in quotes when it has to be. */
void csv_write_field(tern_slice field, char delimiter, struct buffer *text);

#endif
