/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Point reads of a root, in variants: searching heads is most of what a read computes, and vectors
 * of the processor at hand search them in a third of the instructions. A variant holds the whole
 * descent, so that the choice costs one indirect call a read, not one a node.
 */
#ifndef TERN_ENGINE_BTREE_LOOKUP_H
#define TERN_ENGINE_BTREE_LOOKUP_H

#include "engine/btree/btree.h"

/* Any thread, inside an epoch. */
struct btree_lookup {
    /* The record of a key and the frame that holds its bytes (readable until the epoch is left,
     * longer when pinned); kind RECORD_NONE, and no frame, when there is none. */
    tern_status (*find)(struct btree *tree, struct btree_root *root, tern_slice key,
                        struct record *out_record, void **out_frame, tern_error *error);
    /* btree_lookup_many. */
    tern_status (*find_many)(struct btree *tree, struct btree_root *root,
                             struct btree_lookup_request *requests, size_t count,
                             tern_error *error);
};

extern const struct btree_lookup btree_lookup_base;   /* any machine of the architecture */
extern const struct btree_lookup btree_lookup_avx512; /* where cpu_has_avx512() */

/* The best for this processor. */
const struct btree_lookup *btree_lookup_best(void);

#endif
