/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/hash/hash_value.h"

#include "base/bytes.h"
#include "base/error.h"

#define PIECE_BYTES     ((size_t)256 << 10)
#define REFERENCE_BYTES 25u
#define ENTRY_BYTES     16u
#define FORMAT          1u
_Static_assert(REFERENCE_BYTES <= ENGINE_LARGE_REFERENCE_BYTES_MAX, "a reference fits");

struct engine_large_writer {
    struct hash_file *file;
    const tern_allocator *allocator;
    tern_compression compression;
    uint64_t size;
    struct buffer piece;
    struct buffer listing;
};

tern_status hash_value_begin(struct hash_file *file, const struct engine_environment *environment,
                             tern_compression compression, struct engine_large_writer **out_writer,
                             tern_error *error) {
    struct engine_large_writer *writer =
        memory_allocate_zeroed(environment->allocator, sizeof(*writer));
    if (writer == NULL) {
        return ERROR_NO_MEMORY(error, "a large value");
    }
    writer->file = file;
    writer->allocator = environment->allocator;
    writer->compression = compression;
    buffer_init(&writer->piece, environment->allocator);
    buffer_init(&writer->listing, environment->allocator);
    *out_writer = writer;
    return TERN_OK;
}

static void free_writer(struct engine_large_writer *writer) {
    buffer_release(&writer->piece);
    buffer_release(&writer->listing);
    memory_release(writer->allocator, writer);
}

void hash_value_abandon(struct engine_large_writer *writer) {
    if (writer == NULL) {
        return;
    }
    for (size_t at = 0; at < writer->listing.size; at += ENTRY_BYTES) {
        hash_file_free(writer->file, get_u32(writer->listing.data + at),
                       get_u32(writer->listing.data + at + 4));
    }
    free_writer(writer);
}

static tern_status write_piece(struct engine_large_writer *writer, tern_error *error) {
    struct hash_ref ref;
    if (buffer_reserve(&writer->listing, ENTRY_BYTES) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a large value");
    }
    tern_status status = hash_file_put(writer->file, writer->compression, writer->piece.data,
                                       writer->piece.size, &ref, error);
    if (status == TERN_OK) {
        uint8_t *entry = writer->listing.data + writer->listing.size;
        put_u32(entry, ref.place);
        put_u32(entry + 4, ref.units);
        put_u64(entry + 8, ref.checksum);
        writer->listing.size += ENTRY_BYTES;
        writer->piece.size = 0;
    }
    return status;
}

tern_status hash_value_append(struct engine_large_writer *writer, const void *bytes, size_t size,
                              tern_error *error) {
    const uint8_t *source = bytes;
    while (size > 0) {
        size_t room = PIECE_BYTES - writer->piece.size;
        size_t part = size < room ? size : room;
        if (buffer_append(&writer->piece, source, part) != TERN_OK) {
            return ERROR_NO_MEMORY(error, "a large value");
        }
        writer->size += part;
        source += part;
        size -= part;
        if (writer->piece.size == PIECE_BYTES) {
            tern_status status = write_piece(writer, error);
            if (status != TERN_OK) {
                return status;
            }
        }
    }
    return TERN_OK;
}

/* All runs of units, the listing last. */
static tern_status visit_all(tern_slice listing, const struct hash_ref *ref,
                             tern_status (*visit)(void *context, uint32_t place, uint32_t units),
                             void *context) {
    const uint8_t *bytes = listing.data;
    tern_status status = TERN_OK;
    for (size_t at = 0; status == TERN_OK && at < listing.size; at += ENTRY_BYTES) {
        status = visit(context, get_u32(bytes + at), get_u32(bytes + at + 4));
    }
    return status == TERN_OK ? visit(context, ref->place, ref->units) : status;
}

tern_status hash_value_finish(struct engine_large_writer *writer, uint8_t *out_reference,
                              size_t *out_reference_size, tern_error *error) {
    return hash_value_finish_listed(writer, NULL, NULL, out_reference, out_reference_size, error);
}

tern_status hash_value_finish_listed(struct engine_large_writer *writer,
                                     tern_status (*visit)(void *context, uint32_t place,
                                                          uint32_t units),
                                     void *context, uint8_t *out_reference,
                                     size_t *out_reference_size, tern_error *error) {
    struct hash_ref ref = {0};
    tern_status status = TERN_OK;
    if (writer->piece.size > 0 || writer->listing.size == 0) {
        status = write_piece(writer, error);
    }
    if (status == TERN_OK) {
        status = hash_file_put(writer->file, writer->compression, writer->listing.data,
                               writer->listing.size, &ref, error);
    }
    if (status == TERN_OK && visit != NULL) {
        status = visit_all(buffer_slice(&writer->listing), &ref, visit, context);
        if (status != TERN_OK) {
            hash_file_free(writer->file, ref.place, ref.units);
            status = ERROR_NO_MEMORY(error, "a large value");
        }
    }
    if (status != TERN_OK) {
        hash_value_abandon(writer);
        return status;
    }
    out_reference[0] = FORMAT;
    put_u64(out_reference + 1, writer->size);
    put_u32(out_reference + 9, ref.place);
    put_u32(out_reference + 13, ref.units);
    put_u64(out_reference + 17, ref.checksum);
    *out_reference_size = REFERENCE_BYTES;
    free_writer(writer);
    return TERN_OK;
}

static bool is_well_formed(tern_slice reference) {
    const uint8_t *bytes = reference.data;
    return reference.size == REFERENCE_BYTES && bytes[0] == FORMAT;
}

uint64_t hash_value_size(tern_slice reference) {
    const uint8_t *bytes = reference.data;
    return is_well_formed(reference) ? get_u64(bytes + 1) : 0;
}

bool hash_value_is_reference(tern_slice reference, uint64_t size) {
    return is_well_formed(reference) && hash_value_size(reference) == size;
}

/* The listing of a value; *out_size its size. */
static tern_status read_listing(struct hash_file *file, tern_slice reference,
                                struct buffer *out_listing, uint64_t *out_size, tern_error *error) {
    const uint8_t *bytes = reference.data;
    if (!is_well_formed(reference)) {
        return ERROR_AT(error, TERN_CORRUPTION, hash_file_path(file), -1, 0,
                        "the reference to a value stored apart is malformed");
    }
    const struct hash_ref ref = {get_u32(bytes + 9), get_u32(bytes + 13), get_u64(bytes + 17)};
    uint64_t size = get_u64(bytes + 1);
    tern_status status = hash_file_read(file, &ref, out_listing, error);
    if (status != TERN_OK) {
        return status;
    }
    uint64_t pieces = size == 0 ? 1 : (size - 1) / PIECE_BYTES + 1;
    if (out_listing->size != pieces * ENTRY_BYTES) {
        return ERROR_AT(error, TERN_CORRUPTION, hash_file_path(file),
                        (uint64_t)ref.place * HASH_UNIT_BYTES, 0,
                        "the list of pieces of a value has another length than its size says");
    }
    *out_size = size;
    return TERN_OK;
}

tern_status hash_value_read(struct hash_file *file, const tern_allocator *allocator,
                            tern_slice reference, uint64_t offset, void *buffer, size_t capacity,
                            size_t *out_size, tern_error *error) {
    struct buffer listing;
    struct buffer piece;
    uint64_t size = 0;
    size_t done = 0;
    uint8_t *target = buffer;
    buffer_init(&listing, allocator);
    buffer_init(&piece, allocator);
    tern_status status = read_listing(file, reference, &listing, &size, error);
    while (status == TERN_OK && done < capacity && offset + done < size) {
        uint64_t at = offset + done;
        const uint8_t *entry = listing.data + at / PIECE_BYTES * ENTRY_BYTES;
        const struct hash_ref ref = {get_u32(entry), get_u32(entry + 4), get_u64(entry + 8)};
        uint64_t begin = at / PIECE_BYTES * PIECE_BYTES;
        uint64_t expected = size - begin < PIECE_BYTES ? size - begin : PIECE_BYTES;
        status = hash_file_read(file, &ref, &piece, error);
        if (status == TERN_OK && piece.size != expected) {
            status = ERROR_AT(error, TERN_CORRUPTION, hash_file_path(file),
                              (uint64_t)ref.place * HASH_UNIT_BYTES, 0,
                              "a piece of a value has another size than it should");
        }
        if (status == TERN_OK) {
            size_t from = (size_t)(at - begin);
            size_t part = piece.size - from;
            part = part < capacity - done ? part : capacity - done;
            memcpy(target + done, piece.data + from, part);
            done += part;
        }
    }
    buffer_release(&listing);
    buffer_release(&piece);
    if (status == TERN_OK) {
        *out_size = done;
    }
    return status;
}

tern_status hash_value_load(struct hash_file *file, const tern_allocator *allocator,
                            tern_slice reference, struct buffer *out_value, tern_error *error) {
    uint64_t size = hash_value_size(reference);
    size_t got = 0;
    if (size > SIZE_MAX / 4 || buffer_reserve(out_value, (size_t)size + 1) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a large value");
    }
    tern_status status =
        hash_value_read(file, allocator, reference, 0, out_value->data + out_value->size,
                        (size_t)size, &got, error);
    if (status == TERN_OK) {
        out_value->size += got;
    }
    return status;
}

tern_status hash_value_extents(struct hash_file *file, const tern_allocator *allocator,
                               tern_slice reference,
                               tern_status (*visit)(void *context, uint32_t place, uint32_t units),
                               void *context, tern_error *error) {
    struct buffer listing;
    uint64_t size = 0;
    buffer_init(&listing, allocator);
    tern_status status = read_listing(file, reference, &listing, &size, error);
    if (status == TERN_OK) {
        const uint8_t *bytes = reference.data;
        const struct hash_ref ref = {get_u32(bytes + 9), get_u32(bytes + 13), 0};
        status = visit_all(buffer_slice(&listing), &ref, visit, context);
    }
    buffer_release(&listing);
    return status;
}
