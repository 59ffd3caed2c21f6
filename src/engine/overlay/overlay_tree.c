/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The B+tree of an overlay.
 *
 *   inner   heads ... | separators ... | children     separator i = lowest key below children[i +
 * 1] leaf    heads ... | entries ...
 *
 * Keys are only ever added, nodes only ever split to the right, and nothing is freed before the
 * overlay is; so a reader may follow any pointer that it loaded, and has only to make sure that
 * what it loaded belonged together.
 *
 * Readers: load a node's version (even, else it is being written), read, load the version again;
 * on a difference they start over from the root. The version of a child is loaded before that of
 * its parent is checked, so the child was responsible for the key when its version was taken
 * (optimistic lock coupling, Leis, Haubenschild, Neumann 2019; with one writer there are no locks
 * to couple). All loads of what may be written meanwhile are acquire loads, which keeps them in
 * front of the second load of the version without a fence.
 *
 * The applier makes versions odd, changes with release stores, and makes them even again. When a
 * leaf is split, its ancestors that change stay odd until the last of them is done.
 *
 * Invariants (overlay_check names them)
 *  1. Keys ascend strictly within nodes and over all leaves; a separator is the lowest key of the
 *     subtree to its right and above all keys to its left.
 *  2. All keys of a node share its prefix, and heads are what follows it.
 *  3. All leaves are at level 0, and none is empty but the first root.
 *  4. newest_seq of a leaf is not below the newest version in it.
 */
#include "engine/overlay/overlay_internal.h"
#include "os/mutex.h"
#include "simd/compare.h"

/* After a split the prefix is grown when the heads of a node share at least so many bytes. */
#define PREFIX_REGROW_BYTES 3u

struct child_step {
    struct overlay_node *node;
    uint32_t child; /* index of the child taken */
};

/* ---- reading a node ---- */

static uint64_t node_begin(const struct overlay_node *node) {
    uint64_t version = atomic_load_explicit(&node->version, memory_order_acquire);
    while ((version & 1) != 0) {
        spin_pause();
        version = atomic_load_explicit(&node->version, memory_order_acquire);
    }
    return version;
}

static bool node_is_unchanged(const struct overlay_node *node, uint64_t version) {
    return atomic_load_explicit(&node->version, memory_order_acquire) == version;
}

static uint32_t node_count(const struct overlay_node *node) {
    uint32_t count = atomic_load_explicit(&node->count, memory_order_acquire);
    return count <= NODE_SLOTS ? count : NODE_SLOTS;
}

static struct overlay_entry *node_key(const struct overlay_node *node, uint32_t slot) {
    return atomic_load_explicit(&node_keys(node)[slot], memory_order_acquire);
}

static struct overlay_node *node_child(const struct overlay_node *node, uint32_t slot) {
    const struct overlay_inner_node *inner = (const struct overlay_inner_node *)node;
    return atomic_load_explicit(&inner->children[slot], memory_order_acquire);
}

static uint64_t node_head(tern_slice key, uint32_t prefix_size) {
    return prefix_size < key.size
               ? key_head_u64((const uint8_t *)key.data + prefix_size, key.size - prefix_size)
               : 0;
}

/*
 * Order of a key against all keys with the node's prefix: below, above, or 0 when it has it too.
 * Called for nodes with keys. What is read while the applier writes may be nonsense, but is memory
 * of the overlay; the caller validates.
 */
static int node_prefix_order(const struct overlay_node *node, uint32_t prefix_size,
                             tern_slice key) {
    size_t shorter = key.size < prefix_size ? key.size : prefix_size;
    uint64_t words[NODE_PREFIX_WORDS];
    const uint8_t *prefix = (const uint8_t *)words;
    if (prefix_size <= sizeof(words)) {
        for (uint32_t i = 0; i * 8 < prefix_size; i++) {
            words[i] = atomic_load_explicit(&node->prefix[i], memory_order_acquire);
        }
    } else {
        const struct overlay_entry *first = node_key(node, 0);
        if (first == NULL || first->key_size < prefix_size) {
            return 0;
        }
        prefix = first->key;
    }
    int order = compare_small(key.data, prefix, shorter);
    if (order == 0 && key.size < prefix_size) {
        return -1;
    }
    return order;
}

/* Number of heads below `head`, or not above it, among the first `count`; branch-free. */
static inline uint32_t count_heads(const struct overlay_node *node, uint32_t count, uint64_t head) {
    uint32_t base = 0;
    while (count > 1) {
        uint32_t half = count / 2;
        base +=
            atomic_load_explicit(&node_heads(node)[base + half - 1], memory_order_acquire) < head
                ? half
                : 0;
        count -= half;
    }
    return base + (count == 1 &&
                   atomic_load_explicit(&node_heads(node)[base], memory_order_acquire) < head);
}

/* Order of a key of the node against `key`; 1 (any) when the slot is being written. */
static int compare_slot(const struct overlay_node *node, uint32_t slot, tern_slice key) {
    const struct overlay_entry *entry = node_key(node, slot);
    return entry != NULL ? slice_compare(entry_key(entry), key) : 1;
}

/*
 * Lower bound of the key among the node's keys; with `after` the number of keys <= key. The result
 * is within 0..count whatever is written meanwhile. out_equal (may be NULL): key is at the lower
 * bound.
 */
static uint32_t node_search(const struct overlay_node *node, tern_slice key, bool after,
                            struct overlay_entry **out_equal) {
    uint32_t count = node_count(node);
    uint32_t prefix_size = atomic_load_explicit(&node->prefix_size, memory_order_acquire);
    if (count == 0) {
        return 0;
    }
    if (prefix_size != 0) {
        int order = node_prefix_order(node, prefix_size, key);
        if (order != 0) {
            return order < 0 ? 0 : count;
        }
    }
    uint64_t head = node_head(key, prefix_size);
    uint32_t low = count_heads(node, count, head);
    if (low == count ||
        atomic_load_explicit(&node_heads(node)[low], memory_order_acquire) != head) {
        return low;
    }
    uint32_t high = head == UINT64_MAX ? count : low + 1;
    while (high < count &&
           atomic_load_explicit(&node_heads(node)[high], memory_order_acquire) == head) {
        high++;
    }
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        int order = compare_slot(node, middle, key);
        if (order == 0) {
            if (out_equal != NULL) {
                *out_equal = node_key(node, middle);
            }
            return middle + (after ? 1 : 0);
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/*
 * All lines that a search may read, at once: which are needed is known only as they come. Of an
 * inner node those of the heads, which a search would else wait for one after the other.
 */
static inline void prefetch_node(const struct overlay_node *node, uint32_t level) {
    const char *line = (const char *)node;
    size_t bytes =
        level == 0 ? sizeof(struct overlay_leaf_node) : offsetof(struct overlay_inner_node, keys);
    for (size_t i = 0; i < bytes; i += 64) {
        __builtin_prefetch(line + i);
    }
}

/* ---- descending, readers ---- */

/*
 * A leaf that was responsible for the place searched when `version` was taken. `low` and `high`:
 * the separators around it, NULL at the edges.
 */
struct leaf_view {
    const struct overlay_node *leaf;
    uint64_t version;
    const struct overlay_entry *low;
    const struct overlay_entry *high;
};

enum descent { DESCEND_TO_KEY, DESCEND_BELOW_KEY, DESCEND_FIRST, DESCEND_LAST };

static uint32_t choose_child(const struct overlay_node *node, enum descent descent,
                             tern_slice key) {
    switch (descent) {
    case DESCEND_FIRST:
        return 0;
    case DESCEND_LAST:
        return node_count(node);
    case DESCEND_BELOW_KEY:
        return node_search(node, key, false, NULL);
    default:
        return node_search(node, key, true, NULL);
    }
}

static bool try_descend(const struct overlay *overlay, enum descent descent, tern_slice key,
                        struct leaf_view *out_view) {
    const struct overlay_node *node = atomic_load_explicit(&overlay->root, memory_order_acquire);
    uint64_t version = node_begin(node);
    if (atomic_load_explicit(&overlay->root, memory_order_acquire) != node) {
        return false;
    }
    struct leaf_view view = {NULL, 0, NULL, NULL};
    /* The level is counted, for a leaf's own is in memory that has to be waited for. */
    for (uint32_t level = node->level; level > 0; level--) {
        uint32_t slot = choose_child(node, descent, key);
        if (slot > 0) {
            view.low = node_key(node, slot - 1);
        }
        if (slot < node_count(node)) {
            view.high = node_key(node, slot);
        }
        const struct overlay_node *child = node_child(node, slot);
        if (child == NULL) {
            return false;
        }
        prefetch_node(child, level - 1);
        uint64_t child_version = node_begin(child);
        if (!node_is_unchanged(node, version)) {
            return false;
        }
        node = child;
        version = child_version;
    }
    view.leaf = node;
    view.version = version;
    *out_view = view;
    return true;
}

static void descend(const struct overlay *overlay, enum descent descent, tern_slice key,
                    struct leaf_view *out_view) {
    while (!try_descend(overlay, descent, key, out_view)) {
        spin_pause();
    }
}

struct overlay_entry *tree_find(const struct overlay *overlay, tern_slice key) {
    for (;;) {
        struct leaf_view view;
        descend(overlay, DESCEND_TO_KEY, key, &view);
        struct overlay_entry *entry = NULL;
        (void)node_search(view.leaf, key, false, &entry);
        if (node_is_unchanged(view.leaf, view.version)) {
            return entry;
        }
    }
}

void tree_find_place(const struct overlay *overlay, tern_slice key,
                     struct change_place *out_place) {
    for (;;) {
        struct leaf_view view;
        descend(overlay, DESCEND_TO_KEY, key, &view);
        struct overlay_entry *entry = NULL;
        uint32_t position = node_search(view.leaf, key, false, &entry);
        if (node_is_unchanged(view.leaf, view.version)) {
            out_place->node = (void *)(uintptr_t)view.leaf;
            out_place->version = view.version;
            out_place->entry = entry;
            out_place->position = position;
            return;
        }
    }
}

bool tree_copy_leaf(const struct overlay *overlay, const tern_slice *key, bool backward,
                    bool inclusive, const struct overlay_entry **out_entries, uint32_t *out_count,
                    uint32_t *out_position) {
    enum descent descent = backward ? DESCEND_LAST : DESCEND_FIRST;
    tern_slice target = tern_slice_of(NULL, 0);
    if (key != NULL) {
        target = *key;
        descent = backward && !inclusive ? DESCEND_BELOW_KEY : DESCEND_TO_KEY;
    }
    for (;;) {
        struct leaf_view view;
        descend(overlay, descent, target, &view);
        uint32_t count = node_count(view.leaf);
        for (uint32_t i = 0; i < count; i++) {
            out_entries[i] = node_key(view.leaf, i);
        }
        /* Wanted is the entry before `bound` (backward), or that at it. */
        uint32_t bound = backward ? count : 0;
        if (descent == DESCEND_TO_KEY || descent == DESCEND_BELOW_KEY) {
            bound = node_search(view.leaf, target, backward == inclusive, NULL);
        }
        if (!node_is_unchanged(view.leaf, view.version)) {
            continue;
        }
        if (backward ? bound > 0 : bound < count) {
            *out_count = count;
            *out_position = backward ? bound - 1 : bound;
            return true;
        }
        const struct overlay_entry *next = backward ? view.low : view.high;
        if (next == NULL) {
            return false;
        }
        /* The wanted one is the last below the low separator, or the first from the high one. */
        target = entry_key(next);
        inclusive = !backward;
        descent = backward ? DESCEND_BELOW_KEY : DESCEND_TO_KEY;
    }
}

/* ---- changed since ---- */

static bool leaf_changed_since(const struct overlay_node *leaf,
                               const struct engine_cursor_bounds *bounds, seq_no since) {
    uint32_t count = node_count(leaf);
    uint32_t first = bounds->has_begin ? node_search(leaf, bounds->begin, false, NULL) : 0;
    uint32_t end = bounds->has_end ? node_search(leaf, bounds->end, false, NULL) : count;
    for (uint32_t i = first; i < end; i++) {
        const struct overlay_entry *entry = node_key(leaf, i);
        const struct overlay_version *newest =
            entry != NULL ? atomic_load_explicit(&entry->newest, memory_order_acquire) : NULL;
        if (newest != NULL && newest->seq > since) {
            return true;
        }
    }
    return false;
}

bool tree_changed_since(const struct overlay *overlay, const struct engine_cursor_bounds *bounds,
                        seq_no since) {
    enum descent descent = bounds->has_begin ? DESCEND_TO_KEY : DESCEND_FIRST;
    tern_slice target = bounds->has_begin ? bounds->begin : tern_slice_of(NULL, 0);
    for (;;) {
        struct leaf_view view;
        descend(overlay, descent, target, &view);
        bool changed = atomic_load_explicit(&view.leaf->newest_seq, memory_order_acquire) > since &&
                       leaf_changed_since(view.leaf, bounds, since);
        if (!node_is_unchanged(view.leaf, view.version)) {
            continue;
        }
        if (changed) {
            return true;
        }
        if (view.high == NULL) {
            return false;
        }
        target = entry_key(view.high);
        descent = DESCEND_TO_KEY;
        if (bounds->has_end && slice_compare(target, bounds->end) >= 0) {
            return false;
        }
    }
}

/* ---- writing a node: applier only ---- */

static void node_lock(struct overlay_node *node) {
    uint64_t version = atomic_load_explicit(&node->version, memory_order_relaxed);
    atomic_store_explicit(&node->version, version + 1, memory_order_relaxed);
}

static void node_unlock(struct overlay_node *node) {
    uint64_t version = atomic_load_explicit(&node->version, memory_order_relaxed);
    atomic_store_explicit(&node->version, version + 1, memory_order_release);
}

static void set_key(struct overlay_node *node, uint32_t slot, uint64_t head,
                    struct overlay_entry *entry) {
    atomic_store_explicit(&node_heads(node)[slot], head, memory_order_release);
    atomic_store_explicit(&node_keys(node)[slot], entry, memory_order_release);
}

static void set_prefix(struct overlay_node *node, tern_slice prefix) {
    uint64_t words[NODE_PREFIX_WORDS] = {0};
    if (prefix.size > 0 && prefix.size <= sizeof(words)) {
        memcpy(words, prefix.data, prefix.size);
    }
    for (uint32_t i = 0; i < NODE_PREFIX_WORDS; i++) {
        atomic_store_explicit(&node->prefix[i], words[i], memory_order_release);
    }
    atomic_store_explicit(&node->prefix_size, (uint32_t)prefix.size, memory_order_release);
}

static void rebuild_heads(struct overlay_node *node, tern_slice prefix) {
    set_prefix(node, prefix);
    uint32_t count = node_count(node);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t head = node_head(entry_key(node_key(node, i)), (uint32_t)prefix.size);
        atomic_store_explicit(&node_heads(node)[i], head, memory_order_release);
    }
}

/* Shortens the prefix to what the new key shares. */
static void admit_key(struct overlay_node *node, tern_slice key) {
    uint32_t prefix_size = atomic_load_explicit(&node->prefix_size, memory_order_relaxed);
    if (node_count(node) == 0) {
        set_prefix(node, key);
        return;
    }
    if (prefix_size == 0 || node_prefix_order(node, prefix_size, key) == 0) {
        return;
    }
    tern_slice first = entry_key(node_key(node, 0));
    size_t shared = slice_common_prefix(first, key);
    rebuild_heads(node, tern_slice_of(first.data, shared));
}

/* After a split: takes into the prefix what all keys share, when heads have got too coarse. */
static void regrow_prefix(struct overlay_node *node) {
    uint32_t count = node_count(node);
    if (count == 0) {
        return;
    }
    uint64_t differing = atomic_load_explicit(&node_heads(node)[0], memory_order_relaxed) ^
                         atomic_load_explicit(&node_heads(node)[count - 1], memory_order_relaxed);
    if (differing >> (64u - 8u * PREFIX_REGROW_BYTES) != 0) {
        return;
    }
    tern_slice first = entry_key(node_key(node, 0));
    size_t shared = slice_common_prefix(first, entry_key(node_key(node, count - 1)));
    rebuild_heads(node, tern_slice_of(first.data, shared));
}

static void open_slot(struct overlay_node *node, uint32_t slot, uint32_t count) {
    for (uint32_t i = count; i > slot; i--) {
        set_key(node, i, atomic_load_explicit(&node_heads(node)[i - 1], memory_order_relaxed),
                node_key(node, i - 1));
    }
}

static void insert_key(struct overlay_node *node, uint32_t slot, struct overlay_entry *entry) {
    uint32_t count = node_count(node);
    admit_key(node, entry_key(entry));
    uint32_t prefix_size = atomic_load_explicit(&node->prefix_size, memory_order_relaxed);
    open_slot(node, slot, count);
    set_key(node, slot, node_head(entry_key(entry), prefix_size), entry);
    atomic_store_explicit(&node->count, count + 1, memory_order_release);
}

static void insert_child(struct overlay_node *node, uint32_t slot, struct overlay_entry *separator,
                         struct overlay_node *right) {
    struct overlay_inner_node *inner = (struct overlay_inner_node *)node;
    for (uint32_t i = node_count(node) + 1; i > slot + 1; i--) {
        atomic_store_explicit(&inner->children[i],
                              atomic_load_explicit(&inner->children[i - 1], memory_order_relaxed),
                              memory_order_release);
    }
    atomic_store_explicit(&inner->children[slot + 1], right, memory_order_release);
    insert_key(node, slot, separator);
}

/* ---- growing, applier only ---- */

static struct overlay_node *new_node(struct overlay *overlay, uint32_t level) {
    size_t size = level == 0 ? sizeof(struct overlay_leaf_node) : sizeof(struct overlay_inner_node);
    struct overlay_node *node = overlay_memory_take_node(&overlay->memory, size);
    node->level = level;
    return node;
}

struct overlay_node *tree_create_root(struct overlay *overlay) {
    struct overlay_node *root = new_node(overlay, 0);
    overlay->first_leaf = overlay->last_leaf = root;
    overlay->leaf_count = 1;
    overlay->depth = 1;
    return root;
}

size_t tree_room(const struct overlay *overlay, size_t count) {
    /* A leaf that was split takes half its slots again before the next split. */
    size_t leaves = overlay->leaf_count + count / (LEAF_SLOTS / 2) + 1;
    leaves = leaves < count ? leaves : count;
    size_t parents = overlay->leaf_count / (NODE_SLOTS / 2) + leaves / (NODE_SLOTS / 2) + 1;
    parents = parents < leaves ? parents : leaves;
    size_t inners = parents + parents / 8 + overlay->depth + 1;
    return leaves * (sizeof(struct overlay_leaf_node) + 56) +
           inners * (sizeof(struct overlay_inner_node) + 56);
}

/* Moves the keys from `from` on to a new node on the right. */
static struct overlay_node *split_leaf(struct overlay *overlay, struct overlay_node *leaf,
                                       uint32_t from) {
    struct overlay_node *right = new_node(overlay, 0);
    uint32_t count = node_count(leaf);
    uint32_t prefix_size = atomic_load_explicit(&leaf->prefix_size, memory_order_relaxed);
    for (uint32_t i = from; i < count; i++) {
        set_key(right, i - from, atomic_load_explicit(&node_heads(leaf)[i], memory_order_relaxed),
                node_key(leaf, i));
    }
    atomic_store_explicit(&right->count, count - from, memory_order_release);
    if (from < count) {
        set_prefix(right, tern_slice_of(node_key(leaf, from)->key, prefix_size));
        regrow_prefix(right);
    }
    atomic_store_explicit(&right->newest_seq,
                          atomic_load_explicit(&leaf->newest_seq, memory_order_relaxed),
                          memory_order_release);
    atomic_store_explicit(&leaf->count, from, memory_order_release);
    regrow_prefix(leaf);
    right->next = leaf->next;
    leaf->next = right;
    if (overlay->last_leaf == leaf) {
        overlay->last_leaf = right;
    }
    overlay->leaf_count++;
    return right;
}

/* Splits an inner node in the middle (at the end for `append`); the key between moves up. */
static struct overlay_node *split_inner(struct overlay *overlay, struct overlay_node *node,
                                        bool append, struct overlay_entry **out_separator) {
    struct overlay_node *right = new_node(overlay, node->level);
    struct overlay_inner_node *source = (struct overlay_inner_node *)node;
    struct overlay_inner_node *target = (struct overlay_inner_node *)right;
    uint32_t count = node_count(node);
    uint32_t middle = append ? count - 2 : count / 2;
    uint32_t prefix_size = atomic_load_explicit(&node->prefix_size, memory_order_relaxed);
    for (uint32_t i = middle + 1; i < count; i++) {
        set_key(right, i - middle - 1,
                atomic_load_explicit(&node_heads(node)[i], memory_order_relaxed),
                node_key(node, i));
    }
    for (uint32_t i = middle + 1; i <= count; i++) {
        atomic_store_explicit(&target->children[i - middle - 1],
                              atomic_load_explicit(&source->children[i], memory_order_relaxed),
                              memory_order_release);
    }
    *out_separator = node_key(node, middle);
    atomic_store_explicit(&right->count, count - middle - 1, memory_order_release);
    set_prefix(right, tern_slice_of(node_key(right, 0)->key, prefix_size));
    regrow_prefix(right);
    atomic_store_explicit(&node->count, middle, memory_order_release);
    regrow_prefix(node);
    return right;
}

/* Path to the leaf where the key belongs. Returns the number of inner nodes on it. */
static uint32_t find_path(const struct overlay *overlay, tern_slice key, struct child_step *path) {
    struct overlay_node *node = atomic_load_explicit(&overlay->root, memory_order_relaxed);
    uint32_t depth = 0;
    while (node->level > 0) {
        ASSERT(depth < TREE_DEPTH_MAX);
        path[depth].node = node;
        path[depth].child = node_search(node, key, true, NULL);
        node = node_child(node, path[depth].child);
        depth++;
    }
    return depth;
}

static void add_root(struct overlay *overlay, struct overlay_node *left,
                     struct overlay_entry *separator, struct overlay_node *right) {
    struct overlay_node *root = new_node(overlay, left->level + 1);
    struct overlay_inner_node *inner = (struct overlay_inner_node *)root;
    atomic_store_explicit(&inner->children[0], left, memory_order_release);
    insert_child(root, 0, separator, right);
    overlay->depth++;
    atomic_store_explicit(&overlay->root, root, memory_order_release);
}

/*
 * Enters `right`, split off the child on the path, into the inner nodes above. Nodes that change
 * are locked here; how many, is told, so that the caller unlocks them last.
 */
static uint32_t grow_upwards(struct overlay *overlay, struct child_step *path, uint32_t depth,
                             struct overlay_node *left, struct overlay_entry *separator,
                             struct overlay_node *right) {
    uint32_t locked = 0;
    while (depth > 0) {
        struct child_step *step = &path[--depth];
        node_lock(step->node);
        locked++;
        if (node_count(step->node) < NODE_SLOTS) {
            insert_child(step->node, step->child, separator, right);
            return locked;
        }
        struct overlay_entry *middle;
        bool append = step->child == NODE_SLOTS;
        struct overlay_node *other = split_inner(overlay, step->node, append, &middle);
        uint32_t kept = node_count(step->node) + 1;
        if (step->child < kept) {
            insert_child(step->node, step->child, separator, right);
        } else {
            insert_child(other, step->child - kept, separator, right);
        }
        left = step->node;
        separator = middle;
        right = other;
    }
    add_root(overlay, left, separator, right);
    return locked;
}

static void split_and_insert(struct overlay *overlay, struct overlay_node *leaf, uint32_t position,
                             struct overlay_entry *entry) {
    struct child_step path[TREE_DEPTH_MAX];
    uint32_t depth = find_path(overlay, entry_key(entry), path);
    /* Appending leaves the leaf as full as it is. */
    bool append = position == LEAF_SLOTS && leaf->next == NULL;
    uint32_t from = append ? LEAF_SLOTS : LEAF_SLOTS / 2;
    node_lock(leaf);
    struct overlay_node *right = split_leaf(overlay, leaf, from);
    if (position > from || append) {
        insert_key(right, position - from, entry);
    } else {
        insert_key(leaf, position, entry);
    }
    uint32_t locked = grow_upwards(overlay, path, depth, leaf, node_key(right, 0), right);
    for (uint32_t i = 0; i < locked; i++) {
        node_unlock(path[depth - 1 - i].node);
    }
    node_unlock(leaf);
}

void tree_insert(struct overlay *overlay, const struct tree_place *place,
                 struct overlay_entry *entry) {
    struct overlay_node *leaf = place->leaf;
    if (node_count(leaf) == LEAF_SLOTS) {
        split_and_insert(overlay, leaf, place->position, entry);
        return;
    }
    node_lock(leaf);
    insert_key(leaf, place->position, entry);
    node_unlock(leaf);
}

/* The leaf to the right of all others is tried first. */
static bool belongs_last(const struct overlay *overlay, tern_slice key) {
    struct overlay_node *last = overlay->last_leaf;
    uint32_t count = node_count(last);
    return count > 0 && slice_compare(key, entry_key(node_key(last, count - 1))) > 0;
}

static struct overlay_node *find_leaf(const struct overlay *overlay, tern_slice key) {
    struct overlay_node *node = atomic_load_explicit(&overlay->root, memory_order_relaxed);
    for (uint32_t level = node->level; level > 0; level--) {
        node = node_child(node, node_search(node, key, true, NULL));
        prefetch_node(node, level - 1);
    }
    return node;
}

void tree_prefetch_entry(const struct overlay *overlay, tern_slice key) {
    const struct overlay_node *leaf = overlay->hint.leaf;
    if (leaf == NULL || overlay->hint.is_exact) {
        return;
    }
    uint32_t count = node_count(leaf);
    if (count == 0) {
        return;
    }
    /* Where the prefix differs a line is fetched in vain. */
    uint32_t prefix_size = atomic_load_explicit(&leaf->prefix_size, memory_order_relaxed);
    uint64_t head = node_head(key, prefix_size);
    uint32_t low = count_heads(leaf, count, head);
    if (low < count && atomic_load_explicit(&node_heads(leaf)[low], memory_order_relaxed) == head) {
        __builtin_prefetch(node_key(leaf, low), 1);
    }
}

/* No key has come to the leaf, or gone to another, since a reader found the place. */
static bool place_is_right(const struct change_place *place) {
    const struct overlay_node *leaf = place != NULL ? place->node : NULL;
    return leaf != NULL && node_is_unchanged(leaf, place->version);
}

void tree_prefetch(struct overlay *overlay, tern_slice key, const struct change_place *place) {
    struct tree_hint *hint = &overlay->hint;
    hint->leaf = NULL;
    hint->is_exact = place_is_right(place);
    struct overlay_node *leaf;
    if (hint->is_exact) {
        leaf = place->node;
        hint->position = place->position;
        hint->version = place->version;
        hint->entry = place->entry;
    } else {
        leaf = find_leaf(overlay, key);
    }
    if (key.size <= sizeof(hint->key)) {
        copy_small(hint->key, key.data, key.size);
        hint->key_size = key.size;
        hint->leaf_count = overlay->leaf_count;
        hint->leaf = leaf;
    }
}

static bool hint_fits(const struct overlay *overlay, tern_slice key) {
    const struct tree_hint *hint = &overlay->hint;
    return hint->leaf != NULL && hint->leaf_count == overlay->leaf_count &&
           hint->key_size == key.size && compare_small(hint->key, key.data, key.size) == 0;
}

void tree_locate(struct overlay *overlay, tern_slice key, struct tree_place *out_place) {
    out_place->entry = NULL;
    if (hint_fits(overlay, key)) {
        out_place->leaf = overlay->hint.leaf;
        if (overlay->hint.is_exact &&
            node_is_unchanged(overlay->hint.leaf, overlay->hint.version)) {
            out_place->position = overlay->hint.position;
            out_place->entry = overlay->hint.entry;
            return;
        }
    } else if (belongs_last(overlay, key)) {
        out_place->leaf = overlay->last_leaf;
        out_place->position = node_count(overlay->last_leaf);
        return;
    } else {
        out_place->leaf = find_leaf(overlay, key);
    }
    out_place->position = node_search(out_place->leaf, key, false, &out_place->entry);
}
