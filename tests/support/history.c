/* SPDX-License-Identifier: Apache-2.0 */
#include "support/history_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"

struct history *history_create(unsigned sessions) {
    struct history *history = check_allocate(sizeof(*history));
    history->session_count = sessions;
    history->sessions = check_allocate(sessions * sizeof(*history->sessions));
    return history;
}

void history_destroy(struct history *history) {
    if (history == NULL) {
        return;
    }
    for (unsigned i = 0; i < history->session_count; i++) {
        struct history_session *session = &history->sessions[i];
        for (size_t j = 0; j < session->count; j++) {
            struct history_txn *txn = session->txns[j];
            for (size_t k = 0; k < txn->count; k++) {
                free(txn->ops[k].elements);
            }
            free(txn->ops);
            free(txn);
        }
        free(session->txns);
    }
    free(history->sessions);
    free(history);
}

uint32_t history_new_element(struct history *history) {
    return (uint32_t)atomic_fetch_add(&history->last_element, 1) + 1;
}

static uint64_t next_tick(struct history *history) {
    return (uint64_t)atomic_fetch_add(&history->tick, 1) + 1;
}

struct history_txn *history_begin(struct history *history, unsigned session_index) {
    CHECK(session_index < history->session_count);
    struct history_session *session = &history->sessions[session_index];
    if (session->count == session->capacity) {
        session->capacity = session->capacity * 2 + 16;
        session->txns = check_resize(session->txns, session->capacity * sizeof(*session->txns));
    }
    struct history_txn *txn = check_allocate(sizeof(*txn));
    txn->history = history;
    session->txns[session->count++] = txn;
    txn->begun_tick = next_tick(history);
    return txn;
}

static struct history_op *add_op(struct history_txn *txn, enum history_op_kind kind, uint32_t key) {
    CHECK(txn->outcome == HISTORY_RUNNING);
    if (txn->count == txn->capacity) {
        txn->capacity = txn->capacity * 2 + 8;
        txn->ops = check_resize(txn->ops, txn->capacity * sizeof(*txn->ops));
    }
    struct history_op *op = &txn->ops[txn->count++];
    *op = (struct history_op){.kind = kind, .key = key};
    return op;
}

void history_read(struct history_txn *txn, uint32_t key, const uint32_t *elements, size_t count) {
    struct history_op *op = add_op(txn, OP_READ, key);
    op->count = count;
    if (count > 0) {
        op->elements = check_allocate(count * sizeof(*elements));
        memcpy(op->elements, elements, count * sizeof(*elements));
    }
}

void history_append(struct history_txn *txn, uint32_t key, uint32_t element, bool is_blind) {
    struct history_op *op = add_op(txn, OP_APPEND, key);
    op->element = element;
    op->is_blind = is_blind;
    /* Histories written by hand number their elements themselves. */
    uint_fast32_t last = atomic_load(&txn->history->last_element);
    while (last < element &&
           !atomic_compare_exchange_weak(&txn->history->last_element, &last, element)) {
    }
}

size_t history_savepoint(const struct history_txn *txn) {
    return txn->count;
}

void history_undo(struct history_txn *txn, size_t savepoint) {
    for (size_t i = savepoint; i < txn->count; i++) {
        txn->ops[i].is_undone = txn->ops[i].kind == OP_APPEND;
    }
    add_op(txn, OP_UNDO, 0)->savepoint = savepoint;
}

void history_end(struct history_txn *txn, enum history_outcome outcome) {
    CHECK(outcome != HISTORY_RUNNING);
    txn->outcome = outcome;
    txn->ended_tick = next_tick(txn->history);
}

static void print_op(const struct history_op *op, FILE *file) {
    switch (op->kind) {
    case OP_READ:
        (void)fprintf(file, " r(%" PRIu32 ", [", op->key);
        for (size_t i = 0; i < op->count; i++) {
            (void)fprintf(file, "%s%" PRIu32, i > 0 ? " " : "", op->elements[i]);
        }
        (void)fputs("])", file);
        break;
    case OP_APPEND:
        (void)fprintf(file, " %s(%" PRIu32 ", %" PRIu32 ")", op->is_blind ? "m" : "a", op->key,
                      op->element);
        break;
    case OP_UNDO:
    default:
        (void)fprintf(file, " undo(%zu)", op->savepoint);
        break;
    }
}

void history_print(const struct history *history, FILE *file) {
    static const char *const outcomes[] = {"running", "committed", "aborted"};
    for (unsigned i = 0; i < history->session_count; i++) {
        for (size_t j = 0; j < history->sessions[i].count; j++) {
            const struct history_txn *txn = history->sessions[i].txns[j];
            (void)fprintf(file, "session %u, %" PRIu64 " to %" PRIu64 ", %s:", i, txn->begun_tick,
                          txn->ended_tick, outcomes[txn->outcome]);
            for (size_t k = 0; k < txn->count; k++) {
                print_op(&txn->ops[k], file);
            }
            (void)fputc('\n', file);
        }
    }
}

const char *history_anomaly_names(uint32_t anomalies, char *buffer, size_t capacity) {
    static const char *const names[] = {
#define HISTORY_ANOMALY_NAME(name, bit, text) [bit] = #name,
        HISTORY_ANOMALY_MAP(HISTORY_ANOMALY_NAME)
#undef HISTORY_ANOMALY_NAME
    };
    size_t size = 0;
    buffer[0] = '\0';
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if ((anomalies >> i & 1) != 0 && size < capacity) {
            size += (size_t)snprintf(buffer + size, capacity - size, "%s%s", size > 0 ? " " : "",
                                     names[i]);
        }
    }
    return buffer;
}
