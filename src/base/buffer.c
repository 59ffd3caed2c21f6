/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buffer.h"

tern_status buffer_reserve(struct buffer *buffer, size_t extra) {
    if (extra <= buffer->capacity - buffer->size) {
        return TERN_OK;
    }
    size_t wanted = buffer->size + extra;
    if (wanted < extra) {
        return TERN_NO_MEMORY;
    }
    size_t capacity = buffer->capacity < 64 ? 64 : buffer->capacity;
    while (capacity < wanted) {
        capacity = capacity > SIZE_MAX / 2 ? wanted : capacity * 2;
    }
    uint8_t *data = memory_resize(buffer->allocator, buffer->data, capacity);
    if (data == NULL) {
        return TERN_NO_MEMORY;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return TERN_OK;
}

tern_status buffer_append(struct buffer *buffer, const void *bytes, size_t size) {
    tern_status status = buffer_reserve(buffer, size);
    if (status == TERN_OK && size > 0) {
        memcpy(buffer->data + buffer->size, bytes, size);
        buffer->size += size;
    }
    return status;
}
