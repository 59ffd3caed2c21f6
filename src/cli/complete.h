/* SPDX-License-Identifier: Apache-2.0 */
/* What a line of the REPL may go on with. */
#ifndef TERN_CLI_COMPLETE_H
#define TERN_CLI_COMPLETE_H

#include <stddef.h>

/* Candidates for the word that the cursor stands behind; release with completion_release(). */
struct completion {
    size_t word_size; /* bytes of that word which are typed */
    char **list;      /* in the order of the table */
    size_t count;
};

/* Calls `offer` for every keyspace. */
typedef void (*keyspace_source)(void *context, void (*offer)(void *target, const char *name),
                                void *target);

/* `line` is what stands before the cursor. `keyspaces` may be NULL. */
void completion_find(const char *line, keyspace_source keyspaces, void *context,
                     struct completion *out_completion);
/* Length of the beginning that all candidates share. */
size_t completion_common_size(const struct completion *completion);
void completion_release(struct completion *completion);

#endif
