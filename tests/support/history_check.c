/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From reads to versions, from versions to dependencies, from these to cycles; see history.h.
 *
 * 1. Every transaction is walked through once, to split each list that it read into the part that
 *    others wrote (`external`) and its own appends so far, which must stand at the end.
 * 2. The longest external part of a key is the order of its versions; every other must be a prefix.
 * 3. Edges between committed transactions. 4. Cycles.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/history_graph.h"
#include "support/history_internal.h"

#define NO_TXN       UINT32_MAX
#define DEPENDENCIES (EDGE_WW | EDGE_WR | EDGE_RT)

/* One external read of a transaction. */
struct seen {
    uint32_t txn;
    uint32_t key;
    const uint32_t *elements;
    size_t count;
};

struct writer {
    const struct history_txn *txn;
    uint32_t node; /* NO_TXN unless committed */
    uint32_t key;
    bool is_taken_back;   /* aborted or undone */
    bool is_intermediate; /* the same transaction appended to the key after it */
};

struct key_order {
    const uint32_t *elements;
    size_t count;
};

struct checker {
    struct history_rules rules;
    struct history_report *report;
    size_t detail_size;
    const struct history_txn **txns; /* committed ones first; their place is their node */
    size_t txn_count;
    struct writer *writers; /* by element; 0 is nobody's */
    size_t writer_count;
    struct key_order *orders; /* by key */
    size_t key_count;
    struct seen *seen;
    size_t seen_count;
    size_t seen_capacity;
    struct history_graph graph;
};

static void __attribute__((format(printf, 3, 4)))
found(struct checker *checker, uint32_t anomaly, const char *format, ...) {
    struct history_report *report = checker->report;
    bool is_first = (report->anomalies & anomaly) != anomaly;
    report->anomalies |= anomaly;
    if (!is_first || checker->detail_size + 1 >= HISTORY_DETAIL_BYTES) {
        return;
    }
    char names[256];
    char *line = report->detail + checker->detail_size;
    size_t room = HISTORY_DETAIL_BYTES - checker->detail_size;
    int size = snprintf(line, room, "%s: ", history_anomaly_names(anomaly, names, sizeof(names)));
    va_list arguments;
    va_start(arguments, format);
    if (size > 0 && (size_t)size < room) {
        size += vsnprintf(line + size, room - (size_t)size, format, arguments);
    }
    va_end(arguments);
    if (size > 0 && (size_t)size + 1 < room) {
        line[size++] = '\n';
        line[size] = '\0';
    }
    checker->detail_size += (size_t)size < room ? (size_t)size : room - 1;
}

/* ---- transactions and writers ---- */

static void gather_txns(struct checker *checker, const struct history *history) {
    size_t total = 0;
    for (unsigned i = 0; i < history->session_count; i++) {
        total += history->sessions[i].count;
    }
    checker->txns = check_allocate((total + 1) * sizeof(const struct history_txn *));
    for (int committed = 1; committed >= 0; committed--) {
        for (unsigned i = 0; i < history->session_count; i++) {
            const struct history_session *session = &history->sessions[i];
            for (size_t j = 0; j < session->count; j++) {
                if ((session->txns[j]->outcome == HISTORY_COMMITTED) == (committed == 1)) {
                    checker->txns[checker->txn_count++] = session->txns[j];
                }
            }
        }
        if (committed == 1) {
            checker->report->committed = checker->txn_count;
        }
    }
    checker->report->aborted = checker->txn_count - checker->report->committed;
}

static void gather_writers(struct checker *checker, const struct history *history) {
    checker->writer_count = (size_t)atomic_load(&history->last_element) + 1;
    checker->writers = check_allocate(checker->writer_count * sizeof(*checker->writers));
    for (size_t i = 0; i < checker->txn_count; i++) {
        const struct history_txn *txn = checker->txns[i];
        bool is_committed = i < checker->report->committed;
        for (size_t j = 0; j < txn->count; j++) {
            const struct history_op *op = &txn->ops[j];
            if (op->kind != OP_UNDO && op->key >= checker->key_count) {
                checker->key_count = op->key + 1;
            }
            if (op->kind != OP_APPEND) {
                continue;
            }
            struct writer *writer = &checker->writers[op->element];
            CHECK(writer->txn == NULL);
            *writer = (struct writer){.txn = txn,
                                      .node = is_committed ? (uint32_t)i : NO_TXN,
                                      .key = op->key,
                                      .is_taken_back = op->is_undone || !is_committed};
            for (size_t k = j + 1; !op->is_undone && k < txn->count; k++) {
                const struct history_op *later = &txn->ops[k];
                writer->is_intermediate |=
                    later->kind == OP_APPEND && later->key == op->key && !later->is_undone;
            }
        }
    }
    checker->orders = check_allocate((checker->key_count + 1) * sizeof(*checker->orders));
}

static const struct writer *writer_of(const struct checker *checker, uint32_t element,
                                      uint32_t key) {
    if (element == 0 || element >= checker->writer_count || checker->writers[element].txn == NULL ||
        checker->writers[element].key != key) {
        return NULL;
    }
    return &checker->writers[element];
}

/* ---- reads ---- */

/* Own appends to the key that stand when op `at` runs, oldest first. */
static size_t own_appends(const struct history_txn *txn, size_t at, uint32_t key,
                          uint32_t *out_own) {
    size_t count = 0;
    for (size_t i = 0; i < at; i++) {
        const struct history_op *op = &txn->ops[i];
        if (op->kind != OP_APPEND || op->key != key) {
            continue;
        }
        bool stands = true;
        for (size_t j = i + 1; j < at; j++) {
            stands = stands && !(txn->ops[j].kind == OP_UNDO && txn->ops[j].savepoint <= i);
        }
        if (stands) {
            out_own[count++] = op->element;
        }
    }
    return count;
}

static void check_elements(struct checker *checker, uint32_t node, const struct seen *read) {
    for (size_t i = 0; i < read->count; i++) {
        uint32_t element = read->elements[i];
        const struct writer *writer = writer_of(checker, element, read->key);
        if (writer == NULL) {
            found(checker, HISTORY_GARBAGE, "T%u read %u in key %u", node, element, read->key);
            continue;
        }
        if (writer->txn == checker->txns[node]) {
            found(checker, HISTORY_INTERNAL, "T%u read its own %u in key %u out of place", node,
                  element, read->key);
        } else if (writer->is_taken_back) {
            found(checker, HISTORY_G1A, "T%u read %u in key %u, which was taken back", node,
                  element, read->key);
        }
        for (size_t j = 0; j < i; j++) {
            if (read->elements[j] == element) {
                found(checker, HISTORY_DUPLICATE, "T%u read %u in key %u twice", node, element,
                      read->key);
            }
        }
    }
    if (read->count > 0) {
        uint32_t last = read->elements[read->count - 1];
        const struct writer *writer = writer_of(checker, last, read->key);
        if (writer != NULL && writer->txn != checker->txns[node] && writer->is_intermediate) {
            found(checker, HISTORY_G1B, "T%u read key %u up to %u, in the middle of its writer",
                  node, read->key, last);
        }
    }
}

static bool is_prefix(const uint32_t *shorter, size_t count, const struct key_order *order) {
    return count <= order->count &&
           (count == 0 || memcmp(shorter, order->elements, count * sizeof(*shorter)) == 0);
}

static void note_seen(struct checker *checker, const struct seen *read) {
    for (size_t i = checker->seen_count; i-- > 0 && checker->seen[i].txn == read->txn;) {
        const struct seen *earlier = &checker->seen[i];
        if (earlier->key == read->key &&
            (earlier->count != read->count ||
             (read->count > 0 && memcmp(earlier->elements, read->elements,
                                        read->count * sizeof(*read->elements)) != 0))) {
            found(checker, HISTORY_UNREPEATABLE_READ, "T%u read %zu, then %zu elements of key %u",
                  read->txn, earlier->count, read->count, read->key);
        }
    }
    if (checker->seen_count == checker->seen_capacity) {
        checker->seen_capacity = checker->seen_capacity * 2 + 256;
        checker->seen =
            check_resize(checker->seen, checker->seen_capacity * sizeof(*checker->seen));
    }
    checker->seen[checker->seen_count++] = *read;
    struct key_order *order = &checker->orders[read->key];
    if (read->count > order->count) {
        *order = (struct key_order){read->elements, read->count};
    }
}

static void gather_reads(struct checker *checker) {
    for (uint32_t node = 0; node < checker->txn_count; node++) {
        const struct history_txn *txn = checker->txns[node];
        uint32_t *own = check_allocate((txn->count + 1) * sizeof(*own));
        for (size_t i = 0; i < txn->count; i++) {
            const struct history_op *op = &txn->ops[i];
            if (op->kind != OP_READ) {
                continue;
            }
            struct seen read = {node, op->key, op->elements, op->count};
            size_t owned = own_appends(txn, i, op->key, own);
            if (owned > read.count || (owned > 0 && memcmp(read.elements + (read.count - owned),
                                                           own, owned * sizeof(*own)) != 0)) {
                found(checker, HISTORY_INTERNAL, "T%u does not find its own appends in key %u",
                      node, op->key);
            } else {
                read.count -= owned;
            }
            check_elements(checker, node, &read);
            note_seen(checker, &read);
        }
        free(own);
    }
}

static void check_orders(struct checker *checker) {
    for (size_t i = 0; i < checker->seen_count; i++) {
        const struct seen *read = &checker->seen[i];
        if (!is_prefix(read->elements, read->count, &checker->orders[read->key])) {
            found(checker, HISTORY_INCOMPATIBLE_ORDER,
                  "T%u read %zu elements of key %u that are not how its longest list begins",
                  read->txn, read->count, read->key);
        }
    }
    if (!checker->rules.is_complete) {
        return;
    }
    bool *is_there = check_allocate(checker->writer_count * sizeof(*is_there));
    for (size_t key = 0; key < checker->key_count; key++) {
        for (size_t i = 0; i < checker->orders[key].count; i++) {
            uint32_t element = checker->orders[key].elements[i];
            is_there[element < checker->writer_count ? element : 0] = true;
        }
    }
    for (uint32_t element = 1; element < checker->writer_count; element++) {
        const struct writer *writer = &checker->writers[element];
        if (writer->txn != NULL && !writer->is_taken_back && !is_there[element]) {
            found(checker, HISTORY_LOST_APPEND, "T%u appended %u to key %u, where it is not",
                  writer->node, element, writer->key);
        }
    }
    free(is_there);
}

/* The number of external elements of the key that the transaction last read before op `at`. */
static size_t version_before(const struct history_txn *txn, size_t at, uint32_t key,
                             const uint32_t **out_elements) {
    for (size_t i = at; i-- > 0;) {
        const struct history_op *op = &txn->ops[i];
        if (op->kind == OP_APPEND && op->key == key && !op->is_undone) {
            return SIZE_MAX; /* only the first append replaces what others wrote */
        }
        if (op->kind == OP_READ && op->key == key) {
            uint32_t *own = check_allocate((i + 1) * sizeof(*own));
            size_t owned = own_appends(txn, i, key, own);
            free(own);
            *out_elements = op->elements;
            return op->count >= owned ? op->count - owned : SIZE_MAX;
        }
    }
    return SIZE_MAX;
}

/* Who updated the version of `key` that ends with a given element: a slot per element, and per key
 * for the empty list. */
static void check_lost_updates(struct checker *checker) {
    size_t slots = checker->writer_count + checker->key_count;
    uint32_t *updater = check_allocate((slots + 1) * sizeof(*updater));
    memset(updater, 0xff, (slots + 1) * sizeof(*updater));
    for (uint32_t node = 0; node < checker->report->committed; node++) {
        const struct history_txn *txn = checker->txns[node];
        for (size_t i = 0; i < txn->count; i++) {
            const struct history_op *op = &txn->ops[i];
            const uint32_t *elements = NULL;
            if (op->kind != OP_APPEND || op->is_blind || op->is_undone) {
                continue;
            }
            size_t count = version_before(txn, i, op->key, &elements);
            if (count == SIZE_MAX) {
                continue;
            }
            size_t slot =
                count == 0 ? checker->writer_count + op->key : (size_t)elements[count - 1];
            if (slot >= slots) {
                continue; /* garbage, reported already */
            }
            if (updater[slot] != NO_TXN && updater[slot] != node) {
                found(checker, HISTORY_LOST_UPDATE, "T%u and T%u both updated key %u at length %zu",
                      updater[slot], node, op->key, count);
            }
            updater[slot] = node;
        }
    }
    free(updater);
}

/* ---- dependencies ---- */

static uint32_t node_at(const struct checker *checker, uint32_t key, size_t place) {
    const struct writer *writer = writer_of(checker, checker->orders[key].elements[place], key);
    return writer == NULL ? NO_TXN : writer->node;
}

static void add_edge(struct checker *checker, uint32_t from, uint32_t to, uint32_t kind,
                     uint32_t key) {
    if (from != NO_TXN && to != NO_TXN) {
        history_graph_add(&checker->graph, (struct history_edge){from, to, kind, key});
    }
}

static void add_version_edges(struct checker *checker) {
    for (uint32_t key = 0; key < checker->key_count && !checker->rules.appends_commute; key++) {
        uint32_t before = NO_TXN;
        for (size_t i = 0; i < checker->orders[key].count; i++) {
            uint32_t node = node_at(checker, key, i);
            add_edge(checker, before, node, EDGE_WW, key);
            before = node != NO_TXN ? node : before;
        }
    }
}

static void add_read_edges(struct checker *checker) {
    for (size_t i = 0; i < checker->seen_count; i++) {
        const struct seen *read = &checker->seen[i];
        const struct key_order *order = &checker->orders[read->key];
        if (read->txn >= checker->report->committed ||
            !is_prefix(read->elements, read->count, order)) {
            continue;
        }
        size_t oldest = checker->rules.appends_commute || read->count == 0 ? 0 : read->count - 1;
        for (size_t j = oldest; j < read->count; j++) {
            add_edge(checker, node_at(checker, read->key, j), read->txn, EDGE_WR, read->key);
        }
        /* The next version that is another's; own appends lead on to it by ww. */
        for (size_t j = read->count; j < order->count; j++) {
            uint32_t node = node_at(checker, read->key, j);
            add_edge(checker, read->txn, node, EDGE_RW, read->key);
            if (node != NO_TXN && !checker->rules.appends_commute) {
                break;
            }
        }
    }
}

struct moment {
    uint64_t tick;
    uint32_t node;
    bool is_end;
};

static int compare_moments(const void *left, const void *right) {
    const struct moment *a = left;
    const struct moment *b = right;
    return a->tick < b->tick ? -1 : a->tick > b->tick;
}

/*
 * Who ended before who began. Kept to the transactions of the frontier: those that ended, and after
 * whose end none has ended that began after it.
 */
static void add_time_edges(struct checker *checker) {
    size_t committed = checker->report->committed;
    struct moment *moments = check_allocate((committed * 2 + 1) * sizeof(*moments));
    uint32_t *frontier = check_allocate((committed + 1) * sizeof(*frontier));
    size_t frontier_count = 0;
    for (uint32_t node = 0; node < committed; node++) {
        moments[2 * node] = (struct moment){checker->txns[node]->begun_tick, node, false};
        moments[2 * node + 1] = (struct moment){checker->txns[node]->ended_tick, node, true};
    }
    qsort(moments, committed * 2, sizeof(*moments), compare_moments);
    for (size_t i = 0; i < committed * 2; i++) {
        uint32_t node = moments[i].node;
        if (!moments[i].is_end) {
            for (size_t j = 0; j < frontier_count; j++) {
                add_edge(checker, frontier[j], node, EDGE_RT, 0);
            }
            continue;
        }
        size_t kept = 0;
        for (size_t j = 0; j < frontier_count; j++) {
            if (checker->txns[frontier[j]]->ended_tick > checker->txns[node]->begun_tick) {
                frontier[kept++] = frontier[j];
            }
        }
        frontier[kept] = node;
        frontier_count = kept + 1;
    }
    free(moments);
    free(frontier);
}

/* ---- cycles ---- */

static const char *edge_name(uint32_t kind) {
    switch (kind) {
    case EDGE_WW:
        return "ww";
    case EDGE_WR:
        return "wr";
    case EDGE_RW:
        return "rw";
    default:
        return "rt";
    }
}

/* A cycle that begins with `edge` and goes on over `kinds`: reported, or false when there is none.
 */
static bool report_cycle(struct checker *checker, uint32_t anomaly, uint32_t kinds,
                         const struct history_edge *edge) {
    struct history_edge *path = check_allocate((checker->graph.nodes + 1) * sizeof(*path));
    size_t length = history_graph_path(&checker->graph, kinds, edge->to, edge->from, path);
    if (length != SIZE_MAX) {
        char text[1024];
        size_t size = (size_t)snprintf(text, sizeof(text), "T%u -%s(%u)-> T%u", edge->from,
                                       edge_name(edge->kind), edge->key, edge->to);
        for (size_t i = 0; i < length && size < sizeof(text); i++) {
            size += (size_t)snprintf(text + size, sizeof(text) - size, " -%s(%u)-> T%u",
                                     edge_name(path[i].kind), path[i].key, path[i].to);
        }
        found(checker, anomaly, "%s", text);
    }
    free(path);
    return length != SIZE_MAX;
}

/* A cycle through an edge of `kind`, all of whose edges are in `kinds`. */
static void find_cycles(struct checker *checker, uint32_t anomaly, uint32_t kind, uint32_t kinds) {
    const struct history_graph *graph = &checker->graph;
    uint32_t *component = check_allocate((graph->nodes + 1) * sizeof(*component));
    history_graph_components(graph, kinds, component);
    for (size_t i = 0; i < graph->count; i++) {
        const struct history_edge *edge = &graph->edges[i];
        if (edge->kind == kind && component[edge->from] == component[edge->to] &&
            report_cycle(checker, anomaly, kinds, edge)) {
            break;
        }
    }
    free(component);
}

/* Cycles with rw: those with exactly one, and those that need more. 0: not asked for. */
static void find_read_cycles(struct checker *checker, uint32_t single, uint32_t several,
                             uint32_t kinds) {
    const struct history_graph *graph = &checker->graph;
    uint32_t *component = check_allocate((graph->nodes + 1) * sizeof(*component));
    struct history_edge *path = check_allocate((graph->nodes + 1) * sizeof(*path));
    bool has_single = single == 0;
    bool has_several = several == 0;
    history_graph_components(graph, kinds | EDGE_RW, component);
    for (size_t i = 0; i < graph->count && !(has_single && has_several); i++) {
        const struct history_edge *edge = &graph->edges[i];
        if (edge->kind != EDGE_RW || component[edge->from] != component[edge->to]) {
            continue;
        }
        if (history_graph_path(graph, kinds, edge->to, edge->from, path) != SIZE_MAX) {
            has_single = has_single || report_cycle(checker, single, kinds, edge);
        } else {
            has_several = has_several || report_cycle(checker, several, kinds | EDGE_RW, edge);
        }
    }
    free(path);
    free(component);
}

/*
 * Cycles without two adjacent rw are those of a graph with each node twice: once as come to by an
 * rw, from where no rw leads on.
 */
static bool has_nonadjacent_cycle(const struct checker *checker, uint32_t kinds) {
    const struct history_graph *graph = &checker->graph;
    uint32_t nodes = (uint32_t)graph->nodes;
    struct history_graph twice;
    history_graph_init(&twice, graph->nodes * 2);
    for (size_t i = 0; i < graph->count; i++) {
        struct history_edge edge = graph->edges[i];
        if (edge.kind == EDGE_RW) {
            edge.to += nodes;
            history_graph_add(&twice, edge);
        } else if ((edge.kind & kinds) != 0) {
            history_graph_add(&twice, edge);
            edge.from += nodes;
            history_graph_add(&twice, edge);
        }
    }
    history_graph_seal(&twice);
    uint32_t *component = check_allocate((twice.nodes + 1) * sizeof(*component));
    history_graph_components(&twice, EDGE_RW | kinds, component);
    bool is_found = false;
    for (size_t i = 0; i < twice.count && !is_found; i++) {
        is_found = twice.edges[i].kind == EDGE_RW &&
                   component[twice.edges[i].from] == component[twice.edges[i].to];
    }
    free(component);
    history_graph_release(&twice);
    return is_found;
}

/* `time` is 0 or EDGE_RT; with it, only what was not found without is looked for. */
static void classify(struct checker *checker, uint32_t time) {
    uint32_t mark = time != 0 ? HISTORY_REALTIME : 0;
    uint32_t known = checker->report->anomalies;
    if ((known & HISTORY_G0) == 0) {
        find_cycles(checker, HISTORY_G0 | mark, EDGE_WW, EDGE_WW | time);
    }
    if ((known & HISTORY_G1C) == 0) {
        find_cycles(checker, HISTORY_G1C | mark, EDGE_WR, EDGE_WW | EDGE_WR | time);
    }
    find_read_cycles(checker, (known & HISTORY_G_SINGLE) == 0 ? HISTORY_G_SINGLE | mark : 0,
                     (known & HISTORY_G2_ITEM) == 0 ? HISTORY_G2_ITEM | mark : 0,
                     EDGE_WW | EDGE_WR | time);
    if ((checker->report->anomalies & (HISTORY_G_SINGLE | HISTORY_G_NONADJACENT)) == 0 &&
        has_nonadjacent_cycle(checker, EDGE_WW | EDGE_WR | time)) {
        found(checker, HISTORY_G_NONADJACENT | mark, "the graph has one");
    }
}

void history_check(const struct history *history, struct history_rules rules,
                   struct history_report *out_report) {
    *out_report = (struct history_report){0};
    struct checker checker = {.rules = rules, .report = out_report};
    gather_txns(&checker, history);
    gather_writers(&checker, history);
    gather_reads(&checker);
    check_orders(&checker);
    check_lost_updates(&checker);
    history_graph_init(&checker.graph, out_report->committed);
    add_version_edges(&checker);
    add_read_edges(&checker);
    add_time_edges(&checker);
    history_graph_seal(&checker.graph);
    out_report->edges = checker.graph.count;
    classify(&checker, 0);
    classify(&checker, EDGE_RT);
    history_graph_release(&checker.graph);
    free(checker.txns);
    free(checker.writers);
    free(checker.orders);
    free(checker.seen);
}
