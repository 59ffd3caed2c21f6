/* SPDX-License-Identifier: Apache-2.0 */
/* How histories are kept while they are recorded; for the checker alone. */
#ifndef TERN_TESTS_HISTORY_INTERNAL_H
#define TERN_TESTS_HISTORY_INTERNAL_H

#include <stdatomic.h>

#include "support/history.h"

enum history_op_kind { OP_READ, OP_APPEND, OP_UNDO };

struct history_op {
    enum history_op_kind kind;
    uint32_t key;
    uint32_t element;   /* append */
    bool is_blind;      /* append */
    bool is_undone;     /* append: a later undo took it back */
    size_t savepoint;   /* undo: the first op that it takes back */
    uint32_t *elements; /* read */
    size_t count;       /* read */
};

struct history_txn {
    struct history *history;
    uint64_t begun_tick;
    uint64_t ended_tick;
    enum history_outcome outcome;
    struct history_op *ops;
    size_t count;
    size_t capacity;
};

struct history_session {
    struct history_txn **txns;
    size_t count;
    size_t capacity;
};

struct history {
    atomic_uint_fast64_t tick;
    atomic_uint_fast32_t last_element;
    unsigned session_count;
    struct history_session *sessions;
};

#endif
