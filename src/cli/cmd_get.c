/* SPDX-License-Identifier: Apache-2.0 */
/* get: one value, to standard output or into a file. */
#include "cli/interrupt.h"
#include "cli/run.h"
#include "cli/terminal.h"
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* A multiple of three, so that chunks in base64 go together. */
enum { CHUNK_BYTES = 3 * 349525 };

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

static void print_json(struct session *session, const struct invocation *invocation, tern_slice key,
                       tern_slice value, enum bytes_format format) {
    struct json_writer json = session_json(session);
    json_begin_object(&json, NULL);
    json_text(&json, "keyspace", invocation->arguments[0].data);
    json_bytes(&json, "key", key, invocation_format(invocation, OPTION_KEY_FORMAT, BYTES_TEXT));
    json_bytes(&json, "value", value, format);
    json_unsigned(&json, "size_bytes", value.size);
    json_end_object(&json);
    json_end_line(&json);
}

/* In a form that depends on all of the value: JSON, or text that may have to be quoted. */
static tern_status print_whole(struct work *work, const struct invocation *invocation,
                               tern_keyspace *keyspace, tern_slice key, enum bytes_format format) {
    struct session *session = work->session;
    tern_value value = TERN_VALUE_INIT;
    tern_status status = work_check(work, tern_txn_get_pinned(work->txn, keyspace, key, &value));
    if (status != TERN_OK) {
        return status;
    }
    if (session->settings.is_json) {
        print_json(session, invocation, key, value.bytes, format);
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

/* ---- chunk by chunk ---- */

/* Where a value goes: a file, or the command's output in some format. */
struct outlet {
    struct session *session;
    const char *path; /* NULL: the output */
    enum bytes_format format;
    int descriptor;   /* of the file; -1: not open yet */
    uint64_t written; /* bytes of the value */
};

static tern_status write_all(struct outlet *outlet, const char *bytes, size_t size) {
    while (size > 0) {
        ssize_t written = write(outlet->descriptor, bytes, size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return fail_file(&outlet->session->error, errno, outlet->path,
                             "writing the value failed");
        }
        bytes += written;
        size -= (size_t)written;
    }
    return TERN_OK;
}

static tern_status put_out(struct outlet *outlet, tern_slice chunk) {
    struct session *session = outlet->session;
    struct buffer text = {0};
    if (outlet->path != NULL && outlet->descriptor < 0) {
        outlet->descriptor =
            strcmp(outlet->path, "-") == 0
                ? STDOUT_FILENO
                : open(outlet->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (outlet->descriptor < 0) {
            return fail_file(&session->error, errno, outlet->path, "cannot open the file to write");
        }
    }
    if (outlet->path != NULL) {
        return write_all(outlet, chunk.data, chunk.size);
    }
    bytes_encode(outlet->format, chunk, &text);
    size_t written = fwrite(buffer_text(&text), 1, text.size, session->out);
    bool is_complete = written == text.size;
    buffer_release(&text);
    return is_complete
               ? TERN_OK
               : fail_file(&session->error, errno, "standard output", "writing the value failed");
}

/* Reads a chunk in full, but for the end of the value. */
static tern_status read_chunk(struct work *work, tern_keyspace *keyspace, tern_slice key,
                              uint64_t offset, char *bytes, size_t *out_size, uint64_t *out_total) {
    size_t filled = 0;
    size_t size = 1;
    tern_status status = TERN_OK;
    while (status == TERN_OK && filled < CHUNK_BYTES && size > 0) {
        status =
            work_check(work, tern_txn_read(work->txn, keyspace, key, offset + filled,
                                           bytes + filled, CHUNK_BYTES - filled, &size, out_total));
        filled += status == TERN_OK ? size : 0;
        if (offset + filled >= *out_total) {
            break;
        }
    }
    *out_size = filled;
    return status;
}

/* Memory for one chunk, however large the value is. The first chunk is read before the file is
 * opened, so that a missing key leaves no file behind. */
static tern_status stream_value(struct work *work, tern_keyspace *keyspace, tern_slice key,
                                struct outlet *outlet) {
    struct session *session = work->session;
    struct buffer chunk = {0};
    char *bytes = buffer_reserve(&chunk, CHUNK_BYTES);
    uint64_t offset = 0;
    uint64_t total = 0;
    size_t size = 0;
    tern_status status = TERN_OK;
    do {
        status = read_chunk(work, keyspace, key, offset, bytes, &size, &total);
        if (status == TERN_OK) {
            status = put_out(outlet, tern_slice_of(bytes, size));
        }
        if (status == TERN_OK && interrupt_is_pending()) {
            status = session_fail(session, TERN_CANCELLED, "cancelled; the %s is incomplete",
                                  outlet->path != NULL ? "file" : "output");
        }
        offset += size;
        outlet->written = offset;
    } while (status == TERN_OK && size > 0 && offset < total);
    if (status == TERN_OK && offset < total) {
        status = session_fail(session, TERN_IO, "the value ended early");
    }
    if (outlet->descriptor >= 0 && outlet->descriptor != STDOUT_FILENO &&
        close(outlet->descriptor) != 0 && status == TERN_OK) {
        status = fail_file(&session->error, errno, outlet->path, "writing the value failed");
    }
    buffer_release(&chunk);
    return status;
}

static void print_file_json(const struct outlet *outlet, const struct invocation *invocation,
                            tern_slice key) {
    struct json_writer json = session_json(outlet->session);
    json_begin_object(&json, NULL);
    json_text(&json, "keyspace", invocation->arguments[0].data);
    json_bytes(&json, "key", key, invocation_format(invocation, OPTION_KEY_FORMAT, BYTES_TEXT));
    json_text(&json, "file", outlet->path);
    json_unsigned(&json, "size_bytes", outlet->written);
    json_end_object(&json);
    json_end_line(&json);
}

static tern_status get_value(struct work *work, const struct invocation *invocation,
                             tern_keyspace *keyspace, tern_slice key) {
    struct session *session = work->session;
    enum bytes_format fallback = terminal_is(session->out) ? BYTES_TEXT : BYTES_RAW;
    struct outlet outlet = {
        .session = session,
        .path = invocation_text(invocation, OPTION_TO_FILE, NULL),
        .format = invocation_format(invocation, OPTION_VALUE_FORMAT, fallback),
        .descriptor = -1,
    };
    bool is_by_chunks =
        outlet.format == BYTES_RAW || outlet.format == BYTES_HEX || outlet.format == BYTES_BASE64;
    fflush(session->out);
    if (outlet.path == NULL && (session->settings.is_json || !is_by_chunks)) {
        return print_whole(work, invocation, keyspace, key, outlet.format);
    }
    tern_status status = stream_value(work, keyspace, key, &outlet);
    if (status == TERN_OK && outlet.path == NULL) {
        putc('\n', session->out);
    } else if (status == TERN_OK && session->settings.is_json && strcmp(outlet.path, "-") != 0) {
        print_file_json(&outlet, invocation, key);
    }
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
        status = get_value(&work, invocation, keyspace, buffer_slice(&key));
        /* A file that cannot be opened is not a key that is missing. */
        if (status == TERN_NOT_FOUND && session->error.status != TERN_NOT_FOUND) {
            missing_key(session, invocation, buffer_slice(&key));
        }
        status = work_end(&work, status);
    }
    buffer_release(&key);
    return status;
}
