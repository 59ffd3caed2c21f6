/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the pages behind large memory come from: size, NUMA node, and whether they may be swapped
 * out. Each function says in errno terms why it could not do what it was asked, so that whoever
 * asked can tell his user. Any thread.
 */
#ifndef TERN_OS_PAGE_PLACEMENT_H
#define TERN_OS_PAGE_PLACEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum page_numa { PAGE_NUMA_NONE, PAGE_NUMA_LOCAL, PAGE_NUMA_INTERLEAVE, PAGE_NUMA_BIND };

/* True when the system gives transparent huge pages to whoever asks for them. */
bool pages_transparent_huge_available(void);

/*
 * The nodes (bit i: node i) that pages of the range will come from; `nodes` 0 means all that the
 * process may use. 0, or the errno: ENOSYS without NUMA in the kernel, EINVAL for a node that is
 * not there.
 */
int pages_set_numa(void *memory, size_t size_bytes, enum page_numa placement, uint64_t nodes);

/* What a call that replaces a mapping has left where it was to. */
enum page_target {
    PAGE_TARGET_KEPT,  /* what was there before */
    PAGE_TARGET_EMPTY, /* ordinary memory, readable as zeros, without a NUMA policy */
    PAGE_TARGET_LOST   /* perhaps nothing, perhaps memory of others: never to be touched again */
};

/* Can pages of the reserved pool be moved to other addresses? 0, or the errno. Some kernels cannot,
 * and have unmapped the target by the time they notice. */
int pages_try_reserved(void);

/*
 * Puts pages of the reserved pool (2 MiB each), of the given nodes, in the place of what is mapped
 * at [memory, memory + size); both are multiples of HUGE_PAGE_BYTES. The pages are taken at once:
 * later use cannot fail. 0, or the errno: ENOMEM when the pool has too few, EFAULT when a node or a
 * control group has, and others when they cannot be moved. *out_target: after a failure.
 */
int pages_commit_reserved(void *memory, size_t size_bytes, enum page_numa placement, uint64_t nodes,
                          enum page_target *out_target);
/* Ordinary memory, readable as zeros, in the place of such pages; other readers see one or the
 * other at any time. PAGE_TARGET_EMPTY, or PAGE_TARGET_LOST: the system refused. */
enum page_target pages_discard_reserved(void *memory, size_t size_bytes);

/* Keeps pages of the range in memory from their first use on. 0, or the errno: ENOMEM or EPERM
 * above RLIMIT_MEMLOCK. */
int pages_lock(void *memory, size_t size_bytes);
void pages_unlock(void *memory, size_t size_bytes);

#endif
