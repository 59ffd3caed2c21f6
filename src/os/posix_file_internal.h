/* SPDX-License-Identifier: Apache-2.0 */
/* An open POSIX file, shared by the file system that opens it and the lock. */
#ifndef TERN_OS_POSIX_FILE_INTERNAL_H
#define TERN_OS_POSIX_FILE_INTERNAL_H

#include <tern/sys/file_system.h>

struct durable_ring;

struct posix_file {
    tern_file head;
    int descriptor;
    struct durable_ring *ring; /* with TERN_OPEN_RING, where there are rings; or NULL */
    bool is_lock;              /* the text in it is wiped before the lock is given up */
    char path[];               /* for error detail */
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

/* tern_file_methods::write_durable; see durable_write.c. */
TERN_MUST_CHECK tern_status posix_write_durable(tern_file *file, uint64_t offset,
                                                const void *buffer, size_t size, tern_error *error);

/* A ring for one file; NULL where there is none to be had. */
struct durable_ring *durable_ring_open(void);
/* Nothing may be under way. Accepts NULL. */
void durable_ring_close(struct durable_ring *ring);

/* Opens again when a signal interrupts; -1 and errno otherwise. */
int posix_open(const char *path, int flags);

#endif
