"""The short form by its vectors (`emitters/contract/vectors/short`): exactly these events, or refused so."""

import json
from pathlib import Path
from typing import Any

import pytest
from jobtide.gateway.intake import Arrival, Intake, judge
from jobtide.streams.events import decode

VECTORS = sorted((Path(__file__).parents[2] / "emitters/contract/vectors/short").glob("*.json"))


def test_there_are_vectors_of_both_kinds() -> None:
    kinds = {"event" if "event" in json.loads(path.read_text()) else "reason" for path in VECTORS}
    assert kinds == {"event", "reason"}


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_short_form(path: Path) -> None:
    vector: dict[str, Any] = json.loads(path.read_text())
    intake = Intake()
    judge(1, json.dumps(vector["short"]).encode(), Arrival(8, vector["arrived"], "nonce"), intake)
    if "reason" in vector:
        assert [refused.reason for refused in intake.rejected] == [vector["reason"]]
        assert intake.placed == []
        return
    assert intake.rejected == []
    for _, line in intake.placed:
        decode(line)
        event = json.loads(line)
        if "id" not in vector["event"]:
            del event["id"]
        assert event == vector["event"]
