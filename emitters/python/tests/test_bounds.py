"""Limits: whatever a backend or an app hands over becomes an event that the contract takes."""

import math
import sys

import orjson
import pytest
from jobtide_emitter import bounds

LIMIT = bounds.MAX_EVENT_BYTES - bounds.NUMBER_BYTES


def event(**data: object) -> dict[str, object]:
    return {"type": "job.failed.v1", "data": {"job_id": "1", "tenant": "t", **data}}


def serialized(given: dict[str, object]) -> tuple[dict[str, object], int]:
    calls: list[None] = []
    raw = bounds.serialized(given, lambda: calls.append(None))
    assert len(raw) <= LIMIT
    return orjson.loads(raw)["data"], len(calls)


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("mail", "mail"),
        ("", "unknown"),
        ("a\nb\x00", "a\ufffdb\ufffd"),
        (42, "42"),
        ("\ud800x", "?x"),
        ("Größe 🚀", "Größe 🚀"),
    ],
)
def test_names(given: object, made: str) -> None:
    assert bounds.name(given) == made


def test_long_names_keep_apart() -> None:
    first, second = bounds.name("x" * 300 + "1"), bounds.name("x" * 300 + "2")
    assert len(first) == len(second) == 256
    assert first != second
    assert len(bounds.name("ü" * 300, 63)) == 63


def test_small_events_are_left_alone() -> None:
    data, truncations = serialized(event(error={"class": "E", "backtrace": "b" * 100}))
    assert data["error"] == {"class": "E", "backtrace": "b" * 100}
    assert truncations == 0


def test_the_backtrace_goes_first() -> None:
    error = {"class": "E", "message": "m" * 4000, "backtrace": "b" * 32_000}
    data, truncations = serialized(event(error=error, args_preview="a"))
    assert data["error"] == {"class": "E", "message": "m" * 4000}
    assert (data["truncated"], data["args_preview"], truncations) == (True, "a", 1)


def test_then_arguments_then_labels() -> None:
    data, _ = serialized(event(error={"class": "E", "message": "m"}, args_preview="a" * 40_000, labels={"k": "v"}))
    assert "args_preview" not in data
    assert data["labels"] == {"k": "v"}


@pytest.mark.parametrize("character", ["m", "ü", "\x01", '"', "🚀"])
def test_then_the_end_of_the_message_in_bytes(character: str) -> None:
    data, _ = serialized(event(error={"class": "E", "message": "begin" + character * 40_000}))
    message = data["error"]["message"]  # type: ignore[index]
    assert message.startswith("begin" + character)
    assert len(orjson.dumps(data)) > LIMIT * 0.6


def test_the_event_itself_is_never_dropped() -> None:
    data, _ = serialized(event(own="x" * 100_000, attempt=2))
    assert (data["job_id"], data["attempt"], data["truncated"]) == ("1", 2, True)
    assert "own" not in data


@pytest.mark.parametrize("bad", [object(), {1: "int key"}, {"s": "\ud800"}, [b"bytes"], 2**70, math.nan, {"a": {"\udfff": 1}}])
def test_values_that_are_no_json_do_not_lose_the_event(bad: object) -> None:
    data, _ = serialized(event(own=bad))
    assert data["job_id"] == "1"


class Nasty(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


def test_errors_of_exceptions() -> None:
    try:
        raise ValueError("nothing left \ud800")
    except ValueError as error:
        full = bounds.error_of(error, "full")
        assert (full["class"], full["message"]) == ("ValueError", "nothing left ?")
        assert "test_bounds.py" in full["backtrace"]
        assert set(bounds.error_of(error, "message")) == {"class", "message", "fingerprint"}
        assert set(bounds.error_of(error, "class")) == {"class"}
    assert bounds.error_of(Nasty(), "message")["message"] == "(a Nasty that cannot be printed)"
    assert bounds.error_of(None, "full") == {"class": "Unknown"}
    assert bounds.error_of(orjson.JSONDecodeError("m", "d", 0), "class")["class"].endswith("JSONDecodeError")


def test_errors_stay_within_the_contract() -> None:
    error = bounds.error_of(ValueError("x" * 10_000), "full", backtrace="first" + "y" * 20_000 + "last")
    assert len(error["message"]) == 4096
    assert len(error["backtrace"]) == 16_384
    assert error["backtrace"].endswith("last")


def test_a_deep_recursion_gives_a_bounded_backtrace() -> None:
    def recurse() -> None:
        recurse()

    try:
        recurse()
    except RecursionError as error:
        text = bounds.error_of(error, "full")["backtrace"]
    assert len(text) <= 16_384
    assert sys.getrecursionlimit() > 500


@pytest.mark.parametrize(("us", "ms"), [(0, 0.0), (1, 0.001), (1_234_567, 1234.567), (-5, 0.0), (10**18, 31_622_400_000.0)])
def test_milliseconds(us: int, ms: float) -> None:
    assert bounds.milliseconds(us) == ms
