/* SPDX-License-Identifier: Apache-2.0 */
#include "os/pages.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
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

static bool read_all(int descriptor, uint64_t offset, char *buffer, size_t size_bytes) {
    size_t done = 0;
    while (done < size_bytes) {
        ssize_t count = pread(descriptor, buffer + done, size_bytes - done, (off_t)(offset + done));
        if (count <= 0 && !(count < 0 && errno == EINTR)) {
            return false;
        }
        done += count > 0 ? (size_t)count : 0;
    }
    return true;
}

#ifdef MAP_FIXED_NOREPLACE
#define CLAIM_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE)
#else
#define CLAIM_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
#endif

/*
 * A call that was to replace what is mapped there has failed, and may have removed it: then the
 * bytes of the file are put there. Only as a whole, so that no reader meets half of it. False: they
 * are lost.
 */
static bool put_back(void *memory, size_t size_bytes, int descriptor, uint64_t offset) {
    void *claimed = mmap(memory, size_bytes, PROT_NONE, CLAIM_FLAGS, -1, 0);
    if (claimed != memory) {
        if (claimed != MAP_FAILED) {
            (void)munmap(claimed, size_bytes); /* the flag is unknown here: it was a wish */
        }
        return true; /* it is still there */
    }
    void *copy = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return copy != MAP_FAILED && read_all(descriptor, offset, copy, size_bytes) &&
           mremap(copy, size_bytes, size_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, memory) == memory;
}

/*
 * Mapped elsewhere first: what can fail fails there, and readers, who see the same bytes before and
 * after, meet one step. Not by mmap to the fixed address, which ThreadSanitizer takes for a write
 * to the range, and readers for a race with it.
 */
static bool map_over(void *memory, size_t size_bytes, int descriptor, uint64_t offset) {
    void *fresh = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE,
                       descriptor, (off_t)offset);
    if (fresh == MAP_FAILED) {
        return false;
    }
    if (mremap(fresh, size_bytes, size_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, memory) == memory) {
        return true;
    }
    int failure = errno;
    (void)munmap(fresh, size_bytes);
    errno = failure;
    return false;
}

tern_status pages_replace(void *memory, size_t size_bytes, int descriptor, uint64_t offset,
                          tern_error *error) {
    ASSERT(((uintptr_t)memory & 4095) == 0 && (size_bytes & 4095) == 0);
    if (!map_over(memory, size_bytes, descriptor, offset)) {
        int failure = errno;
        if (!put_back(memory, size_bytes, descriptor, offset)) {
            (void)fprintf(stderr,
                          "tern: %zu bytes of memory were lost while they were moved to a file "
                          "(errno %d); to go on would be to read other bytes in their place\n",
                          size_bytes, failure);
            abort();
        }
        return ERROR_AT(error, TERN_NO_MEMORY, NULL, (int64_t)offset, failure,
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
