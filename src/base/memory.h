/* SPDX-License-Identifier: Apache-2.0 */
/* Short forms over the allocator given at open. */
#ifndef TERN_BASE_MEMORY_H
#define TERN_BASE_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <tern/sys/allocator.h>

/* Uninitialised memory, or NULL. */
static inline void *memory_allocate(const tern_allocator *allocator, size_t size_bytes) {
    return allocator->allocate(allocator->context, size_bytes);
}

/* Zeroed memory, or NULL. */
static inline void *memory_allocate_zeroed(const tern_allocator *allocator, size_t size_bytes) {
    void *memory = memory_allocate(allocator, size_bytes);
    if (memory != NULL) {
        memset(memory, 0, size_bytes);
    }
    return memory;
}

/* As realloc: on NULL the old memory stands. */
static inline void *memory_resize(const tern_allocator *allocator, void *memory,
                                  size_t size_bytes) {
    return allocator->resize(allocator->context, memory, size_bytes);
}

/* Accepts NULL. */
static inline void memory_release(const tern_allocator *allocator, void *memory) {
    allocator->release(allocator->context, memory);
}

/* Memory at a power-of-two alignment (from malloc's alignment to 2 MiB); release_aligned only. */
void *memory_allocate_aligned(const tern_allocator *allocator, size_t alignment_bytes,
                              size_t size_bytes);
void memory_release_aligned(const tern_allocator *allocator, void *memory);

/* A copy of `size` bytes and a terminating zero, or NULL. */
char *memory_copy_string(const tern_allocator *allocator, const void *bytes, size_t size);

#endif
