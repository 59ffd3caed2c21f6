/* SPDX-License-Identifier: Apache-2.0 */
/* A table for reading. On a terminal the last column is folded to fit the width. */
#ifndef TERN_CLI_TEXT_TABLE_H
#define TERN_CLI_TEXT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { TEXT_TABLE_COLUMNS_MAX = 10 };

struct text_table {
    size_t column_count;
    bool aligns_right[TEXT_TABLE_COLUMNS_MAX];
    char **cells; /* row after row, the header first */
    size_t cell_count;
    size_t capacity;
};

/* Begins with a header; a name that begins with '>' makes its column align right. */
void text_table_open(struct text_table *table, const char *const *names, size_t count);
/* Appends a cell; a row is complete when it has as many as there are columns. */
void text_table_cell(struct text_table *table, const char *text);
/* `width_columns` 0: as wide as it gets. */
void text_table_print(const struct text_table *table, FILE *stream, size_t width_columns,
                      bool has_color);
void text_table_release(struct text_table *table);

/* Prints `text` folded at spaces into lines of at most `width_columns` (0: no folding); lines after
 * the first, and those behind a newline, begin with `indent` spaces. Ends without a newline. */
void text_fold(FILE *stream, const char *text, size_t indent, size_t width_columns);

#endif
