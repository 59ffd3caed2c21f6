/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing JSON to a stream, compact, one document a line. The writer places commas and colons; the
 * caller keeps objects and arrays balanced. Strings must be valid UTF-8; byte strings go through
 * json_bytes(), which chooses a field name that says how they are written.
 */
#ifndef TERN_CLI_JSON_WRITER_H
#define TERN_CLI_JSON_WRITER_H

#include "cli/bytes_format.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { JSON_WRITER_DEPTH_MAX = 31 };

struct json_writer {
    FILE *stream;
    unsigned depth;
    uint32_t filled; /* bit per depth: something was written there */
};

/* Fields take NULL as `name` inside of arrays and at the top. */
void json_begin_object(struct json_writer *json, const char *name);
void json_end_object(struct json_writer *json);
void json_begin_array(struct json_writer *json, const char *name);
void json_end_array(struct json_writer *json);
void json_string(struct json_writer *json, const char *name, tern_slice text);
/* As json_string(); NULL gives null. Bytes that are not UTF-8 become U+FFFD: for messages only. */
void json_text(struct json_writer *json, const char *name, const char *text);
void json_unsigned(struct json_writer *json, const char *name, uint64_t number);
void json_signed(struct json_writer *json, const char *name, int64_t number);
void json_real(struct json_writer *json, const char *name, double number);
void json_boolean(struct json_writer *json, const char *name, bool is_true);
void json_null(struct json_writer *json, const char *name);
/*
 * Writes bytes as field `name` when they are UTF-8 and the format is text or raw; otherwise as
 * `name`_base64, or in the chosen format as `name`_hex, `name`_base64, `name`_escaped,
 * `name`_integer (a number).
 */
void json_bytes(struct json_writer *json, const char *name, tern_slice bytes,
                enum bytes_format format);
/* Ends a document: a newline. */
void json_end_line(struct json_writer *json);
/* Appends text as a JSON string, with quotes. */
void json_quote(tern_slice text, struct buffer *out);

#endif
