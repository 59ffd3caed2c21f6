/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Getting out of a damaged file what can be read.
 *
 * With a state the tree is walked; a page that cannot be read is reported, and the keys between its
 * fences count as lost. Then, or when there is no usable root, the file is scanned for leaf pages:
 * no parent vouches for them, so a leaf is believed when its block and all its invariants are in
 * order. After a walk only keys in lost ranges are taken from the scan; they may be from an older
 * version of the page, which its generation tells. A page that the walk found damaged is never one
 * of them, however whole it looks: damage in a value breaks no invariant of a page.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/bytes.h"
#include "base/compare.h"
#include "base/error.h"
#include "base/slice_text.h"
#include "base/varint.h"
#include "engine/btree/btree_engine_internal.h"
#include "engine/btree/btree_lookup.h"
#include "engine/btree/leaf_access.h"
#include "os/file.h"
#include "simd/hash.h"

/* Keys that could not be read where the tree has them. */
struct lost_range {
    struct lost_range *next;
    tern_slice begin; /* behind this struct */
    tern_slice end;
    bool has_end;
    uint64_t place; /* of the page that its parent's checksum disowns */
};

struct salvage {
    struct btree *tree;
    tern_status (*visit)(void *context, tern_slice key, const struct record *record,
                         uint64_t generation);
    void *visit_context;
    tern_finding_function on_finding;
    void *finding_context;
    bool has_stopped; /* on_finding said so: no more findings */
    uint64_t lost_pages;
    struct lost_range *lost;
    uint8_t *page;
    struct buffer key;
    tern_error *error;
};

static void report(struct salvage *salvage, uint64_t place, const char *invariant,
                   const char *message) {
    if (salvage->on_finding == NULL || salvage->has_stopped) {
        return;
    }
    char name[BTREE_FILE_NAME_BYTES];
    btree_file_name(salvage->tree->config.id, name);
    const tern_finding finding = {name, (int64_t)(place * UNIT_BYTES), invariant, message};
    salvage->has_stopped = !salvage->on_finding(salvage->finding_context, &finding);
}

static tern_status note_lost(struct salvage *salvage, uint64_t place, tern_slice begin,
                             tern_slice end, bool has_end) {
    struct lost_range *range = memory_allocate(salvage->tree->environment->allocator,
                                               sizeof(*range) + begin.size + end.size);
    if (range == NULL) {
        return ERROR_NO_MEMORY(salvage->error, "salvaging");
    }
    uint8_t *bytes = (uint8_t *)(range + 1);
    if (begin.size > 0) {
        memcpy(bytes, begin.data, begin.size);
    }
    if (end.size > 0) {
        memcpy(bytes + begin.size, end.data, end.size);
    }
    range->begin = tern_slice_of(bytes, begin.size);
    range->end = tern_slice_of(bytes + begin.size, end.size);
    range->has_end = has_end;
    range->place = place;
    range->next = salvage->lost;
    salvage->lost = range;
    salvage->lost_pages++;
    return TERN_OK;
}

/* Hands out the records of an accepted leaf; with `only_lost` those whose keys are lost. */
static tern_status visit_leaf(struct salvage *salvage, const uint8_t *payload, bool only_lost) {
    uint64_t generation = get_u64(payload + 8);
    tern_status status = TERN_OK;
    for (uint32_t i = 0; status == TERN_OK && i < leaf_count(payload); i++) {
        struct record record;
        size_t size = leaf_prefix_size(payload) + leaf_key_suffix(payload, i).size;
        salvage->key.size = 0;
        if (buffer_reserve(&salvage->key, size) != TERN_OK) {
            return ERROR_NO_MEMORY(salvage->error, "salvaging");
        }
        tern_slice key =
            tern_slice_of(salvage->key.data, leaf_key_copy(payload, i, salvage->key.data));
        bool is_wanted = !only_lost;
        for (const struct lost_range *range = salvage->lost; !is_wanted && range != NULL;
             range = range->next) {
            is_wanted = slice_compare(key, range->begin) >= 0 &&
                        (!range->has_end || slice_compare(key, range->end) < 0);
        }
        if (is_wanted) {
            leaf_record(payload, i, &record);
            status = salvage->visit(salvage->visit_context, key, &record, generation);
        }
    }
    return status;
}

/* ---- the walk ---- */

struct key_bounds {
    tern_slice begin;
    tern_slice end;
    bool has_end;
};

/* Failures that concern one page only. */
static bool is_damage(tern_status status) {
    return status == TERN_CORRUPTION || status == TERN_IO || status == TERN_VERSION;
}

static tern_status lose(struct salvage *salvage, const struct child_ref *child,
                        const struct key_bounds *bounds, const char *invariant,
                        const tern_error *detail) {
    char begin[SLICE_TEXT_BYTES];
    char end[SLICE_TEXT_BYTES] = "the end";
    char message[TERN_ERROR_MESSAGE_BYTES + 2 * SLICE_TEXT_BYTES + 96];
    if (bounds->has_end) {
        (void)slice_text(bounds->end, end);
    }
    (void)snprintf(message, sizeof(message),
                   "%s; of its %" PRIu64 " records, from %s to before %s, only what older pages "
                   "have is left",
                   detail->message, child->records,
                   bounds->begin.size > 0 ? slice_text(bounds->begin, begin) : "the first", end);
    report(salvage, ref_place(child->ref), invariant, message);
    return note_lost(salvage, ref_place(child->ref), bounds->begin, bounds->end, bounds->has_end);
}

static tern_status walk_leaf(struct salvage *salvage, const struct child_ref *child,
                             const struct key_bounds *bounds) {
    tern_error detail = TERN_ERROR_INIT;
    size_t size = 0;
    tern_status status =
        btree_file_read_block(salvage->tree->file, child->ref, child->checksum, salvage->page,
                              salvage->tree->config.options.page_bytes, &size, &detail);
    const char *broken = status == TERN_OK ? leaf_check(salvage->page, size) : NULL;
    if (broken != NULL) {
        status = ERROR_SET(&detail, TERN_CORRUPTION, "leaf page breaks invariant %s", broken);
    }
    if (is_damage(status)) {
        return lose(salvage, child, bounds, broken != NULL ? broken : "block.checksum", &detail);
    }
    if (status != TERN_OK) {
        error_copy(salvage->error, &detail);
        return status;
    }
    return visit_leaf(salvage, salvage->page, false);
}

static tern_status walk_subtree(struct salvage *salvage, const struct child_ref *child,
                                uint32_t level, const struct key_bounds *bounds);

static tern_status walk_children(struct salvage *salvage, const struct inner_node *node,
                                 const struct key_bounds *bounds) {
    struct buffer fences;
    tern_status status = TERN_OK;
    buffer_init(&fences, salvage->tree->environment->allocator);
    for (uint32_t i = 0; status == TERN_OK && i < node->count; i++) {
        struct key_bounds inner = *bounds;
        size_t low = i > 0 ? node_separator_size(node, i - 1) : 0;
        size_t high = i + 1 < node->count ? node_separator_size(node, i) : 0;
        fences.size = 0;
        if (buffer_reserve(&fences, low + high + 1) != TERN_OK) {
            status = ERROR_NO_MEMORY(salvage->error, "salvaging");
            break;
        }
        if (i > 0) {
            (void)node_separator(node, i - 1, fences.data);
            inner.begin = tern_slice_of(fences.data, low);
        }
        if (i + 1 < node->count) {
            (void)node_separator(node, i, fences.data + low);
            inner.end = tern_slice_of(fences.data + low, high);
            inner.has_end = true;
        }
        const struct child_ref child = {node->refs[i], node->checksums[i], node->records[i],
                                        node->bytes[i]};
        status = walk_subtree(salvage, &child, node->level - 1u, &inner);
    }
    buffer_release(&fences);
    return status;
}

/* As deep as the state says, at most INNER_LEVELS_MAX. */
static tern_status walk_subtree(struct salvage *salvage, const struct child_ref *child,
                                uint32_t level, const struct key_bounds *bounds) {
    if (level == 0) {
        return walk_leaf(salvage, child, bounds);
    }
    struct inner_node *node = NULL;
    tern_error detail = TERN_ERROR_INIT;
    tern_status status = tree_load_node(salvage->tree, child, (uint16_t)level, &node, &detail);
    if (is_damage(status)) {
        return lose(salvage, child, bounds, "inner.page", &detail);
    }
    if (status != TERN_OK) {
        error_copy(salvage->error, &detail);
        return status;
    }
    status = walk_children(salvage, node, bounds);
    node_release(salvage->tree->environment->allocator, salvage->tree->environment->budget, node);
    return status;
}

/* ---- the scan ---- */

/* Units of the leaf block at `bytes`, whose payload is then in salvage->page; 0: it is none. */
static uint64_t recognise_leaf(struct salvage *salvage, const uint8_t *bytes, uint64_t place,
                               size_t available) {
    uint64_t stored = BLOCK_HEADER_BYTES + (uint64_t)get_u32(bytes + 8);
    uint32_t page_bytes = salvage->tree->config.options.page_bytes;
    size_t size = 0;
    if (bytes[0] != 1 || stored > available || stored <= BLOCK_HEADER_BYTES ||
        get_u32(bytes + 4) > page_bytes) {
        return 0;
    }
    uint64_t units = (stored + UNIT_BYTES - 1) / UNIT_BYTES;
    uint64_t checksum = hash_u64(bytes, (size_t)stored, 0);
    if (btree_file_decode(salvage->tree->file, bytes, place, units, checksum, salvage->page,
                          page_bytes, NULL, &size, NULL) != TERN_OK ||
        leaf_check(salvage->page, size) != NULL) {
        return 0;
    }
    return units;
}

static bool is_disowned(const struct salvage *salvage, uint64_t place) {
    const struct lost_range *range = salvage->lost;
    while (range != NULL && range->place != place) {
        range = range->next;
    }
    return range != NULL;
}

static tern_status scan_file(struct salvage *salvage, bool only_lost) {
    struct btree *tree = salvage->tree;
    const tern_allocator *allocator = tree->environment->allocator;
    uint64_t page_units = tree->config.options.page_bytes / UNIT_BYTES;
    uint64_t end = btree_file_end(tree->file);
    uint64_t found = 0;
    uint8_t *bytes = memory_allocate_aligned(allocator, BTREE_FILE_MEMORY_ALIGNMENT,
                                             (size_t)(page_units + FILE_HEADER_UNITS) * UNIT_BYTES);
    if (bytes == NULL) {
        return ERROR_NO_MEMORY(salvage->error, "salvaging");
    }
    tern_status status = TERN_OK;
    uint64_t granule = btree_file_known_granule(tree->file);
    for (uint64_t place = FILE_HEADER_UNITS; status == TERN_OK && place < end;) {
        uint64_t units = end - place < page_units ? end - place : page_units;
        uint64_t skipped = granule;
        if (!is_disowned(salvage, place) &&
            btree_file_read_units(tree->file, place, units, bytes, NULL) == TERN_OK) {
            uint64_t leaf = recognise_leaf(salvage, bytes, place, (size_t)units * UNIT_BYTES);
            if (leaf > 0) {
                status = visit_leaf(salvage, salvage->page, only_lost);
                skipped = round_up_u64(leaf, granule);
                found++;
            }
        }
        place += skipped;
    }
    memory_release_aligned(allocator, bytes);
    if (status == TERN_OK && found > 0) {
        char message[96];
        (void)snprintf(message, sizeof(message),
                       "%llu leaf pages were found without their parents' word",
                       (unsigned long long)found);
        report(salvage, 0, "tree.scan", message);
    }
    return status;
}

/* ---- the whole ---- */

/* Walks the tree of the state; *out_has_root false: there is no usable state. */
static tern_status walk_state(struct salvage *salvage, tern_slice bytes, bool *out_has_root) {
    const tern_allocator *allocator = salvage->tree->environment->allocator;
    struct btree_state state = {0};
    tern_error detail = TERN_ERROR_INIT;
    *out_has_root = false;
    if (bytes.size == 0) {
        return TERN_OK;
    }
    tern_status status = btree_state_decode(allocator, bytes, &state, &detail);
    if (status == TERN_NO_MEMORY) {
        error_copy(salvage->error, &detail);
        return status;
    }
    if (status != TERN_OK) {
        report(salvage, 0, "tree.state", detail.message);
        salvage->lost_pages++;
        return TERN_OK;
    }
    drained_map_release(state.map);
    *out_has_root = true;
    if (state.height == 0) {
        return TERN_OK;
    }
    const struct key_bounds everything = {{NULL, 0}, {NULL, 0}, false};
    return walk_subtree(salvage, &state.child, state.height - 1, &everything);
}

tern_status btree_salvage(const struct engine_environment *environment,
                          const struct engine_config *config, tern_slice state,
                          tern_status (*visit)(void *context, tern_slice key,
                                               const struct record *record, uint64_t generation),
                          void *visit_context, tern_finding_function on_finding,
                          void *finding_context, uint64_t *out_lost_pages, tern_error *error) {
    const tern_allocator *allocator = environment->allocator;
    struct btree tree = {.environment = environment, .config = btree_config_of(config)};
    struct salvage salvage = {
        .tree = &tree,
        .visit = visit,
        .visit_context = visit_context,
        .on_finding = on_finding,
        .finding_context = finding_context,
        .error = error,
    };
    buffer_init(&salvage.key, allocator);
    tern_status status = btree_file_open(environment, &tree.config, &tree.file, error);
    if (status != TERN_OK) {
        return status;
    }
    tree.space = btree_file_space(tree.file);
    tree.lookup = btree_lookup_best();
    salvage.page = memory_allocate(allocator, tree.config.options.page_bytes);
    bool has_root = false;
    if (salvage.page == NULL) {
        status = ERROR_NO_MEMORY(error, "salvaging");
    } else {
        status = walk_state(&salvage, state, &has_root);
    }
    if (status == TERN_OK && btree_file_exists(tree.file) && (!has_root || salvage.lost != NULL)) {
        status = scan_file(&salvage, has_root);
    }
    while (salvage.lost != NULL) {
        struct lost_range *range = salvage.lost;
        salvage.lost = range->next;
        memory_release(allocator, range);
    }
    memory_release(allocator, salvage.page);
    buffer_release(&salvage.key);
    btree_file_close(tree.file);
    if (status == TERN_OK) {
        *out_lost_pages = salvage.lost_pages;
    }
    return status;
}
