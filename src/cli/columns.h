/* SPDX-License-Identifier: Apache-2.0 */
/* Which columns of a table make the key and the value of a record. */
#ifndef TERN_CLI_COLUMNS_H
#define TERN_CLI_COLUMNS_H

#include "cli/buffer.h"
#include <stdbool.h>

struct column_list {
    size_t *list; /* counted from 0 */
    size_t count;
};

/* Zero-initialise; ends with columns_release(). */
struct columns {
    char **names; /* NULL: columns have no names */
    size_t name_count;
    struct column_list key;
    struct column_list value;
    bool has_value; /* false: the value is all columns but the key's */
};

void columns_name(struct columns *columns, const tern_slice *names, size_t count);
/* Resolves a list "2,name,5"; false with a sentence appended to `problem`. */
bool columns_resolve(const struct columns *columns, const char *text, struct column_list *out_list,
                     struct buffer *problem);
bool columns_contain(const struct column_list *list, size_t column);
void columns_release(struct columns *columns);

#endif
