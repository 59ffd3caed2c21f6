/* SPDX-License-Identifier: Apache-2.0 */
/* The list of systems. A new one is a file beside this one, an X line here, and a build rule. */
#include "../driver.h"

#include "drivers.h"

/*     name          symbol             macro of the build   remedy */
#define DRIVERS(X)                                                                                 \
    X("tern-btree", driver_tern_btree, BENCH_HAS_TERN, "build libtern in the same tree")           \
    X("tern-hash", driver_tern_hash, BENCH_HAS_TERN, "build libtern in the same tree")             \
    X("tern-lsm", driver_tern_lsm, BENCH_HAS_TERN, "build libtern in the same tree")               \
    X("tern-all", driver_tern_all, BENCH_HAS_TERN, "build libtern in the same tree")               \
    X("map", driver_map, 1, "")                                                                    \
    X("lmdb", driver_lmdb, BENCH_HAS_LMDB, "install liblmdb-dev")                                  \
    X("lmdb-writemap", driver_lmdb_writemap, BENCH_HAS_LMDB, "install liblmdb-dev")                \
    X("rocksdb", driver_rocksdb, BENCH_HAS_ROCKSDB, "install librocksdb-dev")                      \
    X("leveldb", driver_leveldb, BENCH_HAS_LEVELDB, "install libleveldb-dev")                      \
    X("wiredtiger", driver_wiredtiger, BENCH_HAS_WIREDTIGER, "install libwiredtiger-dev")          \
    X("sqlite", driver_sqlite, BENCH_HAS_SQLITE, "install libsqlite3-dev")                         \
    X("tkrzw-hash", driver_tkrzw_hash, BENCH_HAS_TKRZW, "install libtkrzw-dev")                    \
    X("tkrzw-tree", driver_tkrzw_tree, BENCH_HAS_TKRZW, "install libtkrzw-dev")

/* The build says 0 or 1 for each; what is 0 is never referred to, so it need not exist. */
#define POINTER_0(symbol)                NULL
#define POINTER_1(symbol)                &symbol
#define POINTER_PASTE(has, symbol)       POINTER_##has(symbol)
#define POINTER(has, symbol)             POINTER_PASTE(has, symbol)
#define ENTRY(name, symbol, has, remedy) {name, POINTER(has, symbol), remedy},

static const struct driver_entry entries[] = {DRIVERS(ENTRY)};

const struct driver_entry *driver_entries(size_t *out_count) {
    *out_count = sizeof(entries) / sizeof(entries[0]);
    return entries;
}

const struct driver_entry *driver_find(const char *name) {
    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
        if (strcmp(entries[i].name, name) == 0)
            return &entries[i];
    }
    return NULL;
}
