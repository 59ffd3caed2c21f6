/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same tests with the index in memory and with its cold part at work: between cold_index_begin
 * and cold_index_end, setup and teardown of a test, worlds get a budget so small that all entries
 * of records go to disk at once.
 */
#ifndef TERN_TESTS_UNIT_HASH_COLD_INDEX_H
#define TERN_TESTS_UNIT_HASH_COLD_INDEX_H

#include "support/engine_world.h"

int cold_index_begin(void **state);
int cold_index_end(void **state);
/* To a world that has been created. */
void cold_index_apply(struct engine_world *world);

#endif
