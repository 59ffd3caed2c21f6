/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree over a real file, written by code that knows the format only from docs/format/btree.md: it
 * shares nothing with the writers of the engine.
 */
#ifndef TERN_TESTS_TREE_FIXTURE_H
#define TERN_TESTS_TREE_FIXTURE_H

#include "cache/cache.h"
#include "engine/btree/btree.h"

struct fixture_options {
    uint32_t page_bytes;
    uint32_t fan_out;
    uint32_t fill_percent;
    uint64_t cache_bytes;
    tern_compression compression;
    bool huge_pages;
};
#define FIXTURE_OPTIONS ((struct fixture_options){8192, 64, 95, (uint64_t)64 << 20, 0, false})

struct tree_fixture {
    struct fixture_options options;
    const tern_allocator *allocator;
    struct budget budget;
    struct epoch_domain *epoch;
    struct cache *cache;
    struct engine_environment environment;
    struct btree tree;
    struct btree_root *root;
    uint32_t leaves;
    char directory[64];
};

/* Gives record `index`, in ascending order of key. */
typedef void (*fixture_entry_function)(void *context, uint64_t index, tern_slice *out_key,
                                       struct record *out_record);

/* Memory of everything but the building from `allocator` (NULL: the default). */
void tree_fixture_open(struct tree_fixture *fixture, const struct fixture_options *options,
                       const tern_allocator *allocator);
void tree_fixture_build(struct tree_fixture *fixture, uint64_t count, fixture_entry_function entry,
                        void *context);
void tree_fixture_close(struct tree_fixture *fixture);

/* The bytes of one leaf payload; `whole_keys` as the flag, prefix cut off otherwise. Returns its
 * size, or 0 when it would be over `capacity`. */
size_t leaf_image(const tern_slice *keys, const struct record *records, uint32_t count,
                  bool whole_keys, uint64_t generation, uint8_t *out_payload, size_t capacity);

/* Writes a payload as a block and returns the reference to it. */
struct child_ref fixture_write_block(struct tree_fixture *fixture, const uint8_t *payload,
                                     size_t size);

#endif
