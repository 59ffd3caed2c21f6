/* SPDX-License-Identifier: Apache-2.0 */
/* What test support does when it is misused or out of memory: says where, and aborts. */
#ifndef TERN_TESTS_CHECK_H
#define TERN_TESTS_CHECK_H

#include <stddef.h>

_Noreturn void check_failed(const char *expression, const char *file, int line);

#define CHECK(expression) ((expression) ? (void)0 : check_failed(#expression, __FILE__, __LINE__))

/* Zeroed memory from malloc; never NULL. */
void *check_allocate(size_t size_bytes);

/* As realloc; never NULL for a size above 0. */
void *check_resize(void *memory, size_t size_bytes);

/* Copies from malloc; of no bytes too. */
void *check_copy_bytes(const void *bytes, size_t size_bytes);
char *check_copy_string(const char *string);

#endif
