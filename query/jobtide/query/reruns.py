"""One attempt that was started more than once: did two runs go on at the same time, or did one follow the other? Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

Run = tuple[int, str, int | None]  # started µs, worker_id, ended µs as that worker said (None: it never did)


class Rerun(StrEnum):
    OVERLAP = "overlap"  # the second began before the first had ended: the work was done twice at once
    AGAIN = "again"  # the first had ended: the work was done twice
    REPLACED = "replaced"  # the first never said how it ended: its worker may have been lost


def judged(runs: Sequence[Run]) -> Rerun:
    """The worst that happened between runs, which are in the order of their starts.

    >>> judged([(0, "a", 10), (5, "b", 15)]), judged([(0, "a", None), (5, "b", 15)])
    (<Rerun.OVERLAP: 'overlap'>, <Rerun.REPLACED: 'replaced'>)
    """
    latest_end, ended = None, False
    verdict = Rerun.REPLACED
    for begun, _, end in runs:
        if latest_end is not None and begun < latest_end:
            return Rerun.OVERLAP
        if ended:
            verdict = Rerun.AGAIN
        if end is not None:
            latest_end, ended = max(end, latest_end or end), True
    return verdict


def double_us(runs: Sequence[Run]) -> int:
    """How long more than one run went on, as far as ends are known.

    >>> double_us([(0, "a", 10), (5, "b", 15)])
    5
    """
    edges = sorted([(start, 1) for start, _, end in runs if end is not None] + [(end, -1) for _, _, end in runs if end is not None])
    total, running, since = 0, 0, 0
    for at, step in edges:
        if running > 1:
            total += at - since
        running, since = running + step, at
    return total
