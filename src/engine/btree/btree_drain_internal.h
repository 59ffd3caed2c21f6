/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of a drain share: the walk (btree_drain.c) and leaves (btree_drain_leaf.c).
 */
#ifndef TERN_ENGINE_BTREE_DRAIN_INTERNAL_H
#define TERN_ENGINE_BTREE_DRAIN_INTERNAL_H

#include "engine/btree/btree_drain.h"

/* Raw blocks read at once when leaves lie one behind the other. */
#define DRAIN_WINDOW_BYTES ((size_t)256 * 1024)
/* The cache has room for new leaves when this much is left beside them. */
#define DRAIN_CACHE_SLACK_BYTES ((size_t)4 << 20)

/* Where a leaf lies and where it was last found. */
struct leaf_source {
    packed_ref ref;
    uint64_t checksum;
    cache_hint hint;
};

bool drain_has_key(const struct drain *drain);
bool drain_has_range(const struct drain *drain);

/* Reads the leaf (from the cache, or beside it) and supersedes it. */
TERN_MUST_CHECK tern_status drain_open_leaf(struct drain *drain, const struct leaf_source *source,
                                            tern_error *error);
/* Merges until the leaf is done (and closed) or work_max is reached. */
TERN_MUST_CHECK tern_status drain_merge_leaf(struct drain *drain, uint64_t work_max,
                                             tern_error *error);
void drain_close_leaf(struct drain *drain);
/* The next key that would be dealt with; *out_has false: the leaf was the last and is done. */
TERN_MUST_CHECK tern_status drain_leaf_position(struct drain *drain, struct buffer *out_key,
                                                bool *out_has, tern_error *error);
/* Reads leaves that lie one behind the other from child `index` on, when reads are sequential. */
void drain_read_ahead(struct drain *drain, const struct inner_node *node, uint32_t index);

#endif
