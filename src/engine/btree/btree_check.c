/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verifying a root: every page is read from disk, past the cache and past loaded nodes, and checked
 * on its own (checksum, order, sizes), against its parent (fences, counts, bytes, flags), and as a
 * place in the file (within it, overlapping no other block, not free).
 *
 * Invariants by name (docs/format/btree.md), besides those of leaf_check and node_decode:
 *   block.checksum   a block can be read and is what its parent says
 *   tree.fences      keys of a child lie between its separators
 *   tree.records     a parent's count of records is what lies below
 *   tree.bytes       a parent's count of bytes is what lies below
 *   tree.large       references above values stored apart are flagged
 *   value.pieces     a value stored apart can be read whole
 *   space.overlap    no two blocks share a unit          space.end   blocks lie within the file
 *   space.free       no unit in use is free
 *
 * A damaged page costs its subtree: what lies below cannot be known, the walk goes on beside it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/error.h"
#include "engine/btree/btree_file_internal.h"
#include "engine/btree/btree_read_internal.h"
#include "engine/btree/btree_value.h"

/* A piece at a time. */
#define VALUE_READ_BYTES ((size_t)VALUE_PIECE_BYTES)
#define PROGRESS_PAGES   64u

struct used_extent {
    uint64_t place, units;
};

struct check {
    struct btree *tree;
    struct btree_root *root;
    const char *file_name;
    tern_finding_function on_finding;
    void *context;
    tern_progress_function progress;
    void *progress_context;
    tern_verify_report *report;
    uint8_t *page;  /* of a leaf */
    uint8_t *value; /* VALUE_READ_BYTES, at the first value stored apart */
    struct used_extent *extents;
    size_t extent_count, extent_capacity;
    uint64_t records_done;
    uint64_t pages_done;
    bool is_stopped; /* by the finding function */
};

/* What a subtree really holds. */
struct totals {
    uint64_t records, bytes;
    bool is_known; /* false when a part could not be read */
    bool has_large;
};

struct bounds {
    tern_slice low, high;
    bool has_low, has_high;
};

/* ---- telling ---- */

static void find(struct check *check, uint64_t place, const char *invariant, const char *message) {
    if (check->is_stopped) {
        return;
    }
    check->report->findings++;
    const tern_finding finding = {
        .file = check->file_name,
        .offset = (int64_t)(place * UNIT_BYTES),
        .invariant = invariant,
        .message = message,
    };
    check->is_stopped = check->on_finding != NULL && !check->on_finding(check->context, &finding);
}

static tern_status tell_progress(struct check *check, uint64_t records) {
    check->records_done += records;
    if (check->progress == NULL || ++check->pages_done % PROGRESS_PAGES != 0) {
        return TERN_OK;
    }
    return check->progress(check->progress_context, "btree", check->records_done,
                           check->root->records)
               ? TERN_OK
               : TERN_CANCELLED;
}

/* Damage is a finding; everything else ends the check. */
static tern_status damage(struct check *check, tern_status status, uint64_t place,
                          const char *invariant, const tern_error *detail, tern_error *error) {
    if (status == TERN_CORRUPTION) {
        find(check, place, invariant, detail->message);
        return TERN_OK;
    }
    error_copy(error, detail);
    return status;
}

/* ---- space ---- */

static tern_status note_extent(void *context, uint64_t place, uint64_t units) {
    struct check *check = context;
    if (check->extent_count == check->extent_capacity) {
        size_t capacity = check->extent_capacity == 0 ? 1024 : 2 * check->extent_capacity;
        struct used_extent *extents = memory_resize(check->tree->environment->allocator,
                                                    check->extents, capacity * sizeof(*extents));
        if (extents == NULL) {
            return TERN_NO_MEMORY;
        }
        check->extents = extents;
        check->extent_capacity = capacity;
    }
    check->extents[check->extent_count++] = (struct used_extent){place, units};
    return TERN_OK;
}

static int compare_extents(const void *left, const void *right) {
    const struct used_extent *a = left;
    const struct used_extent *b = right;
    return (a->place > b->place) - (a->place < b->place);
}

/* First extent that ends behind `place`. */
static size_t first_behind(const struct check *check, uint64_t place) {
    size_t low = 0;
    size_t high = check->extent_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (check->extents[middle].place + check->extents[middle].units <= place) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool check_free(void *context, uint64_t place, uint64_t units) {
    struct check *check = context;
    size_t index = first_behind(check, place);
    if (index < check->extent_count && check->extents[index].place < place + units) {
        find(check, check->extents[index].place, "space.free",
             "a block in use lies in space that counts as free");
    }
    return !check->is_stopped;
}

static void check_space(struct check *check) {
    if (check->extent_count > 0) {
        qsort(check->extents, check->extent_count, sizeof(*check->extents), compare_extents);
    }
    uint64_t file_end = btree_file_end(check->tree->file);
    for (size_t i = 0; i < check->extent_count && !check->is_stopped; i++) {
        const struct used_extent *extent = &check->extents[i];
        if (extent->place < FILE_HEADER_UNITS || extent->place + extent->units > file_end) {
            find(check, extent->place, "space.end", "a block lies outside of the file's blocks");
        }
        if (i > 0 && check->extents[i - 1].place + check->extents[i - 1].units > extent->place) {
            find(check, extent->place, "space.overlap", "two blocks overlap");
        }
    }
    if (!check->is_stopped) {
        btree_file_visit_free(check->tree->file, check_free, check);
    }
}

/* ---- values stored apart ---- */

static tern_status check_value(struct check *check, const struct leaf_cell *cell, uint64_t place,
                               tern_error *error) {
    struct btree *tree = check->tree;
    tern_slice reference = tern_slice_of(cell->value, cell->value_size);
    tern_error detail = TERN_ERROR_INIT;
    tern_status status = btree_value_extents(tree, reference, note_extent, check, &detail);
    if (status != TERN_OK) {
        return damage(check, status, place, "value.pieces", &detail, error);
    }
    if (check->value == NULL) {
        check->value = memory_allocate(tree->environment->allocator, VALUE_READ_BYTES);
        if (check->value == NULL) {
            return ERROR_NO_MEMORY(error, "verifying values");
        }
    }
    for (uint64_t done = 0; done < cell->large_size;) {
        size_t size = 0;
        status =
            btree_value_read(tree, reference, done, check->value, VALUE_READ_BYTES, &size, &detail);
        if (status != TERN_OK) {
            return damage(check, status, place, "value.pieces", &detail, error);
        }
        if (size == 0) {
            find(check, place, "value.pieces", "a value stored apart ends before its size");
            return TERN_OK;
        }
        done += size;
        check->report->bytes += size;
    }
    return TERN_OK;
}

/* ---- pages ---- */

static tern_slice whole_key(const uint8_t *payload, uint32_t index, uint8_t *memory) {
    return tern_slice_of(memory, leaf_key_copy(payload, index, memory));
}

static void check_leaf_fences(struct check *check, const uint8_t *payload, uint64_t place,
                              const struct bounds *bounds, uint8_t *memory) {
    tern_slice first = whole_key(payload, 0, memory);
    if (bounds->has_low && slice_compare(first, bounds->low) < 0) {
        find(check, place, "tree.fences", "a leaf's first key lies below its fence");
    }
    tern_slice last = whole_key(payload, leaf_count(payload) - 1, memory);
    if (bounds->has_high && slice_compare(last, bounds->high) >= 0) {
        find(check, place, "tree.fences", "a leaf's last key lies at or above its fence");
    }
}

static tern_status check_leaf(struct check *check, const struct child_ref *child,
                              const struct bounds *bounds, struct totals *out_totals,
                              tern_error *error) {
    struct btree *tree = check->tree;
    uint64_t place = ref_place(child->ref);
    size_t page_bytes = tree->config.options.page_bytes;
    size_t size = 0;
    tern_error detail = TERN_ERROR_INIT;
    tern_status status = btree_file_read_block(tree->file, child->ref, child->checksum, check->page,
                                               page_bytes - BLOCK_HEADER_BYTES, &size, &detail);
    if (status != TERN_OK) {
        return damage(check, status, place, "block.checksum", &detail, error);
    }
    const char *broken = leaf_check(check->page, size);
    if (broken != NULL) {
        find(check, place, broken, "a leaf page is not sound");
        return TERN_OK;
    }
    /* Behind the page there is room for a key put together. */
    check_leaf_fences(check, check->page, place, bounds, check->page + page_bytes);
    uint32_t count = leaf_count(check->page);
    struct totals totals = {.records = count, .is_known = true};
    totals.bytes = (uint64_t)ref_units(child->ref) * UNIT_BYTES;
    const uint8_t *position = leaf_record_start(check->page, 0);
    for (uint32_t i = 0; i < count && status == TERN_OK && !check->is_stopped; i++) {
        struct leaf_cell cell;
        position = leaf_cell_parse(position, &cell);
        if ((cell.flags & RECORD_FLAG_LARGE) != 0) {
            totals.has_large = true;
            totals.bytes += cell.large_size;
            status = check_value(check, &cell, place, error);
        }
    }
    check->report->records += count;
    if (status == TERN_OK) {
        status = tell_progress(check, count);
        *out_totals = totals;
    }
    return status;
}

static tern_status check_child(struct check *check, const struct child_ref *child, uint16_t level,
                               const struct bounds *bounds, struct totals *out_totals,
                               tern_error *error);

/* Bounds of child i; fences are copied to `memory`, which has room for two separators. */
static struct bounds child_bounds(const struct inner_node *node, uint32_t index,
                                  const struct bounds *outer, uint8_t *memory) {
    struct bounds bounds = *outer;
    if (index > 0) {
        size_t size = node_separator(node, index - 1, memory);
        bounds.low = tern_slice_of(memory, size);
        bounds.has_low = true;
        memory += size;
    }
    if (index + 1 < node->count) {
        bounds.high = tern_slice_of(memory, node_separator(node, index, memory));
        bounds.has_high = true;
    }
    return bounds;
}

static void check_separators(struct check *check, const struct inner_node *node, uint64_t place,
                             const struct bounds *bounds, uint8_t *memory) {
    if (node->count < 2) {
        return;
    }
    tern_slice first = tern_slice_of(memory, node_separator(node, 0, memory));
    if (bounds->has_low && slice_compare(first, bounds->low) <= 0) {
        find(check, place, "tree.fences", "an inner page's separator lies below its fence");
    }
    tern_slice last = tern_slice_of(memory, node_separator(node, node->count - 2, memory));
    if (bounds->has_high && slice_compare(last, bounds->high) >= 0) {
        find(check, place, "tree.fences", "an inner page's separator lies above its fence");
    }
}

static tern_status check_children(struct check *check, const struct inner_node *node,
                                  uint64_t place, const struct bounds *bounds,
                                  struct totals *out_totals, tern_error *error) {
    size_t longest = 0;
    for (uint32_t i = 0; i + 1 < node->count; i++) {
        size_t size = node_separator_size(node, i);
        longest = size > longest ? size : longest;
    }
    const tern_allocator *allocator = check->tree->environment->allocator;
    uint8_t *memory = memory_allocate(allocator, 2 * longest + 1);
    if (memory == NULL) {
        return ERROR_NO_MEMORY(error, "verifying");
    }
    check_separators(check, node, place, bounds, memory);
    struct totals totals = {.is_known = true};
    tern_status status = TERN_OK;
    for (uint32_t i = 0; i < node->count && status == TERN_OK && !check->is_stopped; i++) {
        const struct child_ref child = {node->refs[i], node->checksums[i], node->records[i],
                                        node->bytes[i]};
        struct bounds inner = child_bounds(node, i, bounds, memory);
        struct totals below = {.is_known = false};
        status = check_child(check, &child, (uint16_t)(node->level - 1), &inner, &below, error);
        totals.records += below.records;
        totals.bytes += below.bytes;
        totals.has_large = totals.has_large || below.has_large;
        totals.is_known = totals.is_known && below.is_known;
    }
    memory_release(allocator, memory);
    *out_totals = totals;
    return status;
}

static tern_status check_inner(struct check *check, const struct child_ref *child, uint16_t level,
                               const struct bounds *bounds, struct totals *out_totals,
                               tern_error *error) {
    struct btree *tree = check->tree;
    const tern_allocator *allocator = tree->environment->allocator;
    uint64_t place = ref_place(child->ref);
    uint8_t *payload = memory_allocate(allocator, INNER_PAYLOAD_BYTES_MAX);
    if (payload == NULL) {
        return ERROR_NO_MEMORY(error, "verifying");
    }
    size_t size = 0;
    struct inner_node *node = NULL;
    const char *broken = "block.checksum";
    tern_error detail = TERN_ERROR_INIT;
    tern_status status = btree_file_read_block(tree->file, child->ref, child->checksum, payload,
                                               INNER_PAYLOAD_BYTES_MAX, &size, &detail);
    if (status == TERN_OK) {
        status = node_decode_named(allocator, tree->environment->budget, payload, size, level,
                                   &broken, &node, &detail);
        if (status == TERN_CORRUPTION) {
            (void)ERROR_SET(&detail, status, "an inner page is not sound");
        }
    }
    memory_release(allocator, payload);
    if (status != TERN_OK) {
        return damage(check, status, place, broken, &detail, error);
    }
    status = check_children(check, node, place, bounds, out_totals, error);
    node_release(allocator, tree->environment->budget, node);
    return status;
}

/* A page against what its parent says of it. */
static tern_status check_child(struct check *check, const struct child_ref *child, uint16_t level,
                               const struct bounds *bounds, struct totals *out_totals,
                               tern_error *error) {
    uint64_t place = ref_place(child->ref);
    if (note_extent(check, place, ref_units(child->ref)) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "verifying");
    }
    check->report->pages++;
    check->report->bytes += (uint64_t)ref_units(child->ref) * UNIT_BYTES;
    struct totals totals = {.is_known = false};
    tern_status status = level == 0 ? check_leaf(check, child, bounds, &totals, error)
                                    : check_inner(check, child, level, bounds, &totals, error);
    if (status != TERN_OK || check->is_stopped) {
        return status;
    }
    if (totals.is_known && totals.records != child->records) {
        find(check, place, "tree.records", "a parent counts other records than lie below");
    }
    if (totals.is_known && totals.bytes != child->bytes) {
        find(check, place, "tree.bytes", "a parent counts other bytes than lie below");
    }
    if (totals.has_large && (ref_flags(child->ref) & REF_HAS_LARGE) == 0) {
        find(check, place, "tree.large", "values stored apart lie below an unflagged reference");
    }
    *out_totals = totals;
    return TERN_OK;
}

static const char *name_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

tern_status btree_check(struct btree *tree, struct btree_root *root,
                        tern_finding_function on_finding, void *context,
                        tern_progress_function progress, void *progress_context,
                        tern_verify_report *report, tern_error *error) {
    if (root->height == 0) {
        return TERN_OK;
    }
    const tern_allocator *allocator = tree->environment->allocator;
    struct check check = {
        .tree = tree,
        .root = root,
        .file_name = name_of(btree_file_path(tree->file)),
        .on_finding = on_finding,
        .context = context,
        .progress = progress,
        .progress_context = progress_context,
        .report = report,
    };
    /* A page, and behind it the longest key that a page can give. */
    check.page = memory_allocate(allocator, 2 * (size_t)tree->config.options.page_bytes);
    if (check.page == NULL) {
        return ERROR_NO_MEMORY(error, "verifying");
    }
    report->files++;
    const struct bounds everywhere = {.has_low = false, .has_high = false};
    struct child_ref child = root->child;
    child.records = root->records;
    struct totals totals = {.is_known = false};
    tern_status status =
        check_child(&check, &child, (uint16_t)(root->height - 1), &everywhere, &totals, error);
    if (status == TERN_OK && !check.is_stopped) {
        check_space(&check);
    }
    memory_release(allocator, check.extents);
    memory_release(allocator, check.value);
    memory_release(allocator, check.page);
    return status;
}
