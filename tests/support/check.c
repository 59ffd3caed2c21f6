/* SPDX-License-Identifier: Apache-2.0 */
#include "support/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void check_failed(const char *expression, const char *file, int line) {
    (void)fprintf(stderr, "test support: check failed: %s (%s:%d)\n", expression, file, line);
    abort();
}

void *check_allocate(size_t size_bytes) {
    void *memory = calloc(1, size_bytes > 0 ? size_bytes : 1);
    CHECK(memory != NULL);
    return memory;
}

void *check_resize(void *memory, size_t size_bytes) {
    void *resized = realloc(memory, size_bytes > 0 ? size_bytes : 1);
    CHECK(resized != NULL);
    return resized;
}

void *check_copy_bytes(const void *bytes, size_t size_bytes) {
    void *copy = check_allocate(size_bytes);
    if (size_bytes > 0) {
        memcpy(copy, bytes, size_bytes);
    }
    return copy;
}

char *check_copy_string(const char *string) {
    return check_copy_bytes(string, strlen(string) + 1);
}
