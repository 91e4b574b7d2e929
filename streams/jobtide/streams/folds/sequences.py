"""Which events of an emitter have arrived: sequence numbers per (epoch, lane), with holes.

An emitter numbers the events of each lane 0, 1, 2, … per epoch (process start or fork), so an event that comes twice is recognised and
one that never comes leaves a hole that can be named. Not here: events without numbers (`identities`), when a ledger is published.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from jobtide.streams.folds.state import Epoch as Epoch
from jobtide.streams.folds.state import Lane as Lane

MAX_HOLES: Final = 1000  # per lane; beyond it the oldest hole is given up as lost, and an event of it that still comes counts as a duplicate
LOST_AFTER_US: Final = 15 * 60 * 1_000_000
CLEAN_EXPIRY_US: Final = 2 * 60 * 1_000_000
EXPIRY_US: Final = 65 * 60 * 1_000_000
LATELY_US: Final = 60 * 60 * 1_000_000


def observe(epoch: Epoch, lane: int, seq: int, at_us: int) -> bool:
    """Note the arrival of one number; True if it had not come before."""
    state = epoch.lanes.get(lane)
    if state is None:
        state = epoch.lanes[lane] = Lane()
    if seq == state.next:
        state.next = seq + 1
    elif seq > state.next:
        _open_hole(epoch, state, seq, at_us)
        state.next = seq + 1
    elif state.holes and _fill(state.holes, seq):
        _bound(epoch, state)  # what is filled from the middle makes two of one
    else:
        epoch.duplicates += 1
        return False
    epoch.received += 1
    return True


def announce(epoch: Epoch, next_by_lane: Mapping[int, int], clean: bool, at_us: int) -> None:
    """The emitter's own count (`emitter.stats`): numbers below it that have not come are missing, even at the tail."""
    epoch.announced = True
    epoch.clean = epoch.clean or clean
    for lane, following in next_by_lane.items():
        state = epoch.lanes.setdefault(lane, Lane())
        if following > state.next:
            _open_hole(epoch, state, following, at_us)
            state.next = following


def _open_hole(epoch: Epoch, lane: Lane, until: int, at_us: int) -> None:
    lane.holes.append([lane.next, until - 1, at_us])
    _bound(epoch, lane)


def _bound(epoch: Epoch, lane: Lane) -> None:
    if len(lane.holes) > MAX_HOLES:
        first, last, _ = lane.holes.pop(0)
        epoch.given_up += last - first + 1


def _fill(holes: list[list[int]], seq: int) -> bool:
    for index in range(len(holes) - 1, -1, -1):  # what is late is usually of the newest hole
        first, last, noticed_us = holes[index]
        if first <= seq <= last:
            rest = [[first, seq - 1, noticed_us]] * (first < seq) + [[seq + 1, last, noticed_us]] * (seq < last)
            holes[index : index + 1] = rest
            return True
        if seq > last:
            return False
    return False


def missing(epoch: Epoch) -> int:
    """Numbers not seen, given-up ones included."""
    return epoch.given_up + sum(last - first + 1 for lane in epoch.lanes.values() for first, last, _ in lane.holes)


def lost(epoch: Epoch, now_us: int) -> int:
    """Numbers missing for more than 15 minutes: reported as lost, and less again if they still come."""
    old = now_us - LOST_AFTER_US
    return epoch.given_up + sum(last - first + 1 for lane in epoch.lanes.values() for first, last, at_us in lane.holes if at_us <= old)


def lost_lately(epoch: Epoch, now_us: int) -> int:
    """Of what is lost, that of the last hour: what given up at MAX_HOLES is not in it, but then there are a thousand others."""
    old = now_us - LOST_AFTER_US
    since = old - LATELY_US
    return sum(last - first + 1 for lane in epoch.lanes.values() for first, last, at_us in lane.holes if since < at_us <= old)


def expected(epoch: Epoch) -> int | None:
    """Events the emitter made in these lanes as far as it has said; None if it never did: what followed the last is unknown, not 0."""
    return sum(lane.next for lane in epoch.lanes.values()) if epoch.announced else None


def expired(epoch: Epoch, now_us: int) -> bool:
    """Clean and complete epochs are forgotten soon (forks make many), others when no late event counts any more."""
    quiet_us = now_us - epoch.last_us
    return quiet_us > EXPIRY_US or (epoch.clean and quiet_us > CLEAN_EXPIRY_US and not missing(epoch))
