/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splitting a line of the REPL or of a batch into words. Spaces and tabs separate words.
 *   'text'   as it is, up to the next single quote
 *   "text"   with the escapes of bytes_format.h
 *   \c       outside of quotes: the character c itself
 *   #        at the beginning of a word: the rest of the line is a comment
 * Words may hold any byte, zero included.
 */
#ifndef TERN_CLI_WORDS_H
#define TERN_CLI_WORDS_H

#include "cli/buffer.h"
#include <stdbool.h>

/* A word, with a zero byte behind it. One that was quoted is never taken for an option. */
struct word {
    tern_slice bytes;
    bool quoted;
};

/* Zero-initialise, may be used again, ends with words_release(). */
struct words {
    struct word *list;
    size_t count;
    size_t capacity;
    struct buffer bytes;
};

enum words_result {
    WORDS_COMPLETE,
    WORDS_OPEN,   /* a quote is open or a backslash ends the line: more must follow */
    WORDS_INVALID /* a bad escape */
};

/* Replaces the words by those of `line`. `out_problem` (a static sentence) is set on WORDS_OPEN and
 * WORDS_INVALID. The words live until the next call. */
enum words_result words_split(struct words *words, tern_slice line, const char **out_problem);
/* Appends `bytes` so that words_split() gives them back as one word. */
void word_quote(tern_slice bytes, struct buffer *text);
void words_release(struct words *words);

#endif
