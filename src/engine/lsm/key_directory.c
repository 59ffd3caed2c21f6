/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/lsm/key_directory.h"

#include "base/bytes.h"
#include "base/compare.h"
#include "simd/compare.h"
#include "simd/search.h"

#define PAD_BYTES 64u

static uint64_t head_of(tern_slice key, size_t prefix_size) {
    return key.size > prefix_size
               ? key_head_u64((const uint8_t *)key.data + prefix_size, key.size - prefix_size)
               : 0;
}

tern_status key_directory_create(struct key_directory *directory, const tern_allocator *allocator,
                                 const tern_slice *keys, uint32_t count) {
    struct key_directory made = {.allocator = allocator, .count = count};
    made.heads = memory_allocate_zeroed(allocator, count * sizeof(uint64_t) + PAD_BYTES);
    made.keys = memory_allocate(allocator, (count + 1u) * sizeof(tern_slice));
    if (made.heads == NULL || made.keys == NULL) {
        key_directory_release(&made);
        return TERN_NO_MEMORY;
    }
    if (count > 1) {
        made.prefix_size = (uint32_t)slice_common_prefix(keys[0], keys[count - 1]);
    }
    for (uint32_t i = 0; i < count; i++) {
        made.keys[i] = keys[i];
        made.heads[i] = head_of(keys[i], made.prefix_size);
    }
    *directory = made;
    return TERN_OK;
}

void key_directory_release(struct key_directory *directory) {
    if (directory->allocator != NULL) {
        memory_release(directory->allocator, directory->heads);
        memory_release(directory->allocator, directory->keys);
    }
    *directory = (struct key_directory){0};
}

uint32_t key_directory_find(const struct key_directory *directory, tern_slice key) {
    uint32_t count = directory->count;
    if (count == 0) {
        return UINT32_MAX;
    }
    uint32_t prefix = directory->prefix_size;
    if (prefix > 0) {
        size_t shorter = key.size < prefix ? key.size : prefix;
        int order = memcmp(key.data, directory->keys[0].data, shorter);
        if (order != 0) {
            return order < 0 ? UINT32_MAX : count - 1;
        }
        if (key.size < prefix) {
            return UINT32_MAX;
        }
    }
    uint64_t head = head_of(key, prefix);
    uint32_t index = (uint32_t)search_lower_u64(directory->heads, count, head);
    while (index < count && directory->heads[index] == head &&
           slice_compare(directory->keys[index], key) <= 0) {
        index++;
    }
    return index - 1; /* wraps to UINT32_MAX at 0 */
}
