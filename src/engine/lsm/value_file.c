/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reference (at most 64 bytes): u8 1 with an index, else 0; varint number of the file, varint size
 * of the value, varint bytes it takes in the file, u64 place and u64 checksum of the index or
 * piece.
 *
 * Payload of a piece: u8 type (LSM_PAYLOAD_VALUE), 3 zero bytes, u32 its number within the value,
 * bytes of the value; all but the last have PIECE_BYTES.
 * Payload of an index: u8 type (LSM_PAYLOAD_VALUE_INDEX), 3 zero bytes, u32 count, count times u64
 * place and u64 checksum.
 */
#include "engine/lsm/value_file.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/varint.h"
#include "engine/lsm/file_registry.h"

#define HEAD_BYTES  8u
#define ENTRY_BYTES 16u
#define PIECE_BYTES ((uint32_t)(256 * 1024 - BLOCK_HEADER_BYTES - 8))
/* An index block has to fit a place's 24 bits of size. */
#define PIECES_MAX (((uint32_t)1 << 20) - 64)

struct value_output {
    struct lsm *lsm;
    uint64_t number;
    tern_file *file;
    uint64_t offset;
    uint64_t sent;  /* of it, on its way to the device */
    uint64_t begin; /* of the current value */
    uint64_t size_bytes;
    uint8_t *block; /* header, head, bytes of the current piece */
    uint32_t fill;
    uint8_t *encoded;    /* when compressed */
    struct buffer index; /* references to the pieces */
    uint32_t pieces;
};

/* ---- references ---- */

size_t value_reference_encode(const struct value_reference *reference,
                              uint8_t out_bytes[ENGINE_LARGE_REFERENCE_BYTES_MAX]) {
    uint8_t *end = out_bytes;
    *end++ = reference->has_index ? 1 : 0;
    end = varint_put(end, reference->number);
    end = varint_put(end, reference->size_bytes);
    end = varint_put(end, reference->stored_bytes);
    put_u64(end, reference->ref.place);
    put_u64(end + 8, reference->ref.checksum);
    return (size_t)(end + 16 - out_bytes);
}

tern_status value_reference_decode(tern_slice bytes, struct value_reference *out_reference,
                                   tern_error *error) {
    const uint8_t *source = bytes.data;
    const uint8_t *end = source + bytes.size;
    struct value_reference reference = {0};
    if (bytes.size > 0 && source[0] <= 1) {
        reference.has_index = source[0] == 1;
        source = varint_get(source + 1, end, &reference.number);
        source = source != NULL ? varint_get(source, end, &reference.size_bytes) : NULL;
        source = source != NULL ? varint_get(source, end, &reference.stored_bytes) : NULL;
        if (source != NULL && end - source == 16) {
            reference.ref = (struct lsm_ref){get_u64(source), get_u64(source + 8)};
            *out_reference = reference;
            return TERN_OK;
        }
    }
    return ERROR_SET(error, TERN_CORRUPTION,
                     "a reference of %zu bytes to a value stored apart is malformed", bytes.size);
}

/* ---- writing ---- */

tern_status value_output_create(struct lsm *lsm, struct value_output **out_output,
                                tern_error *error) {
    const tern_allocator *allocator = lsm_allocator(lsm);
    const tern_file_system *system = lsm->environment->file_system;
    char path[FILE_PATH_BYTES];
    struct value_output *output = memory_allocate_zeroed(allocator, sizeof(*output));
    if (output == NULL) {
        return ERROR_NO_MEMORY(error, "writing a value");
    }
    output->lsm = lsm;
    output->number = atomic_fetch_add_explicit(&lsm->next_file, 1, memory_order_relaxed);
    buffer_init(&output->index, allocator);
    bool is_compressed = lsm->config.options.compression != TERN_COMPRESSION_NONE;
    output->block = memory_allocate(allocator, BLOCK_HEADER_BYTES + HEAD_BYTES + PIECE_BYTES);
    if (is_compressed) {
        output->encoded = memory_allocate(allocator, block_bound(HEAD_BYTES + PIECE_BYTES));
    }
    tern_status status = output->block == NULL || (is_compressed && output->encoded == NULL)
                             ? ERROR_NO_MEMORY(error, "writing a value")
                             : TERN_OK;
    bool is_registered = false;
    if (status == TERN_OK) {
        status = file_registry_add(lsm->files, output->number, LSM_FILE_VALUES, 0, true, error);
        is_registered = status == TERN_OK;
    }
    if (status == TERN_OK) {
        status = lsm_file_path(lsm, output->number, LSM_FILE_VALUES, path, error);
    }
    if (status == TERN_OK) {
        status = system->open(system->context, path, TERN_OPEN_CREATE | TERN_OPEN_EXCLUSIVE,
                              &output->file, error);
        output->file = status == TERN_OK ? output->file : NULL;
    }
    if (status != TERN_OK) {
        if (is_registered) {
            file_registry_forget(lsm->files, output->number);
        }
        memory_release(allocator, output->block);
        memory_release(allocator, output->encoded);
        memory_release(allocator, output);
        return status;
    }
    *out_output = output;
    return TERN_OK;
}

uint64_t value_output_number(const struct value_output *output) {
    return output->number;
}

/* Writes a payload that lies behind room for its header. */
static tern_status write_payload(struct value_output *output, uint8_t *block, size_t size,
                                 uint8_t *encoded, struct lsm_ref *out_ref, tern_error *error) {
    const struct block_context context = {encoded != NULL ? output->lsm->config.options.compression
                                                          : TERN_COMPRESSION_NONE,
                                          output->lsm->environment->incarnation};
    size_t stored = BLOCK_HEADER_BYTES + size;
    const uint8_t *bytes = block;
    uint64_t checksum = 0;
    if (encoded != NULL) {
        tern_status status = block_encode(&context, block + BLOCK_HEADER_BYTES, size, encoded,
                                          &stored, &checksum, error);
        if (status != TERN_OK) {
            return status;
        }
        bytes = encoded;
    } else {
        checksum = block_seal(&context, block, size);
    }
    tern_status status = file_write(output->file, output->offset, bytes, stored, error);
    if (status == TERN_OK) {
        *out_ref = (struct lsm_ref){lsm_place_of(output->offset, stored), checksum};
        output->offset += stored;
        lsm_send_off(output->file, &output->sent, output->offset);
        atomic_fetch_add_explicit(&output->lsm->written_bytes, stored, memory_order_relaxed);
    }
    return status;
}

static tern_status end_piece(struct value_output *output, tern_error *error) {
    struct lsm_ref ref = {0};
    uint8_t entry[ENTRY_BYTES];
    uint8_t *payload = output->block + BLOCK_HEADER_BYTES;
    if (output->pieces == PIECES_MAX) {
        return ERROR_SET(error, TERN_INVALID,
                         "a value of an LSM keyspace has at most %llu bytes; split it",
                         (unsigned long long)PIECES_MAX * PIECE_BYTES);
    }
    memset(payload, 0, HEAD_BYTES);
    payload[0] = LSM_PAYLOAD_VALUE;
    put_u32(payload + 4, output->pieces);
    tern_status status = write_payload(output, output->block, HEAD_BYTES + output->fill,
                                       output->encoded, &ref, error);
    if (status != TERN_OK) {
        return status;
    }
    if (output->index.size == 0) {
        /* Room for the header and head of the index block. */
        if (buffer_reserve(&output->index, BLOCK_HEADER_BYTES + HEAD_BYTES) != TERN_OK) {
            return ERROR_NO_MEMORY(error, "writing a value");
        }
        output->index.size = BLOCK_HEADER_BYTES + HEAD_BYTES;
    }
    put_u64(entry, ref.place);
    put_u64(entry + 8, ref.checksum);
    if (buffer_append(&output->index, entry, sizeof(entry)) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "writing a value");
    }
    output->pieces++;
    output->fill = 0;
    return TERN_OK;
}

tern_status value_output_append(struct value_output *output, const void *bytes, size_t size,
                                tern_error *error) {
    const uint8_t *source = bytes;
    while (size > 0) {
        if (output->fill == PIECE_BYTES) {
            tern_status status = end_piece(output, error);
            if (status != TERN_OK) {
                return status;
            }
        }
        size_t part = PIECE_BYTES - output->fill;
        part = part < size ? part : size;
        memcpy(output->block + BLOCK_HEADER_BYTES + HEAD_BYTES + output->fill, source, part);
        output->fill += (uint32_t)part;
        output->size_bytes += part;
        source += part;
        size -= part;
    }
    return TERN_OK;
}

tern_status value_output_finish(struct value_output *output,
                                uint8_t out_reference[ENGINE_LARGE_REFERENCE_BYTES_MAX],
                                size_t *out_size, tern_error *error) {
    tern_status status = TERN_OK;
    if (output->fill > 0 || output->pieces == 0) {
        status = end_piece(output, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    struct value_reference reference = {.has_index = output->pieces > 1,
                                        .number = output->number,
                                        .size_bytes = output->size_bytes};
    uint8_t *index = output->index.data;
    if (reference.has_index) {
        uint8_t *payload = index + BLOCK_HEADER_BYTES;
        memset(payload, 0, HEAD_BYTES);
        payload[0] = LSM_PAYLOAD_VALUE_INDEX;
        put_u32(payload + 4, output->pieces);
        status = write_payload(output, index, output->index.size - BLOCK_HEADER_BYTES, NULL,
                               &reference.ref, error);
    } else {
        const uint8_t *entry = index + BLOCK_HEADER_BYTES + HEAD_BYTES;
        reference.ref = (struct lsm_ref){get_u64(entry), get_u64(entry + 8)};
    }
    if (status != TERN_OK) {
        return status;
    }
    reference.stored_bytes = output->offset - output->begin;
    *out_size = value_reference_encode(&reference, out_reference);
    output->begin = output->offset;
    output->size_bytes = 0;
    output->pieces = 0;
    output->index.size = 0;
    return TERN_OK;
}

tern_status value_output_close(struct value_output *output, bool keep, tern_error *error) {
    if (output == NULL) {
        return TERN_OK;
    }
    struct lsm *lsm = output->lsm;
    const tern_allocator *allocator = lsm_allocator(lsm);
    tern_status status = file_close(output->file, error);
    if (keep && status == TERN_OK) {
        file_registry_set_bytes(lsm->files, output->number, output->offset);
    } else {
        file_registry_forget(lsm->files, output->number);
        (void)lsm_file_remove(lsm, output->number, LSM_FILE_VALUES, NULL);
    }
    buffer_release(&output->index);
    memory_release(allocator, output->block);
    memory_release(allocator, output->encoded);
    memory_release(allocator, output);
    return status;
}

void value_discard(struct lsm *lsm, tern_slice reference_bytes) {
    struct value_reference reference;
    if (value_reference_decode(reference_bytes, &reference, NULL) == TERN_OK) {
        file_registry_forget(lsm->files, reference.number);
        (void)lsm_file_remove(lsm, reference.number, LSM_FILE_VALUES, NULL);
    }
}

/* ---- reading ---- */

struct value_input {
    struct lsm *lsm;
    tern_file *file;
    char name[LSM_FILE_NAME_BYTES];
    uint8_t *stored;  /* the block last read */
    uint8_t *decoded; /* or NULL */
};

static tern_status damaged(const struct value_input *input, struct lsm_ref ref, const char *what,
                           tern_error *error) {
    return ERROR_AT(error, TERN_CORRUPTION, input->name, lsm_place_offset(ref.place), 0,
                    "%s of a value stored apart; verify and repair", what);
}

static void close_input(struct value_input *input) {
    const tern_allocator *allocator = lsm_allocator(input->lsm);
    (void)file_close(input->file, NULL);
    memory_release(allocator, input->stored);
    memory_release(allocator, input->decoded);
}

static tern_status open_input(struct value_input *input, struct lsm *lsm, uint64_t number,
                              tern_error *error) {
    char path[FILE_PATH_BYTES];
    const tern_file_system *system = lsm->environment->file_system;
    *input = (struct value_input){.lsm = lsm};
    lsm_file_name(lsm->config.id, number, LSM_FILE_VALUES, input->name);
    tern_status status = path_join(path, lsm->environment->directory, input->name, error);
    if (status == TERN_OK) {
        status = system->open(system->context, path, TERN_OPEN_READ, &input->file, error);
        input->file = status == TERN_OK ? input->file : NULL;
    }
    if (status == TERN_NOT_FOUND) {
        status = ERROR_AT(error, TERN_CORRUPTION, input->name, -1, 0,
                          "the file of a value stored apart is not there; repair the database");
    }
    return status;
}

static tern_status read_block(struct value_input *input, struct lsm_ref ref,
                              enum lsm_payload_type type, size_t size_max,
                              const uint8_t **out_payload, size_t *out_size, tern_error *error) {
    const tern_allocator *allocator = lsm_allocator(input->lsm);
    size_t stored = lsm_place_bytes(ref.place);
    const void *in_place = NULL;
    size_t size = 0;
    memory_release(allocator, input->stored);
    memory_release(allocator, input->decoded);
    input->stored = input->decoded = NULL;
    if (stored <= BLOCK_HEADER_BYTES || stored > block_bound(size_max)) {
        return damaged(input, ref, "a block of absurd size", error);
    }
    input->stored = memory_allocate(allocator, stored);
    if (input->stored == NULL) {
        return ERROR_NO_MEMORY(error, "reading a value");
    }
    tern_status status = file_read_exact(input->file, input->name, lsm_place_offset(ref.place),
                                         input->stored, stored, error);
    if (status != TERN_OK) {
        return status;
    }
    size_t capacity = 0;
    if (input->stored[1] != TERN_COMPRESSION_NONE) {
        capacity = size_max;
        input->decoded = memory_allocate(allocator, capacity);
        if (input->decoded == NULL) {
            return ERROR_NO_MEMORY(error, "reading a value");
        }
    } else {
        capacity = stored;
    }
    status =
        block_decode(input->stored, stored, ref.checksum, input->name, lsm_place_offset(ref.place),
                     input->decoded, capacity, &in_place, &size, error);
    if (status != TERN_OK) {
        return status;
    }
    *out_payload = in_place;
    *out_size = size;
    return size >= HEAD_BYTES && (*out_payload)[0] == type
               ? TERN_OK
               : damaged(input, ref, "a wrong block", error);
}

/* Where piece `number` lies. */
static tern_status find_piece(struct value_input *input, const struct value_reference *reference,
                              uint64_t number, struct lsm_ref *out_ref, tern_error *error) {
    const uint8_t *payload = NULL;
    size_t size = 0;
    if (!reference->has_index) {
        *out_ref = reference->ref;
        return number == 0 ? TERN_OK : damaged(input, reference->ref, "a missing piece", error);
    }
    tern_status status =
        read_block(input, reference->ref, LSM_PAYLOAD_VALUE_INDEX,
                   HEAD_BYTES + (size_t)PIECES_MAX * ENTRY_BYTES, &payload, &size, error);
    if (status != TERN_OK) {
        return status;
    }
    if (number >= get_u32(payload + 4) || size < HEAD_BYTES + (number + 1) * ENTRY_BYTES) {
        return damaged(input, reference->ref, "a missing piece", error);
    }
    const uint8_t *entry = payload + HEAD_BYTES + number * ENTRY_BYTES;
    *out_ref = (struct lsm_ref){get_u64(entry), get_u64(entry + 8)};
    return TERN_OK;
}

static tern_status read_piece(struct value_input *input, const struct value_reference *reference,
                              uint64_t number, tern_slice *out_bytes, tern_error *error) {
    struct lsm_ref ref = {0};
    const uint8_t *payload = NULL;
    size_t size = 0;
    tern_status status = find_piece(input, reference, number, &ref, error);
    if (status == TERN_OK) {
        status = read_block(input, ref, LSM_PAYLOAD_VALUE, HEAD_BYTES + (size_t)PIECE_BYTES,
                            &payload, &size, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    uint64_t left = reference->size_bytes - number * PIECE_BYTES;
    size_t expected = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
    if (size != HEAD_BYTES + expected || get_u32(payload + 4) != (uint32_t)number) {
        return damaged(input, ref, "a wrong piece", error);
    }
    *out_bytes = tern_slice_of(payload + HEAD_BYTES, expected);
    return TERN_OK;
}

tern_status value_read(struct lsm *lsm, tern_slice reference_bytes, uint64_t offset, void *buffer,
                       size_t capacity, size_t *out_size, tern_error *error) {
    if (engine_is_logged(lsm->environment, reference_bytes)) {
        return engine_logged_read(lsm->environment, reference_bytes, offset, buffer, capacity,
                                  out_size, error);
    }
    struct value_reference reference;
    struct value_input input;
    tern_status status = value_reference_decode(reference_bytes, &reference, error);
    if (status != TERN_OK) {
        return status;
    }
    uint64_t left = offset < reference.size_bytes ? reference.size_bytes - offset : 0;
    size_t wanted = left < capacity ? (size_t)left : capacity;
    size_t done = 0;
    if (wanted == 0) {
        *out_size = 0;
        return TERN_OK;
    }
    status = open_input(&input, lsm, reference.number, error);
    while (status == TERN_OK && done < wanted) {
        tern_slice piece;
        size_t within = (size_t)((offset + done) % PIECE_BYTES);
        status = read_piece(&input, &reference, (offset + done) / PIECE_BYTES, &piece, error);
        if (status == TERN_OK) {
            size_t taken = piece.size - within;
            taken = taken < wanted - done ? taken : wanted - done;
            memcpy((uint8_t *)buffer + done, (const uint8_t *)piece.data + within, taken);
            done += taken;
        }
    }
    close_input(&input);
    if (status == TERN_OK) {
        *out_size = done;
    }
    return status;
}

tern_status lsm_value_load(void *context, const struct record *large, struct buffer *out_value,
                           tern_error *error) {
    struct lsm *lsm = context;
    if (engine_is_logged(lsm->environment, large->value)) {
        return engine_logged_load(lsm->environment, large->value, out_value, error);
    }
    struct value_reference reference;
    tern_status status = value_reference_decode(large->value, &reference, error);
    if (status != TERN_OK) {
        return status;
    }
    out_value->size = 0;
    if (reference.size_bytes > SIZE_MAX / 2 ||
        buffer_reserve(out_value, (size_t)reference.size_bytes + 1) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a value stored apart");
    }
    return value_read(lsm, large->value, 0, out_value->data, (size_t)reference.size_bytes,
                      &out_value->size, error);
}

tern_status lsm_value_copy(struct lsm *source, tern_slice reference_bytes,
                           struct value_output *output,
                           uint8_t out_reference[ENGINE_LARGE_REFERENCE_BYTES_MAX],
                           size_t *out_size, tern_error *error) {
    struct value_reference reference;
    struct value_input input;
    tern_status status = value_reference_decode(reference_bytes, &reference, error);
    if (status != TERN_OK) {
        return status;
    }
    status = open_input(&input, source, reference.number, error);
    uint64_t pieces = (reference.size_bytes + PIECE_BYTES - 1) / PIECE_BYTES;
    for (uint64_t i = 0; status == TERN_OK && i < pieces; i++) {
        tern_slice piece;
        status = read_piece(&input, &reference, i, &piece, error);
        if (status == TERN_OK) {
            status = value_output_append(output, piece.data, piece.size, error);
        }
    }
    close_input(&input);
    return status == TERN_OK ? value_output_finish(output, out_reference, out_size, error) : status;
}
