/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/words.h"

#include "cli/bytes_format.h"
#include "cli/utf8.h"
#include <stdlib.h>

struct splitter {
    const char *at;
    const char *end;
    struct buffer *bytes;
    const char *problem;
};

static bool is_blank(char byte) {
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static enum words_result read_single_quoted(struct splitter *splitter) {
    const char *quote = memchr(splitter->at, '\'', (size_t)(splitter->end - splitter->at));
    if (quote == NULL) {
        splitter->problem = "a single quote is open";
        return WORDS_OPEN;
    }
    buffer_append(splitter->bytes, splitter->at, (size_t)(quote - splitter->at));
    splitter->at = quote + 1;
    return WORDS_COMPLETE;
}

static enum words_result read_double_quoted(struct splitter *splitter) {
    while (splitter->at < splitter->end) {
        char byte = *splitter->at++;
        if (byte == '"') {
            return WORDS_COMPLETE;
        }
        if (byte != '\\') {
            buffer_append_char(splitter->bytes, byte);
            continue;
        }
        size_t left = (size_t)(splitter->end - splitter->at);
        if (left == 0) {
            break;
        }
        size_t length = escape_decode(splitter->at, left, splitter->bytes, &splitter->problem);
        if (length == 0) {
            return WORDS_INVALID;
        }
        splitter->at += length;
    }
    splitter->problem = "a double quote is open";
    return WORDS_OPEN;
}

static enum words_result read_word(struct splitter *splitter, bool *out_quoted) {
    while (splitter->at < splitter->end && !is_blank(*splitter->at)) {
        char byte = *splitter->at++;
        enum words_result result = WORDS_COMPLETE;
        if (byte == '\'') {
            *out_quoted = true;
            result = read_single_quoted(splitter);
        } else if (byte == '"') {
            *out_quoted = true;
            result = read_double_quoted(splitter);
        } else if (byte == '\\') {
            if (splitter->at == splitter->end) {
                splitter->problem = "a backslash ends the line";
                return WORDS_OPEN;
            }
            buffer_append_char(splitter->bytes, *splitter->at++);
        } else {
            buffer_append_char(splitter->bytes, byte);
        }
        if (result != WORDS_COMPLETE) {
            return result;
        }
    }
    return WORDS_COMPLETE;
}

static void add_word(struct words *words, size_t size, bool quoted) {
    if (words->count == words->capacity) {
        words->capacity = words->capacity > 0 ? words->capacity * 2 : 8;
        words->list = memory_resize(words->list, words->capacity * sizeof(words->list[0]));
    }
    words->list[words->count++] = (struct word){{NULL, size}, quoted};
}

enum words_result words_split(struct words *words, tern_slice line, const char **out_problem) {
    words->count = 0;
    buffer_clear(&words->bytes);
    const char *data = line.size > 0 ? line.data : "";
    struct splitter splitter = {data, data + line.size, &words->bytes, NULL};
    for (;;) {
        while (splitter.at < splitter.end && is_blank(*splitter.at)) {
            splitter.at++;
        }
        if (splitter.at == splitter.end || *splitter.at == '#') {
            break;
        }
        size_t begin = words->bytes.size;
        bool quoted = false;
        enum words_result result = read_word(&splitter, &quoted);
        if (result != WORDS_COMPLETE) {
            *out_problem = splitter.problem;
            return result;
        }
        add_word(words, words->bytes.size - begin, quoted);
        buffer_append_char(&words->bytes, '\0');
    }
    /* The bytes moved while they grew; only now do the words know where they are. */
    size_t offset = 0;
    for (size_t i = 0; i < words->count; i++) {
        words->list[i].bytes.data = words->bytes.data + offset;
        offset += words->list[i].bytes.size + 1;
    }
    return WORDS_COMPLETE;
}

void word_quote(tern_slice bytes, struct buffer *text) {
    const char *data = bytes.data;
    bool is_plain = bytes.size > 0 && data[0] != '-' && data[0] != '#' && utf8_is_printable(bytes);
    for (size_t i = 0; is_plain && i < bytes.size; i++) {
        is_plain = memchr(" '\"\\", data[i], 4) == NULL;
    }
    if (is_plain) {
        buffer_append_slice(text, bytes);
        return;
    }
    buffer_append_char(text, '"');
    bytes_encode(BYTES_ESCAPED, bytes, text);
    buffer_append_char(text, '"');
}

void words_release(struct words *words) {
    free(words->list);
    buffer_release(&words->bytes);
    *words = (struct words){0};
}
