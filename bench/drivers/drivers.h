/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BENCH_DRIVERS_DRIVERS_H
#define BENCH_DRIVERS_DRIVERS_H

#include "../driver.h"

extern const struct driver driver_tern_btree;
extern const struct driver driver_tern_hash;
extern const struct driver driver_tern_lsm;
extern const struct driver driver_tern_all;
extern const struct driver driver_map;
extern const struct driver driver_lmdb;
extern const struct driver driver_lmdb_writemap;
extern const struct driver driver_rocksdb;
extern const struct driver driver_leveldb;
extern const struct driver driver_wiredtiger;
extern const struct driver driver_sqlite;
extern const struct driver driver_tkrzw_hash;
extern const struct driver driver_tkrzw_tree;

#endif
