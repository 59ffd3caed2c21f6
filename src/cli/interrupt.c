/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/interrupt.h"

#include <signal.h>
#include <stddef.h>

/* A signal handler gets no context of ours, so this one flag has to be global. */
static volatile sig_atomic_t pending;

static void on_interrupt(int signal_no) {
    if (pending != 0) {
        signal(signal_no, SIG_DFL);
        raise(signal_no);
    }
    pending = 1;
}

void interrupt_install(void) {
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

void interrupt_clear(void) {
    pending = 0;
}

bool interrupt_is_pending(void) {
    return pending != 0;
}
