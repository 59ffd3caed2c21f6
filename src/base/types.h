/* SPDX-License-Identifier: Apache-2.0 */
/* Words that every layer shares. */
#ifndef TERN_BASE_TYPES_H
#define TERN_BASE_TYPES_H

#include <stdint.h>

/* Position of a commit in this database's one total order; the first commit is 1. */
typedef uint64_t seq_no;
#define SEQ_NONE ((seq_no)0)
#define SEQ_MAX  UINT64_MAX

/* Id of a partition; never reused. 0 is the catalog, which is no partition. */
typedef uint64_t partition_id;

#endif
