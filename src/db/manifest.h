/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest: the one root of a database. The file "tern.root" holds two slots of 4 KiB, written
 * in turn, each with checksum and generation, and pointing to a body that lists the keyspaces with
 * the states of their engines. docs/format/manifest.md is normative.
 *
 * A switch of root writes the body, then the slot, then syncs once: a slot counts only when its own
 * checksum and its body's are right, so whichever of the two survives is whole.
 */
#ifndef TERN_DB_MANIFEST_H
#define TERN_DB_MANIFEST_H

#include <tern/keyspace.h>
#include <tern/sys/file_system.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/types.h"
#include "log/log.h"

#define MANIFEST_FILE_NAME "tern.root"
#define MANIFEST_SLOTS     2

/* One keyspace as the manifest knows it; borrowed bytes. */
struct manifest_keyspace {
    partition_id id;          /* of its partition */
    partition_id keyspace_id; /* the same until it is converted */
    seq_no shown_seq;         /* of the conversion; SEQ_MAX: one that has not come to its end */
    seq_no created_seq;
    tern_keyspace_options options;
    uint64_t hash_seed;
    tern_slice name;
    tern_slice state; /* of its engine */
};

/* What a body says. */
struct manifest {
    uint64_t generation;      /* of the manifest; grows by one with each switch */
    uint64_t view_generation; /* of the view that the states belong to */
    uint32_t incarnation;
    seq_no catalog_seq;     /* catalog changes up to here are in it */
    seq_no last_seq;        /* at least this was committed when it was written */
    uint64_t time_ms;       /* logged time of last_seq */
    log_position log_start; /* replay begins here */
    partition_id next_partition;
    bool has_expiring;
    const struct manifest_keyspace *keyspaces;
    size_t keyspace_count;
};

/* The open root file. One thread at a time. */
struct manifest_file;

/*
 * Opens the root file and reads the newest whole manifest into `out_manifest` (borrowing from
 * `arena`). TERN_NOT_FOUND without detail when there is none; TERN_CORRUPTION when no slot is
 * whole; TERN_VERSION. out_other_view_generation: that of the other whole slot, or 0.
 */
TERN_MUST_CHECK tern_status manifest_open(const tern_file_system *file_system,
                                          const tern_allocator *allocator, const char *directory,
                                          bool read_only, struct arena *arena,
                                          struct manifest_file **out_file,
                                          struct manifest *out_manifest, struct manifest *out_other,
                                          tern_error *error);

/* Creates the root file of a new database beside its name, synced. There is no database until
 * manifest_publish. */
TERN_MUST_CHECK tern_status manifest_create(const tern_file_system *file_system,
                                            const tern_allocator *allocator, const char *directory,
                                            const struct manifest *manifest,
                                            struct manifest_file **out_file, tern_error *error);

/* Gives a root file that manifest_create has made its name, durably. It may be open. */
TERN_MUST_CHECK tern_status manifest_publish(const tern_file_system *file_system,
                                             const char *directory, tern_error *error);

/*
 * Switches the root: writes `manifest` into the slot that is not current and syncs. After a failure
 * of the sync nothing is known about that slot; the file must not be written again.
 */
TERN_MUST_CHECK tern_status manifest_write(struct manifest_file *file,
                                           const struct manifest *manifest, tern_error *error);

/* Closes. Accepts NULL. */
void manifest_close(struct manifest_file *file);

/* What a slot looks like, for verify: TERN_OK, or TERN_CORRUPTION with place and reason. */
TERN_MUST_CHECK tern_status manifest_check_slot(struct manifest_file *file, unsigned slot,
                                                tern_error *error);

#endif
