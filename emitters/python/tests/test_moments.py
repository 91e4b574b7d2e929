"""Instants as text and back."""

import random
from datetime import UTC, datetime, timedelta, timezone

import pytest
from jobtide_emitter import moments


def test_text_has_six_digits_and_z() -> None:
    assert moments.text_of(1_500_000) == "1970-01-01T00:00:01.500000Z"
    assert moments.text_of(1_795_341_600_000_007) == "2026-11-22T10:00:00.000007Z"


def test_text_agrees_with_datetime_in_any_order() -> None:
    dice = random.Random(1)
    for _ in range(3000):
        us = dice.randrange(0, 4_000_000_000_000_000)
        expected = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)
        assert moments.text_of(us) == expected.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        assert moments.us_of_text(moments.text_of(us)) == us


def test_offsets_are_converted() -> None:
    assert moments.us_of(datetime(1970, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))) == 0
    assert moments.us_of_text("2026-11-22T11:00:30+01:00") == 1_795_341_630_000_000


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="x"):
        moments.us_of_text("x")


def test_now_is_now() -> None:
    before = datetime.now(UTC)
    assert moments.us_of(before) <= moments.now_us() <= moments.us_of(datetime.now(UTC)) + 1
