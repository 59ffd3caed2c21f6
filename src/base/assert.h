/* SPDX-License-Identifier: Apache-2.0 */
/* Assertions about our own mistakes; never about bytes from disk, network or a user. */
#ifndef TERN_BASE_ASSERT_H
#define TERN_BASE_ASSERT_H

/* Prints the expression and its place to standard error and aborts. */
_Noreturn void assert_failed(const char *expression, const char *file, int line);

/* Cheap; stays on in release builds. */
#define ASSERT(expression)                                                                         \
    ((__builtin_expect(!!(expression), 1)) ? (void)0                                               \
                                           : assert_failed(#expression, __FILE__, __LINE__))

/* On hot paths and for costly checks: debug builds only. */
#ifdef NDEBUG
#define ASSERT_DEBUG(expression) ((void)sizeof(expression))
#else
#define ASSERT_DEBUG(expression) ASSERT(expression)
#endif

#endif
