/* SPDX-License-Identifier: Apache-2.0 */
/* A base for merge cursors: the model's states as of a seq, in leaves that go when they are left.
 */
#ifndef TERN_TESTS_UNIT_OVERLAY_ARRAY_BASE_H
#define TERN_TESTS_UNIT_OVERLAY_ARRAY_BASE_H

#include "engine/overlay/merge_cursor.h"
#include "model.h"

/* Keys with index below `boundary` are as of new_seq, the others as of old_seq. */
struct base_content {
    seq_no old_seq;
    seq_no new_seq;
    size_t boundary;
};

/* Bytes of a leaf are freed when the cursor moves to another one. It can step inside of a leaf
 * unless leaf_entries is a multiple of 3. */
struct base_cursor *array_base_open(const struct model *model, struct base_content content,
                                    size_t leaf_entries);

/* The record of one key; false when the base has none. Bytes live in *value. */
bool array_base_get(const struct model *model, struct base_content content, size_t key,
                    struct model_value *value, struct record *out_record);

#endif
