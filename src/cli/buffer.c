/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <tern/status.h>
#include <unistd.h>

static _Noreturn void leave_without_memory(void) {
    static const char message[] = "tern: out of memory\n";
    if (write(STDERR_FILENO, message, sizeof(message) - 1) < 0) {
        _exit(9);
    }
    _exit(9);
}

void *memory_resize(void *memory, size_t size) {
    void *resized = realloc(memory, size > 0 ? size : 1);
    if (resized == NULL) {
        leave_without_memory();
    }
    return resized;
}

void *memory_allocate(size_t size) {
    return memory_resize(NULL, size);
}

char *memory_text(const char *text, size_t size) {
    char *copy = memory_allocate(size + 1);
    if (size > 0) {
        memcpy(copy, text, size);
    }
    copy[size] = '\0';
    return copy;
}

char *buffer_reserve(struct buffer *buffer, size_t size) {
    if (size > SIZE_MAX / 2 - buffer->size - 1) {
        leave_without_memory();
    }
    size_t needed = buffer->size + size + 1;
    if (needed > buffer->capacity) {
        size_t capacity = buffer->capacity > 0 ? buffer->capacity : 64;
        while (capacity < needed) {
            capacity *= 2;
        }
        buffer->data = memory_resize(buffer->data, capacity);
        buffer->capacity = capacity;
    }
    return buffer->data + buffer->size;
}

void buffer_append(struct buffer *buffer, const void *data, size_t size) {
    char *place = buffer_reserve(buffer, size);
    if (size > 0) {
        memcpy(place, data, size);
    }
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
}

void buffer_append_char(struct buffer *buffer, char byte) {
    buffer_append(buffer, &byte, 1);
}

void buffer_append_text(struct buffer *buffer, const char *text) {
    buffer_append(buffer, text, strlen(text));
}

void buffer_append_slice(struct buffer *buffer, tern_slice slice) {
    buffer_append(buffer, slice.data, slice.size);
}

void buffer_print(struct buffer *buffer, const char *format, ...) {
    enum { USUAL_BYTES = 160 };
    va_list arguments;
    char *place = buffer_reserve(buffer, USUAL_BYTES);
    va_start(arguments, format);
    int size = vsnprintf(place, USUAL_BYTES, format, arguments);
    va_end(arguments);
    if (size >= USUAL_BYTES) {
        place = buffer_reserve(buffer, (size_t)size);
        va_start(arguments, format);
        size = vsnprintf(place, (size_t)size + 1, format, arguments);
        va_end(arguments);
    }
    if (size > 0) {
        buffer->size += (size_t)size;
    }
}

void buffer_clear(struct buffer *buffer) {
    buffer->size = 0;
    if (buffer->data != NULL) {
        buffer->data[0] = '\0';
    }
}

void buffer_release(struct buffer *buffer) {
    free(buffer->data);
    *buffer = (struct buffer){0};
}

const char *buffer_text(const struct buffer *buffer) {
    return buffer->data != NULL ? buffer->data : "";
}

tern_slice buffer_slice(const struct buffer *buffer) {
    return tern_slice_of(buffer->data, buffer->size);
}
