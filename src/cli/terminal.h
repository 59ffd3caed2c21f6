/* SPDX-License-Identifier: Apache-2.0 */
/* What is on the other end of a stream. */
#ifndef TERN_CLI_TERMINAL_H
#define TERN_CLI_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

bool terminal_is(FILE *stream);
/* Columns of the terminal behind `stream`; 0 when it is none: nothing has to be folded. */
size_t terminal_width_columns(FILE *stream);
/* Monotone time, for durations. */
uint64_t terminal_now_ns(void);

#endif
