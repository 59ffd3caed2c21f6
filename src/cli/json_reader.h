/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading JSON strictly (RFC 8259) from memory, one object at a time, without building a tree: the
 * caller walks the fields of the outer object and gets inner values as text. Nesting is bounded.
 */
#ifndef TERN_CLI_JSON_READER_H
#define TERN_CLI_JSON_READER_H

#include "cli/buffer.h"
#include <stdbool.h>

enum { JSON_READER_DEPTH_MAX = 128 };

enum json_kind {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

/* A value as it stands in the text, quotes and brackets included. */
struct json_value {
    enum json_kind kind;
    tern_slice raw;
};

struct json_reader {
    const char *begin;
    const char *at;
    const char *end;
    const char *problem; /* static sentence, set once something was wrong */
    bool is_first;
};

enum json_field_result { JSON_FIELD, JSON_FIELD_END, JSON_FIELD_INVALID };

/* Begins to read the one object that `text` must consist of; `text` must outlive the reader. */
bool json_reader_open(struct json_reader *reader, tern_slice text);
/* Next field: its decoded name replaces what was in `name`. At the end it has also been checked
 * that nothing follows. */
enum json_field_result json_reader_field(struct json_reader *reader, struct buffer *name,
                                         struct json_value *out_value);
/* Appends the bytes of a string value. The raw text has been checked by the reader. */
void json_value_decode(const struct json_value *value, struct buffer *bytes);

#endif
