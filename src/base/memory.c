/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <stdlib.h>

#include "base/assert.h"

static void *default_allocate(void *context, size_t size_bytes) {
    (void)context;
    return malloc(size_bytes);
}

static void *default_resize(void *context, void *memory, size_t size_bytes) {
    (void)context;
    return realloc(memory, size_bytes);
}

static void default_release(void *context, void *memory) {
    (void)context;
    free(memory);
}

static const tern_allocator default_allocator = {NULL, default_allocate, default_resize,
                                                 default_release};

const tern_allocator *tern_allocator_default(void) {
    return &default_allocator;
}

/* The pointer to the whole block is kept in the word before the aligned memory. */
void *memory_allocate_aligned(const tern_allocator *allocator, size_t alignment_bytes,
                              size_t size_bytes) {
    ASSERT((alignment_bytes & (alignment_bytes - 1)) == 0 && alignment_bytes >= sizeof(void *));
    char *whole = memory_allocate(allocator, size_bytes + alignment_bytes + sizeof(void *));
    if (whole == NULL) {
        return NULL;
    }
    uintptr_t first = (uintptr_t)whole + sizeof(void *);
    uintptr_t aligned = (first + alignment_bytes - 1) & ~(uintptr_t)(alignment_bytes - 1);
    char *memory = whole + (aligned - (uintptr_t)whole);
    memcpy(memory - sizeof(void *), &whole, sizeof(whole));
    return memory;
}

void memory_release_aligned(const tern_allocator *allocator, void *memory) {
    if (memory == NULL) {
        return;
    }
    void *whole;
    memcpy(&whole, (char *)memory - sizeof(void *), sizeof(whole));
    memory_release(allocator, whole);
}

char *memory_copy_string(const tern_allocator *allocator, const void *bytes, size_t size) {
    char *copy = memory_allocate(allocator, size + 1);
    if (copy != NULL) {
        if (size > 0) { /* no bytes may be NULL */
            memcpy(copy, bytes, size);
        }
        copy[size] = '\0';
    }
    return copy;
}
