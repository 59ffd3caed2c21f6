/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of a partition. */
#include "base/error.h"
#include "engine/btree/btree_engine_internal.h"

struct numbers {
    tern_stat_visitor visit;
    void *context;
    bool has_stopped;
};

static void tell(struct numbers *numbers, const char *name, const char *unit, const char *text,
                 tern_stat_kind kind, uint64_t value) {
    if (numbers->has_stopped) {
        return;
    }
    const tern_stat stat = {name, unit, text, kind, value};
    numbers->has_stopped = !numbers->visit(numbers->context, &stat);
}

/* Pages below a node, without loading what is not loaded: those count as full. */
static void count_pages(const struct inner_node *node, uint64_t *leaves, uint64_t *inner) {
    *inner += 1;
    if (node->level == 1) {
        *leaves += node->count;
        return;
    }
    for (uint32_t i = 0; i < node->count; i++) {
        const struct inner_node *child =
            atomic_load_explicit(&node->nodes[i], memory_order_acquire);
        if (child != NULL) {
            count_pages(child, leaves, inner);
        }
    }
}

static void tell_tree(struct numbers *numbers, const struct btree_view *view) {
    const struct btree_root *root = view->root;
    uint64_t leaves = root->height == 1 ? 1 : 0;
    uint64_t inner = 0;
    if (root->top != NULL) {
        count_pages(root->top, &leaves, &inner);
    }
    tell(numbers, "base_keys", "count", "keys in the tree", TERN_STAT_GAUGE, root->records);
    tell(numbers, "base_bytes", "bytes", "bytes of leaves and values stored apart", TERN_STAT_GAUGE,
         root->height > 0 ? root->child.bytes : 0);
    tell(numbers, "tree_height", "count", "levels of the tree", TERN_STAT_GAUGE, root->height);
    tell(numbers, "leaf_pages", "count", "leaf pages (below inner pages in memory)",
         TERN_STAT_GAUGE, leaves);
    tell(numbers, "inner_pages", "count", "inner pages in memory", TERN_STAT_GAUGE, inner);
}

static const char *direct_text(const struct btree_file_stats *stats, bool is_buffered) {
    if (stats->is_direct || is_buffered || !stats->exists) {
        return "1 when reads and writes of the file bypass the system's page cache";
    }
    return "direct I/O is unavailable: the file system refuses it, or needs coarser blocks than "
           "the file was made with";
}

static const char *source_text(const struct btree_file_stats *stats, bool is_wanted,
                               bool is_packed) {
    if (is_wanted && is_packed) {
        return "pages come from the cache (1): a mapping is unavailable to keyspaces with "
               "compression";
    }
    if (is_wanted && stats->map_failed) {
        return "pages come from the cache (1): a mapping is unavailable, the file system or a "
               "limit "
               "on addresses (ulimit -v) refuses it";
    }
    return "where leaf pages come from: 1 the cache, 2 a mapping of the file";
}

static void tell_source(struct numbers *numbers, const struct btree *tree,
                        const struct btree_file_stats *stats) {
    bool is_wanted = tree->environment->page_source == TERN_PAGE_SOURCE_MAPPING;
    tell(numbers, "page_source", "code",
         source_text(stats, is_wanted, tree->config.options.compression != TERN_COMPRESSION_NONE),
         TERN_STAT_GAUGE, stats->is_mapped ? TERN_PAGE_SOURCE_MAPPING : TERN_PAGE_SOURCE_CACHE);
    tell(numbers, "mapped_bytes", "bytes", "of the file, that are mapped", TERN_STAT_GAUGE,
         stats->mapped_bytes);
    tell(numbers, "mapped_pages_checked", "count",
         "mapped pages whose checksum was looked at: once each", TERN_STAT_COUNTER,
         stats->mapped_pages_checked);
    tell(numbers, "read_ahead_runs", "count", "times that a cursor read ahead", TERN_STAT_COUNTER,
         stats->ahead_runs);
    tell(numbers, "read_ahead_strided_runs", "count", "of these, in even steps", TERN_STAT_COUNTER,
         stats->ahead_strided_runs);
    tell(numbers, "read_ahead_pages", "count", "pages that were read ahead", TERN_STAT_COUNTER,
         stats->ahead_pages);
}

static void tell_file(struct numbers *numbers, const struct btree *tree) {
    struct btree_file_stats stats;
    btree_file_get_stats(tree->file, &stats);
    uint64_t fragmented = stats.free_bytes - stats.largest_free_bytes;
    tell(numbers, "file_bytes", "bytes", "size of the file", TERN_STAT_GAUGE, stats.file_bytes);
    tell(numbers, "free_bytes", "bytes", "free space in the file", TERN_STAT_GAUGE,
         stats.free_bytes);
    tell(numbers, "free_extents", "count", "intervals of free space", TERN_STAT_GAUGE,
         stats.free_extents);
    tell(numbers, "fragmentation_percent", "percent",
         "share of the file that is free outside of the largest free interval", TERN_STAT_GAUGE,
         stats.file_bytes > 0 ? fragmented * 100 / stats.file_bytes : 0);
    tell(numbers, "pending_bytes", "bytes", "superseded blocks that some view still needs",
         TERN_STAT_GAUGE, stats.pending_bytes);
    tell(numbers, "written_bytes", "bytes", "bytes written to the file", TERN_STAT_COUNTER,
         stats.written_bytes);
    tell(numbers, "read_bytes", "bytes", "bytes read from the file", TERN_STAT_COUNTER,
         stats.read_bytes);
    tell(numbers, "reads", "count", "reads from the file", TERN_STAT_COUNTER, stats.reads);
    tell(numbers, "direct_io", "code", direct_text(&stats, tree->environment->buffered_io),
         TERN_STAT_GAUGE, stats.is_direct ? 1 : 0);
    tell_source(numbers, tree, &stats);
}

tern_status btree_stats(struct engine_view *engine_view, tern_stat_visitor visit, void *context,
                        tern_error *error) {
    (void)error;
    struct btree_view *view = btree_view_of(engine_view);
    struct btree_engine *engine = btree_of(engine_view->engine);
    const struct overlay_stack *stack = &view->stack;
    struct numbers numbers = {visit, context, false};
    uint64_t bytes = overlay_bytes(stack->active->overlay);
    uint64_t keys = overlay_key_count(stack->active->overlay);
    for (uint32_t i = 0; i < stack->frozen_count; i++) {
        bytes += overlay_bytes(stack->frozen[i]->overlay);
        keys += overlay_key_count(stack->frozen[i]->overlay);
    }
    struct epoch_slot *slot = epoch_enter(engine->tree.environment->epoch);
    tell_tree(&numbers, view);
    epoch_exit(slot);
    tell_file(&numbers, &engine->tree);
    tell(&numbers, "overlay_bytes", "bytes", "memory of the overlays", TERN_STAT_GAUGE, bytes);
    tell(&numbers, "overlay_keys", "count", "keys in the overlays", TERN_STAT_GAUGE, keys);
    tell(&numbers, "frozen_overlays", "count", "overlays that wait to be drained", TERN_STAT_GAUGE,
         stack->frozen_count);
    tell(&numbers, "drain_debt_bytes", "bytes", "frozen bytes that no drain has merged yet",
         TERN_STAT_GAUGE, atomic_load_explicit(&engine->drain_debt_bytes, memory_order_relaxed));
    tell(&numbers, "drains", "count", "overlays drained", TERN_STAT_COUNTER,
         atomic_load_explicit(&engine->drains, memory_order_relaxed));
    tell(&numbers, "drain_slices", "count", "roots made by drains", TERN_STAT_COUNTER,
         atomic_load_explicit(&engine->slices, memory_order_relaxed));
    tell(&numbers, "drained_leaves", "count", "leaf pages written by drains and compactions",
         TERN_STAT_COUNTER, atomic_load_explicit(&engine->drained_leaves, memory_order_relaxed));
    tell(&numbers, "compactions", "count", "compaction passes", TERN_STAT_COUNTER,
         atomic_load_explicit(&engine->compactions, memory_order_relaxed));
    return TERN_OK;
}
