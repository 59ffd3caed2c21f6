/* SPDX-License-Identifier: Apache-2.0 */
/* Ctrl-C asks the running command to stop; a second one, when it has not, ends the process. */
#ifndef TERN_CLI_INTERRUPT_H
#define TERN_CLI_INTERRUPT_H

#include <stdbool.h>

void interrupt_install(void);
/* Forgets an earlier Ctrl-C; called before each command. */
void interrupt_clear(void);
/* Any thread. */
bool interrupt_is_pending(void);
/* Until they are let go, SIGTERM and SIGHUP ask the command to stop, too, and end the process only
 * then: for a command that has to clean up behind itself. */
void interrupt_hold_signals(void);
void interrupt_let_signals_go(void);

#endif
