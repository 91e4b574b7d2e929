"""The fingerprint vectors are themselves right: each is the digest of its class and its grouped text, and they group and separate.

Whether an emitter makes them is tested where the emitter is.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

from tests.contract.vectors import CONTRACT, VECTORS, load

VARYING = load(CONTRACT / "masking.json")["varying"]
ALL: list[Any] = [vector for path in sorted((VECTORS / "fingerprints").glob("*.json")) for vector in load(path)]


def test_a_fingerprint_is_the_digest_of_class_and_grouped_text() -> None:
    assert len(ALL) >= 90
    for vector in ALL:
        assert vector["fingerprint"] == sha256(f"{vector['class']}\n{vector['grouped']}".encode()).hexdigest()[:16], vector["why"]
        assert len(vector["grouped"]) <= 512


def test_nothing_that_varies_is_in_a_grouped_text() -> None:
    for vector in ALL:
        assert not re.search(r"[0-9]|\"[^\"]*\"", vector["grouped"]), vector["why"]


def test_what_is_planted_is_in_no_result() -> None:
    planted = [vector for vector in ALL if "hunter2" in vector.get("message", "")]
    assert len(planted) >= 15
    for vector in planted:
        assert "hunter2" not in str([vector[name] for name in ("strict", "secrets", "grouped")]), vector["why"]


def test_one_cause_is_one_group_and_two_are_two() -> None:
    by_why = {vector["why"]: vector["fingerprint"] for vector in ALL}
    assert by_why["a whole number"] == by_why["another number, the same group"] == by_why["only the first line counts"]
    assert by_why["a whole number"] != by_why["another class, another group"]
    assert len(by_why) == len(ALL)
