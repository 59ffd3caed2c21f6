/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns an ascending stream of records into leaf pages.
 *
 * Records wait, encoded with whole keys, in an area for up to two leaves: a closed one and the open
 * one. So the last two leaves of a stream can be balanced when it ends, and a leaf that grew a
 * little beyond its fill target is not split for it. The prefix that the keys of a leaf share is
 * known, and cut off, when the leaf is handed out.
 *
 * One thread at a time. All memory is allocated by leaf_builder_init.
 */
#ifndef TERN_ENGINE_BTREE_LEAF_BUILDER_H
#define TERN_ENGINE_BTREE_LEAF_BUILDER_H

#include <tern/error.h>

#include "engine/btree/btree_page.h"

/* Hands out the records [begin, end); must be written (leaf_builder_encode) before it returns. */
typedef tern_status (*leaf_emit_function)(void *context, uint32_t begin, uint32_t end,
                                          tern_error *error);

struct leaf_builder {
    const tern_allocator *allocator;
    uint32_t page_bytes;
    uint32_t payload_max;  /* page less the block header */
    uint32_t payload_fill; /* where a leaf of a longer stream is closed */
    uint32_t area_bytes;
    uint32_t record_capacity;
    uint8_t *area;
    uint32_t *offsets; /* of each record in the area; [count] is the end of the last */
    uint32_t first;    /* records below have been handed out */
    uint32_t cut;      /* the closed leaf is [first, cut), the open one [cut, count) */
    uint32_t count;
    uint32_t open_prefix; /* bytes that all keys of the open leaf share */
    leaf_emit_function emit;
    void *emit_context;
};

/* fill_percent: 50 to 100. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status leaf_builder_init(struct leaf_builder *builder,
                                              const tern_allocator *allocator, uint32_t page_bytes,
                                              leaf_emit_function emit, void *emit_context,
                                              tern_error *error);
void leaf_builder_release(struct leaf_builder *builder);
/* Forgets all records and sets the fill target. */
void leaf_builder_reset(struct leaf_builder *builder, uint32_t fill_percent);

static inline bool leaf_builder_is_empty(const struct leaf_builder *builder) {
    return builder->first == builder->count;
}

/* Values longer than this are stored apart, so that at least three or four records fit a page. */
static inline uint32_t leaf_inline_value_max(uint32_t page_bytes) {
    return page_bytes / 4;
}

/* Adds a PUT or LARGE record; the key must be above all before. */
TERN_MUST_CHECK tern_status leaf_builder_add(struct leaf_builder *builder, tern_slice key,
                                             const struct record *record, tern_error *error);

/*
 * Adds the records [index, end) of an accepted leaf as they are, up to the first that has expired
 * at `now_ms`: *out_index is where it stopped.
 */
TERN_MUST_CHECK tern_status leaf_builder_copy(struct leaf_builder *builder, const uint8_t *payload,
                                              uint32_t index, uint32_t end, uint64_t now_ms,
                                              uint32_t *out_index, tern_error *error);

/* True when what waits would make a leaf less than half full. */
bool leaf_builder_is_underfull(const struct leaf_builder *builder);

/* Hands out what waits: as one leaf, as two halves, or (balanced false) as two as they are. */
TERN_MUST_CHECK tern_status leaf_builder_flush(struct leaf_builder *builder, bool balanced,
                                               tern_error *error);

/* Whole key of a waiting record. */
tern_slice leaf_builder_key(const struct leaf_builder *builder, uint32_t index);

/* What a finished leaf holds. */
struct leaf_summary {
    uint32_t payload_bytes;
    uint32_t records;
    uint64_t large_bytes; /* sizes of the values stored apart */
    bool has_large;
};

/* Writes the payload of a leaf of the records [begin, end) to `target` (payload_max bytes). */
void leaf_builder_encode(const struct leaf_builder *builder, uint32_t begin, uint32_t end,
                         uint64_t generation, uint8_t *target, struct leaf_summary *out_summary);

#endif
