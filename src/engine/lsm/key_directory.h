/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sorted array of keys in memory with their heads side by side: which table of a run, which
 * partition of a table. Heads are the first 8 bytes behind what all keys have in common.
 */
#ifndef TERN_ENGINE_LSM_KEY_DIRECTORY_H
#define TERN_ENGINE_LSM_KEY_DIRECTORY_H

#include <tern/slice.h>
#include <tern/status.h>

#include "base/memory.h"

struct key_directory {
    const tern_allocator *allocator;
    uint32_t count;
    uint32_t prefix_size;
    uint64_t *heads;  /* padded as search_lower_u64 wants it */
    tern_slice *keys; /* borrowed bytes */
};

/* `keys` ascend and must live as long as the directory; the array is copied. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status key_directory_create(struct key_directory *directory,
                                                 const tern_allocator *allocator,
                                                 const tern_slice *keys, uint32_t count);
void key_directory_release(struct key_directory *directory);
/* Index of the last key <= `key`; UINT32_MAX when all are above it. */
uint32_t key_directory_find(const struct key_directory *directory, tern_slice key);

#endif
