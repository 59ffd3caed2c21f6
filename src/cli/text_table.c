/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/text_table.h"

#include "cli/buffer.h"
#include "cli/utf8.h"
#include <stdlib.h>

enum { GAP_COLUMNS = 2, LEAST_FOLDED_COLUMNS = 20 };

void text_table_open(struct text_table *table, const char *const *names, size_t count) {
    *table = (struct text_table){.column_count = count};
    for (size_t i = 0; i < count && i < TEXT_TABLE_COLUMNS_MAX; i++) {
        table->aligns_right[i] = names[i][0] == '>';
        text_table_cell(table, names[i] + (table->aligns_right[i] ? 1 : 0));
    }
}

void text_table_cell(struct text_table *table, const char *text) {
    if (table->cell_count == table->capacity) {
        table->capacity = table->capacity > 0 ? table->capacity * 2 : 64;
        table->cells = memory_resize(table->cells, table->capacity * sizeof(table->cells[0]));
    }
    table->cells[table->cell_count++] = memory_text(text, strlen(text));
}

static size_t width_of(const char *text) {
    return utf8_width_columns(tern_slice_str(text));
}

static void print_spaces(FILE *stream, size_t count) {
    fprintf(stream, "%*s", (int)count, "");
}

void text_fold(FILE *stream, const char *text, size_t indent, size_t width_columns) {
    size_t room = width_columns > indent + LEAST_FOLDED_COLUMNS ? width_columns - indent : SIZE_MAX;
    size_t column = 0;
    while (*text != '\0') {
        size_t size = strcspn(text, " \n");
        size_t width = utf8_width_columns(tern_slice_of(text, size));
        if (column > 0 && column + 1 + width > room) {
            putc('\n', stream);
            print_spaces(stream, indent);
            column = 0;
        }
        if (column > 0) {
            putc(' ', stream);
            column++;
        }
        fwrite(text, 1, size, stream);
        column += width;
        text += size;
        if (*text == '\n') {
            putc('\n', stream);
            print_spaces(stream, text[1] != '\n' ? indent : 0);
            column = 0;
        }
        text += *text != '\0' ? 1 : 0;
    }
}

static void print_row(const struct text_table *table, size_t row, const size_t *widths,
                      FILE *stream, size_t width_columns) {
    size_t indent = 0;
    for (size_t i = 0; i < table->column_count; i++) {
        const char *text = table->cells[row * table->column_count + i];
        size_t padding = widths[i] - width_of(text);
        bool is_last = i + 1 == table->column_count;
        if (table->aligns_right[i]) {
            print_spaces(stream, padding);
        }
        if (is_last) {
            text_fold(stream, text, indent, width_columns);
            break;
        }
        fputs(text, stream);
        print_spaces(stream, GAP_COLUMNS + (table->aligns_right[i] ? 0 : padding));
        indent += widths[i] + GAP_COLUMNS;
    }
}

void text_table_print(const struct text_table *table, FILE *stream, size_t width_columns,
                      bool has_color) {
    size_t widths[TEXT_TABLE_COLUMNS_MAX] = {0};
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t width = width_of(table->cells[i]);
        size_t column = i % table->column_count;
        widths[column] = width > widths[column] ? width : widths[column];
    }
    for (size_t row = 0; row < table->cell_count / table->column_count; row++) {
        bool is_bold = row == 0 && has_color;
        fputs(is_bold ? "\033[1m" : "", stream);
        print_row(table, row, widths, stream, width_columns);
        fputs(is_bold ? "\033[0m\n" : "\n", stream);
    }
}

void text_table_release(struct text_table *table) {
    for (size_t i = 0; i < table->cell_count; i++) {
        free(table->cells[i]);
    }
    free(table->cells);
    *table = (struct text_table){0};
}
