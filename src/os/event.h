/* SPDX-License-Identifier: Apache-2.0 */
/* A descriptor that is readable while something waits, for the caller's own event loop. */
#ifndef TERN_OS_EVENT_H
#define TERN_OS_EVENT_H

#include <tern/error.h>

/* Opens one, not readable. TERN_IO. */
TERN_MUST_CHECK tern_status event_open(int *out_descriptor, tern_error *error);
/* Makes it readable, or not. Any thread. */
void event_set(int descriptor);
void event_clear(int descriptor);
void event_close(int descriptor);

#endif
