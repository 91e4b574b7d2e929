"""The mapping to OpenTelemetry names what there is: fields and events of the contract, our metrics, conventions of OpenTelemetry's package."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import get_args

import opentelemetry.semconv
from jobtide.streams.events import Event

from tests.contract.vectors import CONTRACT

TEXT = (CONTRACT / "OPENTELEMETRY.md").read_text()
EVENTS = {struct.name for struct in get_args(Event)}
METERS = "".join(path.read_text() for path in (CONTRACT.parents[1] / "query/jobtide/query").glob("*meters.py"))


def rows(heading: str) -> list[list[set[str]]]:
    """The names in each cell of the tables under a heading."""
    section = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return [[set(re.findall(r"`([^`]+)`", cell)) for cell in row] for row in cells]


def conventions() -> set[str]:
    """Every attribute and metric name that OpenTelemetry's package knows."""
    found: set[str] = set()
    (folder,) = opentelemetry.semconv.__path__
    for file in Path(folder).rglob("[a-z]*_*s.py"):  # most are in folders that are no packages
        name = ".".join(file.relative_to(folder).with_suffix("").parts)
        values = vars(importlib.import_module(f"opentelemetry.semconv.{name}")).values()
        found |= {value for value in values if isinstance(value, str) and re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", value)}
    return found


def operation_types() -> set[str]:
    module = importlib.import_module("opentelemetry.semconv._incubating.attributes.messaging_attributes")
    return {each.value for each in module.MessagingOperationTypeValues}


def test_every_convention_that_is_named_exists() -> None:
    known = conventions()
    fields = [row for row in rows("Events") if not row[0] & EVENTS]
    named = set().union(*(row[1] for row in fields), *(row[1] for row in rows("Metrics")), {"messaging.operation.type", "messaging.operation.name"})
    assert len(named) >= 15 and named <= known, named - known
    types = set().union(*(row[1] for row in rows("Events") if row[0] & EVENTS))
    assert types and types <= operation_types()


def test_every_event_is_there_and_every_field_is_one_of_the_contract() -> None:
    assert set().union(*(row[0] for row in rows("Events") if row[0] & EVENTS)) == EVENTS
    schema = json.dumps(json.loads((CONTRACT / "job-event.v1.schema.json").read_text()))
    fields = set().union(*(row[0] for row in rows("Events") if not row[0] & EVENTS))
    assert {"system", "job_id"} <= fields and all(f'"{name.partition(".")[0]}": {{' in schema for name in fields), fields


def test_every_metric_of_ours_is_one_we_have() -> None:
    ours = set().union(*({name for name in row[0] if name.startswith("jobtide_")} for row in rows("Metrics")))
    assert ours and all(f'"{name}"' in METERS for name in ours), ours
