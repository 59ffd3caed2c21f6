/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache's contents over a restart: which leaves are cached, by place, and loading those that
 * are still in the tree.
 *
 * A leaf can only be read through its parent, which holds its checksum. So warming walks the inner
 * nodes in order, a bounded number of pages at a time, and remembers the way by child indexes; when
 * the tree has changed meanwhile the way leads elsewhere, and leaves are skipped or looked at
 * twice. It is only advice.
 */
#include "engine/btree/btree_engine_internal.h"
#include "engine/btree/btree_read_internal.h"

#define SLICE_LEAVES 16u
#define SLICE_NODES  32u

_Static_assert(ENGINE_WARM_LEVELS >= INNER_LEVELS_MAX, "the way fits");

struct warm_slice {
    struct btree *tree;
    const uint64_t *places;
    size_t count;
    struct engine_warming *warming;
    uint32_t leaves_left, nodes_left;
};

size_t btree_cached_places(struct engine_view *view, uint64_t *out_places, size_t capacity) {
    const struct btree *tree = &btree_of(view->engine)->tree;
    return cache_list_space(tree->environment->cache, tree->space, out_places, capacity);
}

static bool is_wanted(const struct warm_slice *slice, packed_ref ref) {
    uint64_t place = ref_place(ref);
    size_t low = 0;
    size_t high = slice->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice->places[middle] < place) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < slice->count && slice->places[low] == place;
}

/* Loads a leaf if it is wanted and not there. */
static tern_status warm_leaf(struct warm_slice *slice, const struct leaf_place *place,
                             tern_error *error) {
    const uint8_t *base = cache_base(slice->tree->environment->cache);
    cache_hint hint = atomic_load_explicit(place->hint, memory_order_relaxed);
    cache_tag tag = leaf_tag(slice->tree, place->ref);
    if (!is_wanted(slice, place->ref) ||
        (hint != 0 &&
         atomic_load_explicit(&cache_frame_at(base, hint)->tag, memory_order_relaxed) == tag)) {
        return TERN_OK;
    }
    struct cache_frame *frame = NULL;
    slice->leaves_left--;
    slice->warming->loaded++;
    return leaf_fetch(slice->tree, place, &frame, error);
}

/* True: all below the node has been looked at. */
static tern_status warm_node(struct warm_slice *slice, struct inner_node *node, uint32_t depth,
                             bool *out_done, tern_error *error) {
    uint32_t *at = &slice->warming->at[depth];
    tern_status status = TERN_OK;
    slice->nodes_left -= slice->nodes_left > 0;
    for (; *at < node->count; ++*at) {
        if (slice->leaves_left == 0 || slice->nodes_left == 0) {
            *out_done = false;
            return TERN_OK;
        }
        bool is_done = true;
        if (node->level == 1) {
            const struct leaf_place place = leaf_place_of(node, *at);
            status = warm_leaf(slice, &place, error);
        } else {
            struct inner_node *child = NULL;
            status = child_of(slice->tree, node, *at, &child, error);
            if (status == TERN_OK) {
                status = warm_node(slice, child, depth + 1, &is_done, error);
            }
        }
        if (status != TERN_OK || !is_done) {
            *out_done = false;
            return status;
        }
    }
    *at = 0;
    *out_done = true;
    return TERN_OK;
}

tern_status btree_warm(struct engine_view *view, const uint64_t *places, size_t count,
                       struct engine_warming *warming, bool *out_more, tern_error *error) {
    struct btree_engine *engine = btree_of(view->engine);
    struct btree_root *root = btree_view_of(view)->root;
    struct warm_slice slice = {&engine->tree, places, count, warming, SLICE_LEAVES, SLICE_NODES};
    tern_status status = TERN_OK;
    bool is_done = true;
    struct epoch_slot *slot = epoch_enter(engine->tree.environment->epoch);
    if (root->height == 1) {
        const struct leaf_place place = leaf_place_of_root(root);
        status = warm_leaf(&slice, &place, error);
    } else if (root->top != NULL) {
        status = warm_node(&slice, root->top, 0, &is_done, error);
    }
    epoch_exit(slot);
    if (status == TERN_OK) {
        *out_more = !is_done;
    }
    return status;
}
