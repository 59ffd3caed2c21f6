/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/random.h>
#include <tern/sys/clock.h>

#include "base/assert.h"

static void system_fill(void *context, void *out_bytes, size_t size_bytes) {
    (void)context;
    char *target = out_bytes;
    while (size_bytes > 0) {
        ssize_t got = getrandom(target, size_bytes, 0);
        if (got < 0) {
            /* Only a signal can interrupt it once the kernel has its entropy. */
            ASSERT(errno == EINTR);
            continue;
        }
        target += got;
        size_bytes -= (size_t)got;
    }
}

static const tern_random system_random = {NULL, system_fill};

const tern_random *tern_random_default(void) {
    return &system_random;
}
