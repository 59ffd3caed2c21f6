/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges of keys from options. */
#include "cli/session.h"

/* Turns bytes into the smallest bytes that are greater than all that begin with them; false when
 * there are none. */
static bool step_past_prefix(struct buffer *bytes) {
    while (bytes->size > 0) {
        unsigned char last = (unsigned char)bytes->data[bytes->size - 1];
        if (last < 0xff) {
            bytes->data[bytes->size - 1] = (char)(last + 1);
            return true;
        }
        bytes->size--;
    }
    return false;
}

static tern_status decode_bound(struct session *session, const struct invocation *invocation,
                                enum option_id id, const char *what, struct buffer *bytes) {
    return session_decode(session, invocation, OPTION_KEY_FORMAT, BYTES_TEXT,
                          invocation->options[id].bytes, what, bytes);
}

tern_status key_range_open(struct session *session, const struct invocation *invocation,
                           struct key_range *out_range) {
    struct key_range range = {0};
    tern_status status = TERN_OK;
    bool has_prefix = invocation_has(invocation, OPTION_PREFIX);
    range.has_begin = has_prefix || invocation_has(invocation, OPTION_FROM);
    range.has_end = invocation_has(invocation, OPTION_TO);
    if (has_prefix && (invocation_has(invocation, OPTION_FROM) || range.has_end)) {
        return session_fail(session, TERN_INVALID, "use either --prefix or --from and --to");
    }
    if (has_prefix) {
        status = decode_bound(session, invocation, OPTION_PREFIX, "--prefix", &range.begin);
        buffer_append_slice(&range.end, buffer_slice(&range.begin));
        range.has_end = step_past_prefix(&range.end);
    } else {
        if (range.has_begin) {
            status = decode_bound(session, invocation, OPTION_FROM, "--from", &range.begin);
        }
        if (status == TERN_OK && range.has_end) {
            status = decode_bound(session, invocation, OPTION_TO, "--to", &range.end);
        }
    }
    /* An empty beginning is before every key, so it bounds nothing. */
    range.has_begin = range.has_begin && range.begin.size > 0;
    range.begin_slice = buffer_slice(&range.begin);
    range.end_slice = buffer_slice(&range.end);
    if (status != TERN_OK) {
        key_range_release(&range);
        return status;
    }
    *out_range = range;
    return TERN_OK;
}

const tern_slice *key_range_begin(const struct key_range *range) {
    return range->has_begin ? &range->begin_slice : NULL;
}

const tern_slice *key_range_end(const struct key_range *range) {
    return range->has_end ? &range->end_slice : NULL;
}

void key_range_release(struct key_range *range) {
    buffer_release(&range->begin);
    buffer_release(&range->end);
    *range = (struct key_range){0};
}
