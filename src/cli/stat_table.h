/* SPDX-License-Identifier: Apache-2.0 */
/* The numbers of a database or keyspace as a table or as JSON. */
#ifndef TERN_CLI_STAT_TABLE_H
#define TERN_CLI_STAT_TABLE_H

#include "cli/session.h"
#include "cli/text_table.h"

struct stat_table {
    struct session *session;
    struct json_writer json; /* stands inside of the object "stats" */
    struct text_table table;
    bool has_zeros;
};

void stat_table_open(struct stat_table *table, struct session *session, bool has_zeros);
/* A tern_stat_visitor; `context` is the table. */
bool stat_table_visit(void *context, const tern_stat *stat);
/* Prints the table, or closes the objects "stats" and the one around it. */
void stat_table_close(struct stat_table *table);

#endif
