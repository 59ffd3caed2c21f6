/* SPDX-License-Identifier: Apache-2.0 */
/* get: one value, to standard output or into a file. */
#include "cli/interrupt.h"
#include "cli/run.h"
#include "cli/terminal.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { CHUNK_BYTES = 1024 * 1024 };

static tern_status missing_key(struct session *session, const struct invocation *invocation,
                               tern_slice key) {
    struct buffer text = {0};
    bytes_encode(invocation_format(invocation, OPTION_KEY_FORMAT, BYTES_TEXT), key, &text);
    tern_status status =
        session_fail(session, TERN_NOT_FOUND, "there is no key %.200s in keyspace %.100s",
                     buffer_text(&text), (const char *)invocation->arguments[0].data);
    buffer_release(&text);
    return status;
}

static tern_status print_value(struct work *work, const struct invocation *invocation,
                               tern_keyspace *keyspace, tern_slice key) {
    struct session *session = work->session;
    tern_value value = TERN_VALUE_INIT;
    tern_status status = work_check(work, tern_txn_get_pinned(work->txn, keyspace, key, &value));
    if (status != TERN_OK) {
        return status;
    }
    enum bytes_format fallback = terminal_is(session->out) ? BYTES_TEXT : BYTES_RAW;
    enum bytes_format format = invocation_format(invocation, OPTION_VALUE_FORMAT, fallback);
    if (session->settings.is_json) {
        struct json_writer json = session_json(session);
        json_begin_object(&json, NULL);
        json_text(&json, "keyspace", invocation->arguments[0].data);
        json_bytes(&json, "key", key, invocation_format(invocation, OPTION_KEY_FORMAT, BYTES_TEXT));
        json_bytes(&json, "value", value.bytes, format);
        json_unsigned(&json, "size_bytes", value.bytes.size);
        json_end_object(&json);
        json_end_line(&json);
    } else if (format == BYTES_RAW) {
        fwrite(value.bytes.size > 0 ? value.bytes.data : "", 1, value.bytes.size, session->out);
        putc('\n', session->out);
    } else {
        struct buffer text = {0};
        bytes_encode(format, value.bytes, &text);
        buffer_append_char(&text, '\n');
        fwrite(text.data, 1, text.size, session->out);
        buffer_release(&text);
    }
    tern_value_release(&value);
    return TERN_OK;
}

static tern_status write_all(struct session *session, int descriptor, const char *path,
                             const char *bytes, size_t size) {
    while (size > 0) {
        ssize_t written = write(descriptor, bytes, size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return fail_file(&session->error, errno, path, "writing the value failed");
        }
        bytes += written;
        size -= (size_t)written;
    }
    return TERN_OK;
}

/* Writes the value chunk by chunk. The first chunk was read before the file was opened, so that a
 * missing key leaves no file behind. */
static tern_status stream_value(struct work *work, tern_keyspace *keyspace, tern_slice key,
                                const char *path) {
    struct session *session = work->session;
    struct buffer chunk = {0};
    char *bytes = buffer_reserve(&chunk, CHUNK_BYTES);
    bool is_output = strcmp(path, "-") == 0;
    int descriptor = -1;
    uint64_t offset = 0;
    uint64_t total = 0;
    tern_status status = TERN_OK;
    do {
        size_t size = 0;
        status = work_check(work, tern_txn_read(work->txn, keyspace, key, offset, bytes,
                                                CHUNK_BYTES, &size, &total));
        if (status == TERN_OK && descriptor < 0) {
            descriptor = is_output ? STDOUT_FILENO
                                   : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
            if (descriptor < 0) {
                status = fail_file(&session->error, errno, path, "cannot open the file to write");
            }
        }
        if (status == TERN_OK) {
            status = write_all(session, descriptor, path, bytes, size);
        }
        if (status == TERN_OK && interrupt_is_pending()) {
            status = session_fail(session, TERN_CANCELLED, "cancelled; the file is incomplete");
        }
        offset += size;
        if (size == 0) {
            break;
        }
    } while (status == TERN_OK && offset < total);
    if (status == TERN_OK && offset < total) {
        status = session_fail(session, TERN_IO, "the value ended early");
    }
    if (descriptor >= 0 && !is_output && close(descriptor) != 0 && status == TERN_OK) {
        status = fail_file(&session->error, errno, path, "writing the value failed");
    }
    buffer_release(&chunk);
    return status;
}

tern_status run_get(struct session *session, const struct invocation *invocation) {
    struct buffer key = {0};
    struct work work = {0};
    tern_keyspace *keyspace = NULL;
    tern_status status = session_keyspace(session, invocation->arguments[0], &keyspace);
    if (status == TERN_OK) {
        status = session_decode(session, invocation, OPTION_KEY_FORMAT, BYTES_TEXT,
                                invocation->arguments[1], "KEY", &key);
    }
    if (status == TERN_OK) {
        status = work_begin(session, true, &work);
    }
    if (status == TERN_OK) {
        const char *path = invocation_text(invocation, OPTION_TO_FILE, NULL);
        fflush(session->out);
        status = path != NULL ? stream_value(&work, keyspace, buffer_slice(&key), path)
                              : print_value(&work, invocation, keyspace, buffer_slice(&key));
        /* A file that cannot be opened is not a key that is missing. */
        if (status == TERN_NOT_FOUND && session->error.status != TERN_NOT_FOUND) {
            missing_key(session, invocation, buffer_slice(&key));
        }
        status = work_end(&work, status);
    }
    buffer_release(&key);
    return status;
}
