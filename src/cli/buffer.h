/* SPDX-License-Identifier: Apache-2.0 */
/* Growing run of bytes. Owned by whoever declares it; never shared between threads. */
#ifndef TERN_CLI_BUFFER_H
#define TERN_CLI_BUFFER_H

#include <stddef.h>
#include <tern/slice.h>

/* Zero-initialise. `data` always has a zero byte behind `size` once something was appended. */
struct buffer {
    char *data;
    size_t size;
    size_t capacity;
};

/* The command has nothing to save when memory ends: these say so and leave with exit code 9. What
 * is committed is safe, because a database survives the end of its process. */
void *memory_allocate(size_t size);
void *memory_resize(void *memory, size_t size);
char *memory_text(const char *text, size_t size);

void buffer_append(struct buffer *buffer, const void *data, size_t size);
void buffer_append_char(struct buffer *buffer, char byte);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_append_slice(struct buffer *buffer, tern_slice slice);
__attribute__((format(printf, 2, 3), nonnull)) void buffer_print(struct buffer *buffer,
                                                                 const char *format, ...);
/* Makes room for `size` more bytes and returns where they go; add to `size` what was written. */
char *buffer_reserve(struct buffer *buffer, size_t size);
/* Empties without giving the memory back. */
void buffer_clear(struct buffer *buffer);
void buffer_release(struct buffer *buffer);
/* As a C string; "" when nothing was appended. Lives until the next change. */
const char *buffer_text(const struct buffer *buffer);
tern_slice buffer_slice(const struct buffer *buffer);

#endif
