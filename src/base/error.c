/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Paths too long for the field keep their end, which tells more than their beginning. */
static void copy_path(char *target, size_t capacity, const char *path) {
    size_t size = strlen(path);
    if (size < capacity) {
        memcpy(target, path, size + 1);
        return;
    }
    memcpy(target, "...", 3);
    memcpy(target + 3, path + size - (capacity - 4), capacity - 3);
}

tern_status error_record(tern_error *error, tern_status status, const struct error_place *place,
                         const char *source_file, int source_line, const char *format, ...) {
    if (error == NULL) {
        return status;
    }
    error->status = status;
    error->system_errno = place != NULL ? place->system_errno : 0;
    error->offset = place != NULL ? place->offset : -1;
    error->source_file = source_file;
    error->source_line = source_line;
    error->file[0] = '\0';
    if (place != NULL && place->file != NULL) {
        copy_path(error->file, sizeof(error->file), place->file);
    }
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(error->message, sizeof(error->message), format, arguments);
    va_end(arguments);
    return status;
}

void error_copy(tern_error *target, const tern_error *source) {
    if (target != NULL && source != NULL && target != source) {
        *target = *source;
    }
}

void error_clear(tern_error *error) {
    if (error != NULL) {
        *error = (tern_error)TERN_ERROR_INIT;
    }
}

int tern_error_format(const tern_error *error, char *buffer, size_t capacity_bytes) {
    char place[TERN_ERROR_FILE_BYTES + 48] = "";
    char system[96] = "";
    if (error->file[0] != '\0' && error->offset >= 0) {
        (void)snprintf(place, sizeof(place), " (file %s at offset %lld)", error->file,
                       (long long)error->offset);
    } else if (error->file[0] != '\0') {
        (void)snprintf(place, sizeof(place), " (file %s)", error->file);
    }
    if (error->system_errno != 0) {
        char text[80];
        const char *reason = strerror_r(error->system_errno, text, sizeof(text));
        (void)snprintf(system, sizeof(system), ": %s", reason);
    }
    const char *message =
        error->message[0] != '\0' ? error->message : tern_status_text(error->status);
    return snprintf(buffer, capacity_bytes, "%s%s%s", message, place, system);
}
