"""Ranges and steps: what is understood, what is refused and with which words."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobtide.query.ranges import (
    LIVE_WINDOWS,
    MAX_US,
    MINUTE_US,
    SECOND_US,
    UNIT_S,
    ParamError,
    Range,
    duration_s,
    instant_us,
    resolve,
    whole_minutes,
)
from jobtide.query.steps import LADDER_S, MAX_POINTS, cut, elapsed_s
from jobtide.streams.events import time_text

NOW = 1_795_000_000_123_456


@given(st.integers(1, 3000), st.sampled_from("smhdw"))
def test_a_duration_is_its_number_times_its_unit(number: int, unit: str) -> None:
    if number * UNIT_S[unit] <= 3660 * 86_400:
        assert duration_s(f"{number}{unit}", "last") == number * UNIT_S[unit]


@pytest.mark.parametrize("text", ["", "15", "m", "0m", "-5m", "1.5h", "15 m", "15M", "٣m", "99999999w", "5m\n"])
def test_what_is_no_duration_is_refused_by_name(text: str) -> None:
    with pytest.raises(ParamError) as refused:
        duration_s(text, "last")
    assert refused.value.param == "last"


@given(st.integers(0, MAX_US), st.integers(-14 * 60, 14 * 60))
def test_an_instant_is_the_same_in_every_zone(us: int, offset_minutes: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
    try:
        local = moment.astimezone(timezone(timedelta(minutes=offset_minutes)))
    except OverflowError:
        return
    text = local.isoformat(timespec="microseconds")
    assert instant_us(text, "from") == us
    assert instant_us(time_text(us), "from") == us


@pytest.mark.parametrize(
    "text", ["", "now", "2026-01-01", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00", "1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z"]
)
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(ParamError):
        instant_us(text, "from")


def test_a_plus_that_became_a_space_is_explained() -> None:
    with pytest.raises(ParamError, match="%2B"):
        instant_us("2026-01-01T00:00:00 02:00", "from")


def test_last_is_counted_back_from_now_and_the_four_windows_are_live() -> None:
    assert resolve("2h", None, None, NOW, "15m") == Range(NOW - 7200 * SECOND_US, NOW, "2h", None)
    for seconds, window in LIVE_WINDOWS.items():
        found = resolve(f"{seconds}s", None, None, NOW, "2h")
        assert (found.window, found.last, found.seconds) == (window, window, seconds)
    assert resolve("60m", None, None, NOW, "2h").window == "1h"
    assert resolve(None, None, None, NOW, "15m").window == "15m"


def test_from_and_to_are_never_live_and_to_may_be_now() -> None:
    start = "2026-11-18T11:00:00Z"
    assert resolve(None, start, "2026-11-18T11:01:00Z", NOW, "15m") == Range(instant_us(start, "from"), instant_us(start, "from") + MINUTE_US)
    assert resolve(None, start, None, NOW, "15m").to_us == NOW


@pytest.mark.parametrize(
    ("last", "from_", "to", "param"),
    [
        ("5m", "2026-01-01T00:00:00Z", None, "last"),
        ("5m", None, "2026-01-01T00:00:00Z", "last"),
        (None, None, "2026-01-01T00:00:00Z", "to"),
        (None, "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "to"),
        (None, "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", "to"),
        (None, "2090-01-01T00:00:00Z", None, "from"),
    ],
)
def test_contradictions_name_the_parameter(last: str | None, from_: str | None, to: str | None, param: str) -> None:
    with pytest.raises(ParamError) as refused:
        resolve(last, from_, to, NOW, "15m")
    assert refused.value.param == param


instants = st.integers(0, MAX_US)


@given(instants, instants)
def test_whole_minutes_hold_the_range_and_not_a_minute_more(a: int, b: int) -> None:
    asked = Range(min(a, b), max(a, b) + 1)
    found = whole_minutes(asked)
    assert found.from_us % MINUTE_US == found.to_us % MINUTE_US == 0
    assert asked.from_us - MINUTE_US < found.from_us <= asked.from_us
    assert asked.to_us <= found.to_us < asked.to_us + MINUTE_US


@given(instants, st.integers(1, 10 * 366 * 86_400 * SECOND_US), st.sampled_from(["auto", "1s", "45s", "1m", "7m", "1h", "1d"]))
def test_steps_cover_the_range_aligned_and_at_most_a_thousand(start: int, length: int, step: str) -> None:
    asked = Range(start, start + length)
    try:
        steps = cut(asked, step)
    except ParamError as refused:
        assert refused.param == "step"
        assert step != "auto"
        return
    starts = steps.starts_us
    assert 1 <= len(starts) <= MAX_POINTS
    assert all(at % (steps.step_s * SECOND_US) == 0 for at in (starts[0], starts[-1]))
    assert starts[0] <= asked.from_us < starts[0] + steps.step_s * SECOND_US
    assert starts[-1] < asked.to_us <= starts[-1] + steps.step_s * SECOND_US
    if step == "auto" and steps.step_s != LADDER_S[0]:
        finer = LADDER_S[LADDER_S.index(steps.step_s) - 1]
        assert length / (finer * SECOND_US) > MAX_POINTS - 2


def test_a_thousand_points_are_allowed_and_one_more_is_not() -> None:
    assert len(cut(Range(0, 1000 * 30 * SECOND_US), "30s").starts_us) == 1000
    with pytest.raises(ParamError, match="1001 points"):
        cut(Range(0, 1000 * 30 * SECOND_US + 1), "30s")
    assert cut(Range(0, 1000 * MINUTE_US), "auto").step_s == 60
    assert cut(Range(0, 1000 * MINUTE_US + 1), "auto").step_s == 120


def test_an_open_step_is_divided_by_what_has_passed_of_it() -> None:
    assert elapsed_s(0, 60, 30 * SECOND_US) == 30
    assert elapsed_s(0, 60, 90 * SECOND_US) == 60
    assert elapsed_s(60 * SECOND_US, 60, 30 * SECOND_US) == 0
