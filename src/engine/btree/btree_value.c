/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values stored apart: pieces of 256 KiB, found through up to two levels of index blocks.
 *
 * Reference (in the leaf record, at most 64 bytes):
 *   u8      levels of index blocks: 0 (the value is one piece), 1 or 2
 *   varint  size of the value in bytes
 *   varint  generation at which its blocks were born
 *   u64     packed reference of the piece or of the topmost index block
 *   u64     checksum of that block
 *
 * Payload of a piece (PAGE_VALUE), of which all but the last are full:
 *   u8 type, 3 zero bytes, u32 number of the piece, u64 generation, bytes of the value
 *
 * Payload of an index block (PAGE_VALUE_INDEX):
 *   u8 type, u8 level (1: entries are pieces, 2: entries are index blocks), u16 zero, u32 count,
 *   u64 generation, count entries of u64 packed reference and u64 checksum
 *
 * A writer holds one piece, one index block and the topmost index; a reader one piece and one index
 * block at a time. Writers may run on any thread, several at once; a block belongs to its writer
 * until the reference is finished.
 */
#include "engine/btree/btree_value.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/varint.h"
#include "engine/btree/btree_file_internal.h"

#define INDEX_HEADER_BYTES 16u
#define INDEX_ENTRY_BYTES  16u
/* A full index block is 64 KiB. */
#define INDEX_BLOCK_BYTES (64u * 1024)
#define INDEX_ENTRIES                                                                              \
    ((INDEX_BLOCK_BYTES - BLOCK_HEADER_BYTES - INDEX_HEADER_BYTES) / INDEX_ENTRY_BYTES)
#define INDEX_PAYLOAD_BYTES (INDEX_HEADER_BYTES + INDEX_ENTRIES * INDEX_ENTRY_BYTES)
#define PIECE_PAYLOAD_BYTES (VALUE_HEADER_BYTES + VALUE_PIECE_BYTES)
#define LEVELS_MAX          2u

/* A decoded block in memory of its own. */
struct loaded_block {
    void *stored;  /* aligned */
    void *decoded; /* or NULL when it lay uncompressed in `stored` */
    const uint8_t *payload;
    size_t size;
};

struct value_index {
    uint32_t count;
    uint8_t payload[INDEX_PAYLOAD_BYTES];
};

struct engine_large_writer {
    struct btree *tree;
    uint64_t born;
    uint64_t size_bytes;
    uint32_t pieces;
    uint32_t fill;    /* bytes of value in the current piece */
    uint8_t *block;   /* aligned: block header, piece header, bytes */
    uint8_t *encoded; /* aligned, when blocks are compressed */
    struct value_index *levels[LEVELS_MAX];
};

/* ---- references ---- */

size_t btree_value_reference_encode(const struct value_reference *reference, uint8_t *out_bytes) {
    uint8_t *end = out_bytes;
    *end++ = (uint8_t)reference->levels;
    end = varint_put(end, reference->size_bytes);
    end = varint_put(end, reference->born);
    put_u64(end, reference->ref);
    put_u64(end + 8, reference->checksum);
    return (size_t)(end + 16 - out_bytes);
}

tern_status btree_value_reference_decode(tern_slice bytes, const char *path,
                                         struct value_reference *out_reference, tern_error *error) {
    const uint8_t *source = bytes.data;
    const uint8_t *end = source + bytes.size;
    struct value_reference reference = {0};
    if (bytes.size > 0 && source[0] <= LEVELS_MAX) {
        reference.levels = source[0];
        source = varint_get(source + 1, end, &reference.size_bytes);
        source = source != NULL ? varint_get(source, end, &reference.born) : NULL;
        if (source != NULL && end - source == 16) {
            reference.ref = get_u64(source);
            reference.checksum = get_u64(source + 8);
            *out_reference = reference;
            return TERN_OK;
        }
    }
    return ERROR_AT(error, TERN_CORRUPTION, path, -1, 0,
                    "a reference of %zu bytes to a value stored apart is malformed", bytes.size);
}

void btree_value_piece_header(uint8_t *payload, uint32_t number, uint64_t generation) {
    payload[0] = PAGE_VALUE;
    payload[1] = payload[2] = payload[3] = 0;
    put_u32(payload + 4, number);
    put_u64(payload + 8, generation);
}

/* ---- reading blocks ---- */

static void unload_block(struct btree *tree, struct loaded_block *block) {
    memory_release_aligned(tree->environment->allocator, block->stored);
    memory_release(tree->environment->allocator, block->decoded);
    *block = (struct loaded_block){0};
}

static tern_status load_block(struct btree *tree, packed_ref ref, uint64_t checksum,
                              size_t capacity, struct loaded_block *out_block, tern_error *error) {
    const tern_allocator *allocator = tree->environment->allocator;
    uint64_t units = ref_units(ref);
    if (units == 0 || units * UNIT_BYTES > block_bound(capacity) + UNIT_BYTES) {
        return ERROR_AT(error, TERN_CORRUPTION, btree_file_path(tree->file),
                        ref_place(ref) * UNIT_BYTES, 0, "a block of a value has an absurd size");
    }
    struct loaded_block block = {0};
    /* Up to a granule more is read. */
    block.stored = memory_allocate_aligned(allocator, BTREE_FILE_MEMORY_ALIGNMENT,
                                           (size_t)(units + FILE_HEADER_UNITS) * UNIT_BYTES);
    if (tree->config.options.compression != TERN_COMPRESSION_NONE) {
        block.decoded = memory_allocate(allocator, capacity);
    }
    tern_status status = TERN_OK;
    if (block.stored == NULL ||
        (tree->config.options.compression != TERN_COMPRESSION_NONE && block.decoded == NULL)) {
        status = ERROR_NO_MEMORY(error, "reading a value");
        goto done;
    }
    status = btree_file_read_units(tree->file, ref_place(ref), units, block.stored, error);
    if (status != TERN_OK) {
        goto done;
    }
    if (block.decoded == NULL && ((const uint8_t *)block.stored)[1] != TERN_COMPRESSION_NONE) {
        status = ERROR_AT(error, TERN_CORRUPTION, btree_file_path(tree->file),
                          ref_place(ref) * UNIT_BYTES, 0,
                          "a compressed block where none can be; verify and repair");
        goto done;
    }
    const void *in_place = NULL;
    status = btree_file_decode(tree->file, block.stored, ref_place(ref), units, checksum,
                               block.decoded, capacity, &in_place, &block.size, error);
    block.payload = in_place != NULL ? in_place : block.decoded;
done:
    if (status == TERN_OK) {
        *out_block = block;
    } else {
        unload_block(tree, &block);
    }
    return status;
}

static tern_status damaged(struct btree *tree, packed_ref ref, const char *what,
                           tern_error *error) {
    return ERROR_AT(error, TERN_CORRUPTION, btree_file_path(tree->file),
                    ref_place(ref) * UNIT_BYTES, 0, "%s of a value stored apart", what);
}

/* Entries of an accepted index block. */
static packed_ref index_ref(const struct loaded_block *block, uint32_t i) {
    return get_u64(block->payload + INDEX_HEADER_BYTES + (size_t)i * INDEX_ENTRY_BYTES);
}
static uint64_t index_checksum(const struct loaded_block *block, uint32_t i) {
    return get_u64(block->payload + INDEX_HEADER_BYTES + (size_t)i * INDEX_ENTRY_BYTES + 8);
}

static tern_status load_index(struct btree *tree, packed_ref ref, uint64_t checksum, uint32_t level,
                              struct loaded_block *out_block, uint32_t *out_count,
                              tern_error *error) {
    struct loaded_block block;
    tern_status status = load_block(tree, ref, checksum, INDEX_PAYLOAD_BYTES, &block, error);
    if (status != TERN_OK) {
        return status;
    }
    uint32_t count = block.size >= INDEX_HEADER_BYTES ? get_u32(block.payload + 4) : 0;
    if (count == 0 || count > INDEX_ENTRIES || block.payload[0] != PAGE_VALUE_INDEX ||
        block.payload[1] != level ||
        block.size != INDEX_HEADER_BYTES + (size_t)count * INDEX_ENTRY_BYTES) {
        unload_block(tree, &block);
        return damaged(tree, ref, "malformed index block", error);
    }
    *out_block = block;
    *out_count = count;
    return TERN_OK;
}

/* Finds piece `number`: descends the index. */
static tern_status find_piece(struct btree *tree, const struct value_reference *reference,
                              uint64_t number, packed_ref *out_ref, uint64_t *out_checksum,
                              tern_error *error) {
    packed_ref ref = reference->ref;
    uint64_t checksum = reference->checksum;
    for (uint32_t level = reference->levels; level > 0; level--) {
        struct loaded_block block;
        uint32_t count = 0;
        tern_status status = load_index(tree, ref, checksum, level, &block, &count, error);
        if (status != TERN_OK) {
            return status;
        }
        uint64_t i = level == 2 ? number / INDEX_ENTRIES : number % INDEX_ENTRIES;
        if (level == 1 && reference->levels == 1) {
            i = number;
        }
        if (i >= count) {
            unload_block(tree, &block);
            return damaged(tree, ref, "index block with too few entries", error);
        }
        ref = index_ref(&block, (uint32_t)i);
        checksum = index_checksum(&block, (uint32_t)i);
        unload_block(tree, &block);
    }
    *out_ref = ref;
    *out_checksum = checksum;
    return TERN_OK;
}

tern_status btree_value_read(struct btree *tree, tern_slice reference_bytes, uint64_t offset,
                             void *buffer, size_t capacity, size_t *out_size, tern_error *error) {
    if (engine_is_logged(tree->environment, reference_bytes)) {
        return engine_logged_read(tree->environment, reference_bytes, offset, buffer, capacity,
                                  out_size, error);
    }
    struct value_reference reference;
    tern_status status = btree_value_reference_decode(reference_bytes, btree_file_path(tree->file),
                                                      &reference, error);
    if (status != TERN_OK) {
        return status;
    }
    uint64_t left = offset < reference.size_bytes ? reference.size_bytes - offset : 0;
    size_t wanted = left < capacity ? (size_t)left : capacity;
    size_t done = 0;
    while (done < wanted) {
        uint64_t number = (offset + done) / VALUE_PIECE_BYTES;
        size_t within = (size_t)((offset + done) % VALUE_PIECE_BYTES);
        uint64_t piece_left = reference.size_bytes - number * VALUE_PIECE_BYTES;
        size_t piece_bytes =
            piece_left < VALUE_PIECE_BYTES ? (size_t)piece_left : VALUE_PIECE_BYTES;
        packed_ref ref = 0;
        uint64_t checksum = 0;
        status = find_piece(tree, &reference, number, &ref, &checksum, error);
        if (status != TERN_OK) {
            return status;
        }
        struct loaded_block block;
        status = load_block(tree, ref, checksum, PIECE_PAYLOAD_BYTES, &block, error);
        if (status != TERN_OK) {
            return status;
        }
        if (block.size != VALUE_HEADER_BYTES + piece_bytes || block.payload[0] != PAGE_VALUE ||
            get_u32(block.payload + 4) != (uint32_t)number) {
            unload_block(tree, &block);
            return damaged(tree, ref, "wrong piece", error);
        }
        size_t taken = piece_bytes - within;
        taken = taken < wanted - done ? taken : wanted - done;
        memcpy((uint8_t *)buffer + done, block.payload + VALUE_HEADER_BYTES + within, taken);
        unload_block(tree, &block);
        done += taken;
    }
    *out_size = done;
    return TERN_OK;
}

tern_status btree_value_load(void *context, const struct record *large, struct buffer *out_value,
                             tern_error *error) {
    struct btree *tree = context;
    if (engine_is_logged(tree->environment, large->value)) {
        return engine_logged_load(tree->environment, large->value, out_value, error);
    }
    struct value_reference reference;
    tern_status status =
        btree_value_reference_decode(large->value, btree_file_path(tree->file), &reference, error);
    if (status != TERN_OK) {
        return status;
    }
    out_value->size = 0;
    if (reference.size_bytes > SIZE_MAX / 2 ||
        buffer_reserve(out_value, (size_t)reference.size_bytes) != TERN_OK) {
        return ERROR_NO_MEMORY(error, "a value stored apart");
    }
    return btree_value_read(tree, large->value, 0, out_value->data, (size_t)reference.size_bytes,
                            &out_value->size, error);
}

/* ---- extents ---- */

typedef tern_status (*extent_visitor)(void *context, uint64_t place, uint64_t units);

static tern_status visit_blocks(struct btree *tree, packed_ref ref, uint64_t checksum,
                                uint32_t level, extent_visitor visit, void *context,
                                tern_error *error) {
    if (level > 0) {
        struct loaded_block block;
        uint32_t count = 0;
        tern_status status = load_index(tree, ref, checksum, level, &block, &count, error);
        for (uint32_t i = 0; status == TERN_OK && i < count; i++) {
            /* At most LEVELS_MAX deep. */
            status = visit_blocks(tree, index_ref(&block, i), index_checksum(&block, i), level - 1,
                                  visit, context, error);
        }
        if (count > 0) {
            unload_block(tree, &block);
        }
        if (status != TERN_OK) {
            return status;
        }
    }
    return visit(context, ref_place(ref), ref_units(ref));
}

tern_status btree_value_extents(struct btree *tree, tern_slice reference_bytes,
                                extent_visitor visit, void *context, tern_error *error) {
    struct value_reference reference;
    tern_status status = btree_value_reference_decode(reference_bytes, btree_file_path(tree->file),
                                                      &reference, error);
    if (status != TERN_OK) {
        return status;
    }
    return visit_blocks(tree, reference.ref, reference.checksum, reference.levels, visit, context,
                        error);
}

static tern_status free_extent(void *context, uint64_t place, uint64_t units) {
    btree_file_release_now(context, place, units);
    return TERN_OK;
}

void btree_value_discard(struct btree *tree, tern_slice reference) {
    /* What cannot be read stays lost until free space is derived at the next open. */
    tern_status status = btree_value_extents(tree, reference, free_extent, tree->file, NULL);
    (void)status;
}

struct release_context {
    struct btree_file *file;
    uint64_t born;
    tern_error *error;
};

static tern_status supersede_extent(void *context, uint64_t place, uint64_t units) {
    struct release_context *release = context;
    return btree_file_release_later(release->file, place, units, release->born, release->error);
}

tern_status btree_value_release_later(struct btree *tree, tern_slice reference_bytes,
                                      const struct generation_map *generations, tern_error *error) {
    struct value_reference reference;
    tern_status status = btree_value_reference_decode(reference_bytes, btree_file_path(tree->file),
                                                      &reference, error);
    if (status != TERN_OK) {
        return status;
    }
    struct release_context release = {tree->file, generation_born(generations, reference.born),
                                      error};
    return visit_blocks(tree, reference.ref, reference.checksum, reference.levels, supersede_extent,
                        &release, error);
}

/* ---- writing ---- */

static void free_writer(struct engine_large_writer *writer) {
    const tern_allocator *allocator = writer->tree->environment->allocator;
    memory_release_aligned(allocator, writer->block);
    memory_release_aligned(allocator, writer->encoded);
    for (uint32_t i = 0; i < LEVELS_MAX; i++) {
        memory_release(allocator, writer->levels[i]);
    }
    memory_release(allocator, writer);
}

tern_status btree_value_writer_create(struct btree *tree, uint64_t born,
                                      struct engine_large_writer **out_writer, tern_error *error) {
    const tern_allocator *allocator = tree->environment->allocator;
    struct engine_large_writer *writer = memory_allocate_zeroed(allocator, sizeof(*writer));
    if (writer == NULL) {
        return ERROR_NO_MEMORY(error, "writing a value");
    }
    writer->tree = tree;
    writer->born = born;
    bool is_compressed = tree->config.options.compression != TERN_COMPRESSION_NONE;
    size_t block_bytes = (size_t)round_up_u64(BLOCK_HEADER_BYTES + PIECE_PAYLOAD_BYTES, 4096);
    writer->block = memory_allocate_aligned(allocator, BTREE_FILE_MEMORY_ALIGNMENT, block_bytes);
    if (is_compressed) {
        writer->encoded =
            memory_allocate_aligned(allocator, BTREE_FILE_MEMORY_ALIGNMENT,
                                    (size_t)round_up_u64(block_bound(PIECE_PAYLOAD_BYTES), 4096));
    }
    if (writer->block == NULL || (is_compressed && writer->encoded == NULL)) {
        free_writer(writer);
        return ERROR_NO_MEMORY(error, "writing a value");
    }
    *out_writer = writer;
    return TERN_OK;
}

/* Writes the payload at writer->block + BLOCK_HEADER_BYTES as a block. */
static tern_status write_block(struct engine_large_writer *writer, size_t payload_size,
                               packed_ref *out_ref, uint64_t *out_checksum, tern_error *error) {
    struct btree *tree = writer->tree;
    struct block_context context = {tree->config.options.compression,
                                    tree->environment->incarnation};
    uint8_t *bytes = writer->block;
    size_t stored = BLOCK_HEADER_BYTES + payload_size;
    uint64_t checksum = 0;
    if (writer->encoded != NULL) {
        bytes = writer->encoded;
        tern_status status = block_encode(&context, writer->block + BLOCK_HEADER_BYTES,
                                          payload_size, bytes, &stored, &checksum, error);
        if (status != TERN_OK) {
            return status;
        }
    } else {
        checksum = block_seal(&context, bytes, payload_size);
    }
    uint64_t granule = 1;
    tern_status status = btree_file_granule(tree->file, &granule, error);
    if (status != TERN_OK) {
        return status;
    }
    uint64_t units = (stored + UNIT_BYTES - 1) / UNIT_BYTES;
    uint64_t whole_units = round_up_u64(units, granule);
    memset(bytes + stored, 0, (size_t)whole_units * UNIT_BYTES - stored);
    uint64_t place = 0;
    status = btree_file_allocate(tree->file, units, &place, error);
    if (status != TERN_OK) {
        return status;
    }
    status = btree_file_write(tree->file, place, bytes, whole_units, error);
    if (status != TERN_OK) {
        btree_file_release_now(tree->file, place, units);
        return status;
    }
    *out_ref = ref_pack(place, (uint32_t)units, 0);
    *out_checksum = checksum;
    return TERN_OK;
}

static tern_status add_entry(struct engine_large_writer *writer, uint32_t level, packed_ref ref,
                             uint64_t checksum, tern_error *error);

/* Writes the index of a level as a block and puts that into the level above. */
static tern_status close_index(struct engine_large_writer *writer, uint32_t level,
                               tern_error *error) {
    struct value_index *index = writer->levels[level];
    packed_ref ref = 0;
    uint64_t checksum = 0;
    size_t size = INDEX_HEADER_BYTES + (size_t)index->count * INDEX_ENTRY_BYTES;
    memset(index->payload, 0, INDEX_HEADER_BYTES);
    index->payload[0] = PAGE_VALUE_INDEX;
    index->payload[1] = (uint8_t)(level + 1);
    put_u32(index->payload + 4, index->count);
    put_u64(index->payload + 8, writer->born);
    memcpy(writer->block + BLOCK_HEADER_BYTES, index->payload, size);
    tern_status status = write_block(writer, size, &ref, &checksum, error);
    if (status == TERN_OK) {
        status = add_entry(writer, level + 1, ref, checksum, error);
        if (status != TERN_OK) {
            btree_file_release_now(writer->tree->file, ref_place(ref), ref_units(ref));
        } else {
            index->count = 0;
        }
    }
    return status;
}

/* A piece (level 0) or index block has been written. */
static tern_status add_entry(struct engine_large_writer *writer, uint32_t level, packed_ref ref,
                             uint64_t checksum, tern_error *error) {
    if (level == LEVELS_MAX) {
        return ERROR_SET(error, TERN_TOO_LARGE, "a value of more than %llu bytes",
                         (unsigned long long)TERN_VALUE_BYTES_MAX);
    }
    if (writer->levels[level] == NULL) {
        writer->levels[level] =
            memory_allocate(writer->tree->environment->allocator, sizeof(struct value_index));
        if (writer->levels[level] == NULL) {
            return ERROR_NO_MEMORY(error, "writing a value");
        }
        writer->levels[level]->count = 0;
    }
    struct value_index *index = writer->levels[level];
    if (index->count == INDEX_ENTRIES) {
        tern_status status = close_index(writer, level, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    uint8_t *entry = index->payload + INDEX_HEADER_BYTES + (size_t)index->count * INDEX_ENTRY_BYTES;
    put_u64(entry, ref);
    put_u64(entry + 8, checksum);
    index->count++;
    return TERN_OK;
}

static tern_status write_piece(struct engine_large_writer *writer, packed_ref *out_ref,
                               uint64_t *out_checksum, tern_error *error) {
    btree_value_piece_header(writer->block + BLOCK_HEADER_BYTES, writer->pieces, writer->born);
    tern_status status = write_block(writer, VALUE_HEADER_BYTES + (size_t)writer->fill, out_ref,
                                     out_checksum, error);
    if (status == TERN_OK) {
        writer->pieces++;
        writer->fill = 0;
    }
    return status;
}

/* Writes the full piece and notes it in the index. */
static tern_status close_piece(struct engine_large_writer *writer, tern_error *error) {
    packed_ref ref = 0;
    uint64_t checksum = 0;
    tern_status status = write_piece(writer, &ref, &checksum, error);
    if (status == TERN_OK) {
        status = add_entry(writer, 0, ref, checksum, error);
        if (status != TERN_OK) {
            btree_file_release_now(writer->tree->file, ref_place(ref), ref_units(ref));
        }
    }
    return status;
}

tern_status btree_value_writer_append(struct engine_large_writer *writer, const void *bytes,
                                      size_t size, tern_error *error) {
    const uint8_t *source = bytes;
    if (size > TERN_VALUE_BYTES_MAX - writer->size_bytes) {
        return ERROR_SET(error, TERN_TOO_LARGE, "a value of more than %llu bytes",
                         (unsigned long long)TERN_VALUE_BYTES_MAX);
    }
    while (size > 0) {
        if (writer->fill == VALUE_PIECE_BYTES) {
            tern_status status = close_piece(writer, error);
            if (status != TERN_OK) {
                return status;
            }
        }
        size_t room = VALUE_PIECE_BYTES - writer->fill;
        size_t taken = size < room ? size : room;
        memcpy(writer->block + BLOCK_HEADER_BYTES + VALUE_HEADER_BYTES + writer->fill, source,
               taken);
        writer->fill += (uint32_t)taken;
        writer->size_bytes += taken;
        source += taken;
        size -= taken;
    }
    return TERN_OK;
}

/* Writes what is left and finds the reference to the whole. */
static tern_status complete(struct engine_large_writer *writer,
                            struct value_reference *out_reference, tern_error *error) {
    struct value_reference reference = {.size_bytes = writer->size_bytes, .born = writer->born};
    if (writer->pieces == 0) {
        tern_status status = write_piece(writer, &reference.ref, &reference.checksum, error);
        if (status == TERN_OK) {
            *out_reference = reference;
        }
        return status;
    }
    tern_status status = close_piece(writer, error);
    uint32_t top = 0;
    if (status == TERN_OK) {
        status = close_index(writer, 0, error);
        top = 1;
    }
    if (status == TERN_OK && writer->levels[1]->count > 1) {
        struct value_index *index = writer->levels[1];
        size_t size = INDEX_HEADER_BYTES + (size_t)index->count * INDEX_ENTRY_BYTES;
        memset(index->payload, 0, INDEX_HEADER_BYTES);
        index->payload[0] = PAGE_VALUE_INDEX;
        index->payload[1] = 2;
        put_u32(index->payload + 4, index->count);
        put_u64(index->payload + 8, writer->born);
        memcpy(writer->block + BLOCK_HEADER_BYTES, index->payload, size);
        status = write_block(writer, size, &reference.ref, &reference.checksum, error);
        top = 2;
    } else if (status == TERN_OK) {
        const uint8_t *entry = writer->levels[1]->payload + INDEX_HEADER_BYTES;
        reference.ref = get_u64(entry);
        reference.checksum = get_u64(entry + 8);
    }
    if (status == TERN_OK) {
        reference.levels = top;
        *out_reference = reference;
    }
    return status;
}

tern_status btree_value_writer_finish(struct engine_large_writer *writer, uint8_t *out_reference,
                                      size_t *out_reference_size, tern_error *error) {
    struct value_reference reference = {0};
    tern_status status = complete(writer, &reference, error);
    if (status != TERN_OK) {
        btree_value_writer_abandon(writer);
        return status;
    }
    *out_reference_size = btree_value_reference_encode(&reference, out_reference);
    free_writer(writer);
    return TERN_OK;
}

void btree_value_writer_abandon(struct engine_large_writer *writer) {
    if (writer == NULL) {
        return;
    }
    for (uint32_t level = 0; level < LEVELS_MAX; level++) {
        const struct value_index *index = writer->levels[level];
        for (uint32_t i = 0; index != NULL && i < index->count; i++) {
            const uint8_t *entry =
                index->payload + INDEX_HEADER_BYTES + (size_t)i * INDEX_ENTRY_BYTES;
            (void)visit_blocks(writer->tree, get_u64(entry), get_u64(entry + 8), level, free_extent,
                               writer->tree->file, NULL);
        }
    }
    free_writer(writer);
}

tern_status btree_value_copy(struct btree *source, tern_slice reference_bytes, struct btree *target,
                             uint64_t born, uint8_t *out_reference, size_t *out_reference_size,
                             tern_error *error) {
    struct value_reference reference;
    tern_status status = btree_value_reference_decode(
        reference_bytes, btree_file_path(source->file), &reference, error);
    if (status != TERN_OK) {
        return status;
    }
    const tern_allocator *allocator = source->environment->allocator;
    struct engine_large_writer *writer = NULL;
    uint8_t *chunk = memory_allocate(allocator, VALUE_PIECE_BYTES);
    if (chunk == NULL) {
        return ERROR_NO_MEMORY(error, "copying a value");
    }
    status = btree_value_writer_create(target, born, &writer, error);
    for (uint64_t offset = 0; status == TERN_OK && offset < reference.size_bytes;) {
        size_t got = 0;
        status = btree_value_read(source, reference_bytes, offset, chunk, VALUE_PIECE_BYTES, &got,
                                  error);
        if (status == TERN_OK) {
            status = btree_value_writer_append(writer, chunk, got, error);
            offset += got;
        }
    }
    if (status == TERN_OK) {
        status = btree_value_writer_finish(writer, out_reference, out_reference_size, error);
    } else {
        btree_value_writer_abandon(writer);
    }
    memory_release(allocator, chunk);
    return status;
}
