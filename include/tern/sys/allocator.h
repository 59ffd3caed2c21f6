/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file sys/allocator.h
 * The allocator given at open. Weaker promise than the rest of the API: may grow between minors.
 */
#ifndef TERN_SYS_ALLOCATOR_H
#define TERN_SYS_ALLOCATOR_H

#include <stddef.h>
#include <tern/export.h>

TERN_BEGIN_DECLS

/**
 * Source of memory. All three functions are called from any thread at once. `allocate` returns
 * memory aligned for max_align_t or NULL; `release` accepts NULL.
 */
typedef struct tern_allocator {
    void *context;
    void *(*allocate)(void *context, size_t size_bytes);
    void *(*resize)(void *context, void *memory, size_t size_bytes);
    void (*release)(void *context, void *memory);
} tern_allocator;

/** malloc, realloc, free. Static storage. */
TERN_API const tern_allocator *tern_allocator_default(void);

TERN_END_DECLS

#endif
