/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frequency sketch of TinyLFU (Einziger, Friedman, Manes, "TinyLFU: a highly efficient cache
 * admission policy", 2017).
 *
 *   block    8 words of 16 counters of 4 bits: row i is words 2i and 2i+1, one counter of 32
 *   keeper   64 bits, two per tag
 *
 * A tag has one block, so that counting touches one line and one word. There is a block for every
 * eight frames.
 *
 * Deviation: the paper halves all counters at once after a sample of so many sightings. Here a hand
 * halves a block, and clears its doorkeeper, after every SAMPLE_PER_BLOCK sightings: the same rate,
 * never a pause. That is three sightings a frame, where the paper has ten: here one sighting stands
 * for all the hits between two looks at a frame, and with ten a moved hot set takes long to be let
 * in (bench/cache_traces, shifting: 60 % of hits instead of 82 %).
 */
#include "cache/frequency_sketch.h"

#include <string.h>

#include "cache/tag_hash.h"
#include "os/pages.h"

#define FRAMES_PER_BLOCK 8u
#define SAMPLE_PER_BLOCK 24u
#define LOW_BITS         UINT64_C(0x7777777777777777)
#define ROWS             4u

static uint32_t blocks_for(uint32_t frame_count) {
    uint32_t blocks = 1;
    while (blocks * (uint64_t)FRAMES_PER_BLOCK < frame_count) {
        blocks *= 2;
    }
    return blocks;
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

static void fold(struct frequency_sketch *sketch) {
    uint32_t half = sketch->block_count / 2;
    for (uint32_t i = 0; i < half; i++) {
        for (unsigned w = 0; w < 8; w++) {
            sketch->blocks[i].counters[w] = larger_counters(sketch->blocks[i].counters[w],
                                                            sketch->blocks[half + i].counters[w]);
        }
        sketch->doorkeepers[i] |= sketch->doorkeepers[half + i];
    }
    memset(&sketch->blocks[half], 0, half * sizeof(sketch->blocks[0]));
    memset(&sketch->doorkeepers[half], 0, half * sizeof(sketch->doorkeepers[0]));
    if (half * sizeof(sketch->blocks[0]) >= 4096) {
        pages_discard(&sketch->blocks[half], half * sizeof(sketch->blocks[0]));
    }
    if (half * sizeof(sketch->doorkeepers[0]) >= 4096) {
        pages_discard(&sketch->doorkeepers[half], half * sizeof(sketch->doorkeepers[0]));
    }
    sketch->block_count = half;
    sketch->aging_hand &= half - 1;
}

void sketch_resize(struct frequency_sketch *sketch, uint32_t frame_count) {
    uint32_t wanted = blocks_for(frame_count);
    /* A tag's block is its hash's low bits: in a sketch twice as large, the same or that above. */
    while (sketch->block_count < wanted) {
        uint32_t count = sketch->block_count;
        memcpy(&sketch->blocks[count], sketch->blocks, count * sizeof(sketch->blocks[0]));
        memcpy(&sketch->doorkeepers[count], sketch->doorkeepers,
               count * sizeof(sketch->doorkeepers[0]));
        sketch->block_count = 2 * count;
    }
    while (sketch->block_count > wanted) {
        fold(sketch);
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
    sketch->aging_hand = (sketch->aging_hand + 1) & (sketch->block_count - 1);
    struct sketch_block *block = &sketch->blocks[sketch->aging_hand];
    for (unsigned w = 0; w < 8; w++) {
        block->counters[w] = block->counters[w] >> 1 & LOW_BITS;
    }
    sketch->doorkeepers[sketch->aging_hand] = 0;
}

void sketch_add(struct frequency_sketch *sketch, cache_tag tag) {
    uint64_t hash = tag_hash(tag);
    uint32_t at = (uint32_t)hash & (sketch->block_count - 1);
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
    uint32_t at = (uint32_t)hash & (sketch->block_count - 1);
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
