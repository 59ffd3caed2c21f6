/* SPDX-License-Identifier: Apache-2.0 */
#include "os/event.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"

tern_status event_open(int *out_descriptor, tern_error *error) {
    int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (descriptor < 0) {
        return ERROR_AT(error, TERN_IO, NULL, -1, errno, "cannot open an event descriptor");
    }
    *out_descriptor = descriptor;
    return TERN_OK;
}

void event_set(int descriptor) {
    uint64_t one = 1;
    while (write(descriptor, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

void event_clear(int descriptor) {
    uint64_t count;
    while (read(descriptor, &count, sizeof(count)) < 0 && errno == EINTR) {
    }
}

void event_close(int descriptor) {
    (void)close(descriptor);
}
