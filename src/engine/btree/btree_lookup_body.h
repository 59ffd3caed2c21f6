/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Point reads: from a root down loaded inner nodes to the record in the frame of a leaf. The body
 * of every variant: included by a file that is compiled for one instruction set, which defines
 * LOOKUP_VARIANT, the name of its entry points.
 *
 * What a read waits for is memory, so each step asks for the lines of the next before it uses its
 * own: a node's header, prefix and samples together; then the line of heads and the lines of
 * children that the samples point at; then header, heads and slots of the leaf, before its tag is
 * looked at; then the record. A batch takes one step of GROUP searches at a time, so that their
 * waits overlap.
 */
#ifndef TERN_ENGINE_BTREE_LOOKUP_BODY_H
#define TERN_ENGINE_BTREE_LOOKUP_BODY_H

#include "base/error.h"
#include "engine/btree/btree_lookup.h"
#include "engine/btree/btree_read_internal.h"
#include "engine/resolution.h"

#define GROUP 32u
/* So many missing leaves are worth a queue. */
#define TOGETHER_MIN 2u
_Static_assert(GROUP <= LEAVES_LOAD_MAX, "a group is loaded at once");

/* ---- one key ---- */

/* The leaf that a key belongs in; the root is not empty. */
static tern_status descend(struct btree *tree, struct btree_root *root, tern_slice key,
                           struct leaf_place *out_place, tern_error *error) {
    struct inner_node *node = root->top;
    if (node == NULL) {
        *out_place = leaf_place_of_root(root);
        return TERN_OK;
    }
    for (;;) {
        uint32_t head = 0;
        uint32_t index = 0;
        if (!node_search_begin(node, key, &head, &index)) {
            index = node_search_end(node, key, head, index);
        }
        if (node->level == 1) {
            *out_place = leaf_place_of(node, index);
            return TERN_OK;
        }
        tern_status status = child_of(tree, node, index, &node, error);
        if (status != TERN_OK) {
            return status;
        }
        node_prefetch(node);
    }
}

static tern_status find(struct btree *tree, struct btree_root *root, tern_slice key,
                        struct record *out_record, void **out_frame, tern_error *error) {
    out_record->kind = RECORD_NONE;
    if (root->height == 0) {
        return TERN_OK;
    }
    struct leaf_place place;
    tern_status status = descend(tree, root, key, &place, error);
    if (__builtin_expect(status != TERN_OK, 0)) {
        return status;
    }
    struct cache_frame *frame = NULL;
    status = leaf_fetch(tree, &place, &frame, error);
    if (__builtin_expect(status != TERN_OK, 0)) {
        return status;
    }
    const uint8_t *payload = leaf_payload(frame);
    uint32_t index = 0;
    struct leaf_cell cell;
    if (leaf_find_begin(payload, key, &index) && leaf_find_end(payload, key, index, &cell)) {
        leaf_cell_record(&cell, out_record);
        *out_frame = leaf_to_pin(tree, frame);
    }
    return TERN_OK;
}

static tern_status add_found(const struct btree *tree, struct resolution *resolution,
                             const struct leaf_cell *cell, struct cache_frame *frame,
                             tern_error *error) {
    struct record record;
    leaf_cell_record(cell, &record);
    frame = leaf_to_pin(tree, frame);
    tern_status status = resolution_add(resolution, &record, btree_source_of(frame), frame);
    return status == TERN_OK ? TERN_OK : ERROR_NO_MEMORY(error, "the versions of a key");
}

/* ---- many keys ---- */

/* One search of a group. */
struct search {
    struct btree_lookup_request *request;
    struct inner_node *node;
    struct cache_frame *frame;
    struct leaf_place place;
    uint32_t head;
    uint32_t index; /* a block of heads, a child, or a record: as far as the search has come */
    bool is_decided;
};

/* Takes all searches through the inner levels; those that fail leave with a status. */
static size_t descend_group(struct btree *tree, struct search *searches, size_t count,
                            tern_error *error) {
    for (uint32_t level = searches[0].node->level;; level--) {
        for (size_t i = 0; i < count; i++) {
            struct search *search = &searches[i];
            search->is_decided = node_search_begin(search->node, search->request->key,
                                                   &search->head, &search->index);
        }
        size_t kept = 0;
        for (size_t i = 0; i < count; i++) {
            struct search *search = &searches[i];
            if (!search->is_decided) {
                search->index = node_search_end(search->node, search->request->key, search->head,
                                                search->index);
            }
            if (level == 1) {
                search->place = leaf_place_of(search->node, search->index);
                kept++;
                continue;
            }
            tern_status status = child_of(tree, search->node, search->index, &search->node, error);
            if (status != TERN_OK) {
                search->request->status = status;
                continue;
            }
            node_prefetch(search->node);
            searches[kept++] = *search;
        }
        count = kept;
        if (level == 1 || count == 0) {
            return count;
        }
    }
}

/* Asks for the first lines of mapped leaves, which have no hints. */
static void prefetch_mapped(const struct btree *tree, const struct search *searches, size_t count) {
    const struct btree_map *map = btree_file_map(tree->file);
    for (size_t i = 0; map != NULL && i < count; i++) {
        packed_ref ref = searches[i].place.ref;
        const uint8_t *block = btree_map_block(map, ref_place(ref), ref_units(ref));
        for (unsigned line = 0; block != NULL && line < LEAF_LINES_FIRST; line++) {
            __builtin_prefetch(block + (size_t)64 * line);
        }
    }
}

/* Looks at all frames that hints lead to; those that hold something else are none. Leaves that more
 * than one search misses are read together. */
static void find_frames(struct btree *tree, struct search *searches, size_t count) {
    const struct leaf_place *missing[GROUP];
    const uint8_t *base = cache_base(tree->environment->cache);
    size_t missing_count = 0;
    for (size_t i = 0; i < count; i++) {
        searches[i].frame = leaf_hinted(base, searches[i].place.hint);
    }
    for (size_t i = 0; i < count; i++) {
        struct search *search = &searches[i];
        if (search->frame == NULL ||
            !cache_frame_holds(search->frame, leaf_tag(tree, search->place.ref))) {
            search->frame = NULL;
            missing[missing_count++] = &search->place;
        }
    }
    if (tree->is_mapping) {
        prefetch_mapped(tree, searches, count);
    } else if (missing_count >= TOGETHER_MIN && tree->environment->read_queues != NULL) {
        leaves_load(tree, missing, missing_count);
    }
}

/* Searches whose leaves are known. */
static void search_leaves(struct btree *tree, struct search *searches, size_t count,
                          tern_error *error) {
    find_frames(tree, searches, count);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct search *search = &searches[i];
        struct btree_lookup_request *request = search->request;
        if (search->frame == NULL) {
            request->status = leaf_fetch(tree, &search->place, &search->frame, error);
            if (request->status != TERN_OK) {
                continue;
            }
        }
        if (leaf_find_begin(leaf_payload(search->frame), request->key, &search->index)) {
            searches[kept++] = *search;
        }
    }
    for (size_t i = 0; i < kept; i++) {
        struct search *search = &searches[i];
        struct leaf_cell cell;
        if (leaf_find_end(leaf_payload(search->frame), search->request->key, search->index,
                          &cell)) {
            search->request->status =
                add_found(tree, search->request->resolution, &cell, search->frame, error);
        }
    }
}

static tern_status find_many(struct btree *tree, struct btree_root *root,
                             struct btree_lookup_request *requests, size_t count,
                             tern_error *error) {
    struct search searches[GROUP];
    size_t next = 0;
    while (next < count) {
        size_t size = 0;
        for (; next < count && size < GROUP; next++) {
            requests[next].status = TERN_OK;
            if (requests[next].skip || root->height == 0) {
                continue;
            }
            searches[size].request = &requests[next];
            searches[size].node = root->top;
            if (root->top == NULL) {
                searches[size].place = leaf_place_of_root(root);
            }
            size++;
        }
        if (size > 0 && root->top != NULL) {
            size = descend_group(tree, searches, size, error);
        }
        if (size > 0) {
            search_leaves(tree, searches, size, error);
        }
    }
    return TERN_OK;
}

const struct btree_lookup LOOKUP_VARIANT = {.find = find, .find_many = find_many};

#endif
