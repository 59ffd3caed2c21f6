/* SPDX-License-Identifier: Apache-2.0 */
/* scan and count: ranges of keys. */
#include "cli/interrupt.h"
#include "cli/run.h"
#include <errno.h>

enum { BATCH_ENTRIES = 256 };

struct scan {
    struct session *session;
    const struct invocation *invocation;
    enum bytes_format key_format, value_format;
    bool has_keys, has_values;
    uint64_t limit;
    uint64_t count;
    struct buffer text;
};

static void print_entry(struct scan *scan, tern_slice key, tern_slice value) {
    if (scan->session->settings.is_json) {
        struct json_writer json = session_json(scan->session);
        json_begin_object(&json, NULL);
        if (scan->has_keys) {
            json_bytes(&json, "key", key, scan->key_format);
        }
        if (scan->has_values) {
            json_bytes(&json, "value", value, scan->value_format);
        }
        json_end_object(&json);
        json_end_line(&json);
        return;
    }
    buffer_clear(&scan->text);
    if (scan->has_keys) {
        bytes_encode(scan->key_format, key, &scan->text);
    }
    if (scan->has_keys && scan->has_values) {
        buffer_append_char(&scan->text, '\t');
    }
    if (scan->has_values) {
        bytes_encode(scan->value_format, value, &scan->text);
    }
    buffer_append_char(&scan->text, '\n');
    fwrite(scan->text.data, 1, scan->text.size, scan->session->out);
}

static tern_status fail_cursor(struct session *session, tern_status status,
                               const tern_cursor *cursor) {
    session->error = *tern_cursor_error(cursor);
    session->error.status = status;
    return status;
}

/* Whether anybody still wants more. */
static tern_status check_reader(struct scan *scan) {
    struct session *session = scan->session;
    if (interrupt_is_pending()) {
        return session_fail(session, TERN_CANCELLED, "cancelled");
    }
    return ferror(session->out) == 0
               ? TERN_OK
               : fail_file(&session->error, errno, "standard output", "writing the output failed");
}

static tern_status scan_forward(struct scan *scan, tern_cursor *cursor) {
    tern_entry entries[BATCH_ENTRIES];
    while (scan->count < scan->limit) {
        uint64_t left = scan->limit - scan->count;
        size_t count = 0;
        tern_status status = tern_cursor_next_batch(
            cursor, entries, left < BATCH_ENTRIES ? (size_t)left : BATCH_ENTRIES, &count);
        if (status == TERN_NOT_FOUND) {
            return TERN_OK;
        }
        if (status != TERN_OK) {
            return fail_cursor(scan->session, status, cursor);
        }
        for (size_t i = 0; i < count; i++) {
            print_entry(scan, entries[i].key, entries[i].value);
        }
        scan->count += count;
        status = check_reader(scan);
        if (status != TERN_OK) {
            return status;
        }
    }
    return TERN_OK;
}

static tern_status scan_backward(struct scan *scan, tern_cursor *cursor) {
    for (; scan->count < scan->limit; scan->count++) {
        tern_slice value = {0};
        tern_status status = tern_cursor_previous(cursor);
        if (status == TERN_NOT_FOUND) {
            return TERN_OK;
        }
        if (status == TERN_OK && scan->has_values) {
            status = tern_cursor_value(cursor, &value);
        }
        if (status != TERN_OK) {
            return fail_cursor(scan->session, status, cursor);
        }
        print_entry(scan, tern_cursor_key(cursor), value);
        status = check_reader(scan);
        if (status != TERN_OK) {
            return status;
        }
    }
    return TERN_OK;
}

static tern_status scan_range(struct scan *scan, struct work *work, tern_keyspace *keyspace,
                              const struct key_range *range) {
    tern_cursor *cursor = NULL;
    tern_cursor_options options = TERN_CURSOR_OPTIONS_INIT;
    options.begin = key_range_begin(range);
    options.end = key_range_end(range);
    options.keys_only = !scan->has_values;
    tern_status status = tern_cursor_open(work->txn, keyspace, &options, &cursor);
    if (status != TERN_OK) {
        return session_fail_txn(scan->session, status, work->txn);
    }
    bool is_reverse = invocation_has(scan->invocation, OPTION_REVERSE);
    status = is_reverse ? scan_backward(scan, cursor) : scan_forward(scan, cursor);
    tern_cursor_close(cursor);
    return status;
}

static tern_status count_range(struct scan *scan, struct work *work, tern_keyspace *keyspace,
                               const struct key_range *range) {
    uint64_t count = 0;
    tern_status status =
        work_check(work, tern_txn_count(work->txn, keyspace, key_range_begin(range),
                                        key_range_end(range), &count));
    if (status != TERN_OK) {
        return status;
    }
    count = count < scan->limit ? count : scan->limit;
    fprintf(scan->session->out, scan->session->settings.is_json ? "{\"count\":%llu}\n" : "%llu\n",
            (unsigned long long)count);
    return TERN_OK;
}

/* Opens keyspace, range and transaction, calls, and closes them again. */
typedef tern_status (*range_function)(struct scan *scan, struct work *work, tern_keyspace *keyspace,
                                      const struct key_range *range);

static tern_status run_range(struct scan *scan, range_function function) {
    struct session *session = scan->session;
    struct key_range range = {0};
    struct work work = {0};
    tern_keyspace *keyspace = NULL;
    tern_status status = session_keyspace(session, scan->invocation->arguments[0], &keyspace);
    if (status == TERN_OK) {
        status = key_range_open(session, scan->invocation, &range);
    }
    if (status == TERN_OK) {
        status = work_begin(session, true, &work);
    }
    if (status == TERN_OK) {
        status = work_end(&work, function(scan, &work, keyspace, &range));
    }
    key_range_release(&range);
    buffer_release(&scan->text);
    return status;
}

tern_status run_scan(struct session *session, const struct invocation *invocation) {
    struct scan scan = {
        .session = session,
        .invocation = invocation,
        .key_format = invocation_format(invocation, OPTION_KEY_FORMAT, BYTES_TEXT),
        .value_format = invocation_format(invocation, OPTION_VALUE_FORMAT, BYTES_TEXT),
        .has_keys = !invocation_has(invocation, OPTION_VALUES_ONLY),
        .has_values = !invocation_has(invocation, OPTION_KEYS_ONLY),
        .limit = invocation_number(invocation, OPTION_LIMIT, UINT64_MAX),
    };
    if (!scan.has_keys && !scan.has_values) {
        return session_fail(session, TERN_INVALID,
                            "scan: --keys-only and --values-only leave nothing to print");
    }
    return run_range(&scan, invocation_has(invocation, OPTION_COUNT) ? count_range : scan_range);
}

static tern_status report_count(struct scan *scan, struct work *work, tern_keyspace *keyspace,
                                const struct key_range *range) {
    struct session *session = scan->session;
    bool is_estimate = invocation_has(scan->invocation, OPTION_ESTIMATE);
    uint64_t count = 0;
    uint64_t bytes = 0;
    const tern_slice *begin = key_range_begin(range);
    const tern_slice *end = key_range_end(range);
    tern_status status = work_check(
        work, is_estimate ? tern_txn_estimate(work->txn, keyspace, begin, end, &count, &bytes)
                          : tern_txn_count(work->txn, keyspace, begin, end, &count));
    if (status != TERN_OK) {
        return status;
    }
    if (!session->settings.is_json) {
        fprintf(session->out, "%llu\n", (unsigned long long)count);
        return TERN_OK;
    }
    struct json_writer json = session_json(session);
    json_begin_object(&json, NULL);
    json_text(&json, "keyspace", scan->invocation->arguments[0].data);
    json_unsigned(&json, "count", count);
    json_boolean(&json, "is_exact", !is_estimate);
    if (is_estimate) {
        json_unsigned(&json, "size_bytes", bytes);
    }
    json_end_object(&json);
    json_end_line(&json);
    return TERN_OK;
}

tern_status run_count(struct session *session, const struct invocation *invocation) {
    struct scan scan = {.session = session, .invocation = invocation};
    return run_range(&scan, report_count);
}
