/* SPDX-License-Identifier: Apache-2.0 */
/* stats: all numbers, with units. */
#include "cli/quantity.h"
#include "cli/run.h"
#include "cli/stat_table.h"
#include "cli/terminal.h"
#include <inttypes.h>

void stat_table_open(struct stat_table *table, struct session *session, bool has_zeros) {
    static const char *const names[] = {"number", ">value", "meaning"};
    *table = (struct stat_table){
        .session = session, .json = session_json(session), .has_zeros = has_zeros};
    text_table_open(&table->table, names, sizeof(names) / sizeof(names[0]));
}

static void print_quantity(const tern_stat *stat, struct buffer *text) {
    if (strcmp(stat->unit, "bytes") == 0) {
        quantity_print_bytes(stat->value, text);
    } else if (strcmp(stat->unit, "ns") == 0) {
        quantity_print_duration_ns(stat->value, text);
    } else if (strcmp(stat->unit, "ms") == 0 && stat->value < UINT64_C(1000) * 86400 * 3650) {
        quantity_print_duration_ns(stat->value * 1000000, text);
    } else if (strcmp(stat->unit, "count") == 0) {
        quantity_print_count(stat->value, text);
    } else if (strcmp(stat->unit, "percent") == 0) {
        buffer_print(text, "%" PRIu64 " %%", stat->value);
    } else {
        buffer_print(text, "%" PRIu64, stat->value);
    }
}

bool stat_table_visit(void *context, const tern_stat *stat) {
    struct stat_table *table = context;
    if (table->session->settings.is_json) {
        json_begin_object(&table->json, stat->name);
        json_unsigned(&table->json, "value", stat->value);
        json_text(&table->json, "unit", stat->unit);
        json_text(&table->json, "kind", stat->kind == TERN_STAT_COUNTER ? "counter" : "gauge");
        json_text(&table->json, "meaning", stat->text);
        json_end_object(&table->json);
    } else if (stat->value != 0 || table->has_zeros) {
        struct buffer text = {0};
        print_quantity(stat, &text);
        text_table_cell(&table->table, stat->name);
        text_table_cell(&table->table, buffer_text(&text));
        text_table_cell(&table->table, stat->text);
        buffer_release(&text);
    }
    return true;
}

void stat_table_close(struct stat_table *table) {
    struct session *session = table->session;
    if (session->settings.is_json) {
        json_end_object(&table->json);
        json_end_object(&table->json);
        json_end_line(&table->json);
    } else {
        text_table_print(&table->table, session->out, terminal_width_columns(session->out),
                         session->has_color);
    }
    text_table_release(&table->table);
}

tern_status run_stats(struct session *session, const struct invocation *invocation) {
    struct stat_table table;
    tern_keyspace *keyspace = NULL;
    bool is_of_keyspace = invocation->argument_count > 0;
    if (is_of_keyspace) {
        tern_status status = session_keyspace(session, invocation->arguments[0], &keyspace);
        if (status != TERN_OK) {
            return status;
        }
    }
    stat_table_open(&table, session, invocation_has(invocation, OPTION_ALL));
    if (session->settings.is_json) {
        json_begin_object(&table.json, NULL);
        json_text(&table.json, "keyspace", is_of_keyspace ? tern_keyspace_name(keyspace) : NULL);
        json_begin_object(&table.json, "stats");
    }
    tern_status status =
        is_of_keyspace ? tern_keyspace_stats(keyspace, stat_table_visit, &table, &session->error)
                       : tern_stats(session->db, stat_table_visit, &table, &session->error);
    stat_table_close(&table);
    return status;
}
