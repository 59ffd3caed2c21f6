/* SPDX-License-Identifier: Apache-2.0 */
#include "txn/write_order.h"

#include "base/assert.h"
#include "base/compare.h"
#include "txn/growth.h"

#define BLOCK_NUMBERS 510

/* Never empty while in the list. */
struct write_order_block {
    uint32_t count;
    uint32_t numbers[BLOCK_NUMBERS];
};

void write_order_release(struct write_order *order, const tern_allocator *allocator) {
    for (size_t i = 0; i < order->block_count; i++) {
        memory_release(allocator, order->blocks[i]);
    }
    memory_release(allocator, (void *)order->blocks);
    *order = (struct write_order){0};
}

/* First block whose last key is >= key (or > key when not inclusive); block_count when none. */
static size_t find_block(const struct write_order *order, const struct write_key *keys,
                         tern_slice key, bool inclusive) {
    size_t low = 0;
    size_t high = order->block_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct write_order_block *block = order->blocks[middle];
        int compared = slice_compare(keys[block->numbers[block->count - 1]].key, key);
        if (compared < 0 || (compared == 0 && !inclusive)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static uint32_t find_in_block(const struct write_order_block *block, const struct write_key *keys,
                              tern_slice key, bool inclusive) {
    uint32_t low = 0;
    uint32_t high = block->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int compared = slice_compare(keys[block->numbers[middle]].key, key);
        if (compared < 0 || (compared == 0 && !inclusive)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool add_block(struct write_order *order, const tern_allocator *allocator, size_t place) {
    if (!GROWTH_RESERVE(allocator, order->blocks, order->block_capacity, order->block_count + 1)) {
        return false;
    }
    struct write_order_block *block = memory_allocate(allocator, sizeof(*block));
    if (block == NULL) {
        return false;
    }
    block->count = 0;
    memmove((void *)(order->blocks + place + 1), (void *)(order->blocks + place),
            (order->block_count - place) * sizeof(struct write_order_block *));
    order->blocks[place] = block;
    order->block_count++;
    return true;
}

/* Halves a full block, but leaves it full when keys come in ascending order. */
static bool split_block(struct write_order *order, const tern_allocator *allocator, size_t place,
                        bool at_end) {
    if (!add_block(order, allocator, place + 1)) {
        return false;
    }
    struct write_order_block *left = order->blocks[place];
    struct write_order_block *right = order->blocks[place + 1];
    uint32_t kept = at_end ? BLOCK_NUMBERS - 1 : BLOCK_NUMBERS / 2;
    right->count = left->count - kept;
    memcpy(right->numbers, left->numbers + kept, right->count * sizeof(uint32_t));
    left->count = kept;
    return true;
}

tern_status write_order_insert(struct write_order *order, const tern_allocator *allocator,
                               const struct write_key *keys, uint32_t number) {
    tern_slice key = keys[number].key;
    if (order->block_count == 0 && !add_block(order, allocator, 0)) {
        return TERN_NO_MEMORY;
    }
    size_t place = order->blocks[0]->count == 0 ? 0 : find_block(order, keys, key, true);
    if (place == order->block_count) {
        place--;
    }
    struct write_order_block *block = order->blocks[place];
    uint32_t index = find_in_block(block, keys, key, true);
    if (block->count == BLOCK_NUMBERS) {
        bool at_end = index == block->count && place == order->block_count - 1;
        if (!split_block(order, allocator, place, at_end)) {
            return TERN_NO_MEMORY;
        }
        if (index > block->count) {
            index -= block->count;
            block = order->blocks[place + 1];
        }
    }
    memmove(block->numbers + index + 1, block->numbers + index,
            (block->count - index) * sizeof(uint32_t));
    block->numbers[index] = number;
    block->count++;
    return TERN_OK;
}

void write_order_remove(struct write_order *order, const tern_allocator *allocator,
                        const struct write_key *keys, uint32_t number) {
    size_t place = find_block(order, keys, keys[number].key, true);
    ASSERT(place < order->block_count);
    struct write_order_block *block = order->blocks[place];
    uint32_t index = find_in_block(block, keys, keys[number].key, true);
    ASSERT(index < block->count && block->numbers[index] == number);
    memmove(block->numbers + index, block->numbers + index + 1,
            (block->count - index - 1) * sizeof(uint32_t));
    block->count--;
    if (block->count == 0) {
        memory_release(allocator, block);
        memmove((void *)(order->blocks + place), (void *)(order->blocks + place + 1),
                (order->block_count - place - 1) * sizeof(struct write_order_block *));
        order->block_count--;
    }
}

bool write_order_seek(const struct write_order *order, const struct write_key *keys,
                      const tern_slice *key, bool backward, bool inclusive, uint32_t *out_number) {
    if (order->block_count == 0) {
        return false;
    }
    size_t place = 0;
    uint32_t index = 0;
    if (key != NULL) {
        /* Backward, the answer is the one before the first that is too far. */
        bool first_inclusive = backward ? !inclusive : inclusive;
        place = find_block(order, keys, *key, first_inclusive);
        if (place < order->block_count) {
            index = find_in_block(order->blocks[place], keys, *key, first_inclusive);
        }
    } else if (backward) {
        place = order->block_count;
    }
    if (backward) {
        if (index == 0) {
            if (place == 0) {
                return false;
            }
            place--;
            index = order->blocks[place]->count;
        }
        index--;
    } else if (place == order->block_count) {
        return false;
    }
    *out_number = order->blocks[place]->numbers[index];
    return true;
}
