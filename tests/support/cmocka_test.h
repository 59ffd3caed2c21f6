/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka with the headers that it wants first. */
#ifndef TERN_TESTS_CMOCKA_TEST_H
#define TERN_TESTS_CMOCKA_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <tern/error.h>

/* A call that must succeed; `error` is what it was given. */
#define assert_ok(call, error)                                                                     \
    do {                                                                                           \
        tern_status status_of_call = (call);                                                       \
        if (status_of_call != TERN_OK) {                                                           \
            print_error("%s: %s: %s\n", #call, tern_status_name(status_of_call), (error).message); \
        }                                                                                          \
        assert_int_equal(status_of_call, TERN_OK);                                                 \
    } while (0)

#endif
