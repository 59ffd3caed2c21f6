/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The value of a MERGE record in a table: operands newest first, each u8 kind, varint logged time
 * of its commit, varint size, bytes. They stay apart because a value below may expire between them.
 */
#ifndef TERN_ENGINE_LSM_OPERAND_LIST_H
#define TERN_ENGINE_LSM_OPERAND_LIST_H

#include "engine/resolution.h"

/* Longer lists are resolved against what lies below when they are written. */
#define OPERAND_LIST_MAX 32u

/* Writes the operands of a resolution that is not complete and has no piles. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status operand_list_encode(const struct resolution *resolution,
                                                struct buffer *out_list);
/* Number of operands in a list that was checked. */
uint32_t operand_list_count(tern_slice list);

#endif
