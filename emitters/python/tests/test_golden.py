"""Lanes and sequence numbers by the contract's golden vectors: the same in every language, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jobtide_emitter.lanes import lane_of
from jobtide_emitter.ring import Rank, Ring

VECTORS = Path(__file__).parents[2] / "contract" / "vectors"
RANKS = {"beat": Rank.BEAT, "step": Rank.STEP, "end": Rank.END}


def vectors(folder: str) -> list[Any]:
    return [vector for path in sorted((VECTORS / folder).glob("*.json")) for vector in json.loads(path.read_bytes())]


def test_every_lane_is_met_and_is_the_contracts() -> None:
    found = vectors("lanes")
    assert [lane_of(vector["partitionkey"]) for vector in found] == [vector["lane"] for vector in found]
    assert {vector["lane"] for vector in found} == set(range(64))


@pytest.mark.parametrize("vector", vectors("sequences"), ids=lambda vector: vector["why"])
def test_numbers_and_what_is_dropped_are_the_contracts(vector: dict[str, Any]) -> None:
    ring = Ring(vector["max_events"], 1 << 20)
    for lane, rank in vector["puts"]:
        ring.put(b"{}", lane, RANKS[rank])
    assert [[record.lane, record.seq] for record in ring.take(1 << 20)] == vector["kept"]
    assert ring.dropped == vector["dropped"]
    assert {str(lane): number for lane, number in enumerate(ring.next) if number} == vector["next"]
