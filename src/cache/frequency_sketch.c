/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frequency sketch of TinyLFU (Einziger, Friedman, Manes, "TinyLFU: a highly efficient cache
 * admission policy", 2017).
 *
 *   block    8 words of 16 counters of 4 bits: row i is words 2i and 2i+1, one counter of 32
 *   keeper   64 bits, two per tag
 *
 * A tag has one block, so that counting touches one line and one word. There is a block for every
 * eight frames: they come and go one at a time, each split off from the one whose tags it takes
 * over in part (Litwin, "Linear hashing", 1980), so that a change of size costs what it changes.
 *
 * Deviation: the paper halves all counters at once after a sample of so many sightings. Here a hand
 * halves a block, and clears its doorkeeper, after every SAMPLE_PER_BLOCK sightings: the same rate,
 * never a pause. That is three sightings a frame, where the paper has ten: here one sighting stands
 * for all the hits between two looks at a frame, and with ten a moved hot set takes long to be let
 * in (bench/cache_traces, shifting: 60 % of hits instead of 82 %).
 */
#include "cache/frequency_sketch.h"

#include "base/bytes.h"
#include "cache/tag_hash.h"
#include "os/pages.h"

#define FRAMES_PER_BLOCK 8u
#define SAMPLE_PER_BLOCK 24u
#define LOW_BITS         UINT64_C(0x7777777777777777)
#define ROWS             4u
#define PAGE_BYTES       4096u

static uint32_t blocks_for(uint32_t frame_count) {
    uint32_t blocks = frame_count / FRAMES_PER_BLOCK + (frame_count % FRAMES_PER_BLOCK != 0);
    return blocks > 0 ? blocks : 1;
}

tern_status sketch_init(struct frequency_sketch *sketch, uint32_t frames_max, tern_error *error) {
    *sketch = (struct frequency_sketch){.block_count = 1};
    uint32_t blocks = blocks_for(frames_max);
    void *memory = NULL;
    sketch->blocks_bytes = blocks * sizeof(struct sketch_block);
    tern_status status = pages_allocate(sketch->blocks_bytes, false, &memory, error);
    if (status != TERN_OK) {
        return status;
    }
    sketch->blocks = memory;
    sketch->doorkeepers_bytes = blocks * sizeof(uint64_t);
    status = pages_allocate(sketch->doorkeepers_bytes, false, &memory, error);
    if (status != TERN_OK) {
        sketch_release(sketch);
        return status;
    }
    sketch->doorkeepers = memory;
    return TERN_OK;
}

void sketch_release(struct frequency_sketch *sketch) {
    pages_release(sketch->blocks, sketch->blocks_bytes);
    pages_release(sketch->doorkeepers, sketch->doorkeepers_bytes);
    sketch->blocks = NULL;
    sketch->doorkeepers = NULL;
}

static uint64_t larger_counters(uint64_t left, uint64_t right) {
    uint64_t result = 0;
    for (unsigned shift = 0; shift < 64; shift += 4) {
        uint64_t a = left >> shift & 15;
        uint64_t b = right >> shift & 15;
        result |= (a > b ? a : b) << shift;
    }
    return result;
}

/* By the low bits of the hash: one bit less where there is no such block yet. */
static uint32_t block_of(const struct frequency_sketch *sketch, uint64_t hash) {
    uint32_t top = sketch->block_count - 1;
    uint32_t mask = top == 0 ? 0 : UINT32_MAX >> __builtin_clz(top);
    uint32_t block = (uint32_t)hash & mask;
    return block <= top ? block : block & mask >> 1;
}

/* The block that the last one was split off from. */
static uint32_t parent_of_last(const struct frequency_sketch *sketch) {
    uint32_t last = sketch->block_count - 1;
    return last & ~((uint32_t)1 << (31 - __builtin_clz(last)));
}

static void add_block(struct frequency_sketch *sketch) {
    sketch->block_count++;
    uint32_t parent = parent_of_last(sketch);
    sketch->blocks[sketch->block_count - 1] = sketch->blocks[parent];
    sketch->doorkeepers[sketch->block_count - 1] = sketch->doorkeepers[parent];
}

static void remove_block(struct frequency_sketch *sketch) {
    uint32_t parent = parent_of_last(sketch);
    uint32_t last = sketch->block_count - 1;
    for (unsigned w = 0; w < 8; w++) {
        sketch->blocks[parent].counters[w] =
            larger_counters(sketch->blocks[parent].counters[w], sketch->blocks[last].counters[w]);
    }
    sketch->doorkeepers[parent] |= sketch->doorkeepers[last];
    sketch->block_count--;
}

/* The whole pages between two elements of an array become zeros without memory. */
static void discard_between(void *array, size_t element_bytes, uint32_t from, uint32_t to) {
    size_t begin = round_up_u64((uint64_t)from * element_bytes, PAGE_BYTES);
    size_t end = (size_t)to * element_bytes / PAGE_BYTES * PAGE_BYTES;
    if (begin < end) {
        pages_discard((uint8_t *)array + begin, end - begin);
    }
}

void sketch_resize(struct frequency_sketch *sketch, uint32_t frame_count) {
    uint32_t wanted = blocks_for(frame_count);
    uint32_t before = sketch->block_count;
    while (sketch->block_count < wanted) {
        add_block(sketch);
    }
    while (sketch->block_count > wanted) {
        remove_block(sketch);
    }
    if (wanted < before) {
        discard_between(sketch->blocks, sizeof(sketch->blocks[0]), wanted, before);
        discard_between(sketch->doorkeepers, sizeof(sketch->doorkeepers[0]), wanted, before);
        sketch->aging_hand = sketch->aging_hand < wanted ? sketch->aging_hand : 0;
    }
}

static uint64_t doorkeeper_bits(uint64_t hash) {
    return UINT64_C(1) << (hash >> 32 & 63) | UINT64_C(1) << (hash >> 38 & 63);
}

/* Word and shift of a tag's counter in a row: five bits of the hash each. */
static unsigned counter_place(uint64_t hash, unsigned row, unsigned *out_shift) {
    unsigned bits = (unsigned)(hash >> (44 + 5 * row)) & 31;
    *out_shift = (bits & 15) * 4;
    return 2 * row + (bits >> 4);
}

static void age(struct frequency_sketch *sketch) {
    if (++sketch->aging_credit < SAMPLE_PER_BLOCK) {
        return;
    }
    sketch->aging_credit = 0;
    sketch->aging_hand = sketch->aging_hand + 1 < sketch->block_count ? sketch->aging_hand + 1 : 0;
    struct sketch_block *block = &sketch->blocks[sketch->aging_hand];
    for (unsigned w = 0; w < 8; w++) {
        block->counters[w] = block->counters[w] >> 1 & LOW_BITS;
    }
    sketch->doorkeepers[sketch->aging_hand] = 0;
}

void sketch_add(struct frequency_sketch *sketch, cache_tag tag) {
    uint64_t hash = tag_hash(tag);
    uint32_t at = block_of(sketch, hash);
    uint64_t bits = doorkeeper_bits(hash);
    if ((sketch->doorkeepers[at] & bits) != bits) {
        sketch->doorkeepers[at] |= bits;
    } else {
        for (unsigned row = 0; row < ROWS; row++) {
            unsigned shift;
            uint64_t *word = &sketch->blocks[at].counters[counter_place(hash, row, &shift)];
            *word += (*word >> shift & 15) < 15 ? UINT64_C(1) << shift : 0;
        }
    }
    age(sketch);
}

uint32_t sketch_estimate(const struct frequency_sketch *sketch, cache_tag tag) {
    uint64_t hash = tag_hash(tag);
    uint32_t at = block_of(sketch, hash);
    uint64_t least = 15;
    for (unsigned row = 0; row < ROWS; row++) {
        unsigned shift;
        uint64_t word = sketch->blocks[at].counters[counter_place(hash, row, &shift)];
        uint64_t count = word >> shift & 15;
        least = count < least ? count : least;
    }
    uint64_t bits = doorkeeper_bits(hash);
    return (uint32_t)least + ((sketch->doorkeepers[at] & bits) == bits);
}
