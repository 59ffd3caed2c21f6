/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a table, front to back; docs/format/lsm.md has the bytes:
 *
 *   data blocks of partition 0 | its filter | its index | data blocks of partition 1 | ... | meta |
 *   footer
 *
 * A data block ends where the page size does; a record that is longer has a block of its own. What
 * is written is collected and goes to the file in long runs, past the page cache where the file
 * system grants that: then in whole granules. What is over stays for the next run; the last one is
 * filled up with zeros, and the file cut off behind the footer.
 */
#include "engine/lsm/table_writer.h"

#include "base/bytes.h"
#include "base/compare.h"
#include "base/error.h"
#include "base/varint.h"
#include "engine/lsm/data_block.h"
#include "engine/lsm/filter_block.h"
#include "engine/lsm/index_block.h"
#include "engine/lsm/table_meta.h"
#include "engine/lsm/value_file.h"
#include "simd/compare.h"

#define RUN_BYTES ((size_t)512 << 10)
/* Of what is written past the page cache, at least: a part of a file system's block would be read
 * first. */
#define GRANULE_BYTES ((size_t)4 << 10)
/* An index block that would be longer begins a new partition. */
#define INDEX_BYTES_MAX ((size_t)12 << 10)
/* So does a filter that would be longer; a filter of few bits a key could be as long as its block
 * may be. */
#define FILTER_BYTES_WANTED ((size_t)32 << 10)
/* A place has 24 bits for the size of a block. The meta block's keeps well below that. */
#define META_BYTES_MAX ((size_t)4 << 20)

struct table_writer {
    struct lsm *lsm;
    uint64_t number;
    tern_file *file;
    struct block_context context;
    bool is_direct;   /* past the page cache */
    size_t granule;   /* writes begin and end at multiples of it */
    uint64_t offset;  /* of the next block */
    uint64_t flushed; /* bytes in the file */
    uint64_t sent;    /* of these, on their way to the device */
    uint8_t *run;     /* from `flushed` on; aligned for direct writes */
    size_t run_bytes;
    size_t run_capacity; /* a multiple of `granule` */
    struct data_block_builder block;
    struct index_block_builder index;
    struct buffer separator; /* of the block being built */
    struct buffer scratch;   /* an uncompressed block with room for its header */
    uint64_t *hashes;        /* of the partition's keys */
    size_t hash_count, hash_capacity;
    uint64_t partition_records;
    uint32_t partition_first_block;
    struct table_meta meta;
};

static tern_status no_memory(tern_error *error) {
    return ERROR_NO_MEMORY(error, "writing a table");
}

static void free_writer(struct table_writer *writer) {
    const tern_allocator *allocator = lsm_allocator(writer->lsm);
    (void)file_close(writer->file, NULL);
    memory_release_aligned(allocator, writer->run);
    buffer_release(&writer->separator);
    buffer_release(&writer->scratch);
    data_block_builder_release(&writer->block);
    index_block_builder_release(&writer->index);
    table_meta_release(&writer->meta);
    memory_release(allocator, writer->hashes);
    memory_release(allocator, writer);
}

/* Data that is soon written again is not worth a slow compressor. */
static tern_compression compression_for(const struct lsm *lsm, uint32_t level) {
    const tern_keyspace_options *options = &lsm->config.options;
    tern_compression wanted = options->compression;
    if (options->level_compression[level] != 0) {
        return (tern_compression)(options->level_compression[level] - 1);
    }
    return wanted == TERN_COMPRESSION_ZSTD && level < 2 ? TERN_COMPRESSION_LZ4 : wanted;
}

static tern_status create_file(struct table_writer *writer, tern_error *error) {
    char path[FILE_PATH_BYTES];
    const struct engine_environment *environment = writer->lsm->environment;
    const tern_file_system *system = environment->file_system;
    uint32_t flags = TERN_OPEN_CREATE | TERN_OPEN_EXCLUSIVE |
                     (environment->buffered_io ? 0u : (uint32_t)TERN_OPEN_DIRECT);
    tern_status status = lsm_file_path(writer->lsm, writer->number, LSM_FILE_TABLE, path, error);
    if (status == TERN_OK) {
        status = system->open(system->context, path, flags, &writer->file, error);
    }
    if (status == TERN_OK) {
        size_t needed = writer->file->alignment_bytes;
        writer->is_direct = (writer->file->flags & (uint32_t)TERN_OPEN_DIRECT) != 0;
        writer->granule = writer->is_direct && needed < GRANULE_BYTES ? GRANULE_BYTES : needed;
    }
    return status;
}

tern_status table_writer_create(struct lsm *lsm, uint32_t level, struct table_writer **out_writer,
                                tern_error *error) {
    const tern_allocator *allocator = lsm_allocator(lsm);
    struct table_writer *writer = memory_allocate_zeroed(allocator, sizeof(*writer));
    if (writer == NULL) {
        return no_memory(error);
    }
    writer->lsm = lsm;
    writer->number = atomic_fetch_add_explicit(&lsm->next_file, 1, memory_order_relaxed);
    writer->context =
        (struct block_context){compression_for(lsm, level), lsm->environment->incarnation};
    buffer_init(&writer->separator, allocator);
    buffer_init(&writer->scratch, allocator);
    data_block_builder_init(&writer->block, allocator);
    index_block_builder_init(&writer->index, allocator);
    table_meta_init(&writer->meta, allocator);
    writer->meta.numbers.hash_seed = lsm->config.hasher.seed;
    writer->meta.numbers.level = level;
    writer->meta.numbers.compression = (uint32_t)writer->context.compression;
    tern_status status = create_file(writer, error);
    if (status != TERN_OK) {
        writer->file = NULL;
        free_writer(writer);
        return status;
    }
    *out_writer = writer;
    return TERN_OK;
}

/* Room for `size` bytes more, and for what fills them up to a granule. */
static tern_status reserve(struct table_writer *writer, size_t size, tern_error *error) {
    const tern_allocator *allocator = lsm_allocator(writer->lsm);
    size_t needed = writer->run_bytes + size;
    if (needed <= writer->run_capacity) {
        return TERN_OK;
    }
    size_t alignment = writer->granule > GRANULE_BYTES ? writer->granule : GRANULE_BYTES;
    size_t least = RUN_BYTES + alignment; /* a run, and what the one before it has left over */
    size_t capacity = (size_t)round_up_u64(needed > least ? needed : least, alignment);
    uint8_t *grown = memory_allocate_aligned(allocator, alignment, capacity);
    if (grown == NULL) {
        return no_memory(error);
    }
    if (writer->run_bytes > 0) {
        memcpy(grown, writer->run, writer->run_bytes);
    }
    memory_release_aligned(allocator, writer->run);
    writer->run = grown;
    writer->run_capacity = capacity;
    return TERN_OK;
}

/* Writes `size` bytes of the run, of which `counted` are the table's, and keeps the rest. */
static tern_status write_run(struct table_writer *writer, size_t size, size_t counted,
                             tern_error *error) {
    struct lsm *lsm = writer->lsm;
    tern_status status = file_write(writer->file, writer->flushed, writer->run, size, error);
    if (status != TERN_OK) {
        return status;
    }
    atomic_fetch_add_explicit(&lsm->written_bytes, counted, memory_order_relaxed);
    atomic_fetch_add_explicit(&lsm->level_written_bytes[writer->meta.numbers.level], counted,
                              memory_order_relaxed);
    writer->flushed += counted;
    writer->run_bytes -= counted;
    memmove(writer->run, writer->run + counted, writer->run_bytes);
    if (!writer->is_direct) {
        lsm_send_off(writer->file, &writer->sent, writer->flushed);
    }
    return TERN_OK;
}

/* Whole granules. */
static tern_status flush(struct table_writer *writer, tern_error *error) {
    size_t size = writer->run_bytes - writer->run_bytes % writer->granule;
    return size > 0 ? write_run(writer, size, size, error) : TERN_OK;
}

/* All that is left. */
static tern_status flush_last(struct table_writer *writer, tern_error *error) {
    size_t counted = writer->run_bytes;
    size_t size = (size_t)round_up_u64(counted, writer->granule);
    memset(writer->run + counted, 0, size - counted);
    tern_status status = write_run(writer, size, counted, error);
    if (status == TERN_OK && size > counted) {
        status = writer->file->methods->truncate(writer->file, writer->flushed, error);
    }
    return status;
}

/* Writes a payload as a block. */
static tern_status write_block(struct table_writer *writer, tern_slice payload,
                               struct lsm_ref *out_ref, tern_error *error) {
    size_t bound = block_bound(payload.size);
    tern_status status = TERN_OK;
    if (writer->run_bytes + bound > RUN_BYTES) {
        status = flush(writer, error);
    }
    if (status == TERN_OK) {
        status = reserve(writer, bound, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    uint8_t *target = writer->run + writer->run_bytes;
    size_t stored = BLOCK_HEADER_BYTES + payload.size;
    uint64_t checksum = 0;
    if (writer->context.compression == TERN_COMPRESSION_NONE) {
        memcpy(target + BLOCK_HEADER_BYTES, payload.data, payload.size);
        checksum = block_seal(&writer->context, target, payload.size);
    } else {
        status = block_encode(&writer->context, payload.data, payload.size, target, &stored,
                              &checksum, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    if (stored > LSM_STORED_BYTES_MAX) {
        return ERROR_SET(error, TERN_TOO_LARGE,
                         "a block of %zu bytes is longer than a table can say; it was not written",
                         stored);
    }
    *out_ref = (struct lsm_ref){lsm_place_of(writer->offset, stored), checksum};
    writer->run_bytes += stored;
    writer->offset += stored;
    return TERN_OK;
}

static tern_status write_filter(struct table_writer *writer, struct lsm_ref *out_filter,
                                tern_error *error) {
    size_t size = filter_block_size(writer->hash_count, writer->lsm->filter_bits);
    writer->scratch.size = 0;
    if (buffer_reserve(&writer->scratch, size) != TERN_OK) {
        return no_memory(error);
    }
    filter_block_build(writer->scratch.data, size, writer->hashes, writer->hash_count);
    return write_block(writer, tern_slice_of(writer->scratch.data, size), out_filter, error);
}

static tern_status end_partition(struct table_writer *writer, tern_error *error) {
    struct lsm_ref index = {0};
    struct lsm_ref filter = {0};
    tern_slice payload;
    if (writer->index.count == 0) {
        return TERN_OK;
    }
    tern_status status = TERN_OK;
    if (writer->lsm->filter_bits > 0) {
        status = write_filter(writer, &filter, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    if (index_block_builder_finish(&writer->index, &payload) != TERN_OK) {
        return no_memory(error);
    }
    status = write_block(writer, payload, &index, error);
    if (status != TERN_OK) {
        return status;
    }
    const struct table_partition partition = {.lower = index_block_builder_first(&writer->index),
                                              .index = index,
                                              .filter = filter,
                                              .first_block = writer->partition_first_block,
                                              .block_count = writer->index.count,
                                              .records = writer->partition_records};
    if (table_meta_add_partition(&writer->meta, &partition) != TERN_OK) {
        return no_memory(error);
    }
    writer->partition_first_block += writer->index.count;
    writer->partition_records = 0;
    writer->hash_count = 0;
    index_block_builder_reset(&writer->index);
    return TERN_OK;
}

static tern_status end_block(struct table_writer *writer, tern_error *error) {
    struct lsm_ref ref = {0};
    tern_slice payload;
    if (writer->block.count == 0) {
        return TERN_OK;
    }
    if (data_block_builder_finish(&writer->block, &payload) != TERN_OK) {
        return no_memory(error);
    }
    if (payload.size > LSM_PAYLOAD_BYTES_MAX) {
        return ERROR_SET(error, TERN_TOO_LARGE,
                         "a data block of %zu bytes could not be read again; it was not written",
                         payload.size);
    }
    tern_status status = write_block(writer, payload, &ref, error);
    if (status != TERN_OK) {
        return status;
    }
    if (index_block_builder_add(&writer->index, buffer_slice(&writer->separator), ref) != TERN_OK) {
        return no_memory(error);
    }
    writer->meta.numbers.blocks++;
    writer->partition_records += writer->block.count;
    data_block_builder_reset(&writer->block);
    return TERN_OK;
}

/* The shortest beginning of the key that is above the last key. */
static tern_status begin_block(struct table_writer *writer, tern_slice key, size_t shared,
                               tern_error *error) {
    size_t size = writer->meta.numbers.records > 0 ? shared + 1 : key.size;
    if (writer->index.count == INDEX_BLOCKS_MAX ||
        (writer->index.count > 0 &&
         writer->hash_count * writer->lsm->filter_bits >= FILTER_BYTES_WANTED * 8) ||
        (writer->index.count > 0 &&
         index_block_builder_size(&writer->index, size) > INDEX_BYTES_MAX)) {
        tern_status status = end_partition(writer, error);
        if (status != TERN_OK) {
            return status;
        }
    }
    writer->separator.size = 0;
    if (buffer_append(&writer->separator, key.data, size) != TERN_OK) {
        return no_memory(error);
    }
    return TERN_OK;
}

static tern_status note_hash(struct table_writer *writer, uint64_t hash) {
    if (writer->lsm->filter_bits == 0) {
        return TERN_OK;
    }
    if (writer->hash_count == writer->hash_capacity) {
        size_t capacity = writer->hash_capacity * 2 + 1024;
        uint64_t *grown =
            memory_resize(lsm_allocator(writer->lsm), writer->hashes, capacity * sizeof(grown[0]));
        if (grown == NULL) {
            return TERN_NO_MEMORY;
        }
        writer->hashes = grown;
        writer->hash_capacity = capacity;
    }
    writer->hashes[writer->hash_count++] = hash;
    return TERN_OK;
}

static void count_record(struct table_numbers *numbers, tern_slice key,
                         const struct record *record) {
    numbers->records++;
    numbers->deletes += record->kind == RECORD_DELETE ? 1 : 0;
    numbers->merges += record->kind == RECORD_MERGE ? 1 : 0;
    numbers->raw_bytes +=
        key.size + (record->kind == RECORD_LARGE ? record->value_size : record->value.size);
    if (record->expires_ms != 0) {
        uint64_t expires = record->expires_ms;
        numbers->expires_min = numbers->expiring == 0 || expires < numbers->expires_min
                                   ? expires
                                   : numbers->expires_min;
        numbers->expires_max = expires > numbers->expires_max ? expires : numbers->expires_max;
        numbers->expiring++;
    }
}

/* Whether `key` is above `last`, with which it shares that many bytes. */
static bool is_after(tern_slice last, tern_slice key, size_t shared) {
    const uint8_t *left = last.data;
    const uint8_t *right = key.data;
    return shared < key.size && (shared == last.size || left[shared] < right[shared]);
}

tern_status table_writer_add(struct table_writer *writer, tern_slice key,
                             const struct record *record, tern_error *error) {
    size_t page = writer->lsm->config.options.page_bytes - BLOCK_HEADER_BYTES;
    tern_status status = TERN_OK;
    tern_slice last = buffer_slice(&writer->meta.last);
    size_t shared = slice_common_prefix(last, key);
    /* Records come out of tables, too, and those may say anything. */
    if (writer->meta.numbers.records > 0 && !is_after(last, key, shared)) {
        return ERROR_SET(error, TERN_CORRUPTION,
                         "data.order: keys that a table is written from are out of order; verify "
                         "and repair");
    }
    if (writer->block.count > 0 && data_block_builder_size(&writer->block, key, record) > page) {
        status = end_block(writer, error);
    }
    if (status == TERN_OK && writer->block.count == 0) {
        status = begin_block(writer, key, shared, error);
    }
    if (status != TERN_OK) {
        return status;
    }
    uint64_t hash = key_hasher_hash(&writer->lsm->config.hasher, key);
    if (data_block_builder_add_sharing(&writer->block, key, shared, hash, record) != TERN_OK ||
        note_hash(writer, hash) != TERN_OK || table_meta_note_key(&writer->meta, key) != TERN_OK) {
        return no_memory(error);
    }
    if (record->kind == RECORD_LARGE) {
        struct value_reference reference;
        status = value_reference_decode(record->value, &reference, error);
        if (status == TERN_OK && table_meta_note_use(&writer->meta, reference.number,
                                                     reference.stored_bytes) != TERN_OK) {
            status = no_memory(error);
        }
    }
    if (status == TERN_OK) {
        count_record(&writer->meta.numbers, key, record);
    }
    return status;
}

uint64_t table_writer_bytes(const struct table_writer *writer) {
    return writer->offset + writer->block.entries.size;
}

bool table_writer_is_below(const struct table_writer *writer, tern_slice key) {
    return writer->meta.numbers.records == 0 ||
           slice_compare(buffer_slice(&writer->meta.last), key) < 0;
}

bool table_writer_is_full(const struct table_writer *writer) {
    const struct table_meta *meta = &writer->meta;
    size_t meta_bytes = meta->partitions.size + meta->use_count * sizeof(meta->uses[0]);
    return meta->numbers.blocks + 2 >= LSM_TABLE_BLOCKS_MAX || meta_bytes >= META_BYTES_MAX;
}

static tern_status write_end(struct table_writer *writer, const struct lsm_range *ranges,
                             uint32_t range_count, uint64_t *out_meta_checksum, tern_error *error) {
    struct lsm_ref ref = {0};
    tern_slice payload;
    tern_status status = end_block(writer, error);
    if (status == TERN_OK) {
        status = end_partition(writer, error);
    }
    if (status == TERN_OK &&
        table_meta_encode(&writer->meta, ranges, range_count, &payload) != TERN_OK) {
        status = no_memory(error);
    }
    if (status == TERN_OK) {
        status = write_block(writer, payload, &ref, error);
    }
    if (status == TERN_OK) {
        status = reserve(writer, LSM_FOOTER_BYTES, error);
    }
    if (status == TERN_OK) {
        table_footer_encode(ref, writer->lsm->config.id, writer->number,
                            writer->run + writer->run_bytes);
        writer->run_bytes += LSM_FOOTER_BYTES;
        writer->offset += LSM_FOOTER_BYTES;
        status = flush_last(writer, error);
        *out_meta_checksum = ref.checksum;
    }
    return status;
}

tern_status table_writer_finish(struct table_writer *writer, const struct lsm_range *ranges,
                                uint32_t range_count, uint64_t age_seq,
                                struct lsm_table **out_table, tern_error *error) {
    struct lsm *lsm = writer->lsm;
    uint64_t number = writer->number;
    uint64_t meta_checksum = 0;
    writer->meta.numbers.age_seq = age_seq;
    tern_status status = write_end(writer, ranges, range_count, &meta_checksum, error);
    if (status != TERN_OK) {
        table_writer_abandon(writer);
        return status;
    }
    free_writer(writer);
    status = table_open(lsm, number, meta_checksum, out_table, error);
    if (status != TERN_OK) {
        (void)lsm_file_remove(lsm, number, LSM_FILE_TABLE, NULL);
    }
    return status;
}

void table_writer_abandon(struct table_writer *writer) {
    if (writer == NULL) {
        return;
    }
    struct lsm *lsm = writer->lsm;
    uint64_t number = writer->number;
    free_writer(writer);
    /* What cannot be removed now is removed at the next open. */
    (void)lsm_file_remove(lsm, number, LSM_FILE_TABLE, NULL);
}
