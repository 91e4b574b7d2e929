"""topics.toml (what other languages and operators read) says what topics.py (what the code makes) says."""

from __future__ import annotations

import tomllib
from typing import Any

from jobtide.streams.events import LANES, MAX_EVENT_BYTES, MAX_PACK_BYTES
from jobtide.streams.topics import TOPICS

from tests.contract.vectors import CONTRACT

DECLARED: dict[str, Any] = tomllib.loads((CONTRACT / "topics.toml").read_text())


def flat(tree: dict[str, Any], above: str = "") -> dict[str, str]:
    """TOML reads `retention.ms = 1` as nested tables; Kafka's names have dots."""
    leaves: dict[str, str] = {}
    for name, value in tree.items():
        path = f"{above}{name}"
        leaves |= flat(value, f"{path}.") if isinstance(value, dict) else {path: str(value)}
    return leaves


def test_the_same_topics_with_the_same_configuration() -> None:
    declared = {name: flat(config) for name, config in DECLARED["topics"].items()}
    assert declared == {topic.name: dict(topic.config) for topic in TOPICS}


def test_the_same_number_of_partitions_everywhere() -> None:
    assert {topic.partitions for topic in TOPICS} == {DECLARED["partitions"]}
    assert LANES % DECLARED["partitions"] == 0


def test_the_largest_value_fits_into_its_topic() -> None:
    configs = [(name, flat(config)) for name, config in DECLARED["topics"].items()]
    limits = {name: int(found["max.message.bytes"]) for name, found in configs if "max.message.bytes" in found}
    assert MAX_EVENT_BYTES < MAX_PACK_BYTES < limits["job.events"] < limits["job.events.dlq"]
