/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory between two pages that nobody may touch: a kernel that reads or writes past what it was
 * given ends the test.
 */
#ifndef TERN_TESTS_GUARDED_H
#define TERN_TESTS_GUARDED_H

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct guarded {
    uint8_t *mapping;
    size_t page_bytes;
    size_t bytes; /* between the guards, whole pages */
};

static inline struct guarded guarded_make(size_t least_bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct guarded guarded = {.page_bytes = page, .bytes = (least_bytes / page + 1) * page};
    guarded.mapping =
        mmap(NULL, guarded.bytes + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (guarded.mapping == MAP_FAILED ||
        mprotect(guarded.mapping + page, guarded.bytes, PROT_READ | PROT_WRITE) != 0) {
        abort();
    }
    return guarded;
}

static inline void guarded_release(struct guarded *guarded) {
    munmap(guarded->mapping, guarded->bytes + 2 * guarded->page_bytes);
}

/* `size` bytes that begin right behind the first guard, or end right before the second. */
static inline uint8_t *guarded_first(const struct guarded *guarded) {
    return guarded->mapping + guarded->page_bytes;
}

static inline uint8_t *guarded_last(const struct guarded *guarded, size_t size) {
    return guarded->mapping + guarded->page_bytes + guarded->bytes - size;
}

#endif
