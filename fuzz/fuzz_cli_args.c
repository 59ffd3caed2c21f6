/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of the REPL: split into words, quoted and split again, parsed, completed. */
#include <stdint.h>
#include <stdlib.h>

#include "cli/complete.h"
#include "cli/invocation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_quoting(const struct words *words) {
    struct buffer line = {0};
    struct words again = {0};
    const char *problem = NULL;
    for (size_t i = 0; i < words->count; i++) {
        buffer_append_char(&line, ' ');
        word_quote(words->list[i].bytes, &line);
    }
    if (words_split(&again, buffer_slice(&line), &problem) != WORDS_COMPLETE ||
        again.count != words->count) {
        abort();
    }
    for (size_t i = 0; i < words->count; i++) {
        tern_slice left = words->list[i].bytes;
        tern_slice right = again.list[i].bytes;
        if (left.size != right.size || memcmp(left.data, right.data, left.size) != 0) {
            abort();
        }
    }
    buffer_release(&line);
    words_release(&again);
}

static void parse(const struct words *words, enum invocation_place place) {
    struct invocation invocation;
    tern_error error = TERN_ERROR_INIT;
    tern_status status = invocation_parse(words->list, words->count, place, &invocation, &error);
    if ((status == TERN_OK) != (error.message[0] == '\0')) {
        abort();
    }
    invocation_release(&invocation);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct words words = {0};
    const char *problem = NULL;
    if (words_split(&words, tern_slice_of(data, size), &problem) == WORDS_COMPLETE) {
        check_quoting(&words);
        parse(&words, INVOCATION_IN_SHELL);
        parse(&words, INVOCATION_IN_LINE);
    } else if (problem == NULL) {
        abort();
    }
    words_release(&words);

    struct completion completion;
    char *line = memory_text((const char *)data, size);
    if (strpbrk(line, "/.~") == NULL) { /* nothing is read from the file system */
        completion_find(line, NULL, NULL, &completion);
        completion_release(&completion);
    }
    free(line);
    return 0;
}
