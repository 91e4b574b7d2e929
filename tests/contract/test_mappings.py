"""The mapping vectors are themselves right: every expected event, in an envelope, passes the decoder and the key rule.

Whether an emitter produces them is tested where the emitter is.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from jobtide.streams.events import check_lane, decode, lane_of, time_us

from tests.contract import vectors

MAPPINGS = [mapping for backend in vectors.mappings().values() for mapping in backend]


def enveloped(expected: dict[str, Any]) -> bytes:
    lane = lane_of(expected["partitionkey"])
    envelope = {
        "specversion": "1.0", "id": "0123456789abcdef", "source": "/vectors", "subject": expected["data"].get("job_id", "queue"),
        "epoch": "0123456789", "lane": lane, "seq": 0,
    }  # fmt: skip
    return json.dumps(envelope | expected).encode()


@pytest.mark.parametrize("mapping", MAPPINGS, ids=lambda mapping: f"{mapping['backend']}-{mapping['name']}")
def test_expected_events_keep_the_contract(mapping: dict[str, Any]) -> None:
    clocks = [step["clock"]["wall_us"] for step in mapping["steps"]]
    assert clocks == sorted(clocks)
    for expected in mapping["events"]:
        (event,) = decode(enveloped(expected))
        check_lane(event)
        stamped = expected["type"] == "job.enqueued.v1" and any(0 <= clock - event.time_us < 60_000_000 for clock in clocks)
        assert event.time_us in clocks or stamped  # an enqueue has the backend's own stamp, where it has one
        assert mapping["backend"] in (event.data.system, "active_job")  # which runs on the system of its adapter


@pytest.mark.parametrize("mapping", MAPPINGS, ids=lambda mapping: f"{mapping['backend']}-{mapping['name']}")
def test_outcomes_name_their_start_and_a_duration_from_the_monotonic_clock(mapping: dict[str, Any]) -> None:
    monotonic = {step["clock"]["wall_us"]: step["clock"]["monotonic_ns"] for step in mapping["steps"]}
    for expected in mapping["events"]:
        data = expected["data"]
        if "duration_ms" in data:
            ended_us, started_us = time_us(expected["time"]), time_us(data["started_at"])
            seen = started_us in monotonic  # of a start that was not seen only the backend's stamp knows
            elapsed_ns = monotonic[ended_us] - monotonic[started_us] if seen else (ended_us - started_us) * 1000
            assert data["duration_ms"] == pytest.approx(elapsed_ns / 1e6, abs=0.001)
        elif expected["type"] in ("job.finished.v1", "job.failed.v1"):
            pytest.fail("an outcome without a duration")


def test_names_are_unique() -> None:
    for backend, mappings in vectors.mappings().items():
        names = [mapping["name"] for mapping in mappings]
        assert len(set(names)) == len(names), backend
        assert {mapping["backend"] for mapping in mappings} == {backend}
