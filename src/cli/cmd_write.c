/* SPDX-License-Identifier: Apache-2.0 */
/* put, delete, merge: single writes. Within a transaction that is open they join it. */
#include "cli/input.h"
#include "cli/interrupt.h"
#include "cli/run.h"

enum { CHUNK_BYTES = 1024 * 1024 };

static tern_write_options write_options(const struct session *session,
                                        const struct invocation *invocation) {
    tern_write_options options = {.size = sizeof(options)};
    options.durability = session->settings.durability;
    options.ttl_ms = invocation_number(invocation, OPTION_TTL, 0);
    return options;
}

static tern_status append_chunks(struct session *session, struct input *input,
                                 tern_value_writer *writer, tern_txn *txn) {
    struct buffer chunk = {0};
    char *bytes = buffer_reserve(&chunk, CHUNK_BYTES);
    tern_status status = TERN_OK;
    for (;;) {
        size_t size = 0;
        if (input_copy(input, bytes, CHUNK_BYTES, &size) != INPUT_OK) {
            status = fail_file(&session->error, input->system_errno, input->name,
                               "reading the value failed");
            break;
        }
        if (size == 0) {
            break;
        }
        status = tern_value_writer_append(writer, tern_slice_of(bytes, size));
        if (status != TERN_OK) {
            session_fail_txn(session, status, txn);
            break;
        }
        if (interrupt_is_pending()) {
            status = session_fail(session, TERN_CANCELLED, "cancelled; nothing was stored");
            break;
        }
    }
    buffer_release(&chunk);
    return status;
}

/* A value from a file, a chunk at a time. */
static tern_status put_file(struct work *work, tern_keyspace *keyspace, tern_slice key,
                            const char *path, const tern_write_options *options) {
    struct session *session = work->session;
    struct input input;
    tern_value_writer *writer = NULL;
    tern_status status = input_open(&input, path, &session->error);
    if (status != TERN_OK) {
        return status;
    }
    status = tern_txn_put_begin(work->txn, keyspace, key, options, &writer);
    if (status != TERN_OK) {
        session_fail_txn(session, status, work->txn);
        goto done;
    }
    status = append_chunks(session, &input, writer, work->txn);
    if (status != TERN_OK) {
        tern_value_writer_abandon(writer);
        goto done;
    }
    status = work_check(work, tern_value_writer_finish(writer));
done:
    input_close(&input);
    return status;
}

static tern_status put_in(struct work *work, const struct invocation *invocation) {
    struct session *session = work->session;
    struct buffer key = {0};
    struct buffer value = {0};
    tern_keyspace *keyspace = NULL;
    tern_write_options options = write_options(session, invocation);
    tern_status status = session_keyspace(session, invocation->arguments[0], &keyspace);
    if (status == TERN_OK) {
        status = session_decode(session, invocation, OPTION_KEY_FORMAT, BYTES_TEXT,
                                invocation->arguments[1], "KEY", &key);
    }
    if (status == TERN_OK && invocation_has(invocation, OPTION_VALUE_FILE)) {
        status = put_file(work, keyspace, buffer_slice(&key),
                          invocation_text(invocation, OPTION_VALUE_FILE, "-"), &options);
    } else if (status == TERN_OK) {
        status = session_decode(session, invocation, OPTION_VALUE_FORMAT, BYTES_TEXT,
                                invocation->arguments[2], "VALUE", &value);
        if (status == TERN_OK) {
            status = work_check(work, tern_txn_put(work->txn, keyspace, buffer_slice(&key),
                                                   buffer_slice(&value), &options));
        }
    }
    buffer_release(&key);
    buffer_release(&value);
    return status;
}

typedef tern_status (*write_function)(struct work *work, const struct invocation *invocation);

static tern_status run_write(struct session *session, const struct invocation *invocation,
                             write_function write) {
    struct work work;
    tern_status status = work_begin(session, false, &work);
    if (status != TERN_OK) {
        return status;
    }
    status = work_end(&work, write(&work, invocation));
    if (status == TERN_OK) {
        work_report(&work);
    }
    return status;
}

tern_status run_put(struct session *session, const struct invocation *invocation) {
    bool has_file = invocation_has(invocation, OPTION_VALUE_FILE);
    if (has_file == (invocation->argument_count == 3)) {
        return session_fail(session, TERN_INVALID,
                            has_file ? "put: give either a VALUE or --value-file, not both"
                                     : "put: give a VALUE, or --value-file FILE; see: tern help "
                                       "put");
    }
    return run_write(session, invocation, put_in);
}

static tern_status delete_keys(struct work *work, const struct invocation *invocation,
                               tern_keyspace *keyspace) {
    struct buffer key = {0};
    tern_status status = TERN_OK;
    for (size_t i = 1; status == TERN_OK && i < invocation->argument_count; i++) {
        buffer_clear(&key);
        status = session_decode(work->session, invocation, OPTION_KEY_FORMAT, BYTES_TEXT,
                                invocation->arguments[i], "KEY", &key);
        if (status == TERN_OK) {
            status = work_check(work, tern_txn_delete(work->txn, keyspace, buffer_slice(&key)));
        }
    }
    buffer_release(&key);
    return status;
}

static tern_status delete_range(struct work *work, const struct invocation *invocation,
                                tern_keyspace *keyspace) {
    struct key_range range;
    tern_status status = key_range_open(work->session, invocation, &range);
    if (status != TERN_OK) {
        return status;
    }
    status = work_check(work, tern_txn_delete_range(work->txn, keyspace, key_range_begin(&range),
                                                    key_range_end(&range)));
    key_range_release(&range);
    return status;
}

static tern_status delete_in(struct work *work, const struct invocation *invocation) {
    tern_keyspace *keyspace = NULL;
    tern_status status = session_keyspace(work->session, invocation->arguments[0], &keyspace);
    if (status != TERN_OK) {
        return status;
    }
    return invocation->argument_count > 1 ? delete_keys(work, invocation, keyspace)
                                          : delete_range(work, invocation, keyspace);
}

tern_status run_delete(struct session *session, const struct invocation *invocation) {
    bool has_range = invocation_has(invocation, OPTION_PREFIX) ||
                     invocation_has(invocation, OPTION_FROM) ||
                     invocation_has(invocation, OPTION_TO);
    bool has_all = invocation_has(invocation, OPTION_ALL);
    bool has_keys = invocation->argument_count > 1;
    if ((has_range ? 1 : 0) + (has_all ? 1 : 0) + (has_keys ? 1 : 0) != 1) {
        return session_fail(session, TERN_INVALID,
                            "delete: say which: keys, or a range with --prefix, --from, --to, or "
                            "--all");
    }
    return run_write(session, invocation, delete_in);
}

static tern_status merge_in(struct work *work, const struct invocation *invocation) {
    struct session *session = work->session;
    const char *name = invocation->arguments[2].data;
    tern_merge_kind kind = name[0] == 'm'   ? TERN_MERGE_MAX
                           : name[1] == 'd' ? TERN_MERGE_ADD
                                            : TERN_MERGE_APPEND;
    struct buffer key = {0};
    struct buffer operand = {0};
    tern_keyspace *keyspace = NULL;
    tern_status status = session_keyspace(session, invocation->arguments[0], &keyspace);
    if (status == TERN_OK) {
        status = session_decode(session, invocation, OPTION_KEY_FORMAT, BYTES_TEXT,
                                invocation->arguments[1], "KEY", &key);
    }
    if (status == TERN_OK) {
        status = session_decode(session, invocation, OPTION_VALUE_FORMAT,
                                kind == TERN_MERGE_ADD ? BYTES_INTEGER : BYTES_TEXT,
                                invocation->arguments[3], "OPERAND", &operand);
    }
    if (status == TERN_OK) {
        status = work_check(work, tern_txn_merge(work->txn, keyspace, buffer_slice(&key), kind,
                                                 buffer_slice(&operand)));
    }
    buffer_release(&key);
    buffer_release(&operand);
    return status;
}

tern_status run_merge(struct session *session, const struct invocation *invocation) {
    return run_write(session, invocation, merge_in);
}
