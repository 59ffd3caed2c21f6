/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short inputs are many strings side by side, together no more than fits the first-level cache, so
 * that what is measured is the kernel and its call. Long inputs are one string.
 */
#include "simd_cases.h"

#include <string.h>
#include <sys/mman.h>

#include "base/varint.h"
#include "plain/plain.h"
#include "rng.h"
#include "simd/bits.h"
#include "simd/bloom.h"
#include "simd/fnv1a.h"
#include "simd/tags.h"

#define PASS_BYTES ((size_t)8 << 10)
#define STRINGS    64u
#define HASHES     4096u
#define NUMBERS    128u
/* So many that the branch predictor cannot learn their lengths. */
#define VARINTS 16384u
/* Of probes in memory: so many different lines that none is found in a cache by chance. */
#define HASHES_IN_MEMORY(memory_bytes) ((memory_bytes) / 128)
#define CALLS_MAX                      1024u

/* ---- data ---- */

static void *map_bytes(size_t size) {
    void *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (bytes == MAP_FAILED) {
        return NULL;
    }
    madvise(bytes, size, MADV_HUGEPAGE);
    return bytes;
}

bool simd_data_make(struct simd_data *out_data, size_t memory_bytes) {
    *out_data = (struct simd_data){.memory_bytes = memory_bytes};
    out_data->first = map_bytes(memory_bytes);
    out_data->second = map_bytes(memory_bytes);
    out_data->hash_bytes = HASHES * sizeof(uint64_t);
    if (HASHES_IN_MEMORY(memory_bytes) > HASHES) {
        out_data->hash_bytes = HASHES_IN_MEMORY(memory_bytes) * sizeof(uint64_t);
    }
    out_data->hashes = map_bytes(out_data->hash_bytes);
    return out_data->first != NULL && out_data->second != NULL && out_data->hashes != NULL;
}

static void unmap_bytes(void *bytes, size_t size) {
    if (bytes != NULL) {
        munmap(bytes, size);
    }
}

void simd_data_release(struct simd_data *data) {
    unmap_bytes(data->first, data->memory_bytes);
    unmap_bytes(data->second, data->memory_bytes);
    unmap_bytes(data->hashes, data->hash_bytes);
}

static void fill(void *target, size_t size, uint64_t seed) {
    struct rng rng;
    rng_seed(&rng, seed, 0);
    for (size_t i = 0; i + 8 <= size; i += 8) {
        uint64_t value = rng_next(&rng);
        memcpy((uint8_t *)target + i, &value, 8);
    }
}

/* Strings of `length` bytes in first, their copies in second. */
static void prepare_strings(struct simd_data *data) {
    data->length = data->length == LENGTH_OF_MEMORY ? data->memory_bytes : data->length;
    data->items = data->length < PASS_BYTES ? PASS_BYTES / data->length : 1;
    data->pass_bytes = data->items * data->length;
    fill(data->first, data->pass_bytes, 1);
}

static void prepare_pairs(struct simd_data *data) {
    prepare_strings(data);
    memcpy(data->second, data->first, data->pass_bytes);
    data->pass_bytes *= 2;
}

static void prepare_many(struct simd_data *data) {
    data->items = STRINGS;
    data->pass_bytes = STRINGS * data->length;
    fill(data->first, data->pass_bytes, 2);
}

static void prepare_heads(struct simd_data *data, size_t size) {
    /* Ascending, with gaps, and needles that fall anywhere among them. */
    memset(data->first, 0, data->length * size + 64);
    fill(data->hashes, HASHES * sizeof(uint64_t), 3);
    for (size_t i = 0; i < data->length; i++) {
        if (size == 4) {
            ((uint32_t *)(void *)data->first)[i] = (uint32_t)(UINT32_MAX / data->length * i);
        } else {
            ((uint64_t *)(void *)data->first)[i] = UINT64_MAX / data->length * i;
        }
    }
    data->items = CALLS_MAX;
    data->pass_bytes = data->items * data->length * size;
}

static void prepare_heads_u32(struct simd_data *data) {
    prepare_heads(data, 4);
}

static void prepare_heads_u64(struct simd_data *data) {
    prepare_heads(data, 8);
}

/*
 * At 10 bits a key half of the bits are set, as in random bytes. The second half of the probes is
 * there.
 */
static void prepare_filter(struct simd_data *data) {
    bool is_memory = data->length == LENGTH_OF_MEMORY;
    data->length = is_memory ? data->memory_bytes : data->length;
    data->items = is_memory ? data->hash_bytes / sizeof(uint64_t) : HASHES;
    fill(data->first, data->length, 5);
    fill(data->hashes, data->items * sizeof(uint64_t), 4);
    bloom_build(data->first, (uint32_t)(data->length / BLOOM_LINE_BYTES),
                data->hashes + data->items / 2, data->items / 2);
    data->pass_bytes = data->items * BLOOM_LINE_BYTES;
}

static void prepare_groups(struct simd_data *data) {
    data->items = data->length / TAGS_BYTES;
    data->pass_bytes = data->length;
    fill(data->first, data->length, 6);
}

static void prepare_numbers(struct simd_data *data) {
    uint8_t *at = data->first;
    struct rng rng;
    rng_seed(&rng, 7, 0);
    for (size_t i = 0; i < VARINTS; i++) {
        /* Lengths of one byte up to what so many bits take, all equally often. */
        unsigned bits = 7 * (1 + (unsigned)rng_below(&rng, data->length / 7));
        uint64_t number = rng_next(&rng) & (((uint64_t)1 << bits) - 1);
        at = varint_put(at, number | (uint64_t)1 << (bits - 1));
    }
    data->items = VARINTS;
    data->pass_bytes = (size_t)(at - data->first);
}

static void prepare_packed(struct simd_data *data) {
    data->items = NUMBERS;
    data->pass_bytes = bits_packed_bytes(NUMBERS, (unsigned)data->length);
    fill(data->first, data->pass_bytes + 8, 8);
}

/* ---- passes ---- */

static uint64_t pass_compare(const struct simd_data *data, variant_function function) {
    common_prefix_function compare = (common_prefix_function)function;
    uint64_t sum = 0;
    for (size_t i = 0; i < data->items; i++) {
        sum +=
            compare(data->first + i * data->length, data->second + i * data->length, data->length);
    }
    return sum;
}

static uint64_t pass_crc32c(const struct simd_data *data, variant_function function) {
    crc32c_function crc = (crc32c_function)function;
    uint64_t sum = 0;
    for (size_t i = 0; i < data->items; i++) {
        sum += crc(0, data->first + i * data->length, data->length);
    }
    return sum;
}

static uint64_t pass_xxh3(const struct simd_data *data, variant_function function) {
    hash_function hash = (hash_function)function;
    uint64_t sum = 0;
    for (size_t i = 0; i < data->items; i++) {
        sum += hash(data->first + i * data->length, data->length, 0);
    }
    return sum;
}

static uint64_t pass_fnv1a(const struct simd_data *data, variant_function function) {
    tern_slice strings[STRINGS];
    uint64_t hashes[STRINGS];
    for (size_t i = 0; i < STRINGS; i++) {
        strings[i] = tern_slice_of(data->first + i * data->length, data->length);
    }
    ((fnv1a_many_function)function)(strings, STRINGS, FNV1A_BASIS, hashes);
    uint64_t sum = 0;
    for (size_t i = 0; i < STRINGS; i++) {
        sum += hashes[i];
    }
    return sum;
}

static uint64_t pass_search_u32(const struct simd_data *data, variant_function function) {
    search_u32_function search = (search_u32_function)function;
    const uint32_t *heads = (const void *)data->first;
    uint64_t sum = 0;
    for (size_t i = 0; i < data->items; i++) {
        sum += search(heads, data->length, (uint32_t)data->hashes[i]);
    }
    return sum;
}

static uint64_t pass_search_u64(const struct simd_data *data, variant_function function) {
    search_u64_function search = (search_u64_function)function;
    const uint64_t *heads = (const void *)data->first;
    uint64_t sum = 0;
    for (size_t i = 0; i < data->items; i++) {
        sum += search(heads, data->length, data->hashes[i]);
    }
    return sum;
}

static uint64_t pass_bloom_probe(const struct simd_data *data, variant_function function) {
    bloom_probe_function probe = (bloom_probe_function)function;
    uint32_t lines = (uint32_t)(data->length / BLOOM_LINE_BYTES);
    uint64_t sum = 0;
    for (size_t i = 0; i < data->items; i++) {
        uint64_t hash = data->hashes[i];
        sum += probe(data->first + bloom_line_offset(hash, lines), hash) ? i : 0;
    }
    return sum;
}

static uint64_t pass_bloom_build(const struct simd_data *data, variant_function function) {
    uint32_t lines = (uint32_t)(data->length / BLOOM_LINE_BYTES);
    ((bloom_build_function)function)(data->first, lines, data->hashes, data->items);
    return data->first[bloom_line_offset(data->hashes[0], lines)];
}

static uint64_t tags_inline(const uint8_t *groups, size_t count, uint8_t tag) {
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += tags_match(groups + i * TAGS_BYTES, tag);
    }
    return sum;
}

static uint64_t pass_tags(const struct simd_data *data, variant_function function) {
    typedef uint64_t (*tags_function)(const uint8_t *groups, size_t count, uint8_t tag);
    return ((tags_function)function)(data->first, data->items, 0x5a);
}

static uint64_t pass_varint(const struct simd_data *data, variant_function function) {
    uint64_t *values = (void *)data->second;
    const uint8_t *end = data->first + data->pass_bytes;
    const uint8_t *after =
        ((varint_get_many_function)function)(data->first, end, data->items, values);
    return after == end ? values[0] + values[data->items / 2] + values[data->items - 1] : 0;
}

static uint64_t pass_bits(const struct simd_data *data, variant_function function) {
    uint32_t *values = (void *)data->second;
    ((bits_unpack_function)function)(data->first, data->items, (unsigned)data->length, values);
    return (uint64_t)values[1] + values[data->items / 2] + values[data->items - 1];
}

/* ---- table ---- */

/* Not dispatched: this is what every machine of the architecture runs. */
static const struct variant tags_variants[] = {
    {"inline", variant_is_plain, (variant_function)tags_inline}, VARIANTS_END};

#define PLAIN(name) (variant_function) plain_##name, #name

static const struct simd_case cases[] = {
    {"compare",
     "bytes of each string",
     "comparison",
     {8, 16, 32, 64, 100, 128, 256, 1024, 4096, 65536, LENGTH_OF_MEMORY, 0},
     common_prefix_variants,
     PLAIN(compare),
     prepare_pairs,
     pass_compare,
     false,
     4.2,
     64},
    {"crc32c",
     "bytes",
     "checksum",
     {16, 64, 128, 256, 512, 1024, 4096, 65536, LENGTH_OF_MEMORY, 0},
     crc32c_variants,
     PLAIN(crc32c),
     prepare_strings,
     pass_crc32c,
     false,
     3.1,
     64},
    {"xxh3",
     "bytes",
     "hash",
     {16, 64, 128, 256, 512, 1024, 4096, 65536, LENGTH_OF_MEMORY, 0},
     hash_long_variants,
     PLAIN(xxh3),
     prepare_strings,
     pass_xxh3,
     false,
     3.1,
     256},
    {"fnv1a",
     "bytes of each of 64 strings",
     "string",
     {8, 16, 20, 32, 64, 256, 1024, 0},
     fnv1a_many_variants,
     PLAIN(fnv1a),
     prepare_many,
     pass_fnv1a,
     false,
     3.1,
     8},
    {"search_u32",
     "heads",
     "search",
     {16, 64, 128, 256, 1024, 0},
     search_lower_u32_variants,
     PLAIN(search_u32),
     prepare_heads_u32,
     pass_search_u32,
     false,
     0,
     0},
    {"search_u64",
     "heads",
     "search",
     {8, 64, 128, 256, 1024, 0},
     search_lower_u64_variants,
     PLAIN(search_u64),
     prepare_heads_u64,
     pass_search_u64,
     false,
     0,
     0},
    {"bloom_probe",
     "bytes of the filter",
     "probe",
     {4096, 32768, 1 << 20, LENGTH_OF_MEMORY, 0},
     bloom_probe_variants,
     PLAIN(bloom_probe),
     prepare_filter,
     pass_bloom_probe,
     true,
     2,
     1},
    {"bloom_build",
     "bytes of the filter",
     "key",
     {4096, 32768, 1 << 20, LENGTH_OF_MEMORY, 0},
     bloom_build_variants,
     PLAIN(bloom_build),
     prepare_filter,
     pass_bloom_build,
     true,
     0,
     0},
    {"tags",
     "bytes of tags",
     "group of 16",
     {4096, 0},
     tags_variants,
     PLAIN(tags),
     prepare_groups,
     pass_tags,
     false,
     0,
     0},
    {"varint",
     "bits at most",
     "number",
     {7, 14, 21, 35, 49, 0},
     varint_get_many_variants,
     PLAIN(varint),
     prepare_numbers,
     pass_varint,
     false,
     0,
     0},
    {"bits",
     "bits of a number",
     "number",
     {1, 4, 7, 8, 13, 20, 25, 28, 32, 0},
     bits_unpack_variants,
     PLAIN(bits),
     prepare_packed,
     pass_bits,
     false,
     0,
     0},
};

const struct simd_case *simd_cases(size_t *out_count) {
    *out_count = sizeof(cases) / sizeof(cases[0]);
    return cases;
}

uint64_t simd_read_all(const uint8_t *bytes, size_t size) {
    typedef uint64_t words __attribute__((vector_size(16)));
    words sums[4] = {{0}, {0}, {0}, {0}};
    for (size_t at = 0; at + 256 <= size; at += 256) {
        /* Asked for by hand, too, as XXH3 does: half as much again here. */
        for (size_t ahead = 1024; ahead < 1280; ahead += 64) {
            __builtin_prefetch(bytes + at + ahead);
        }
        _Pragma("GCC unroll 16") for (unsigned i = 0; i < 16; i++) {
            words two;
            memcpy(&two, bytes + at + (size_t)16 * i, sizeof(two));
            sums[i % 4] ^= two;
        }
    }
    words all = sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
    return all[0] ^ all[1];
}
