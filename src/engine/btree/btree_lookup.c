/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/btree/btree_lookup.h"

#include "base/error.h"
#include "engine/resolution.h"
#include "simd/cpu.h"

const struct btree_lookup *btree_lookup_best(void) {
#if CPU_X86
    if (cpu_has_avx512()) {
        return &btree_lookup_avx512;
    }
#endif
    return &btree_lookup_base;
}

tern_status btree_find(struct btree *tree, struct btree_root *root, tern_slice key,
                       struct record *out_record, void **out_frame, tern_error *error) {
    return tree->lookup->find(tree, root, key, out_record, out_frame, error);
}

tern_status btree_lookup(struct btree *tree, struct btree_root *root, tern_slice key,
                         struct resolution *resolution, tern_error *error) {
    struct record record;
    void *frame = NULL;
    tern_status status = tree->lookup->find(tree, root, key, &record, &frame, error);
    if (status == TERN_OK && record.kind != RECORD_NONE) {
        status = resolution_add(resolution, &record, btree_source_of(frame), frame);
        if (status != TERN_OK) {
            return ERROR_NO_MEMORY(error, "the versions of a key");
        }
    }
    return status;
}

tern_status btree_lookup_many(struct btree *tree, struct btree_root *root,
                              struct btree_lookup_request *requests, size_t count,
                              tern_error *error) {
    return tree->lookup->find_many(tree, root, requests, count, error);
}
