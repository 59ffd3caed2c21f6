/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turning the versions of a key, fed newest first, into what a reader sees: merge operands pile up
 * until a terminal record (PUT, LARGE, DELETE, or the end of all sources) is reached.
 *
 * Expiry and merge: an operand committed at or after the value's expiry applies to a missing value,
 * one committed before belongs to the value and goes with it. So the answer does not depend on when
 * a drain folded what.
 */
#ifndef TERN_ENGINE_RESOLUTION_H
#define TERN_ENGINE_RESOLUTION_H

#include "engine/engine.h"

#define RESOLUTION_INLINE_OPERANDS 16
#define RESOLUTION_PILES_MAX       8 /* one for each overlay of a stack and to spare */

/*
 * Folds the operands of a pile that were committed at or after expires_ms (emptying *out_operand
 * first). The pile is that of the newest version of the chain with seq <= `seq`.
 */
typedef tern_status (*resolution_since)(const void *chain, seq_no seq, uint64_t expires_ms,
                                        struct buffer *out_operand);

/*
 * An operand that stands for many, newest first, committed between oldest_ms and its own
 * record.expires_ms. `since` is asked when the value expires between.
 */
struct resolution_pile {
    size_t operand; /* its place among the operands */
    uint64_t oldest_ms;
    resolution_since since;
    const void *chain;
    seq_no seq;
};

/* One resolution; on the stack, no set-up cost. Bytes of added records must stay alive. */
struct resolution {
    struct record terminal; /* kind NONE until found */
    enum engine_source source;
    void *frame;
    bool is_complete;
    size_t operand_count;
    struct record inline_operands[RESOLUTION_INLINE_OPERANDS]; /* newest first */
    struct record *more_operands; /* of the allocator, when there are more */
    size_t more_capacity;
    const tern_allocator *allocator;
    size_t pile_count;
    struct resolution_pile piles[RESOLUTION_PILES_MAX];
};

static inline void resolution_init(struct resolution *resolution, const tern_allocator *allocator) {
    resolution->terminal.kind = RECORD_NONE;
    resolution->source = ENGINE_SOURCE_SCRATCH;
    resolution->frame = NULL;
    resolution->is_complete = false;
    resolution->operand_count = 0;
    resolution->more_operands = NULL;
    resolution->more_capacity = 0;
    resolution->allocator = allocator;
    resolution->pile_count = 0;
}

/* Adds the next older record. Sets is_complete at a terminal one. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status resolution_add(struct resolution *resolution,
                                           const struct record *record, enum engine_source source,
                                           void *frame);

/* The same for a pile (record: kind MERGE, the fold of all of it). Its chain must stay alive. */
TERN_MUST_CHECK tern_status resolution_add_pile(struct resolution *resolution,
                                                const struct record *record, uint64_t oldest_ms,
                                                resolution_since since, const void *chain,
                                                seq_no seq);

/* Gives up. */
void resolution_release(struct resolution *resolution);

/* For a source that has to start over: takes back what was added since, nothing terminal. */
struct resolution_mark {
    size_t operand_count;
    size_t pile_count;
};
static inline struct resolution_mark resolution_mark(const struct resolution *resolution) {
    return (struct resolution_mark){resolution->operand_count, resolution->pile_count};
}
static inline void resolution_rewind(struct resolution *resolution, struct resolution_mark mark) {
    resolution->operand_count = mark.operand_count;
    resolution->pile_count = mark.pile_count;
    if (mark.operand_count <= RESOLUTION_INLINE_OPERANDS) {
        resolution_release(resolution); /* a resolution without operands is finished without it */
    }
}

/*
 * All sources were asked: computes the result as of time_ms. Without operands nothing is copied.
 * `read_large` loads a LARGE terminal that has operands on it (may be NULL when there can be none).
 * Releases the operands. TERN_NO_MEMORY and what read_large gives.
 */
TERN_MUST_CHECK tern_status
resolution_finish(struct resolution *resolution, uint64_t time_ms, struct engine_scratch *scratch,
                  tern_status (*read_large)(void *context, const struct record *large,
                                            struct buffer *out_value, tern_error *error),
                  void *large_context, struct engine_result *out_result, tern_error *error);

#endif
