/* SPDX-License-Identifier: Apache-2.0 */
/* A command line that has been understood: which command, with which options and arguments. */
#ifndef TERN_CLI_INVOCATION_H
#define TERN_CLI_INVOCATION_H

#include "cli/command.h"
#include "cli/words.h"
#include <stdint.h>
#include <tern/error.h>

struct option_value {
    bool is_given;
    uint64_t number;  /* of counts, sizes (bytes), durations (ms), choices (place in the list),
                         characters */
    tern_slice bytes; /* as it was written, with a zero byte behind it */
    const char *text; /* the same as a C string, without zero bytes inside */
};

struct invocation {
    const struct command *command; /* NULL when only options were given */
    struct option_value options[OPTION_IDS];
    tern_slice *arguments; /* with a zero byte behind each */
    size_t argument_count;
};

enum invocation_place { INVOCATION_IN_SHELL, INVOCATION_IN_LINE };

/*
 * Understands `words`, which must outlive the result. Options may stand before or behind the
 * command and between arguments; -- ends them. A word that was quoted, "-" alone, and a dash with a
 * digit behind it are never options. Release with invocation_release() whatever the status.
 */
tern_status invocation_parse(const struct word *words, size_t count, enum invocation_place place,
                             struct invocation *out_invocation, tern_error *error);
void invocation_release(struct invocation *invocation);

bool invocation_has(const struct invocation *invocation, enum option_id id);
/* Text of an option, or `fallback` when it was not given. */
const char *invocation_text(const struct invocation *invocation, enum option_id id,
                            const char *fallback);
uint64_t invocation_number(const struct invocation *invocation, enum option_id id,
                           uint64_t fallback);

#endif
