"""The rolling windows against a judge that sums up all panes from scratch after every step."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from hypothesis import example, given
from hypothesis import strategies as st
from jobtide.streams.folds.panes import Pane
from jobtide.streams.sketches import histogram
from jobtide.streams.windows import WindowFold

from tests.properties.searching import searching
from tests.properties.windows_judge import (
    NOTHING,
    Board,
    Count,
    Judge,
    Passed,
    Put,
    Told,
    content_of,
    field_of,
    series_name,
)

START_S = 1_763_000_000  # 13:20 past a minute: windows must not depend on where it lies
SOURCES = 3
SERIES = [series_name(number) for number in range(3)]

small = st.integers(0, 4)
buckets = st.dictionaries(st.sampled_from([-1, 0, 5, 300, 698]), st.sampled_from([1, 2, 3, -1]), max_size=3)
panes = st.builds(
    Pane,
    negative_waits=small,
    wait_sum_us=st.integers(0, 10**9),
    ok_sum_us=st.integers(0, 10**9),
    failed_sum_us=st.integers(0, 10**9),
    counts=st.lists(small, min_size=8, max_size=8),
    wait=buckets,
    run_ok=buckets,
    run_failed=buckets,
)
sources = st.integers(0, SOURCES - 1)
versions = st.integers(1, 6)


def puts_near(frontier_s: int) -> st.SearchStrategy[Put]:
    """Panes around the watermark: in the windows, too old for them, not yet in them."""
    seconds = st.tuples(st.just(1), st.integers(-130, 20).map(lambda back: frontier_s + back))
    minutes = st.tuples(st.just(60), st.integers(-66, 1).map(lambda back: (frontier_s // 60 + back) * 60))
    return st.builds(
        lambda place, *rest: Put(*place, *rest),
        st.one_of(seconds, minutes), sources, st.sampled_from(SERIES), versions, panes, small, small,
    )  # fmt: skip


counts = st.builds(Count, sources, st.sampled_from(SERIES), versions, small, small)


@st.composite
def histories(draw: st.DrawFn, furthest_s: int = 90) -> list[list[Told]]:
    """Batches as stage 2 reads them: panes, revisions, repeats, old versions, ticks that move each source on its own."""
    frontier_s = START_S
    history: list[list[Told]] = []
    for _ in range(draw(st.integers(1, 6))):
        batch: list[Told] = draw(st.lists(st.one_of(puts_near(frontier_s), puts_near(frontier_s), counts), max_size=8))
        frontier_s += draw(st.sampled_from([0, 1, 1, 2, 30, 59, 60, 61, furthest_s]))
        for source in draw(st.permutations(range(SOURCES))):
            behind_us = draw(st.sampled_from([0, 0, 1, 999_999, 1_000_000, 5_000_000]))
            batch.append(Passed(source, frontier_s * 1_000_000 - behind_us))
        again: bool = draw(st.booleans())
        if history and again:
            batch += draw(st.lists(st.sampled_from([told for past in history for told in past]), max_size=4))
        history.append(batch)
    return history


class Reader:
    """A fold and the reader of what it tells, beside the judge."""

    def __init__(self, known_sources: int = 0) -> None:
        self.fold = WindowFold(0, known_sources)
        self.judge, self.board = Judge(known_sources), Board()
        self.offset = 0

    def read(self, batch: Sequence[Told], offset: int | None = None) -> None:
        first = self.offset if offset is None else offset
        records = [told.record() for told in batch]
        self.fold.fold([key for key, _ in records], [value for _, value in records], range(first, first + len(batch)))
        self.offset = max(self.offset, first + len(batch))
        self.judge.take(batch)

    def check(self) -> None:
        """What the fold has told so far is what the judge finds now; what it told just now lies where the windows are now."""
        told, removed = self.board.take(self.fold.take_changes())
        for snapshot in told.values():
            assert snapshot.at == self.judge.at_us
            assert {name: (w.from_us, w.to_us) for name, w in snapshot.windows.items()} == self.judge.bounds()
        if not self.judge.at_us:
            assert not told
            return
        for name in self.judge.names():
            known = self.board.series.get(field_of(name))
            assert self.judge.content(name) == (NOTHING if known is None else content_of(known))
            if field_of(name) in removed:
                self.judge.forget(name)


@given(histories())
@searching(200)
def test_windows_are_the_sum_of_their_panes_after_every_step(history: list[list[Told]]) -> None:
    reader = Reader()
    for batch in history:
        reader.read(batch)
        reader.check()


@given(histories(furthest_s=3700), st.data())
@searching(80)
def test_changes_are_not_missed_when_they_are_taken_seldom_or_the_watermark_jumps(history: list[list[Told]], data: st.DataObject) -> None:
    reader = Reader()
    for batch in history:
        # Taken seldom, a removal may be told after its series has come back: then its older gauges are not comparable.
        reader.read([told for told in batch if not isinstance(told, Count)])
        if data.draw(st.booleans()):
            reader.check()
    reader.check()


@given(histories(), st.data())
@searching(80)
def test_a_replay_from_an_earlier_offset_changes_nothing(history: list[list[Told]], data: st.DataObject) -> None:
    reader = Reader()
    for batch in history:
        reader.read(batch)
    reader.check()
    version = reader.fold.version
    log = [told for batch in history for told in batch]
    start = data.draw(st.integers(0, len(log)))
    reader.read(log[start:], offset=start)
    reader.check()
    assert reader.fold.version == version


@given(st.lists(puts_near(START_S), max_size=12), st.randoms(use_true_random=False))
@searching(80)
def test_the_order_of_records_does_not_matter(puts: list[Put], order: object) -> None:
    """One writer never gives one version of a pane two contents, so here the version decides it; all sources are known."""
    unique = {(p.size_s, p.start_s, p.source, p.series, p.version): p._replace(running=p.version, waiting=0) for p in puts}
    gauges = {(p.source, p.series, p.version): p.version for p in unique.values()}
    assert len(gauges) <= len(unique)
    log: list[Told] = [
        *unique.values(),
        *(Passed(source, START_S * 1_000_000 + source, 1) for source in range(SOURCES)),
    ]
    straight, shuffled = Reader(SOURCES), Reader(SOURCES)
    straight.read(log)
    order.shuffle(log)  # type: ignore[attr-defined]
    for told in log:
        shuffled.read([told])
    for reader in (straight, shuffled):
        reader.check()
    assert {f: content_of(s) for f, s in straight.board.series.items()} == {f: content_of(s) for f, s in shuffled.board.series.items()}


@given(histories(), st.data())
@searching(40)
def test_after_touch_all_everything_is_told_again(history: list[list[Told]], data: st.DataObject) -> None:
    reader = Reader()
    for batch in history:
        reader.read(batch)
        reader.check()
    reader.board.series.clear()  # the store came up empty
    reader.fold.touch_all()
    reader.check()


durations = st.lists(st.integers(0, 10**10), min_size=1, max_size=60)


@given(durations, st.lists(st.integers(0, 299), min_size=60, max_size=60), st.data())
@example([1], [0] * 60, None)
@example([0], [299] * 60, None)
@searching(60)
def test_quantiles_of_a_window_are_within_the_bound(values: list[int], places: list[int], data: st.DataObject | None) -> None:
    """However the values are spread over minutes and source partitions; q of n is the value of rank ceil(q·n)."""
    end_s = START_S // 60 * 60 + 300
    reader, puts = Reader(), []
    by_place: dict[tuple[int, int], list[int]] = {}
    for value, place in zip(values, places, strict=False):
        by_place.setdefault((place % SOURCES, place // 60), []).append(value)
    for (source, minute), here in by_place.items():
        pane = Pane(counts=[0, 0, len(here), 0, 0, 0, 0, 0], ok_sum_us=sum(here), run_ok=histogram.of(here))
        puts.append(Put(60, end_s - 300 + 60 * minute, source, SERIES[0], 1, pane))
    reader.read([*puts, *(Passed(source, end_s * 1_000_000) for source in range(SOURCES))])
    reader.check()
    window = reader.board.series[field_of(SERIES[0])].windows["5m"].run_ok
    assert (window.n, window.sum) == (len(values), sum(values))
    ordered = sorted(values)
    qs = (0.01, 0.5, 0.95, 0.99, 1.0)
    for q, found in zip(qs, histogram.quantiles(dict(window.b), qs), strict=True):
        exact = ordered[max(1, ceil(q * len(ordered) - 1e-9)) - 1]
        assert found is not None and abs(found - exact) <= exact * histogram.RELATIVE_ERROR * (1 + 1e-9)
