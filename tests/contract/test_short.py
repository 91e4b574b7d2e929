"""The short-form vectors, through the gateway that fills the envelope."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from jobtide.gateway.intake import Arrival, Intake, judge
from jobtide.streams.events import decode

from tests.contract import vectors

SHORT = vectors.short()
VALIDATOR = jsonschema_rs.Draft202012Validator(vectors.schema(), validate_formats=True)


def taken(vector: dict[str, Any], partitions: int = 8) -> Intake:
    intake = Intake()
    judge(1, json.dumps(vector["short"]).encode(), Arrival(partitions, vector["arrived"], "nonce"), intake)
    return intake


@pytest.mark.parametrize("vector", SHORT.values(), ids=SHORT)
def test_short_form_becomes_exactly_this_event_or_is_refused_for_this_reason(vector: dict[str, Any]) -> None:
    intake = taken(vector)
    if "reason" in vector:
        assert [refused.reason for refused in intake.rejected] == [vector["reason"]]
        assert not intake.placed
        return
    assert (intake.accepted, intake.rejected) == (1, [])
    for _, value in intake.placed:
        event = json.loads(value)
        VALIDATOR.validate(event)
        (decoded,) = decode(value)
        assert decoded.seq is None, "the gateway keeps no state, so it numbers nothing"
        if "id" not in vector["event"]:
            del event["id"]
        assert event == vector["event"]
