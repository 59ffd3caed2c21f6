/* SPDX-License-Identifier: Apache-2.0 */
#include "os/pages.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/error.h"

static size_t whole_huge_pages(size_t size_bytes) {
    return (size_bytes + HUGE_PAGE_BYTES - 1) & ~(HUGE_PAGE_BYTES - 1);
}

tern_status pages_reserve(size_t size_bytes, void **out_memory, tern_error *error) {
    if (size_bytes == 0 || size_bytes > SIZE_MAX / 2) {
        return ERROR_SET(error, TERN_NO_MEMORY, "cannot reserve %zu bytes of addresses",
                         size_bytes);
    }
    /* One huge page more than needed, so that an aligned run lies inside; the rest goes back. */
    size_t size = whole_huge_pages(size_bytes);
    char *whole = mmap(NULL, size + HUGE_PAGE_BYTES, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (whole == MAP_FAILED) {
        return ERROR_AT(error, TERN_NO_MEMORY, NULL, -1, errno,
                        "cannot reserve %zu bytes of addresses; check ulimit -v", size_bytes);
    }
    size_t before = (size_t)(-(uintptr_t)whole & (HUGE_PAGE_BYTES - 1));
    if (before > 0) {
        (void)munmap(whole, before);
    }
    (void)munmap(whole + before + size, HUGE_PAGE_BYTES - before);
    *out_memory = whole + before;
    return TERN_OK;
}

tern_status pages_commit(void *memory, size_t size_bytes, bool huge, tern_error *error) {
    ASSERT(((uintptr_t)memory & 4095) == 0);
    if (mprotect(memory, size_bytes, PROT_READ | PROT_WRITE) != 0) {
        return ERROR_AT(error, TERN_NO_MEMORY, NULL, -1, errno,
                        "cannot commit %zu bytes of memory; lower memory_bytes", size_bytes);
    }
    /* Advice: where huge pages are off, small ones serve. */
    (void)madvise(memory, size_bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    return TERN_OK;
}

void pages_decommit(void *memory, size_t size_bytes) {
    (void)madvise(memory, size_bytes, MADV_DONTNEED);
    (void)mprotect(memory, size_bytes, PROT_NONE);
}

void pages_discard(void *memory, size_t size_bytes) {
    (void)madvise(memory, size_bytes, MADV_DONTNEED);
}

void pages_release(void *memory, size_t size_bytes) {
    if (memory != NULL) {
        (void)munmap(memory, whole_huge_pages(size_bytes));
    }
}

void *pages_allocate_small(size_t size_bytes) {
    ASSERT((size_bytes & 4095) == 0);
    void *memory =
        mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void pages_release_small(void *memory, size_t size_bytes) {
    if (memory != NULL) {
        (void)munmap(memory, size_bytes);
    }
}

tern_status pages_replace(void *memory, size_t size_bytes, int descriptor, uint64_t offset,
                          tern_error *error) {
    ASSERT(((uintptr_t)memory & 4095) == 0 && (size_bytes & 4095) == 0);
    /* Not through the C library: ThreadSanitizer takes its mmap for a write to the range, and
     * readers, who see the same bytes before and after, for a race with it. */
    long result = syscall(SYS_mmap, memory, size_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_FIXED, descriptor, (long)offset);
    if (result == -1) {
        return ERROR_AT(error, TERN_NO_MEMORY, NULL, (int64_t)offset, errno,
                        "cannot map %zu bytes of a temporary file", size_bytes);
    }
    /* A read brings back what is near it, not all of a huge page. */
    (void)madvise(memory, size_bytes, MADV_RANDOM);
    (void)madvise(memory, size_bytes, MADV_NOHUGEPAGE);
    return TERN_OK;
}

void pages_forget(void *memory, size_t size_bytes) {
    (void)madvise(memory, size_bytes, MADV_DONTNEED);
}

uint64_t pages_fault_count(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0
               ? (uint64_t)usage.ru_minflt + (uint64_t)usage.ru_majflt
               : 0;
}

tern_status pages_allocate(size_t size_bytes, bool huge, void **out_memory, tern_error *error) {
    void *memory = NULL;
    tern_status status = pages_reserve(size_bytes, &memory, error);
    if (status != TERN_OK) {
        return status;
    }
    status = pages_commit(memory, size_bytes, huge, error);
    if (status != TERN_OK) {
        pages_release(memory, size_bytes);
        return status;
    }
    *out_memory = memory;
    return TERN_OK;
}
