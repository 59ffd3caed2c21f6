/* SPDX-License-Identifier: Apache-2.0 */
#include "support/history_graph.h"

#include <stdlib.h>
#include <string.h>

#include "support/check.h"

#define NOT_VISITED UINT32_MAX

void history_graph_init(struct history_graph *graph, size_t nodes) {
    *graph = (struct history_graph){.nodes = nodes};
}

void history_graph_release(struct history_graph *graph) {
    free(graph->edges);
    free(graph->first);
    *graph = (struct history_graph){0};
}

void history_graph_add(struct history_graph *graph, struct history_edge edge) {
    CHECK(graph->first == NULL);
    if (edge.from == edge.to) {
        return;
    }
    if (graph->count == graph->capacity) {
        graph->capacity = graph->capacity * 2 + 256;
        graph->edges = check_resize(graph->edges, graph->capacity * sizeof(*graph->edges));
    }
    graph->edges[graph->count++] = edge;
}

static int compare_edges(const void *left, const void *right) {
    const struct history_edge *a = left;
    const struct history_edge *b = right;
    if (a->from != b->from) {
        return a->from < b->from ? -1 : 1;
    }
    if (a->to != b->to) {
        return a->to < b->to ? -1 : 1;
    }
    return a->kind < b->kind ? -1 : a->kind > b->kind;
}

void history_graph_seal(struct history_graph *graph) {
    size_t kept = 0;
    if (graph->count > 0) {
        qsort(graph->edges, graph->count, sizeof(*graph->edges), compare_edges);
    }
    for (size_t i = 0; i < graph->count; i++) {
        if (kept == 0 || compare_edges(&graph->edges[kept - 1], &graph->edges[i]) != 0) {
            graph->edges[kept++] = graph->edges[i];
        }
    }
    graph->count = kept;
    graph->first = check_allocate((graph->nodes + 1) * sizeof(*graph->first));
    size_t next = 0;
    for (size_t node = 0; node <= graph->nodes; node++) {
        while (next < kept && graph->edges[next].from < node) {
            next++;
        }
        graph->first[node] = next;
    }
}

struct tarjan {
    const struct history_graph *graph;
    uint32_t kinds;
    uint32_t *component;
    uint32_t *index; /* order of the first visit */
    uint32_t *low;   /* lowest index on the stack that is reachable */
    uint32_t *stack; /* visited, component not known yet */
    size_t stack_count;
    uint32_t *walk; /* the path of the search: nodes, and the next edge of each */
    size_t *edge;
    uint32_t next_index;
    uint32_t next_component;
};

static void leave_node(struct tarjan *state, uint32_t node) {
    if (state->low[node] != state->index[node]) {
        return;
    }
    uint32_t member;
    do {
        member = state->stack[--state->stack_count];
        state->component[member] = state->next_component;
    } while (member != node);
    state->next_component++;
}

static void visit(struct tarjan *state, uint32_t root) {
    size_t depth = 0;
    state->walk[depth] = root;
    while (depth != SIZE_MAX) {
        uint32_t node = state->walk[depth];
        if (state->index[node] == NOT_VISITED) {
            state->index[node] = state->low[node] = state->next_index++;
            state->stack[state->stack_count++] = node;
            state->edge[node] = state->graph->first[node];
        }
        bool descends = false;
        while (!descends && state->edge[node] < state->graph->first[node + 1]) {
            const struct history_edge *edge = &state->graph->edges[state->edge[node]];
            if ((edge->kind & state->kinds) == 0) {
                state->edge[node]++;
            } else if (state->index[edge->to] == NOT_VISITED) {
                state->walk[++depth] = edge->to; /* comes back to the same edge, then visited */
                descends = true;
            } else {
                if (state->component[edge->to] == NOT_VISITED &&
                    state->low[edge->to] < state->low[node]) {
                    state->low[node] = state->low[edge->to];
                }
                state->edge[node]++;
            }
        }
        if (!descends) {
            leave_node(state, node);
            depth--;
        }
    }
}

void history_graph_components(const struct history_graph *graph, uint32_t kinds,
                              uint32_t *out_component) {
    size_t bytes = (graph->nodes + 1) * sizeof(uint32_t);
    struct tarjan state = {.graph = graph,
                           .kinds = kinds,
                           .component = out_component,
                           .index = check_allocate(bytes),
                           .low = check_allocate(bytes),
                           .stack = check_allocate(bytes),
                           .walk = check_allocate(bytes),
                           .edge = check_allocate((graph->nodes + 1) * sizeof(size_t))};
    memset(state.index, 0xff, bytes);
    memset(out_component, 0xff, graph->nodes * sizeof(*out_component));
    for (uint32_t node = 0; node < graph->nodes; node++) {
        if (state.index[node] == NOT_VISITED) {
            visit(&state, node);
        }
    }
    free(state.index);
    free(state.low);
    free(state.stack);
    free(state.walk);
    free(state.edge);
}

size_t history_graph_path(const struct history_graph *graph, uint32_t kinds, uint32_t from,
                          uint32_t to, struct history_edge *out_path) {
    size_t *came_by = check_allocate((graph->nodes + 1) * sizeof(*came_by)); /* edge, plus one */
    uint32_t *queue = check_allocate((graph->nodes + 1) * sizeof(*queue));
    size_t head = 0;
    size_t tail = 0;
    size_t length = SIZE_MAX;
    queue[tail++] = from;
    while (head < tail && came_by[to] == 0) {
        uint32_t node = queue[head++];
        for (size_t i = graph->first[node]; i < graph->first[node + 1]; i++) {
            const struct history_edge *edge = &graph->edges[i];
            if ((edge->kind & kinds) != 0 && edge->to != from && came_by[edge->to] == 0) {
                came_by[edge->to] = i + 1;
                queue[tail++] = edge->to;
            }
        }
    }
    if (came_by[to] != 0) {
        length = 0;
        for (uint32_t node = to; node != from; node = graph->edges[came_by[node] - 1].from) {
            length++;
        }
        size_t place = length;
        for (uint32_t node = to; node != from; node = out_path[place].from) {
            out_path[--place] = graph->edges[came_by[node] - 1];
        }
    }
    free(came_by);
    free(queue);
    return length;
}
