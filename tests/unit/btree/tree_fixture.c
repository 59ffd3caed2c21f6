/* SPDX-License-Identifier: Apache-2.0 */
#include "tree_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tern/sys/file_system.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/compare.h"
#include "base/varint.h"
#include "engine/btree/btree_lookup.h"
#include "simd/compare.h"
#include "support/check.h"

#define TEST_GENERATION 7u

size_t leaf_image(const tern_slice *keys, const struct record *records, uint32_t count,
                  bool whole_keys, uint64_t generation, uint8_t *out_payload, size_t capacity) {
    size_t prefix = count < 2 ? 0 : slice_common_prefix(keys[0], keys[count - 1]);
    size_t left_out = whole_keys ? 0 : prefix;
    uint8_t flags = whole_keys && prefix > 0 ? PAGE_WHOLE_KEYS : 0;
    size_t at = LEAF_HEADER_BYTES + (size_t)count * 6 + prefix;
    if (at > capacity) {
        return 0;
    }
    memcpy(out_payload + at - prefix, keys[0].data, prefix);
    for (uint32_t i = 0; i < count; i++) {
        const struct record *record = &records[i];
        if (at + 32 + keys[i].size + record->value.size > capacity) {
            return 0;
        }
        const uint8_t *key = keys[i].data;
        put_u32(out_payload + LEAF_HEADER_BYTES + 4 * (size_t)i,
                key_head_u32(key + prefix, keys[i].size - prefix));
        put_u16(out_payload + LEAF_HEADER_BYTES + 4 * (size_t)count + 2 * (size_t)i, (uint16_t)at);
        bool is_large = record->kind == RECORD_LARGE;
        flags |= is_large ? PAGE_HAS_LARGE : 0;
        uint8_t *position = out_payload + at;
        *position++ = (uint8_t)((is_large ? RECORD_FLAG_LARGE : 0u) |
                                (record->expires_ms != 0 ? RECORD_FLAG_EXPIRES : 0u));
        position = varint_put(position, keys[i].size - left_out);
        position = varint_put(position, record->value.size);
        if (record->expires_ms != 0) {
            put_u64(position, record->expires_ms);
            position += 8;
        }
        if (is_large) {
            position = varint_put(position, record->value_size);
        }
        memcpy(position, key + left_out, keys[i].size - left_out);
        position += keys[i].size - left_out;
        if (record->value.size > 0) {
            memcpy(position, record->value.data, record->value.size);
        }
        at = (size_t)(position + record->value.size - out_payload);
    }
    out_payload[0] = PAGE_LEAF;
    out_payload[1] = flags;
    put_u16(out_payload + 2, (uint16_t)count);
    put_u16(out_payload + 4, (uint16_t)prefix);
    put_u16(out_payload + 6, (uint16_t)(at - LEAF_HEADER_BYTES - (size_t)count * 6));
    put_u64(out_payload + 8, generation);
    return at;
}

struct child_ref fixture_write_block(struct tree_fixture *fixture, const uint8_t *payload,
                                     size_t size) {
    size_t capacity = (block_bound(size) + 4095) / 4096 * 4096;
    uint8_t *block = memory_allocate_aligned(tern_allocator_default(), 4096, capacity);
    CHECK(block != NULL);
    memset(block, 0, capacity);
    const struct block_context context = {fixture->options.compression, 1};
    size_t stored = 0;
    uint64_t checksum = 0;
    CHECK(block_encode(&context, payload, size, block, &stored, &checksum, NULL) == TERN_OK);
    uint64_t units = (stored + UNIT_BYTES - 1) / UNIT_BYTES;
    uint64_t place = 0;
    CHECK(btree_file_allocate(fixture->tree.file, units, &place, NULL) == TERN_OK);
    CHECK(btree_file_write(fixture->tree.file, place, block, units, NULL) == TERN_OK);
    memory_release_aligned(tern_allocator_default(), block);
    return (struct child_ref){ref_pack(place, (uint32_t)units, 0), checksum, 0, units * UNIT_BYTES};
}

void tree_fixture_open(struct tree_fixture *fixture, const struct fixture_options *options,
                       const tern_allocator *allocator) {
    memset(fixture, 0, sizeof(*fixture));
    fixture->options = *options;
    fixture->allocator = allocator != NULL ? allocator : tern_allocator_default();
    const char *temporary = getenv("TMPDIR");
    CHECK(snprintf(fixture->directory, sizeof(fixture->directory), "%s/tern-tree-XXXXXX",
                   temporary != NULL && strlen(temporary) < 40 ? temporary : "/tmp") > 0);
    CHECK(mkdtemp(fixture->directory) != NULL);
    CHECK(epoch_domain_create(tern_allocator_default(), &fixture->epoch, NULL) == TERN_OK);
    const struct cache_options cache_options = {
        .allocator = fixture->allocator,
        .epoch = fixture->epoch,
        .budget = &fixture->budget,
        .limit_bytes = options->cache_bytes,
        .placement = {.huge_pages =
                          options->huge_pages ? TERN_HUGE_PAGES_TRANSPARENT : TERN_HUGE_PAGES_OFF},
    };
    CHECK(cache_create(&cache_options, &fixture->cache, NULL) == TERN_OK);
    fixture->environment = (struct engine_environment){
        .allocator = fixture->allocator,
        .file_system = tern_file_system_default(),
        .clock = NULL,
        .directory = fixture->directory,
        .epoch = fixture->epoch,
        .budget = &fixture->budget,
        .cache = fixture->cache,
        .incarnation = 1,
        .buffered_io = true,
    };
    fixture->tree.environment = &fixture->environment;
    fixture->tree.config = (struct engine_config){.id = 1};
    fixture->tree.config.options.page_bytes = options->page_bytes;
    fixture->tree.config.options.fan_out = options->fan_out;
    fixture->tree.config.options.fill_percent = options->fill_percent;
    fixture->tree.config.options.compression = options->compression;
    CHECK(btree_file_open(&fixture->environment, &fixture->tree.config, &fixture->tree.file,
                          NULL) == TERN_OK);
    fixture->tree.space = btree_file_space(fixture->tree.file);
    fixture->tree.lookup = btree_lookup_best();
}

/* Children of the level being built, with the first and last key below each. */
struct level {
    struct child_ref *children;
    tern_slice *first_keys;
    tern_slice *last_keys;
    uint32_t count, capacity;
};

static tern_slice copy_slice(tern_slice slice) {
    uint8_t *copy = check_allocate(slice.size + 1);
    memcpy(copy, slice.data, slice.size);
    return tern_slice_of(copy, slice.size);
}

static void level_add(struct level *level, struct child_ref child, tern_slice first,
                      tern_slice last) {
    if (level->count == level->capacity) {
        level->capacity = level->capacity == 0 ? 64 : 2 * level->capacity;
        level->children = check_resize(level->children, level->capacity * sizeof(*level->children));
        level->first_keys =
            check_resize(level->first_keys, level->capacity * sizeof(*level->first_keys));
        level->last_keys =
            check_resize(level->last_keys, level->capacity * sizeof(*level->last_keys));
    }
    level->children[level->count] = child;
    level->first_keys[level->count] = copy_slice(first);
    level->last_keys[level->count++] = copy_slice(last);
}

static void level_release(struct level *level) {
    for (uint32_t i = 0; i < level->count; i++) {
        free((void *)(uintptr_t)level->first_keys[i].data);
        free((void *)(uintptr_t)level->last_keys[i].data);
    }
    free(level->children);
    free(level->first_keys);
    free(level->last_keys);
    *level = (struct level){0};
}

/* One leaf's worth of records, copied. */
struct pending {
    tern_slice keys[8192];
    struct record records[8192];
    uint32_t count;
};

static void emit_leaf(struct tree_fixture *fixture, struct pending *pending, struct level *leaves) {
    uint8_t *payload = check_allocate(fixture->options.page_bytes);
    size_t capacity = fixture->options.page_bytes - BLOCK_HEADER_BYTES;
    size_t prefix = slice_common_prefix(pending->keys[0], pending->keys[pending->count - 1]);
    bool whole = prefix * (pending->count - 1) < fixture->options.page_bytes / 16;
    size_t size = leaf_image(pending->keys, pending->records, pending->count, whole,
                             TEST_GENERATION, payload, capacity);
    CHECK(size > 0);
    struct child_ref child = fixture_write_block(fixture, payload, size);
    child.records = pending->count;
    for (uint32_t i = 0; i < pending->count; i++) {
        if (pending->records[i].kind == RECORD_LARGE) {
            child.bytes += pending->records[i].value_size;
            child.ref |= REF_HAS_LARGE;
        }
    }
    level_add(leaves, child, pending->keys[0], pending->keys[pending->count - 1]);
    free(payload);
    for (uint32_t i = 0; i < pending->count; i++) {
        free((void *)(uintptr_t)pending->keys[i].data);
        free((void *)(uintptr_t)pending->records[i].value.data);
    }
    pending->count = 0;
    fixture->leaves++;
}

static void build_leaves(struct tree_fixture *fixture, uint64_t count, fixture_entry_function entry,
                         void *context, struct level *leaves) {
    struct pending *pending = check_allocate(sizeof(*pending));
    size_t fill = (size_t)(fixture->options.page_bytes - BLOCK_HEADER_BYTES) *
                  fixture->options.fill_percent / 100;
    size_t used = LEAF_HEADER_BYTES;
    for (uint64_t i = 0; i < count; i++) {
        tern_slice key;
        struct record record = {.kind = RECORD_PUT};
        entry(context, i, &key, &record);
        size_t size = key.size + record.value.size + 6 + 32;
        if (pending->count > 0 && (used + size > fill || pending->count == 8191)) {
            emit_leaf(fixture, pending, leaves);
            used = LEAF_HEADER_BYTES;
        }
        used += size - 29;
        pending->keys[pending->count] = copy_slice(key);
        pending->records[pending->count] = record;
        pending->records[pending->count++].value = copy_slice(record.value);
    }
    emit_leaf(fixture, pending, leaves);
    free(pending);
}

/* The shortest separator: above all keys of the left, not above those of the right. */
static tern_slice separator_between(tern_slice left, tern_slice right) {
    return tern_slice_of(right.data, slice_common_prefix(left, right) + 1);
}

static struct inner_node *emit_node(struct tree_fixture *fixture, const struct level *below,
                                    uint32_t begin, uint32_t count, uint16_t level,
                                    struct child_ref *out_child) {
    tern_slice *separators = check_allocate(count * sizeof(*separators));
    struct child_ref sum = {0};
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) {
            separators[i - 1] =
                separator_between(below->last_keys[begin + i - 1], below->first_keys[begin + i]);
        }
        sum.records += below->children[begin + i].records;
        sum.bytes += below->children[begin + i].bytes;
        sum.ref |= below->children[begin + i].ref & REF_HAS_LARGE;
    }
    const struct node_source source = {
        .level = level,
        .count = count,
        .children = below->children + begin,
        .separators = separators,
        .generation = TEST_GENERATION,
    };
    struct inner_node *node = NULL;
    CHECK(node_build(tern_allocator_default(), &fixture->budget, &source, &node, NULL) == TERN_OK);
    free(separators);
    struct buffer payload;
    buffer_init(&payload, tern_allocator_default());
    CHECK(node_encode(node, &payload) == TERN_OK);
    *out_child = fixture_write_block(fixture, payload.data, payload.size);
    out_child->ref |= sum.ref;
    out_child->records = sum.records;
    out_child->bytes = sum.bytes;
    buffer_release(&payload);
    return node;
}

void tree_fixture_build(struct tree_fixture *fixture, uint64_t count, fixture_entry_function entry,
                        void *context) {
    struct level below = {0};
    uint32_t height = 0;
    if (count > 0) {
        build_leaves(fixture, count, entry, context, &below);
        height = 1;
    }
    while (below.count > 1) {
        struct level above = {0};
        for (uint32_t begin = 0; begin < below.count;) {
            uint32_t left = below.count - begin;
            uint32_t size = left < fixture->options.fan_out ? left : fixture->options.fan_out;
            struct child_ref child;
            struct inner_node *node =
                emit_node(fixture, &below, begin, size, (uint16_t)height, &child);
            level_add(&above, child, below.first_keys[begin], below.last_keys[begin + size - 1]);
            node_release(tern_allocator_default(), &fixture->budget, node);
            begin += size;
        }
        level_release(&below);
        below = above;
        height++;
    }
    CHECK(btree_root_load(&fixture->tree, height, below.children, count, TEST_GENERATION,
                          &fixture->root, NULL) == TERN_OK);
    level_release(&below);
}

void tree_fixture_close(struct tree_fixture *fixture) {
    btree_root_release(&fixture->tree, fixture->root);
    btree_file_close(fixture->tree.file);
    epoch_synchronize(fixture->epoch);
    (void)epoch_reclaim(fixture->epoch);
    cache_destroy(fixture->cache);
    epoch_domain_destroy(fixture->epoch);
    for (int share = 0; share < BUDGET_SHARES; share++) {
        CHECK(budget_used(&fixture->budget, (enum budget_share)share) == 0);
    }
    char path[96];
    CHECK(snprintf(path, sizeof(path), "%s/p-0000000000000001.btree", fixture->directory) > 0);
    (void)remove(path);
    CHECK(rmdir(fixture->directory) == 0);
}
