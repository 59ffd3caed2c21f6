/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file sys/clock.h
 * Time and randomness given at open; tests replace both.
 */
#ifndef TERN_SYS_CLOCK_H
#define TERN_SYS_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <tern/export.h>

TERN_BEGIN_DECLS

/** Source of time. Called from any thread at once. */
typedef struct tern_clock {
    void *context;
    /** Nanoseconds since an arbitrary point; never goes back. */
    uint64_t (*monotonic_ns)(void *context);
    /** Milliseconds since 1970-01-01 UTC; may go back. */
    uint64_t (*wall_ms)(void *context);
} tern_clock;

/** The system's clocks. Static storage. */
TERN_API const tern_clock *tern_clock_default(void);

/** Source of random bytes (salts, tokens). Called from any thread at once. */
typedef struct tern_random {
    void *context;
    /** Fills `size_bytes` at `out_bytes`; cannot fail. */
    void (*fill)(void *context, void *out_bytes, size_t size_bytes);
} tern_random;

/** getrandom(2). Static storage. */
TERN_API const tern_random *tern_random_default(void);

TERN_END_DECLS

#endif
