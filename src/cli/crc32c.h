/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli) for dumps. The library's kernels are not public, and a dump is bound by its
 * disk anyway. */
#ifndef TERN_CLI_CRC32C_H
#define TERN_CLI_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Tables of slicing by four; fill with crc32c_prepare(), then read only. */
struct crc32c_table {
    uint32_t rows[4][256];
};

void crc32c_prepare(struct crc32c_table *table);
/* Continues `checksum` (0 at the beginning) over `size` bytes. */
uint32_t crc32c_extend(const struct crc32c_table *table, uint32_t checksum, const void *data,
                       size_t size);

#endif
