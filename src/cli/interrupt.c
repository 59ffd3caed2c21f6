/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/interrupt.h"

#include <signal.h>
#include <stddef.h>

/* A signal handler gets no context of ours, so this one flag has to be global. */
static volatile sig_atomic_t pending;
/* Likewise: the signal that came while it was held, or 0. */
static volatile sig_atomic_t held;

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

static void on_held(int signal_no) {
    held = signal_no;
    pending = 1;
}

static void handle(int signal_no, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    struct sigaction before;
    sigemptyset(&action.sa_mask);
    /* Under nohup it stays ignored. */
    if (sigaction(signal_no, NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
        sigaction(signal_no, &action, NULL);
    }
}

void interrupt_hold_signals(void) {
    held = 0;
    handle(SIGTERM, on_held);
    handle(SIGHUP, on_held);
}

void interrupt_let_signals_go(void) {
    handle(SIGTERM, SIG_DFL);
    handle(SIGHUP, SIG_DFL);
    if (held != 0) {
        raise(held);
    }
}
