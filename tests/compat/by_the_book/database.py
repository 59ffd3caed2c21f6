# SPDX-License-Identifier: Apache-2.0
"""A database as a whole: bases of its partitions, and the log played onto them."""

import os
import sys
from dataclasses import dataclass, field

from . import btree, commit, hash, log, lsm, merge
from .base import Base, Record
from .commit import CommitReader
from .compression import MissingCodec
from .manifest import ENGINE_BTREE, ENGINE_HASH, ENGINE_LSM, Keyspace, read_manifest
from .octets import require


@dataclass
class Partition:
    keyspace: Keyspace
    base: Base
    tree: btree.Tree = None
    records: dict = field(default_factory=dict)
    is_built: bool = True       # no conversion is still making it
    is_readable: bool = True    # no codec is missing

    def holds(self, key, seq):
        """Whether the base has the change of that commit already."""
        of_key = self.base.records.get(key)
        return seq <= max(self.base.held_seq(key), of_key.seq if of_key else 0)


def read_partition(directory, keyspace):
    partition = Partition(keyspace, Base(0), is_built=not keyspace.is_being_built())
    try:
        if keyspace.engine == ENGINE_BTREE:
            partition.base, partition.tree = btree.read_base(directory, keyspace)
        else:
            read_base = {ENGINE_HASH: hash.read_base, ENGINE_LSM: lsm.read_base}[keyspace.engine]
            partition.base = read_base(directory, keyspace)
    except MissingCodec as error:
        print(f"SKIPPED: keyspace '{keyspace.name}' needs {error}", file=sys.stderr)
        partition.is_readable = False
    partition.records = dict(partition.base.records)
    return partition


class Database:
    def __init__(self, directory):
        self.directory = directory
        self.manifest = read_manifest(os.path.join(directory, "tern.root"))
        self.partitions = {keyspace.partition: read_partition(directory, keyspace)
                           for keyspace in self.manifest.keyspaces}
        self.log = log.Log(directory, self.manifest.log_start)
        self.last_seq = None
        self.time = self.manifest.time
        self._replay()

    def keyspaces(self):
        """Name -> partition."""
        return {partition.keyspace.name: partition for partition in self.partitions.values()
                if partition.is_built}

    def content(self, name, now):
        """Key -> value of what a reader sees at a logged time."""
        return {key: record.value for key, record in self.keyspaces()[name].records.items()
                if not 0 < record.expires <= now}

    # ---- replay ----

    def _replay(self):
        reader, last_time = CommitReader(), 0
        for record in self.log.replayed():
            where = log.show(record.position)
            change_set = reader.take(record)
            if change_set is None:
                continue
            require(self.last_seq in (None, change_set.seq - 1), where, "seqs follow each other")
            self.last_seq = change_set.seq
            require(change_set.time >= last_time, where, "logged time does not go back")
            last_time = change_set.time
            if change_set.seq > self.manifest.catalog_seq:
                for change in change_set.catalog:
                    self._change_catalog(change, change_set.seq, where)
            for part in change_set.parts:
                partition = self.partitions.get(part.partition)
                if partition is not None:
                    self._change_partition(partition, part, change_set, reader, where)
        self.time = max(self.time, reader.time)
        require(self.last_seq is None or self.last_seq >= self.manifest.last_seq,
                log.show(self.log.end), "all that the manifest knows to be committed is there")

    def _change_catalog(self, change, seq, where):
        if change.kind == commit.CREATE:
            require(change.partition not in self.partitions, where, "a partition is created once")
            self.partitions[change.partition] = Partition(change.created, Base(0))
        elif change.kind == commit.DROP:
            self.partitions.pop(change.partition, None)
        else:
            target = self.partitions.get(change.target)
            require(target is not None and not target.is_built, where,
                    "the target of a conversion is being built")
            target.is_built = True
            target.keyspace.converted_seq = seq
            self.partitions.pop(change.partition, None)

    def _change_partition(self, partition, part, change_set, reader, where):
        require(part.keyspace == partition.keyspace.keyspace, where, "ids of a part")
        for change in part.changes:
            if change.kind == commit.DELETE_RANGE:
                merge.delete_range(partition.records, change.key, change.end,
                                   lambda key: not partition.holds(key, change_set.seq))
            elif not partition.holds(change.key, change_set.seq):
                self._change_key(partition, part, change, change_set.time, reader, where)

    def _change_key(self, partition, part, change, time, reader, where):
        records = partition.records
        if change.kind == commit.DELETE:
            records.pop(change.key, None)
        elif change.kind == commit.MERGE:
            records[change.key] = merge.apply(records.get(change.key), change.merge_kind,
                                              change.value, time)
        elif change.kind == commit.PUT:
            records[change.key] = Record(change.value, change.expires)
        else:
            written_to, value = reader.large_value(change, where)
            require(written_to == part.partition, where,
                    "a value apart was written to its partition")
            records[change.key] = Record(value, change.expires)
