/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls for NUMA are made directly: the constants are the kernel's own, and libnuma
 * would be a library for three calls.
 */
#include "os/page_placement.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/pages.h"

/* Of linux/mempolicy.h. */
#define POLICY_BIND         2
#define POLICY_INTERLEAVE   3
#define POLICY_LOCAL        4
#define ALLOWED_NODES_FLAG  ((unsigned long)4) /* MPOL_F_MEMS_ALLOWED */
#define NODES_MAX           1024u
#define WORD_BITS           (8 * sizeof(unsigned long))
#define HUGE_PAGE_SIZE_FLAG (21 << 26) /* MAP_HUGE_2MB: log2 of the size, shifted */

bool pages_transparent_huge_available(void) {
    char text[64] = "";
    int descriptor = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        return false;
    }
    ssize_t size = read(descriptor, text, sizeof(text) - 1);
    (void)close(descriptor);
    return size > 0 && strstr(text, "[never]") == NULL;
}

#if defined(SYS_mbind) && defined(SYS_get_mempolicy)
int pages_set_numa(void *memory, size_t size_bytes, enum page_numa placement, uint64_t nodes) {
    static const int modes[] = {0, POLICY_LOCAL, POLICY_INTERLEAVE, POLICY_BIND};
    unsigned long mask[NODES_MAX / WORD_BITS] = {(unsigned long)nodes};
    if (placement == PAGE_NUMA_NONE) {
        return 0;
    }
    if (placement == PAGE_NUMA_LOCAL) {
        return syscall(SYS_mbind, memory, size_bytes, POLICY_LOCAL, NULL, 0UL, 0U) == 0 ? 0 : errno;
    }
    if (nodes == 0 && syscall(SYS_get_mempolicy, NULL, mask, (unsigned long)NODES_MAX, NULL,
                              ALLOWED_NODES_FLAG) != 0) {
        return errno;
    }
    long result = syscall(SYS_mbind, memory, size_bytes, modes[placement], mask,
                          (unsigned long)NODES_MAX, 0U);
    return result == 0 ? 0 : errno;
}
#else
int pages_set_numa(void *memory, size_t size_bytes, enum page_numa placement, uint64_t nodes) {
    (void)memory;
    (void)size_bytes;
    (void)nodes;
    return placement == PAGE_NUMA_NONE ? 0 : ENOSYS;
}
#endif

/* Takes the pages now: later it would be a signal that says that there is none. */
static int take_now(void *memory, size_t size_bytes) {
#ifdef MADV_POPULATE_WRITE
    return madvise(memory, size_bytes, MADV_POPULATE_WRITE) == 0 ? 0 : errno;
#else
    (void)memory;
    (void)size_bytes;
    return EOPNOTSUPP;
#endif
}

#ifdef MAP_FIXED_NOREPLACE
#define PUT_BACK_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE)
#else
#define PUT_BACK_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
#endif

/*
 * A call that was to replace what is mapped there has failed, and may have removed it: fills the
 * hole, unless others have. Whoever is there cannot be told from what was there before.
 */
static enum page_target put_back(void *memory, size_t size_bytes) {
    void *filled = mmap(memory, size_bytes, PROT_READ | PROT_WRITE, PUT_BACK_FLAGS, -1, 0);
    if (filled == memory) {
        return PAGE_TARGET_EMPTY;
    }
    if (filled != MAP_FAILED) {
        (void)munmap(filled, size_bytes); /* the flag is unknown here: it was a wish */
    }
    return PAGE_TARGET_LOST;
}

static void *map_reserved(size_t size_bytes, int more_flags) {
    return mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | HUGE_PAGE_SIZE_FLAG | more_flags, -1,
                0);
}

static int move_pages_to(void *fresh, void *memory, size_t size_bytes) {
    return mremap(fresh, size_bytes, size_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, memory) !=
                   MAP_FAILED
               ? 0
               : errno;
}

int pages_try_reserved(void) {
    void *scratch = NULL;
    /* Addresses alone: the pool may be empty now and not later. */
    void *fresh = map_reserved(HUGE_PAGE_BYTES, MAP_NORESERVE);
    if (fresh == MAP_FAILED) {
        return errno;
    }
    if (pages_reserve(HUGE_PAGE_BYTES, &scratch, NULL) != TERN_OK) {
        (void)munmap(fresh, HUGE_PAGE_BYTES);
        return ENOMEM;
    }
    int reason = move_pages_to(fresh, scratch, HUGE_PAGE_BYTES);
    if (reason != 0) {
        (void)munmap(fresh, HUGE_PAGE_BYTES);
    }
    if (reason == 0 || put_back(scratch, HUGE_PAGE_BYTES) == PAGE_TARGET_EMPTY) {
        pages_release(scratch, HUGE_PAGE_BYTES);
    }
    return reason;
}

int pages_commit_reserved(void *memory, size_t size_bytes, enum page_numa placement, uint64_t nodes,
                          enum page_target *out_target) {
    ASSERT(((uintptr_t)memory | size_bytes) % HUGE_PAGE_BYTES == 0);
    *out_target = PAGE_TARGET_KEPT;
    /* Elsewhere first: a fixed mapping that fails may have removed what it was to replace. Moving
     * may fail so, too, but not for want of pages. */
    void *fresh = map_reserved(size_bytes, 0);
    if (fresh == MAP_FAILED) {
        return errno;
    }
    int reason = pages_set_numa(fresh, size_bytes, placement, nodes);
    reason = reason == 0 ? take_now(fresh, size_bytes) : reason;
    if (reason == 0) {
        reason = move_pages_to(fresh, memory, size_bytes);
        if (reason == 0) {
            return 0;
        }
        *out_target = put_back(memory, size_bytes);
    }
    (void)munmap(fresh, size_bytes);
    return reason;
}

enum page_target pages_discard_reserved(void *memory, size_t size_bytes) {
    if (mmap(memory, size_bytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED) {
        return PAGE_TARGET_EMPTY;
    }
    return put_back(memory, size_bytes);
}

int pages_lock(void *memory, size_t size_bytes) {
#ifdef MLOCK_ONFAULT
    if (mlock2(memory, size_bytes, MLOCK_ONFAULT) == 0) {
        return 0;
    }
    if (errno != ENOSYS && errno != EINVAL) {
        return errno;
    }
#endif
    return mlock(memory, size_bytes) == 0 ? 0 : errno;
}

/* By its number: the sanitizers swallow calls of munlock, but let mlock2 lock. */
void pages_unlock(void *memory, size_t size_bytes) {
    (void)syscall(SYS_munlock, memory, size_bytes);
}
