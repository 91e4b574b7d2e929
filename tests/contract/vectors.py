"""The contract's vectors as Python values: which bytes, and what must come of them.

Not a judge. Every test that needs a known good or bad event (decoder, gateway, dead letters on a real broker) reads
them here; the format is described in emitters/contract/README.md.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobtide.streams.events import Reason

CONTRACT = Path(__file__).parents[2] / "emitters" / "contract"
VECTORS = CONTRACT / "vectors"


@dataclass(frozen=True)
class Invalid:
    """A value that must be refused. `partition` of `partitions` is where it must lie for that, if it matters."""

    name: str
    value: bytes
    reason: Reason
    partition: int | None
    partitions: int | None


def schema() -> Any:
    return load(CONTRACT / "job-event.v1.schema.json")


def load(path: Path) -> Any:
    return json.loads(path.read_bytes())


def valid() -> dict[str, bytes]:
    """Name -> the file's bytes: one event, or a pack."""
    return {path.stem: path.read_bytes() for path in sorted((VECTORS / "valid").glob("*.json"))}


def invalid() -> list[Invalid]:
    return [_invalid(path.stem, load(path)) for path in sorted((VECTORS / "invalid").glob("*.json"))]


def short() -> dict[str, Any]:
    return {path.stem: load(path) for path in sorted((VECTORS / "short").glob("*.json"))}


def mappings() -> dict[str, list[dict[str, Any]]]:
    """Backend -> its mapping vectors."""
    return {path.stem: load(path) for path in sorted((VECTORS / "mappings").glob("*.json"))}


def _invalid(name: str, vector: dict[str, Any]) -> Invalid:
    reason = Reason(vector["reason"])
    return Invalid(name, _bytes(vector), reason, vector.get("partition"), vector.get("partitions"))


def _bytes(vector: dict[str, Any]) -> bytes:
    if "base64" in vector:
        return base64.b64decode(vector["base64"])
    if "parts" in vector:
        return "".join(text * times for text, times in vector["parts"]).encode()
    value = vector["value"]
    return value.encode() if isinstance(value, str) else json.dumps(value, separators=(",", ":")).encode()
