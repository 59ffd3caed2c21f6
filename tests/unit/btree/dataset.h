/* SPDX-License-Identifier: Apache-2.0 */
/* A tree over a family of keys; values follow from the keys. */
#ifndef TERN_TESTS_DATASET_H
#define TERN_TESTS_DATASET_H

#include "key_family.h"
#include "tree_fixture.h"

struct dataset {
    struct tree_fixture fixture;
    struct key_set set;
    struct seeded_random random;
};

void dataset_open(struct dataset *dataset, enum key_family family, uint32_t count, uint64_t seed,
                  const struct fixture_options *options, const tern_allocator *allocator);
void dataset_close(struct dataset *dataset);

/* What is stored under a key; the value lies in `memory` of 256 bytes. */
struct record dataset_record(tern_slice key, uint8_t *memory);
/* True when the record is that of the key. */
bool dataset_record_is_right(tern_slice key, const struct record *record);

#endif
