/* SPDX-License-Identifier: Apache-2.0 */
/* An open POSIX file, shared by the file system that opens it and the lock. */
#ifndef TERN_OS_POSIX_FILE_INTERNAL_H
#define TERN_OS_POSIX_FILE_INTERNAL_H

#include <tern/sys/file_system.h>

struct posix_file {
    tern_file head;
    int descriptor;
    bool is_lock; /* the text in it is wiped before the lock is given up */
    char path[];  /* for error detail */
};

extern const tern_file_methods posix_file_methods;

/* Wraps a descriptor, which it owns from then on; on failure the descriptor is closed. */
TERN_MUST_CHECK tern_status posix_file_create(int descriptor, const char *path, uint32_t flags,
                                              uint32_t alignment_bytes,
                                              struct posix_file **out_file, tern_error *error);

/* tern_file_system::lock; see posix_lock.c. */
TERN_MUST_CHECK tern_status posix_lock(void *context, const char *path, tern_file **out_lock,
                                       tern_error *error);

/* tern_file_system::open_queue; see io_ring.c. */
TERN_MUST_CHECK tern_status posix_open_queue(void *context, uint32_t depth,
                                             tern_io_queue **out_queue, tern_error *error);

/* Opens again when a signal interrupts; -1 and errno otherwise. */
int posix_open(const char *path, int flags);

#endif
