/* SPDX-License-Identifier: Apache-2.0 */
#include "dataset.h"

#include <string.h>

#include "base/compare.h"
#include "simd/hash.h"

struct record dataset_record(tern_slice key, uint8_t *memory) {
    uint64_t hash = hash_u64(key.data, key.size, 0);
    size_t size = hash % 120;
    for (size_t i = 0; i < size; i++) {
        memory[i] = (uint8_t)(hash >> (i % 8 * 8));
    }
    return (struct record){
        .kind = RECORD_PUT, .expires_ms = hash % 11 == 0 ? hash | 1 : 0, .value = {memory, size}};
}

bool dataset_record_is_right(tern_slice key, const struct record *record) {
    uint8_t memory[256];
    struct record wanted = dataset_record(key, memory);
    return record->kind == wanted.kind && record->expires_ms == wanted.expires_ms &&
           slice_equal(record->value, wanted.value);
}

static void entry(void *context, uint64_t index, tern_slice *out_key, struct record *out_record) {
    static uint8_t memory[256]; /* copied before the next */
    const struct dataset *dataset = context;
    *out_key = dataset->set.keys[index];
    *out_record = dataset_record(*out_key, memory);
}

void dataset_open(struct dataset *dataset, enum key_family family, uint32_t count, uint64_t seed,
                  const struct fixture_options *options, const tern_allocator *allocator) {
    seeded_random_init(&dataset->random, seed);
    key_set_make(&dataset->set, family, count, &dataset->random);
    tree_fixture_open(&dataset->fixture, options, allocator);
    tree_fixture_build(&dataset->fixture, dataset->set.count, entry, dataset);
}

void dataset_close(struct dataset *dataset) {
    tree_fixture_close(&dataset->fixture);
    key_set_release(&dataset->set);
}
