"""Which numbers of an emitter came, came twice, never came: `sequences` against plain sets of numbers."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st
from jobtide.streams.folds import sequences
from jobtide.streams.folds.sequences import (
    CLEAN_EXPIRY_US,
    EXPIRY_US,
    LOST_AFTER_US,
    MAX_HOLES,
    Epoch,
    announce,
    expected,
    expired,
    lost,
    missing,
    observe,
)

from tests.proof.job_events import MINUTE, SECOND, START_US
from tests.properties.searching import searching


class Seen:
    """The judge: every number that came, one by one, and when each missing one was first noticed to be missing."""

    def __init__(self) -> None:
        self.came: defaultdict[int, set[int]] = defaultdict(set)
        self.until: defaultdict[int, int] = defaultdict(int)  # one past the highest number known to exist
        self.noticed_us: dict[tuple[int, int], int] = {}
        self.duplicates = 0
        self.announced = self.clean = False

    def observe(self, lane: int, seq: int, at_us: int) -> bool:
        if seq in self.came[lane]:
            self.duplicates += 1
            return False
        self._exists_until(lane, seq, at_us)
        self.until[lane] = max(self.until[lane], seq + 1)
        self.came[lane].add(seq)
        self.noticed_us.pop((lane, seq), None)
        return True

    def announce(self, lane: int, following: int, clean: bool, at_us: int) -> None:
        self._exists_until(lane, following, at_us)
        self.announced, self.clean = True, self.clean or clean

    def _exists_until(self, lane: int, until: int, at_us: int) -> None:
        for seq in range(self.until[lane], until):
            self.noticed_us[lane, seq] = at_us
        self.until[lane] = max(self.until[lane], until)

    @property
    def received(self) -> int:
        return sum(map(len, self.came.values()))

    def lost(self, now_us: int) -> int:
        return sum(noticed_us <= now_us - LOST_AFTER_US for noticed_us in self.noticed_us.values())


arrivals = st.tuples(st.just("came"), st.integers(0, 2), st.integers(0, 30), st.booleans())
announcements = st.tuples(st.just("announced"), st.integers(0, 2), st.integers(0, 35), st.booleans())
steps = st.lists(st.tuples(arrivals | arrivals | arrivals | announcements, st.sampled_from([0, SECOND, 8 * MINUTE])), max_size=60)


@searching(400)
@given(steps)
@example([(("came", 0, 9, False), 0), (("announced", 0, 20, True), SECOND), (("came", 0, 4, False), 8 * MINUTE), (("came", 0, 4, False), 8 * MINUTE)])
def test_received_duplicates_and_missing_are_exact(told: list[tuple[tuple[str, int, int, bool], int]]) -> None:
    epoch, seen, now_us = Epoch(), Seen(), START_US
    for (what, lane, number, clean), later_us in told:
        now_us += later_us
        if what == "came":
            assert observe(epoch, lane, number, now_us) == seen.observe(lane, number, now_us)
        else:
            announce(epoch, {lane: number}, clean, now_us)
            seen.announce(lane, number, clean, now_us)
        assert (epoch.received, epoch.duplicates, missing(epoch)) == (seen.received, seen.duplicates, len(seen.noticed_us))
        for age_us in (0, LOST_AFTER_US, 2 * LOST_AFTER_US):
            assert lost(epoch, now_us + age_us) == seen.lost(now_us + age_us)
        assert expected(epoch) == (sum(seen.until.values()) if seen.announced else None)
        assert epoch.clean == seen.clean
        for holes in (state.holes for state in epoch.lanes.values()):
            assert all(first <= last for first, last, _ in holes)
            assert all(a[1] < b[0] for a, b in pairwise(holes)), "holes overlap or are out of order"
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(epoch), type=Epoch) == epoch


@searching(60)
@given(st.permutations(range(40)), st.integers(0, 40))
def test_any_order_of_a_complete_run_leaves_no_hole(order: list[int], twice: int) -> None:
    epoch = Epoch()
    announce(epoch, {5: 40}, True, START_US)
    for seq in order + order[:twice]:
        observe(epoch, 5, seq, START_US)
    assert (epoch.received, epoch.duplicates, missing(epoch), epoch.lanes[5].holes) == (40, twice, 0, [])


def test_at_the_bound_the_oldest_hole_is_given_up_as_lost() -> None:
    epoch = Epoch()
    observe(epoch, 0, 0, START_US)
    for n in range(1, MAX_HOLES + 2):  # 0, 4, 8, …: three missing after each
        observe(epoch, 0, 4 * n, START_US)
    assert len(epoch.lanes[0].holes) == MAX_HOLES
    assert (epoch.given_up, missing(epoch)) == (3, 3 * (MAX_HOLES + 1))
    assert lost(epoch, START_US) == 3, "what is given up is lost, however new"
    assert not observe(epoch, 0, 2, START_US), "an event of it that still comes is taken for a duplicate"
    assert (epoch.duplicates, missing(epoch)) == (1, 3 * (MAX_HOLES + 1))
    assert observe(epoch, 0, 6, START_US), "the next hole is still known"


def test_a_hole_that_is_filled_from_the_middle_does_not_break_the_bound() -> None:
    """An emitter's last word overtakes its events: one hole of ten thousand, then every second number."""
    epoch, many = Epoch(), 10_000
    announce(epoch, {0: many}, True, START_US)
    for seq in range(1, many, 2):
        observe(epoch, 0, seq, START_US)
        assert len(epoch.lanes[0].holes) <= MAX_HOLES
    assert epoch.received == many // 2
    assert missing(epoch) == many // 2


def test_clean_and_complete_epochs_expire_soon_others_when_no_late_event_counts() -> None:
    epoch = Epoch(last_us=START_US)
    announce(epoch, {0: 2}, True, START_US)
    observe(epoch, 0, 0, START_US)
    assert not expired(epoch, START_US + CLEAN_EXPIRY_US + 1), "one is missing"
    observe(epoch, 0, 1, START_US)
    assert not expired(epoch, START_US + CLEAN_EXPIRY_US)
    assert expired(epoch, START_US + CLEAN_EXPIRY_US + 1)
    unclean = Epoch(last_us=START_US)
    observe(unclean, 0, 0, START_US)
    assert not expired(unclean, START_US + EXPIRY_US)
    assert expired(unclean, START_US + EXPIRY_US + 1)


def test_what_was_never_announced_is_unknown_not_zero() -> None:
    epoch = Epoch()
    observe(epoch, 3, 7, START_US)
    assert expected(epoch) is None
    announce(epoch, {3: 8}, False, START_US)
    assert expected(epoch) == 8
    assert not epoch.clean


def test_an_old_announcement_takes_nothing_back() -> None:
    epoch = Epoch()
    announce(epoch, {0: 10}, True, START_US)
    announce(epoch, {0: 4}, False, START_US)
    assert (expected(epoch), missing(epoch), epoch.clean) == (10, 10, True)


def test_a_hole_is_lost_after_a_quarter_of_an_hour_and_found_when_it_comes() -> None:
    epoch = Epoch()
    observe(epoch, 0, 5, START_US)
    assert lost(epoch, START_US + LOST_AFTER_US - 1) == 0
    assert lost(epoch, START_US + LOST_AFTER_US) == 5
    assert observe(epoch, 0, 2, START_US + LOST_AFTER_US)
    assert lost(epoch, START_US + LOST_AFTER_US) == sequences.missing(epoch) == 4
