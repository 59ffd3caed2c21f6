# SPDX-License-Identifier: Apache-2.0
"""What changes do to a map of records: docs/format/commit.md, "What changes mean"."""

from .base import Record

ADD, APPEND, MAX = 1, 2, 3


def _number(value):
    return int.from_bytes(value, "little") if value is not None and len(value) == 8 else 0


def combine(kind, value, operand):
    """`value` is None where there is nothing to merge with."""
    if kind == APPEND:
        return (value or b"") + operand
    if kind == MAX:
        return operand if value is None else max(value, operand)
    total = _number(value) + _number(operand)
    return (total & (1 << 64) - 1).to_bytes(8, "little")


def apply(record, kind, operand, time):
    """The record after a merge that was committed at `time`."""
    if record is None or record.expires and record.expires <= time:
        return Record(operand)
    return Record(combine(kind, record.value, operand), record.expires)


def delete_range(records, begin, end, may_delete=lambda key: True):
    for key in [key for key in records if begin <= key and (end is None or key < end)]:
        if may_delete(key):
            del records[key]
