/* SPDX-License-Identifier: Apache-2.0 */
#include "key_family.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compare.h"
#include "support/check.h"

#define KEY_MEMORY_BYTES 256u

static size_t fill_choice(struct seeded_random *random, uint8_t *memory, size_t size,
                          const char *choice, size_t choice_size) {
    for (size_t i = 0; i < size; i++) {
        memory[i] = (uint8_t)choice[seeded_random_below(random, choice_size)];
    }
    return size;
}

tern_slice key_make(enum key_family family, struct seeded_random *random, uint8_t *memory) {
    size_t size = 0;
    switch (family) {
    case KEYS_RANDOM:
        size = 16;
        seeded_random_fill(random, memory, size);
        break;
    case KEYS_SEQUENTIAL:
        size = (size_t)snprintf((char *)memory, KEY_MEMORY_BYTES, "%016llu",
                                (unsigned long long)seeded_random_below(random, 1000000));
        break;
    case KEYS_LONG_PREFIX:
        memset(memory, 'p', 200);
        size = 200 + seeded_random_below(random, 6);
        seeded_random_fill(random, memory + 200, size - 200);
        break;
    case KEYS_SHORT:
        size = 1 + seeded_random_below(random, 4);
        seeded_random_fill(random, memory, size);
        break;
    case KEYS_ZEROS:
        size = fill_choice(random, memory, 1 + seeded_random_below(random, 40), "\0\0\0\0\1", 5);
        break;
    case KEYS_EXTREME:
        size =
            fill_choice(random, memory, 1 + seeded_random_below(random, 30), "\xff\xff\xff\0", 4);
        break;
    default:
        size = fill_choice(random, memory, 1 + seeded_random_below(random, 60), "abcd", 4);
        break;
    }
    return tern_slice_of(memory, size);
}

static int compare(const void *left, const void *right) {
    const tern_slice *a = left;
    const tern_slice *b = right;
    return slice_compare(*a, *b);
}

void key_set_make(struct key_set *set, enum key_family family, uint32_t count,
                  struct seeded_random *random) {
    set->memory = check_allocate((size_t)count * KEY_MEMORY_BYTES + 1);
    set->keys = check_allocate(((size_t)count + 1) * sizeof(*set->keys));
    for (uint32_t i = 0; i < count; i++) {
        set->keys[i] = key_make(family, random, set->memory + (size_t)i * KEY_MEMORY_BYTES);
    }
    qsort(set->keys, count, sizeof(*set->keys), compare);
    set->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (set->count == 0 || !slice_equal(set->keys[set->count - 1], set->keys[i])) {
            set->keys[set->count++] = set->keys[i];
        }
    }
}

void key_set_release(struct key_set *set) {
    free(set->keys);
    free(set->memory);
}

uint32_t key_set_lower_bound(const struct key_set *set, tern_slice key) {
    uint32_t low = 0;
    uint32_t high = set->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (slice_compare(set->keys[middle], key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}
