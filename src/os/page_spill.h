/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that nobody writes any more, moved to a temporary file where it stands: its bytes are
 * written, then the file is mapped over the same addresses. Readers go on meanwhile and notice
 * nothing; the system keeps of the pages what is read, and takes them back as it takes back the
 * page cache.
 *
 * The pages are as trustworthy as swap: they carry no checksums of their own, and a device that
 * cannot give them back ends the process. The file has no name and ends with its last mapping.
 */
#ifndef TERN_OS_PAGE_SPILL_H
#define TERN_OS_PAGE_SPILL_H

#include <tern/sys/file_system.h>

#include "base/memory.h"

#define SPILL_FILE_NAME "spill.tmp"

struct spilled_range {
    void *memory;
    size_t size_bytes;
};

/* One file at a time, and what has been moved, to this file and those before. One thread. */
struct page_spill {
    const tern_allocator *allocator;
    tern_file *file; /* NULL: not open */
    uint64_t size_bytes;
    struct spilled_range *ranges;
    size_t range_count;
    size_t range_capacity;
};

void page_spill_init(struct page_spill *spill, const tern_allocator *allocator);
/* Before the memory goes. */
void page_spill_release(struct page_spill *spill);

/*
 * Makes the file in `directory` and takes its name away. TERN_UNSUPPORTED where files have no
 * descriptor to map, else as the file system says.
 */
TERN_MUST_CHECK tern_status page_spill_open(const tern_file_system *file_system,
                                            const char *directory, struct page_spill *spill,
                                            tern_error *error);
/* What has been moved stays readable. Harmless when no file is open. */
void page_spill_close(struct page_spill *spill);

/* What readers have brought back into memory may go again. */
void page_spill_forget(const struct page_spill *spill);

/*
 * Moves whole pages that come from os/pages.h: they stay readable (a write makes a private copy),
 * and go as they would have gone. TERN_DISK_FULL, TERN_NO_MEMORY and other failures leave them as
 * they were.
 */
TERN_MUST_CHECK tern_status page_spill_put(struct page_spill *spill, void *memory,
                                           size_t size_bytes, tern_error *error);

#endif
