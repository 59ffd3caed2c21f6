/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root file: slot A at 0, slot B at 4096, bodies behind them. The body of a new manifest goes
 * where it does not touch the body of the current one: right behind the slots when it fits before
 * the current body, else behind that.
 */
#include "db/manifest.h"

#include "base/bytes.h"
#include "base/error.h"
#include "db/manifest_codec.h"
#include "os/file.h"
#include "simd/hash.h"

#define BODIES_OFFSET ((uint64_t)MANIFEST_SLOTS * MANIFEST_SLOT_BYTES)
#define NEW_FILE_NAME MANIFEST_FILE_NAME ".new"

struct manifest_file {
    const tern_allocator *allocator;
    tern_file *file;
    unsigned current;          /* slot */
    struct manifest_slot slot; /* the current one */
    char path[FILE_PATH_BYTES];
};

static tern_status read_slot(struct manifest_file *file, unsigned index,
                             struct manifest_slot *out_slot, tern_error *error) {
    uint8_t bytes[MANIFEST_SLOT_BYTES];
    uint64_t offset = (uint64_t)index * MANIFEST_SLOT_BYTES;
    size_t size = 0;
    tern_status status = file_read(file->file, offset, bytes, sizeof(bytes), &size, error);
    if (status != TERN_OK) {
        return status;
    }
    if (size < sizeof(bytes)) {
        return ERROR_AT(error, TERN_CORRUPTION, file->path, offset, 0,
                        "manifest-size: the root file ends within slot %u", index);
    }
    uint32_t version;
    const char *wrong = manifest_slot_decode(bytes, out_slot, &version);
    if (version != MANIFEST_FORMAT_VERSION) {
        return ERROR_AT(error, TERN_VERSION, file->path, offset, 0,
                        "the database has format version %u, this release reads version %d; use "
                        "a newer release",
                        version, MANIFEST_FORMAT_VERSION);
    }
    if (wrong == manifest_unknown_features) {
        return ERROR_AT(error, TERN_VERSION, file->path, offset, 0,
                        "the database needs what this release does not know; use a newer release");
    }
    if (wrong != NULL) {
        return ERROR_AT(error, TERN_CORRUPTION, file->path, offset, 0, "%s: slot %u is damaged",
                        wrong, index);
    }
    return TERN_OK;
}

/* Reads slot and body; the body's bytes come from the arena. */
static tern_status read_manifest(struct manifest_file *file, unsigned index, struct arena *arena,
                                 struct manifest_slot *out_slot, struct manifest *out_manifest,
                                 tern_error *error) {
    tern_status status = read_slot(file, index, out_slot, error);
    if (status != TERN_OK) {
        return status;
    }
    uint8_t *body = arena_allocate(arena, (size_t)out_slot->body_size);
    if (body == NULL) {
        return ERROR_NO_MEMORY(error, "the manifest");
    }
    status = file_read_exact(file->file, file->path, out_slot->body_offset, body,
                             (size_t)out_slot->body_size, error);
    if (status != TERN_OK) {
        return status;
    }
    const char *wrong = NULL;
    if (hash_u64(body, (size_t)out_slot->body_size, 0) != out_slot->body_checksum) {
        wrong = "manifest-body-checksum";
    } else {
        wrong = manifest_body_decode(tern_slice_of(body, (size_t)out_slot->body_size), arena,
                                     out_manifest);
    }
    if (wrong == manifest_no_memory) {
        return ERROR_NO_MEMORY(error, "the manifest");
    }
    if (wrong == NULL && out_manifest->generation != out_slot->generation) {
        wrong = "manifest-generation";
    }
    if (wrong != NULL) {
        return ERROR_AT(error, TERN_CORRUPTION, file->path, out_slot->body_offset, 0,
                        "%s: the body of slot %u is damaged", wrong, index);
    }
    return TERN_OK;
}

static tern_status open_file(const tern_file_system *file_system, const tern_allocator *allocator,
                             const char *directory, const char *name, uint32_t flags,
                             struct manifest_file **out_file, tern_error *error) {
    struct manifest_file *file = memory_allocate_zeroed(allocator, sizeof(*file));
    if (file == NULL) {
        return ERROR_NO_MEMORY(error, "the manifest");
    }
    file->allocator = allocator;
    tern_status status = path_join(file->path, directory, name, error);
    if (status == TERN_OK) {
        status = file_system->open(file_system->context, file->path, flags, &file->file, error);
    }
    if (status != TERN_OK) {
        memory_release(allocator, file);
        return status;
    }
    *out_file = file;
    return TERN_OK;
}

/* Chooses the newest whole slot; the other one goes to *out_other when it is whole too. */
static tern_status choose(struct manifest_file *file, struct arena *arena,
                          struct manifest *out_manifest, struct manifest *out_other,
                          tern_error *error) {
    struct manifest manifests[MANIFEST_SLOTS] = {{0}, {0}};
    struct manifest_slot slots[MANIFEST_SLOTS] = {{0}, {0}};
    tern_status statuses[MANIFEST_SLOTS];
    for (unsigned i = 0; i < MANIFEST_SLOTS; i++) {
        statuses[i] = read_manifest(file, i, arena, &slots[i], &manifests[i], error);
        if (statuses[i] != TERN_OK && statuses[i] != TERN_CORRUPTION) {
            return statuses[i];
        }
    }
    bool has_a = statuses[0] == TERN_OK;
    bool has_b = statuses[1] == TERN_OK;
    if (!has_a && !has_b) {
        return TERN_CORRUPTION;
    }
    file->current = has_a && (!has_b || slots[0].generation > slots[1].generation) ? 0 : 1;
    file->slot = slots[file->current];
    *out_manifest = manifests[file->current];
    *out_other = has_a && has_b ? manifests[1 - file->current] : (struct manifest){0};
    return TERN_OK;
}

/*
 * What was read may be in the page cache alone: its writer was killed before the sync, or the sync
 * failed. So the bytes are written where they are once more and synced. Until that has been done
 * the other slot is not touched, nor what it alone needs.
 */
static tern_status make_durable(struct manifest_file *file, tern_error *error) {
    uint8_t slot[MANIFEST_SLOT_BYTES];
    uint64_t slot_offset = (uint64_t)file->current * MANIFEST_SLOT_BYTES;
    size_t body_size = (size_t)file->slot.body_size;
    uint8_t *body = memory_allocate(file->allocator, body_size);
    if (body == NULL) {
        return ERROR_NO_MEMORY(error, "the manifest");
    }
    tern_status status =
        file_read_exact(file->file, file->path, file->slot.body_offset, body, body_size, error);
    if (status == TERN_OK) {
        status = file_read_exact(file->file, file->path, slot_offset, slot, sizeof(slot), error);
    }
    if (status == TERN_OK) {
        status = file_write(file->file, file->slot.body_offset, body, body_size, error);
    }
    if (status == TERN_OK) {
        status = file_write(file->file, slot_offset, slot, sizeof(slot), error);
    }
    if (status == TERN_OK) {
        status = file_sync(file->file, error);
    }
    memory_release(file->allocator, body);
    return status;
}

tern_status manifest_open(const tern_file_system *file_system, const tern_allocator *allocator,
                          const char *directory, bool read_only, struct arena *arena,
                          struct manifest_file **out_file, struct manifest *out_manifest,
                          struct manifest *out_other, tern_error *error) {
    char path[FILE_PATH_BYTES];
    tern_status status = path_join(path, directory, MANIFEST_FILE_NAME, error);
    if (status == TERN_OK) {
        status = file_system->exists(file_system->context, path, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    struct manifest_file *file = NULL;
    status = open_file(file_system, allocator, directory, MANIFEST_FILE_NAME,
                       read_only ? TERN_OPEN_READ : 0, &file, error);
    if (status == TERN_OK) {
        status = choose(file, arena, out_manifest, out_other, error);
    }
    if (status == TERN_OK && !read_only) {
        status = make_durable(file, error);
    }
    if (status != TERN_OK) {
        manifest_close(file);
        return status;
    }
    *out_file = file;
    return TERN_OK;
}

static bool fits_before(const struct manifest_slot *current, uint64_t size) {
    return current->body_size == 0 || BODIES_OFFSET + size <= current->body_offset;
}

static tern_status write_slot(struct manifest_file *file, unsigned index,
                              const struct manifest *manifest, tern_error *error) {
    struct buffer body;
    buffer_init(&body, file->allocator);
    tern_status status = manifest_body_encode(manifest, &body);
    if (status != TERN_OK) {
        buffer_release(&body);
        return ERROR_NO_MEMORY(error, "the manifest");
    }
    struct manifest_slot slot = {
        .generation = manifest->generation,
        .body_offset = fits_before(&file->slot, body.size)
                           ? BODIES_OFFSET
                           : round_up_u64(file->slot.body_offset + file->slot.body_size, 4096),
        .body_size = body.size,
        .body_checksum = hash_u64(body.data, body.size, 0)};
    uint8_t bytes[MANIFEST_SLOT_BYTES];
    manifest_slot_encode(&slot, bytes);
    status = file_write(file->file, slot.body_offset, body.data, body.size, error);
    if (status == TERN_OK) {
        status = file_write(file->file, (uint64_t)index * MANIFEST_SLOT_BYTES, bytes, sizeof(bytes),
                            error);
    }
    if (status == TERN_OK) {
        status = file_sync(file->file, error);
        if (status == TERN_DISK_FULL) {
            /* A failed sync is never tried again, whatever its reason. */
            status = ERROR_AT(error, TERN_IO, file->path, -1, 0,
                              "the disk was found full by a sync of the manifest");
        }
    }
    if (status == TERN_OK) {
        file->current = index;
        file->slot = slot;
    }
    buffer_release(&body);
    return status;
}

tern_status manifest_write(struct manifest_file *file, const struct manifest *manifest,
                           tern_error *error) {
    return write_slot(file, 1 - file->current, manifest, error);
}

tern_status manifest_create(const tern_file_system *file_system, const tern_allocator *allocator,
                            const char *directory, const struct manifest *manifest,
                            struct manifest_file **out_file, tern_error *error) {
    struct manifest_file *file = NULL;
    char path[FILE_PATH_BYTES];
    tern_status status = path_join(path, directory, MANIFEST_FILE_NAME, error);
    if (status == TERN_OK) {
        status = open_file(file_system, allocator, directory, NEW_FILE_NAME,
                           TERN_OPEN_CREATE | TERN_OPEN_TRUNCATE, &file, error);
    }
    if (status == TERN_OK) {
        status = write_slot(file, 0, manifest, error);
    }
    if (status != TERN_OK) {
        manifest_close(file);
        return status;
    }
    memcpy(file->path, path, sizeof(path));
    *out_file = file;
    return TERN_OK;
}

tern_status manifest_publish(const tern_file_system *file_system, const char *directory,
                             tern_error *error) {
    char from[FILE_PATH_BYTES];
    char to[FILE_PATH_BYTES];
    tern_status status = path_join(from, directory, NEW_FILE_NAME, error);
    if (status == TERN_OK) {
        status = path_join(to, directory, MANIFEST_FILE_NAME, error);
    }
    if (status == TERN_OK) {
        status = file_system->rename(file_system->context, from, to, error);
    }
    return status == TERN_OK ? file_system->sync_directory(file_system->context, directory, error)
                             : status;
}

tern_status manifest_check_slot(struct manifest_file *file, unsigned slot, tern_error *error) {
    struct arena arena;
    struct manifest_slot found;
    struct manifest manifest;
    arena_init(&arena, file->allocator, 4096);
    tern_status status = read_manifest(file, slot, &arena, &found, &manifest, error);
    arena_release(&arena);
    return status;
}

void manifest_close(struct manifest_file *file) {
    if (file == NULL) {
        return;
    }
    (void)file_close(file->file, NULL);
    memory_release(file->allocator, file);
}
