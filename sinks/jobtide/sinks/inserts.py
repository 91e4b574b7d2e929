"""Rows for one table, and their bytes on the wire. Pure: no client and no SQL.

The wire format is MessagePack: rows are values one after the other, DateTime64 is the integer in the column's own unit. ClickHouse parses
it without holding Python's lock, which made the history writer's share of an insert four times smaller than columns of Python values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

Row = tuple[Any, ...]
Values = list[Any]  # row after row in one flat list: a tuple for each would keep Python's garbage collector busy

PIECE_VALUES = 8_192

_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class Insert:
    """`packed` holds the values of `columns`, row after row. `token` names exactly these rows to ClickHouse, which drops a second insert
    under the same token: it must never stand for different ones. None where rows may come twice."""

    table: str
    columns: tuple[str, ...]
    packed: bytes
    rows: int
    token: str | None = None


class Rows:
    """The rows of one insert, packed in pieces as they come. Kept as Python values until the end, those of fifty thousand events fall out
    of the processor's caches, and everything costs a third more."""

    def __init__(self, table: str, columns: tuple[str, ...]) -> None:
        self.table, self.columns = table, columns
        self._values: Values = []
        self._pieces: list[bytes] = []
        self._packed_rows = 0

    def add(self, row: Row) -> None:
        self._values += row
        if len(self._values) >= PIECE_VALUES:
            self._pack()

    def insert(self, token: str | None = None) -> Insert:
        """Everything that was added."""
        self._pack()
        return Insert(self.table, self.columns, b"".join(self._pieces), self._packed_rows, token)

    def _pack(self) -> None:
        piece = insert(self.table, self.columns, self._values)
        self._pieces.append(piece.packed)
        self._packed_rows += piece.rows
        self._values = []


def insert(table: str, columns: tuple[str, ...], values: Values, token: str | None = None) -> Insert:
    """Rows one after the other, each with its values in the order of `columns`."""
    rows, rest = divmod(len(values), len(columns))
    assert not rest, f"{len(values)} values are no rows of {len(columns)}"
    return Insert(table, columns, _encode(values)[_header_bytes(len(values)) :], rows, token)


def _header_bytes(n: int) -> int:
    """The length of MessagePack's header of an array of n values, which ClickHouse does not want."""
    if n < 16:
        return 1
    return 3 if n < 1 << 16 else 5
