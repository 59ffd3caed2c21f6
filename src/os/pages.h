/* SPDX-License-Identifier: Apache-2.0 */
/* Large anonymous memory straight from the system, in huge pages where they can be had. */
#ifndef TERN_OS_PAGES_H
#define TERN_OS_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tern/error.h>

#define HUGE_PAGE_BYTES ((size_t)2 << 20)

/*
 * Reserves addresses (no memory) aligned to 2 MiB. Any thread. TERN_NO_MEMORY.
 */
TERN_MUST_CHECK tern_status pages_reserve(size_t size_bytes, void **out_memory, tern_error *error);

/* Makes [memory, memory + size) usable, advised for huge pages; zeroed. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status pages_commit(void *memory, size_t size_bytes, bool huge,
                                         tern_error *error);

/* Gives the memory back to the system, keeps the addresses reserved. */
void pages_decommit(void *memory, size_t size_bytes);

/* Gives the memory back to the system but leaves it usable: it reads as zeros from now on. */
void pages_discard(void *memory, size_t size_bytes);

/* Gives memory and addresses back. Accepts NULL. */
void pages_release(void *memory, size_t size_bytes);

/* Whole pages of 4 KiB without further alignment: for what is too small for huge pages. NULL when
 * out of memory. */
void *pages_allocate_small(size_t size_bytes);
/* Accepts NULL. */
void pages_release_small(void *memory, size_t size_bytes);

/*
 * Lets the bytes of a file stand where the memory was, with the same contents; readers may be
 * inside. A later write makes a private copy. Release it as before. TERN_NO_MEMORY leaves the
 * contents as they were.
 */
TERN_MUST_CHECK tern_status pages_replace(void *memory, size_t size_bytes, int descriptor,
                                          uint64_t offset, tern_error *error);
/* What of a replaced range is in memory may go: it is read again when it is needed. */
void pages_forget(void *memory, size_t size_bytes);

/* Page faults of the process so far: what has been brought into memory since another call. */
uint64_t pages_fault_count(void);

/* pages_reserve and pages_commit in one. */
TERN_MUST_CHECK tern_status pages_allocate(size_t size_bytes, bool huge, void **out_memory,
                                           tern_error *error);

#endif
