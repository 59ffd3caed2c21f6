/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a phase cost the machine, seen from outside the store: memory of this process, bytes that
 * went to the device and came from it, space in the file system.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include <stdbool.h>
#include <stdint.h>

struct memory_use {
    uint64_t peak_rss_bytes;  /* of this process since it was forked */
    uint64_t anonymous_bytes; /* now, private memory */
    uint64_t mapped_bytes;    /* now, pages of files that are mapped */
};

struct io_counters {
    /* Dirtied by this process, less what was dropped before it was written. */
    uint64_t process_written_bytes;
    uint64_t process_read_bytes; /* that this process made the kernel fetch from storage */
    /* Of the device under the directory, by anybody. */
    uint64_t device_written_bytes;
    uint64_t device_read_bytes;
    bool has_device;
};

void measure_memory(struct memory_use *out_use);

/* Call sync_file_system first, or the counters tell what was written, not what must be. */
void measure_io(const char *directory, struct io_counters *out_counters);

/* Everything dirty in the file system of the directory reaches the device. */
bool sync_file_system(const char *directory);

/* Blocks that the files under the directory occupy; holes cost nothing. */
uint64_t directory_bytes(const char *directory);

/* Takes the files' clean pages out of the page cache, so that whoever reads them next pays. */
void drop_cached_pages(const char *directory);

bool remove_directory_tree(const char *directory);

#endif
