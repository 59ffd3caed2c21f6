/* SPDX-License-Identifier: Apache-2.0 */
/* What bench/simd measures: each kernel with its data, and how one pass over them is made. */
#ifndef BENCH_SIMD_CASES_H
#define BENCH_SIMD_CASES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simd/variants.h"

/* In place of a length: as much as the memory that is given. */
#define LENGTH_OF_MEMORY SIZE_MAX

/* What a pass works on. The owner is simd_data_make's caller. */
struct simd_data {
    uint8_t *first;  /* bytes of the kernel */
    uint8_t *second; /* the other string; outputs */
    uint64_t *hashes;
    size_t memory_bytes; /* of first and of second */
    size_t hash_bytes;   /* of hashes */
    size_t length;       /* as the case means it */
    size_t items;        /* calls, or what `item` says, a pass */
    size_t pass_bytes;   /* read by a pass */
};

struct simd_case {
    const char *name;
    const char *length_unit;
    const char *item;
    size_t lengths[12]; /* ends with 0 */
    const struct variant *variants;
    variant_function plain;
    const char *plain_source; /* of bench/plain, without .c; two for one kernel are two cases */
    void (*prepare)(struct simd_data *data);
    /* One pass; a number that is the same whatever variant did it. */
    uint64_t (*pass)(const struct simd_data *data, variant_function function);
    bool is_random;    /* reads lines of memory here and there */
    double bar;        /* the least factor that is asked for; 0: none */
    size_t bar_length; /* from this length on */
};

const struct simd_case *simd_cases(size_t *out_count);

bool simd_data_make(struct simd_data *out_data, size_t memory_bytes);
void simd_data_release(struct simd_data *data);

/* Reads `size` bytes, whole lines, as fast as plain loads can. */
uint64_t simd_read_all(const uint8_t *bytes, size_t size);

#endif
