/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Histories of list-append transactions, and the anomalies in them.
 *
 * The method is that of Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from
 * Experimental Observations" (VLDB 2020), with the names of Adya, "Weak Consistency" (1999): every
 * key holds a list, every append a number that is used once, so a list read shows the order of
 * versions of its key and who wrote each. From these follow the dependencies between transactions:
 *
 *   ww   wrote the version after that of the other       wr   read the version that the other wrote
 *   rw   read a version that the other then replaced     rt   began after the other had ended
 *
 * and an anomaly is a cycle of them. Cycles are looked for without rt first, then with it (the
 * anomaly HISTORY_REALTIME says that a cycle needs rt: the order of commits contradicts the clock).
 *
 * Deviations: aborted transactions are held to the rules of reading, too. For snapshots the cycles
 * sought are those without two adjacent rw (Cerone and Gotsman, "Analysing Snapshot Isolation",
 * 2016), which includes G-single. Merges commute and do not conflict, so where they are used under
 * snapshot isolation the ww among them bind nobody (`appends_commute`).
 */
#ifndef TERN_TESTS_HISTORY_H
#define TERN_TESTS_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum history_outcome { HISTORY_RUNNING, HISTORY_COMMITTED, HISTORY_ABORTED };

/* X(name, bit, text) */
#define HISTORY_ANOMALY_MAP(X)                                                                     \
    X(GARBAGE, 0, "an element that nobody appended")                                               \
    X(DUPLICATE, 1, "an element twice in a list")                                                  \
    X(INCOMPATIBLE_ORDER, 2, "two reads of a key, neither a prefix of the other")                  \
    X(LOST_APPEND, 3, "a committed append that is not in the final list")                          \
    X(INTERNAL, 4, "a read that misses the transaction's own appends")                             \
    X(UNREPEATABLE_READ, 5, "two reads of a key in a transaction that differ")                     \
    X(LOST_UPDATE, 6, "two committed updates of the same version")                                 \
    X(G1A, 7, "G1a, a read of an append that was taken back")                                      \
    X(G1B, 8, "G1b, a read of a version that its writer replaced")                                 \
    X(G0, 9, "G0, a cycle of ww")                                                                  \
    X(G1C, 10, "G1c, a cycle of ww and wr")                                                        \
    X(G_SINGLE, 11, "G-single, a cycle with one rw")                                               \
    X(G_NONADJACENT, 12, "a cycle with several rw, no two of them adjacent")                       \
    X(G2_ITEM, 13, "G2-item, a cycle with several rw")                                             \
    X(REALTIME, 14, "a cycle that needs the order in real time")

enum history_anomaly {
#define HISTORY_ANOMALY_ENUM(name, bit, text) HISTORY_##name = 1u << (bit),
    HISTORY_ANOMALY_MAP(HISTORY_ANOMALY_ENUM)
#undef HISTORY_ANOMALY_ENUM
};

/* What each level rules out. */
#define HISTORY_READ_COMMITTED_RULES                                                               \
    (HISTORY_GARBAGE | HISTORY_DUPLICATE | HISTORY_INTERNAL | HISTORY_G1A | HISTORY_G1B |          \
     HISTORY_G0 | HISTORY_G1C | HISTORY_INCOMPATIBLE_ORDER | HISTORY_LOST_APPEND)
#define HISTORY_SNAPSHOT_RULES                                                                     \
    (HISTORY_READ_COMMITTED_RULES | HISTORY_UNREPEATABLE_READ | HISTORY_LOST_UPDATE |              \
     HISTORY_G_SINGLE | HISTORY_G_NONADJACENT)
#define HISTORY_SERIALIZABLE_RULES (HISTORY_SNAPSHOT_RULES | HISTORY_G2_ITEM)

struct history;
struct history_txn;

/* `sessions` threads will record at the same time, each into its own session. */
struct history *history_create(unsigned sessions);
void history_destroy(struct history *history);

/* A number for an append, from 1 on, not given before. Any thread. */
uint32_t history_new_element(struct history *history);

/* Begins a transaction of a session, which has one at a time. Call before its snapshot is taken. */
struct history_txn *history_begin(struct history *history, unsigned session);
/* The list that was read; a missing key is an empty list. */
void history_read(struct history_txn *txn, uint32_t key, const uint32_t *elements, size_t count);
/* Blind: without a conflict with other appends to the key (a merge). */
void history_append(struct history_txn *txn, uint32_t key, uint32_t element, bool is_blind);
/* A place in the transaction, and the end of all appends since that place. */
size_t history_savepoint(const struct history_txn *txn);
void history_undo(struct history_txn *txn, size_t savepoint);
/* Call after the commit or rollback has returned. */
void history_end(struct history_txn *txn, enum history_outcome outcome);

struct history_rules {
    bool appends_commute; /* ww bind nobody; readers depend on every append they saw or missed */
    bool is_complete;     /* the longest list read of each key is its last */
};

#define HISTORY_DETAIL_BYTES 4096
struct history_report {
    uint32_t anomalies; /* bits of enum history_anomaly */
    size_t committed;   /* transactions */
    size_t aborted;
    size_t edges;
    char detail[HISTORY_DETAIL_BYTES]; /* one line for the first anomaly of each kind */
};

/* Looks for all anomalies. No thread may be recording. */
void history_check(const struct history *history, struct history_rules rules,
                   struct history_report *out_report);

/* Writes everything that was recorded, one transaction a line, in the notation r(key, list). */
void history_print(const struct history *history, FILE *file);

/* Names of the bits, "G1a G-single"; the text lives in the caller's buffer. */
const char *history_anomaly_names(uint32_t anomalies, char *buffer, size_t capacity);

#endif
