/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

#include <inttypes.h>
#include <math.h>

static void write_text(FILE *file, const char *text) {
    fputc('"', file);
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte == '"' || byte == '\\')
            fprintf(file, "\\%c", byte);
        else if (byte < 0x20)
            fprintf(file, "\\u%04x", byte);
        else
            fputc(byte, file);
    }
    fputc('"', file);
}

static void write_name(struct json_line *line, const char *name) {
    if (line->has_member)
        fputs(", ", line->file);
    line->has_member = true;
    write_text(line->file, name);
    fputs(": ", line->file);
}

void json_begin(struct json_line *line, FILE *file) {
    line->file = file;
    line->has_member = false;
    fputc('{', file);
}

void json_text(struct json_line *line, const char *name, const char *value) {
    write_name(line, name);
    write_text(line->file, value);
}

void json_integer(struct json_line *line, const char *name, uint64_t value) {
    write_name(line, name);
    fprintf(line->file, "%" PRIu64, value);
}

void json_real(struct json_line *line, const char *name, double value, int decimals) {
    write_name(line, name);
    if (isfinite(value))
        fprintf(line->file, "%.*f", decimals, value);
    else
        fputs("null", line->file);
}

void json_boolean(struct json_line *line, const char *name, bool value) {
    write_name(line, name);
    fputs(value ? "true" : "false", line->file);
}

void json_reals(struct json_line *line, const char *name, const double *values, unsigned count,
                int decimals) {
    write_name(line, name);
    for (unsigned i = 0; i < count; i++)
        fprintf(line->file, "%s%.*f", i == 0 ? "[" : ", ", decimals, values[i]);
    fputs(count == 0 ? "[]" : "]", line->file);
}

void json_end(struct json_line *line) {
    fputs("}\n", line->file);
    fflush(line->file);
}
