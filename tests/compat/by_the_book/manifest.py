# SPDX-License-Identifier: Apache-2.0
"""docs/format/manifest.md: the file tern.root."""

from dataclasses import dataclass

from .checksum import xxh3
from .octets import Damage, Octets, met, require

SLOT_BYTES = 4096
ENGINE_BTREE, ENGINE_HASH, ENGINE_LSM = 1, 2, 3
NOT_DONE = (1 << 64) - 1


@dataclass
class HashOptions:
    expected_keys: int
    max_load_percent: int
    function: int


@dataclass
class Keyspace:
    """An entry of the catalog: a partition, and what a keyspace says of itself."""
    partition: int
    created_seq: int
    engine: int
    compression: int
    style: int
    fill_percent: int
    page_bytes: int
    fan_out: int
    seed: int
    name: str
    hash_options: HashOptions = None
    filter_bits: int = 10
    level_compression: int = 0
    keyspace: int = 0           # the id of its first partition
    converted_seq: int = 0      # 0: by no conversion
    state: bytes = b""

    def is_being_built(self):
        return self.converted_seq == NOT_DONE


@dataclass
class Body:
    generation: int
    view_generation: int
    incarnation: int
    flags: int
    catalog_seq: int
    last_seq: int
    time: int
    log_start: int
    next_partition: int
    keyspaces: list
    bytes: range = None     # where it stands in the file


def _slot(data, place, where):
    """(generation, body place, body size, body checksum), or None where no whole slot is."""
    slot = data[place:place + SLOT_BYTES]
    if len(slot) < SLOT_BYTES or not any(slot):
        return None
    fields = Octets(slot, f"{where}+{place}")
    fields.constant(b"TERNROOT", "magic")
    version, features = fields.numbers("II")
    generation, body_place, body_size, body_checksum = fields.numbers("QQQQ")
    fields.zeros(4040)
    require(fields.u64() == xxh3(slot[:4088]), fields.where, "slot checksum")
    require(version == 1, fields.where, "format version 1")
    require(features == 0, fields.where, "no feature that is not known")
    require(body_place >= 8192 and body_size <= 1 << 30, fields.where, "place of the body")
    return generation, body_place, body_size, body_checksum


def _keyspace(fields):
    partition, created_seq, engine, style, fill, page, fan_out, name_size, state_size, seed = \
        fields.numbers("QQBBHIIHIQ")
    fields.require(partition != 0, "a partition id of 0")
    fields.require(1 <= name_size <= 255, "1 to 255 bytes of name")
    name = fields.take(name_size)
    fields.require(0 not in name, "no zero byte in a name")
    keyspace = Keyspace(partition, created_seq, engine & 63, style & 15, style >> 4, fill, page,
                        fan_out, seed, name.decode("utf-8"), keyspace=partition)
    fields.require(keyspace.engine in (ENGINE_BTREE, ENGINE_HASH, ENGINE_LSM), "engine is known")
    fields.require(keyspace.compression <= 3 and keyspace.style <= 2, "compression, style")
    if keyspace.engine == ENGINE_HASH:
        keyspace.hash_options = HashOptions(*fields.numbers("QBB"))
        fields.zeros(6)
    if engine & 64:
        fields.require(keyspace.engine == ENGINE_LSM, "bit 6 is of LSM only")
        met("manifest lsm options")
        keyspace.filter_bits = fields.u8()
        fields.zeros(3)
        keyspace.level_compression = fields.u32()
        fields.zeros(8)
    if engine & 128:
        keyspace.keyspace, keyspace.converted_seq = fields.numbers("QQ")
        fields.require(keyspace.converted_seq != 0, "seq of a conversion")
        met("manifest", "being built" if keyspace.is_being_built() else "converted")
    keyspace.state = fields.take(state_size)
    return keyspace


def _body(data, generation, where):
    fields = Octets(data, where)
    body = Body(*fields.numbers("QQIIQQQQQ"), [])
    require(body.generation == generation, where, "generation of slot and body")
    for _ in range(fields.u32()):
        body.keyspaces.append(_keyspace(fields))
    fields.end()
    require(all(k.partition < body.next_partition for k in body.keyspaces), where,
            "partition ids are below the next one")
    return body


def read_manifest(path):
    with open(path, "rb") as file:
        data = file.read()
    found, damage = [], []
    for place in (0, SLOT_BYTES):
        try:
            slot = _slot(data, place, "tern.root")
            if slot is None:
                continue
            generation, body_place, body_size, checksum = slot
            body = data[body_place:body_place + body_size]
            where = f"tern.root+{body_place}"
            require(len(body) == body_size and xxh3(body) == checksum, where, "body checksum")
            found.append(_body(body, generation, where))
            found[-1].bytes = range(body_place, body_place + body_size)
        except Damage as error:
            damage.append(error)
    # A switch that was cut off leaves a slot that is not whole; none of the databases read here
    # ended in one.
    if damage:
        raise damage[0]
    require(found, "tern.root", "one slot is whole")
    require(len(found) == 1 or abs(found[0].generation - found[1].generation) == 1, "tern.root",
            "the generation grows by one with every switch")
    return max(found, key=lambda body: body.generation)
