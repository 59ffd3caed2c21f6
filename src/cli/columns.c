/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/columns.h"

#include "cli/csv.h"
#include "cli/suggest.h"
#include <stdlib.h>

void columns_name(struct columns *columns, const tern_slice *names, size_t count) {
    columns->names = memory_allocate(count * sizeof(columns->names[0]));
    columns->name_count = count;
    for (size_t i = 0; i < count; i++) {
        columns->names[i] = memory_text(names[i].data, names[i].size);
    }
}

static bool find_column(const struct columns *columns, const char *text, size_t *out_column,
                        struct buffer *problem) {
    struct suggestion suggestion = {.typed = text};
    for (size_t i = 0; i < columns->name_count; i++) {
        if (strcmp(columns->names[i], text) == 0) {
            *out_column = i;
            return true;
        }
        suggestion_offer(&suggestion, columns->names[i]);
    }
    char *end = NULL;
    unsigned long number = strtoul(text, &end, 10);
    bool is_number = *text >= '0' && *text <= '9' && *end == '\0';
    if (is_number && number >= 1 && number <= CSV_FIELDS_MAX) {
        *out_column = number - 1;
        return true;
    }
    if (is_number) {
        buffer_print(problem, "columns are counted from 1 to %d", CSV_FIELDS_MAX);
    } else if (columns->names == NULL) {
        buffer_print(problem, "there is no column '%s': the file has no header, so give a number",
                     text);
    } else {
        buffer_print(problem, "there is no column '%s'", text);
        if (suggestion.best != NULL) {
            buffer_print(problem, "; did you mean '%s'?", suggestion.best);
        }
    }
    return false;
}

bool columns_resolve(const struct columns *columns, const char *text, struct column_list *out_list,
                     struct buffer *problem) {
    struct column_list list = {0};
    bool is_valid = true;
    for (const char *at = text; is_valid; at++) {
        size_t size = strcspn(at, ",");
        char *name = memory_text(at, size);
        size_t column = 0;
        is_valid = find_column(columns, name, &column, problem);
        free(name);
        list.list = memory_resize(list.list, (list.count + 1) * sizeof(list.list[0]));
        list.list[list.count++] = column;
        at += size;
        if (*at == '\0') {
            break;
        }
    }
    if (!is_valid) {
        free(list.list);
        return false;
    }
    *out_list = list;
    return true;
}

bool columns_contain(const struct column_list *list, size_t column) {
    for (size_t i = 0; i < list->count; i++) {
        if (list->list[i] == column) {
            return true;
        }
    }
    return false;
}

void columns_release(struct columns *columns) {
    for (size_t i = 0; i < columns->name_count; i++) {
        free(columns->names[i]);
    }
    free(columns->names);
    free(columns->key.list);
    free(columns->value.list);
    *columns = (struct columns){0};
}
