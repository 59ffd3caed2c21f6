/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers with units, in and out. Pure functions, any thread. */
#ifndef TERN_CLI_QUANTITY_H
#define TERN_CLI_QUANTITY_H

#include "cli/buffer.h"
#include <stdbool.h>
#include <stdint.h>

/* "1000", "10k", "2M", "1G": decimal multiples. */
bool quantity_parse_count(const char *text, uint64_t *out_count);
/* "4096", "64K", "64KiB", "1G", "1GiB", "10MB": K M G T are binary, KB MB GB TB decimal. */
bool quantity_parse_bytes(const char *text, uint64_t *out_bytes);
/* "250ms", "90s", "5m", "2h", "7d"; without a unit: seconds. */
bool quantity_parse_duration_ms(const char *text, uint64_t *out_ms);

/* Append for reading: "12,345", "1.5 MiB", "1m 20s", "1.25 ms". */
void quantity_print_count(uint64_t count, struct buffer *text);
void quantity_print_bytes(uint64_t bytes, struct buffer *text);
void quantity_print_duration_ns(uint64_t duration_ns, struct buffer *text);

#endif
