/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Estimates from the counts in inner nodes: what lies left of a key is known but for the leaf that
 * the key falls into. There the place is looked up when the leaf is in memory; else it is guessed
 * from where the key stands between the leaf's fences, unless the leaf is a large part of the
 * answer: then it is read. So the error is at most PART_READ of a leaf's share at each end.
 */
#include "base/error.h"
#include "engine/btree/btree_read_internal.h"
#include "simd/compare.h"

/* A boundary leaf with more than 1 / PART_READ of the estimate is read. */
#define PART_READ 20u

/* Records and bytes left of a key. */
struct rank {
    double records, bytes;
    uint64_t leaf_records;
    struct leaf_place leaf; /* of the leaf the key falls into */
    uint64_t leaf_bytes;
    double fraction; /* of that leaf, as counted in records and bytes */
    bool is_exact;
};

/* The fences of the leaf that a descent leads to. */
struct fences {
    struct buffer low, high;
    bool has_low, has_high;
};

static tern_status copy_separator(const struct inner_node *node, uint32_t index,
                                  struct buffer *out_fence, tern_error *error) {
    out_fence->size = 0;
    size_t size = node_separator_size(node, index);
    if (buffer_reserve(out_fence, size) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "an estimate");
    }
    out_fence->size = node_separator(node, index, out_fence->data);
    return TERN_OK;
}

/* Where a key stands between two others, from 0 to 1, by the bytes after what those two share. */
static double fraction_between(const struct fences *fences, tern_slice key) {
    tern_slice low = fences->has_low ? buffer_slice(&fences->low) : tern_slice_of("", 0);
    tern_slice high = buffer_slice(&fences->high);
    size_t shared = fences->has_low && fences->has_high ? slice_common_prefix(low, high) : 0;
    double from = (double)key_head_u64((const uint8_t *)low.data + shared, low.size - shared);
    double to = fences->has_high
                    ? (double)key_head_u64((const uint8_t *)high.data + shared, high.size - shared)
                    : 18446744073709551616.0;
    if (key.size <= shared || to <= from) {
        return key.size == 0 ? 0 : 0.5;
    }
    double at = (double)key_head_u64((const uint8_t *)key.data + shared, key.size - shared);
    double fraction = (at - from) / (to - from);
    return fraction < 0 ? 0 : fraction > 1 ? 1 : fraction;
}

static void place_in_payload(struct rank *rank, const uint8_t *payload, tern_slice key) {
    bool equal = false;
    uint32_t index = leaf_lower_bound(payload, key, &equal);
    rank->fraction = (double)index / leaf_count(payload);
    rank->is_exact = true;
}

static void place_in_leaf(struct btree *tree, struct rank *rank, const struct fences *fences,
                          tern_slice key) {
    struct cache_frame *frame = leaf_hinted(cache_base(tree->environment->cache), rank->leaf.hint);
    if (frame != NULL && cache_frame_holds(frame, leaf_tag(tree, rank->leaf.ref))) {
        place_in_payload(rank, leaf_payload(frame), key);
        return;
    }
    rank->fraction = fraction_between(fences, key);
}

static tern_status find_rank(struct btree *tree, struct btree_root *root, tern_slice key,
                             struct rank *out_rank, tern_error *error) {
    const tern_allocator *allocator = tree->environment->allocator;
    struct rank rank = {.leaf = leaf_place_of_root(root),
                        .leaf_records = root->records,
                        .leaf_bytes = root->child.bytes};
    struct fences fences = {.has_low = false, .has_high = false};
    buffer_init(&fences.low, allocator);
    buffer_init(&fences.high, allocator);
    tern_status status = TERN_OK;
    for (struct inner_node *node = root->top; node != NULL;) {
        uint32_t index = node_search(node, key);
        for (uint32_t i = 0; i < index; i++) {
            rank.records += (double)node->records[i];
            rank.bytes += (double)node->bytes[i];
        }
        if (index > 0) {
            fences.has_low = true;
            status = copy_separator(node, index - 1, &fences.low, error);
        }
        if (status == TERN_OK && index + 1 < node->count) {
            fences.has_high = true;
            status = copy_separator(node, index, &fences.high, error);
        }
        if (status != TERN_OK) {
            goto done;
        }
        if (node->level == 1) {
            rank.leaf = leaf_place_of(node, index);
            rank.leaf_records = node->records[index];
            rank.leaf_bytes = node->bytes[index];
            break;
        }
        status = child_of(tree, node, index, &node, error);
        if (status != TERN_OK) {
            goto done;
        }
    }
    place_in_leaf(tree, &rank, &fences, key);
    *out_rank = rank;
done:
    buffer_release(&fences.low);
    buffer_release(&fences.high);
    return status;
}

static double records_left(const struct rank *rank) {
    return rank->records + rank->fraction * (double)rank->leaf_records;
}

static double bytes_left(const struct rank *rank) {
    return rank->bytes + rank->fraction * (double)rank->leaf_bytes;
}

/* Reads the leaf of a guessed rank when it is too large a part of the answer. */
static tern_status sharpen(struct btree *tree, struct rank *rank, tern_slice key, double estimate,
                           tern_error *error) {
    if (rank->is_exact || (double)rank->leaf_records * PART_READ <= estimate) {
        return TERN_OK;
    }
    struct cache_frame *frame = NULL;
    tern_status status = leaf_fetch(tree, &rank->leaf, &frame, error);
    if (status == TERN_OK) {
        place_in_payload(rank, leaf_payload(frame), key);
    }
    return status;
}

static tern_status estimate(struct btree *tree, struct btree_root *root,
                            const struct engine_cursor_bounds *bounds, double *out_count,
                            double *out_bytes, tern_error *error) {
    struct rank begin = {.is_exact = true};
    struct rank end = {
        .records = (double)root->records, .bytes = (double)root->child.bytes, .is_exact = true};
    tern_status status = TERN_OK;
    if (bounds->has_begin) {
        status = find_rank(tree, root, bounds->begin, &begin, error);
    }
    if (status == TERN_OK && bounds->has_end) {
        status = find_rank(tree, root, bounds->end, &end, error);
    }
    double count = records_left(&end) - records_left(&begin);
    if (status == TERN_OK) {
        status = sharpen(tree, &begin, bounds->begin, count, error);
    }
    if (status == TERN_OK) {
        status = sharpen(tree, &end, bounds->end, count, error);
    }
    if (status == TERN_OK) {
        *out_count = records_left(&end) - records_left(&begin);
        *out_bytes = bytes_left(&end) - bytes_left(&begin);
    }
    return status;
}

tern_status btree_estimate(struct btree *tree, struct btree_root *root,
                           const struct engine_cursor_bounds *bounds, uint64_t *out_count,
                           uint64_t *out_bytes, tern_error *error) {
    if (root->height == 0) {
        *out_count = *out_bytes = 0;
        return TERN_OK;
    }
    double count = 0;
    double bytes = 0;
    struct epoch_slot *slot = epoch_enter(tree->environment->epoch);
    tern_status status = estimate(tree, root, bounds, &count, &bytes, error);
    epoch_exit(slot);
    if (status == TERN_OK) {
        *out_count = count > 0 ? (uint64_t)(count + 0.5) : 0;
        *out_bytes = bytes > 0 ? (uint64_t)(bytes + 0.5) : 0;
    }
    return status;
}
