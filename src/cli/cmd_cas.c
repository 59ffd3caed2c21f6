/* SPDX-License-Identifier: Apache-2.0 */
/* cas: compare and set. */
#include "cli/run.h"

struct comparison {
    struct buffer key, expected, desired;
    tern_slice expected_slice, desired_slice;
    bool has_expected, has_desired;
    tern_write_options options;
};

static tern_status decode_comparison(struct session *session, const struct invocation *invocation,
                                     struct comparison *comparison) {
    size_t at = 2;
    comparison->has_expected = !invocation_has(invocation, OPTION_MISSING);
    size_t desired_at = comparison->has_expected ? 3 : 2;
    comparison->has_desired = invocation->argument_count > desired_at;
    tern_status status = session_decode(session, invocation, OPTION_KEY_FORMAT, BYTES_TEXT,
                                        invocation->arguments[1], "KEY", &comparison->key);
    if (status == TERN_OK && comparison->has_expected) {
        status = session_decode(session, invocation, OPTION_VALUE_FORMAT, BYTES_TEXT,
                                invocation->arguments[at++], "EXPECTED", &comparison->expected);
    }
    if (status == TERN_OK && comparison->has_desired) {
        status = session_decode(session, invocation, OPTION_VALUE_FORMAT, BYTES_TEXT,
                                invocation->arguments[at], "DESIRED", &comparison->desired);
    }
    comparison->expected_slice = buffer_slice(&comparison->expected);
    comparison->desired_slice = buffer_slice(&comparison->desired);
    comparison->options = (tern_write_options){.size = sizeof(tern_write_options)};
    comparison->options.durability = session->settings.durability;
    comparison->options.ttl_ms = invocation_number(invocation, OPTION_TTL, 0);
    return status;
}

static bool slices_equal(tern_slice left, tern_slice right) {
    return left.size == right.size &&
           (left.size == 0 || memcmp(left.data, right.data, left.size) == 0);
}

/* Within a transaction: a locked read, and the write if the value is as expected. */
static tern_status compare_in_txn(struct session *session, tern_keyspace *keyspace,
                                  const struct comparison *comparison, tern_value *out_current) {
    tern_slice key = buffer_slice(&comparison->key);
    tern_txn *txn = session->txn;
    tern_status status = tern_txn_lock(txn, keyspace, key, TERN_LOCK_EXCLUSIVE);
    if (status != TERN_OK) {
        return session_fail_txn(session, status, txn);
    }
    status = tern_txn_get_pinned(txn, keyspace, key, out_current);
    if (status != TERN_OK && status != TERN_NOT_FOUND) {
        return session_fail_txn(session, status, txn);
    }
    bool is_there = status == TERN_OK;
    bool is_expected =
        comparison->has_expected
            ? is_there && slices_equal(out_current->bytes, comparison->expected_slice)
            : !is_there;
    if (!is_expected) {
        return TERN_CONFLICT;
    }
    status = comparison->has_desired
                 ? tern_txn_put(txn, keyspace, key, comparison->desired_slice, &comparison->options)
                 : tern_txn_delete(txn, keyspace, key);
    return status == TERN_OK ? TERN_OK : session_fail_txn(session, status, txn);
}

static void report_conflict(struct session *session, const struct invocation *invocation,
                            const tern_value *current) {
    bool is_missing = current->bytes.data == NULL;
    enum bytes_format format = invocation_format(invocation, OPTION_VALUE_FORMAT, BYTES_TEXT);
    if (session->settings.is_json) {
        struct json_writer json = session_json(session);
        json_begin_object(&json, NULL);
        json_text(&json, "status", "CONFLICT");
        if (is_missing) {
            json_null(&json, "current");
        } else {
            json_bytes(&json, "current", current->bytes, format);
        }
        json_end_object(&json);
        json_end_line(&json);
    }
    struct buffer text = {0};
    if (!is_missing) {
        bytes_encode(format == BYTES_RAW ? BYTES_TEXT : format, current->bytes, &text);
    }
    session_fail(session, TERN_CONFLICT,
                 is_missing ? "nothing was stored: the key is missing%s"
                            : "nothing was stored: the value is %.300s",
                 buffer_text(&text));
    buffer_release(&text);
}

tern_status run_cas(struct session *session, const struct invocation *invocation) {
    struct comparison comparison = {0};
    tern_keyspace *keyspace = NULL;
    tern_value current = TERN_VALUE_INIT;
    bool is_missing = invocation_has(invocation, OPTION_MISSING);
    size_t most = is_missing ? 3 : 4;
    if (invocation->argument_count < 3 || invocation->argument_count > most) {
        return session_fail(session, TERN_INVALID,
                            "cas: give KEYSPACE KEY EXPECTED [DESIRED], or --missing KEYSPACE KEY "
                            "DESIRED; see: tern help cas");
    }
    tern_status status = session_keyspace(session, invocation->arguments[0], &keyspace);
    if (status == TERN_OK) {
        status = decode_comparison(session, invocation, &comparison);
    }
    if (status == TERN_OK && session->txn != NULL) {
        status = compare_in_txn(session, keyspace, &comparison, &current);
    } else if (status == TERN_OK) {
        status = tern_compare_and_set(keyspace, buffer_slice(&comparison.key),
                                      comparison.has_expected ? &comparison.expected_slice : NULL,
                                      comparison.has_desired ? &comparison.desired_slice : NULL,
                                      &comparison.options, &current, &session->error);
    }
    if (status == TERN_CONFLICT) {
        report_conflict(session, invocation, &current);
    } else if (status == TERN_OK && session->settings.is_json) {
        fputs("{\"status\":\"OK\"}\n", session->out);
    }
    tern_value_release(&current);
    buffer_release(&comparison.key);
    buffer_release(&comparison.expected);
    buffer_release(&comparison.desired);
    return status;
}
