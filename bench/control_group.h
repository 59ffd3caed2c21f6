/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holds a process, page cache included, to a number of bytes: the only limit that means the same
 * to a store that maps its files and to one that caches them. Needs root; versions 1 and 2.
 */
#ifndef BENCH_CONTROL_GROUP_H
#define BENCH_CONTROL_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Puts this process into a new group with that limit. */
bool control_group_enter(uint64_t limit_bytes, char *out_error, size_t error_size);

/* Removes the group of a process that has ended; nothing when it had none. */
void control_group_remove(pid_t process);

#endif
