"""Keys and values of job.panes and of the checkpoint: they come back as they went, and names cannot run into each other."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from jobtide.streams.folds.attempts import FIELDS, AttemptKey
from jobtide.streams.folds.memory import hash_of, key_of, named, series_of
from jobtide.streams.folds.panes import Pane, merge
from jobtide.streams.folds.records import SeriesKey, decode_pane, encode, join_key, pane_key, panes_partition, parse_pane_key, series_from

names = st.text(st.characters(min_codepoint=0x20, blacklist_categories=["Cs"]), min_size=1, max_size=12)
counts = st.dictionaries(st.integers(-1, 1571), st.integers(1, 10**6), max_size=4)
numbers = st.integers(0, 2**53)
panes = st.builds(
    Pane,
    counts=st.lists(numbers, min_size=len(FIELDS), max_size=len(FIELDS)),
    negative_waits=numbers, wait_sum_us=numbers, ok_sum_us=numbers, failed_sum_us=numbers, wait=counts, run_ok=counts, run_failed=counts,
)  # fmt: skip
EXAMPLES = settings(max_examples=100, derandomize=True, deadline=None)


@EXAMPLES
@given(st.tuples(names, names, names, names), names, st.integers(1, 100_000))
def test_an_attempt_key_comes_back(queue: tuple[str, str, str, str], job_id: str, attempt: int) -> None:
    assert named(key_of(AttemptKey(*queue, job_id, attempt))) == (*queue, job_id, attempt)
    assert series_of(key_of(AttemptKey(*queue, job_id, attempt)), "Task") == (*queue, "Task")


@EXAMPLES
@given(st.sampled_from([1, 60]), st.integers(0, 2**32), st.integers(0, 63), st.builds(SeriesKey, names, names, names, names, names))
def test_a_pane_key_comes_back(size_s: int, start_s: int, partition: int, key: SeriesKey) -> None:
    size, start, source, name = parse_pane_key(pane_key(size_s, start_s, partition, join_key(key)))
    assert (size, start, source, series_from(name)) == (size_s, start_s, partition, key)
    assert 0 <= panes_partition(name, 8) < 8


def test_neighbouring_names_make_different_keys() -> None:
    assert join_key(("ab", "c")) != join_key(("a", "bc"))
    assert len({hash_of(key_of(AttemptKey("acme", "default", "celery", "mail", "job", n))) for n in range(10_000)}) == 10_000


@EXAMPLES
@given(panes)
def test_a_pane_comes_back(pane: Pane) -> None:
    assert decode_pane(encode(pane)) == pane


@EXAMPLES
@given(panes, panes, panes)
def test_panes_are_a_commutative_group(a: Pane, b: Pane, c: Pane) -> None:
    def total(*parts: Pane) -> Pane:
        whole = Pane()
        for part in parts:
            merge(whole, part)
        return whole

    assert total(a, b, c) == total(c, a, b) == total(total(a, b), c)
    assert total(a, Pane()) == a
    back = total(a, b)
    merge(back, b, -1)
    assert back == a


def test_new_panes_share_nothing() -> None:
    one, other = Pane(), Pane()
    one.counts[0] += 1
    one.wait[3] = 1
    assert other == msgspec.msgpack.decode(encode(Pane()), type=Pane)
