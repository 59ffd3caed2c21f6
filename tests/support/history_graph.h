/* SPDX-License-Identifier: Apache-2.0 */
/* A directed graph whose edges have kinds; its strongly connected parts and shortest paths. */
#ifndef TERN_TESTS_HISTORY_GRAPH_H
#define TERN_TESTS_HISTORY_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum history_edge_kind { EDGE_WW = 1, EDGE_WR = 2, EDGE_RW = 4, EDGE_RT = 8 };

struct history_edge {
    uint32_t from;
    uint32_t to;
    uint32_t kind; /* one of enum history_edge_kind */
    uint32_t key;  /* of the list that it was seen in; nothing for rt */
};

struct history_graph {
    size_t nodes;
    struct history_edge *edges; /* sorted by `from` once sealed */
    size_t count;
    size_t capacity;
    size_t *first; /* edges of node n: first[n] to first[n + 1] - 1 */
};

void history_graph_init(struct history_graph *graph, size_t nodes);
void history_graph_release(struct history_graph *graph);
/* Edges from a node to itself are left out. */
void history_graph_add(struct history_graph *graph, struct history_edge edge);
/* Sorts, drops repeated edges; after it nothing is added. */
void history_graph_seal(struct history_graph *graph);

/*
 * Numbers the strongly connected components of the graph of edges whose kind is in `kinds`, by
 * Tarjan's algorithm. `out_component` has room for a number per node.
 */
void history_graph_components(const struct history_graph *graph, uint32_t kinds,
                              uint32_t *out_component);

/*
 * A shortest path over edges in `kinds`. `out_path` has room for an edge per node; returns the
 * number of edges, or SIZE_MAX when there is no path.
 */
size_t history_graph_path(const struct history_graph *graph, uint32_t kinds, uint32_t from,
                          uint32_t to, struct history_edge *out_path);

#endif
