/* SPDX-License-Identifier: Apache-2.0 */
/* The whole command: arguments in, exit code out. */
#ifndef TERN_CLI_CLI_H
#define TERN_CLI_CLI_H

#include <stdio.h>

int cli_main(int argument_count, char *const *arguments, FILE *out, FILE *err);

#endif
