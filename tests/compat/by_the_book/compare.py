# SPDX-License-Identifier: Apache-2.0
"""Reads databases by the book, and a copy of each through the library; both must hold the same.

    python3 -m by_the_book.compare [--needs TRAIT]... DIRECTORY...

--needs TRAIT   at least one of the databases is as this says:
                marks       a drain into a B+tree was published part way
                copies      the log holds copies into a partition that a conversion built
                building    the manifest names a partition that a conversion has not done with
                cached      the list of cached pages names some
                parts       the log holds a commit in parts
                apart       the log holds a value apart
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile

from . import log
from .cache_hot import read_cache_hot
from .database import Database
from .dump import read_dump
from .octets import Damage, require

# Nothing that is compared here expires sooner or later than at once or in years.
LATER_MS = 365 * 86400 * 1000


def cached_pages(database):
    """How many pages the list names; all of them are leaves."""
    path = os.path.join(database.directory, "cache.hot")
    if not os.path.exists(path):
        return 0
    lists = read_cache_hot(path)
    for partition, places in lists.items():
        tree = database.partitions[partition].tree
        require(tree is not None and set(places) <= tree.leaf_places, "cache.hot",
                f"places of leaves of partition {partition}")
    return sum(map(len, lists.values()))


def traits(database):
    partitions = database.partitions.values()
    kinds = {record.kind for record in database.log.replayed()}
    found = {
        "marks": any(partition.base.marks for partition in partitions),
        "copies": log.COPY in kinds,
        "building": any(k.is_being_built() for k in database.manifest.keyspaces),
        "cached": cached_pages(database) > 0,
        "parts": log.PART in kinds,
        "apart": log.CHUNK in kinds,
    }
    return {name for name, is_so in found.items() if is_so}


def export(directory):
    """What the library makes of a copy."""
    with tempfile.TemporaryDirectory(prefix="tern-compare-") as work:
        copy, path = os.path.join(work, "db"), os.path.join(work, "all.dump")
        shutil.copytree(directory, copy)
        subprocess.run([os.environ["TERN_BINARY"], "-d", copy, "-q", "export", "--all", path],
                       check=True, timeout=60, stdout=subprocess.DEVNULL)
        return read_dump(path)


def compare(directory):
    """Its traits."""
    database = Database(directory)
    dumped = export(directory)
    require(set(dumped) == set(database.keyspaces()), directory, "the same keyspaces")
    for name, keyspace in dumped.items():
        if not database.keyspaces()[name].is_readable:
            continue
        found = database.content(name, database.time + LATER_MS)
        other = sorted(key for key in found.keys() | keyspace.content.keys()
                       if found.get(key) != keyspace.content.get(key))
        require(not other, directory, f"{len(other)} keys of '{name}' differ: {other[:3]}")
    return traits(database)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--needs", action="append", default=[])
    parser.add_argument("directories", nargs="+")
    options = parser.parse_args()
    found = set()
    for directory in options.directories:
        try:
            of_this = compare(directory)
        except Damage as error:
            sys.exit(f"{directory}: {error}")
        print(f"{directory}: {' '.join(sorted(of_this)) or 'nothing special'}")
        found |= of_this
    missing = set(options.needs) - found
    if missing:
        sys.exit(f"no database has {' '.join(sorted(missing))}")


if __name__ == "__main__":
    main()
