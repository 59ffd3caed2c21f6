/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue of file operations (tern_io_queue) for the file systems of tests: carries operations out
 * by the methods of their files, so whatever those do (fail, count, lose power) happens here too.
 * When each is carried out, and in which order, is drawn from the seed: at any moment between its
 * submission and the wait that returns it. So a sync in between may find it done or not, and who
 * changes a buffer too early writes the wrong bytes.
 *
 * What has been submitted and not waited for at a power cut has happened in part.
 */
#ifndef TERN_TESTS_SEEDED_QUEUE_H
#define TERN_TESTS_SEEDED_QUEUE_H

#include <stdint.h>
#include <tern/sys/file_system.h>

/* Never fails. */
tern_io_queue *seeded_queue_create(uint64_t seed);

#endif
