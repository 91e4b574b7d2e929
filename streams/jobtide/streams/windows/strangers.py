"""What the hot state holds and no fold knows: left there by an owner that ended before it could take it out again.

A worker that was away for longer than stage 2 replays does not see what became over meanwhile, and would show it for ever. Pure: reading
and removing are the agent's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from jobtide.streams.folds.records import panes_partition
from jobtide.streams.snapshots import SEPARATOR, Field, HotWrite
from jobtide.streams.windows.fold import WindowFold


def strangers(stored: Iterable[Field], folds: Mapping[int, WindowFold], versions: Mapping[int, int], partitions: int) -> list[HotWrite]:
    """Removals of the stored fields that belong to one of the folds and are not in it. `versions`: what each fold has seen, an offset."""
    out: list[HotWrite] = []
    for kind, tenant, field in stored:
        home = home_of((kind, tenant, field), partitions)
        if home in folds and not folds[home].holds(kind, tenant, field):
            out.append(HotWrite(kind, tenant, field, versions[home], None))
    return out


def home_of(stored: Field, partitions: int) -> int:
    """The partition of job.panes that a stored field comes from; see `folds.publication` for how records are spread.

    >>> home_of(("ledger", "acme", "3\\x1fepoch-1"), 8) == home_of(("ledger", "acme", "5\\x1fepoch-2"), 8)
    True
    """
    kind, tenant, field = stored
    name = tenant if kind == "ledger" else tenant + SEPARATOR + field
    return panes_partition(name.encode(), partitions)
