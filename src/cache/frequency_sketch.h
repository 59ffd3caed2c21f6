/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often tags were seen lately, about, in nine bytes a frame: a count-min sketch of 4-bit
 * counters behind a doorkeeper that takes the first sighting. The cache's lock is held.
 */
#ifndef TERN_CACHE_FREQUENCY_SKETCH_H
#define TERN_CACHE_FREQUENCY_SKETCH_H

#include "cache/cache.h"

/* Counters of one block: a line. */
struct sketch_block {
    uint64_t counters[8];
};

struct frequency_sketch {
    struct sketch_block *blocks; /* reserved for frames_max */
    uint64_t *doorkeepers;       /* one word a block */
    size_t blocks_bytes, doorkeepers_bytes;
    uint32_t block_count;
    uint32_t aging_hand, aging_credit;
};

/* What a class of frames pays per frame: the last block may be for fewer than eight. */
#define SKETCH_FRAME_BYTES 10u

TERN_MUST_CHECK tern_status sketch_init(struct frequency_sketch *sketch, uint32_t frames_max,
                                        tern_error *error);
void sketch_release(struct frequency_sketch *sketch);
/* Grows, keeping what it knows, or shrinks, keeping the larger counts. */
void sketch_resize(struct frequency_sketch *sketch, uint32_t frame_count);
void sketch_add(struct frequency_sketch *sketch, cache_tag tag);
/* 0 to 16; never less than the true count since the last two agings, but for the maximum. */
uint32_t sketch_estimate(const struct frequency_sketch *sketch, cache_tag tag);

#endif
