/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of a partition: "p-<16 hex digits of the id>.btree", one 4 KiB header, then blocks in
 * units of 512 bytes, never overwritten while anybody may read them.
 *
 * Space: free extents are kept as intervals in memory, derived at open by walking the inner nodes
 * of every root that recovery may choose. A block lives over [born, superseded) of view
 * generations; superseded blocks wait until no live view lies inside (see engine_methods.release).
 *
 * Threads: reading from any thread; allocation, writing and release belong to the maintenance role,
 * except value blocks (file_allocate/file_release_now/file_write take the file's lock).
 */
#ifndef TERN_ENGINE_BTREE_FILE_H
#define TERN_ENGINE_BTREE_FILE_H

#include "engine/btree/btree_page.h"
#include "engine/engine.h"

struct btree_file;
struct btree_map;

/* Opens the file of a partition; missing is fine: it is created at the first write. */
TERN_MUST_CHECK tern_status btree_file_open(const struct engine_environment *environment,
                                            const struct engine_config *config,
                                            struct btree_file **out_file, tern_error *error);
void btree_file_close(struct btree_file *file);
const char *btree_file_path(const struct btree_file *file);
/* The mapping that leaves are read out of; NULL: they come from the cache. */
struct btree_map *btree_file_map(const struct btree_file *file);
uint32_t btree_file_space(const struct btree_file *file); /* cache space id */

/* ---- reading: any thread ---- */

/*
 * Reads and checks the block at `ref` (ref_units whole units; trailing zeros of the last unit are
 * not part of the block) and writes its payload, without the block header, to target[0 ..
 * *out_payload_size), never more than `capacity` bytes. For a cache frame callers give
 * frame + BLOCK_HEADER_BYTES: the frame's own header must not be written to, readers with a stale
 * hint look at it. TERN_CORRUPTION, TERN_IO, TERN_NO_MEMORY.
 */
TERN_MUST_CHECK tern_status btree_file_read_block(struct btree_file *file, packed_ref ref,
                                                  uint64_t checksum, uint8_t *target,
                                                  size_t capacity, size_t *out_payload_size,
                                                  tern_error *error);

/* ---- space ---- */

/* Before the first allocation after open: takes a block in use out of the free space. An overlap of
 * two blocks is TERN_CORRUPTION. */
TERN_MUST_CHECK tern_status btree_file_mark_used(struct btree_file *file, uint64_t place,
                                                 uint64_t units, tern_error *error);
/* Hands out `units` consecutive units (best fit low in the file, else grows the file).
 * TERN_DISK_FULL. */
TERN_MUST_CHECK tern_status btree_file_allocate(struct btree_file *file, uint64_t units,
                                                uint64_t *out_place, tern_error *error);
/* A block nobody has ever seen (given up before a publish): free at once. */
void btree_file_release_now(struct btree_file *file, uint64_t place, uint64_t units);
/* A block superseded by the root being built: free once no live view lies in [born, superseded);
 * `superseded` is set by btree_file_supersede_at. TERN_NO_MEMORY. */
TERN_MUST_CHECK tern_status btree_file_release_later(struct btree_file *file, uint64_t place,
                                                     uint64_t units, uint64_t born,
                                                     tern_error *error);
/* The root being built becomes visible as `generation`; false: it was given up, its supersessions
 * are void. */
void btree_file_supersede_at(struct btree_file *file, uint64_t generation, bool is_published);
void btree_file_release_generations(struct btree_file *file, const uint64_t *live, size_t count);

/* ---- writing ---- */

/* Writes `units` whole units at `place` (aligned memory when direct). */
TERN_MUST_CHECK tern_status btree_file_write(struct btree_file *file, uint64_t place,
                                             const void *bytes, uint64_t units, tern_error *error);
TERN_MUST_CHECK tern_status btree_file_sync(struct btree_file *file, tern_error *error);
/* Cuts free units off the end, up to 64 MiB of them. */
TERN_MUST_CHECK tern_status btree_file_shrink(struct btree_file *file, uint64_t *out_freed_bytes,
                                              tern_error *error);

struct btree_file_stats {
    uint64_t file_bytes, free_bytes, pending_bytes, free_extents, largest_free_bytes;
    uint64_t tail_bytes; /* free at the end */
    uint64_t written_bytes, read_bytes, reads;
    uint64_t ahead_runs, ahead_pages, ahead_strided_runs;
    uint64_t mapped_bytes, mapped_pages_checked;
    bool is_mapped, map_failed;
    bool exists;
    bool is_direct; /* bypasses the page cache */
};
void btree_file_get_stats(const struct btree_file *file, struct btree_file_stats *out_stats);
/* Visits free intervals (place, units) in order. */
void btree_file_visit_free(const struct btree_file *file,
                           bool (*visit)(void *context, uint64_t place, uint64_t units),
                           void *context);

#endif
