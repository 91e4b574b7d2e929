"""From `limit`, `cursor` and range parameters to where a page begins and what its `next_cursor` is.

Pure but for the parameters' models; `cursors` does the signing.
"""

from __future__ import annotations

from dataclasses import dataclass

from jobtide.query.cursors import CursorError, Part, Position, read, write
from jobtide.query.params import ListParams
from jobtide.query.problems import wrong
from jobtide.query.ranges import Range, resolve
from jobtide.query.selection import scope
from jobtide.query.sources import Sources


@dataclass(frozen=True, slots=True)
class Opened:
    """Where a page begins: the range all pages share, and after which sort key (empty: at the top)."""

    range: Range
    after: tuple[Part, ...]
    scope: str
    key: bytes

    def next_cursor(self, last: tuple[Part, ...], range_: Range) -> str:
        """The cursor for what follows the sort key `last`."""
        return write(Position(last, range_.from_us, range_.to_us), self.scope, self.key)


def opened(sources: Sources, question: str, params: ListParams, default_last: str | None, *filters: object) -> Opened:
    """The page that the parameters ask for; without `default_last` the default is everything until now.

    Raises ParamError or Problem 422 for a range or a cursor that cannot be understood.
    """
    bound = scope(question, params.selection(), params.last, params.from_, params.to, *filters)
    everything = default_last is None and params.last is None and params.from_ is None
    now_us = sources.now_us()
    range_ = (
        Range(0, now_us)
        if everything and params.to is None
        else resolve(params.last, params.from_, params.to, now_us, default_last or "1h")
    )
    if params.cursor is None:
        return Opened(range_, (), bound, sources.cursor_key)
    position = position_of(params.cursor, bound, sources.cursor_key)
    return Opened(
        Range(position.from_us, position.to_us, range_.last, range_.window), position.after, bound, sources.cursor_key
    )


def position_of(cursor: str, bound: str, key: bytes) -> Position:
    """Raises Problem 422 if it is not a cursor of this question."""
    try:
        return read(cursor, bound, key)
    except CursorError:
        raise wrong(
            "cursor",
            "not of this question: it belongs to other parameters or to a server with another key; begin again without",
        ) from None
