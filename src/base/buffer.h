/* SPDX-License-Identifier: Apache-2.0 */
/* A growing run of bytes. */
#ifndef TERN_BASE_BUFFER_H
#define TERN_BASE_BUFFER_H

#include <tern/slice.h>
#include <tern/status.h>

#include "base/memory.h"

/* Owned bytes; release with buffer_release. One thread at a time. */
struct buffer {
    const tern_allocator *allocator;
    uint8_t *data;
    size_t size;
    size_t capacity;
};

static inline void buffer_init(struct buffer *buffer, const tern_allocator *allocator) {
    *buffer = (struct buffer){allocator, NULL, 0, 0};
}

static inline void buffer_release(struct buffer *buffer) {
    memory_release(buffer->allocator, buffer->data);
    buffer->data = NULL;
    buffer->size = buffer->capacity = 0;
}

static inline tern_slice buffer_slice(const struct buffer *buffer) {
    return tern_slice_of(buffer->data, buffer->size);
}

/* Makes room for `extra` more bytes after `size`. TERN_NO_MEMORY leaves it as it was. */
TERN_MUST_CHECK tern_status buffer_reserve(struct buffer *buffer, size_t extra);

/* Appends bytes. TERN_NO_MEMORY leaves it as it was. */
TERN_MUST_CHECK tern_status buffer_append(struct buffer *buffer, const void *bytes, size_t size);

#endif
