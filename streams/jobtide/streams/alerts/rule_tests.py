"""Tests of a user's rules: short stories of a series, and what the rules must say about them. Pure; `jobtide rules test` runs them.

    tests:
      - name: an outage pages
        series: {queue: mail, job_class: Send}        # tenant, environment, system may be given, too
        story:                                          # one phase after another
          - {for: 10m, every: 1s, finished: 5, wait: 20ms, run: 100ms}
          - {for: 5m, every: 1s, dead: 5, failed: 5}
        expect:
          - {rule: JobsFailing, state: firing, between: [11m, 13m]}
        never: [WaitTimeHigh]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import yaml
from jobtide.streams.alerts import durations
from jobtide.streams.alerts.durations import Duration
from jobtide.streams.alerts.model import RuleBase
from jobtide.streams.alerts.replay import Replay
from jobtide.streams.alerts.transitions import Transition
from jobtide.streams.folds.attempts import FIELDS
from jobtide.streams.folds.panes import Pane
from jobtide.streams.folds.records import SEPARATOR
from jobtide.streams.sketches.histogram import bucket
from pydantic import BaseModel, ConfigDict, Field, ValidationError

START_S = 1_767_225_600  # 2026-01-01, a whole hour
QUIET_S = 3700  # after the story: what was in the windows leaves them
Count = Annotated[int, Field(ge=0, le=1_000_000)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class Series(Strict):
    tenant: str = "default"
    environment: str = "default"
    system: str = "test"
    queue: str
    job_class: str


class Phase(Strict):
    """Every `every` so much happens at once; times are of each finished or failed attempt."""

    for_ms: Duration = Field(alias="for")
    every: Duration = 1000
    enqueued: Count = 0
    started: Count = 0
    finished: Count = 0
    failed: Count = 0
    cancelled: Count = 0
    discarded: Count = 0
    dead: Count = 0
    retried: Count = 0
    wait: Duration | None = None
    run: Duration | None = None


class Expected(Strict):
    rule: str
    state: Literal["pending", "firing", "resolved", "inactive"]
    between: tuple[Duration, Duration] | None = None


class Story(Strict):
    name: str
    series: Series
    story: list[Phase] = Field(min_length=1, max_length=100)
    expect: list[Expected] = []
    never: list[str] = []


class File(Strict):
    tests: list[Story] = Field(min_length=1, max_length=500)


@dataclass(frozen=True)
class Verdict:
    """`wrong`: one sentence per expectation that was not met."""

    name: str
    wrong: list[str]
    said: list[str]


def load(text: str, file: str) -> File:
    """Raises ValueError naming file and field."""
    try:
        return File.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ValueError(f"{file}: is not YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        said = [f"{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}" for each in error.errors(include_url=False)]
        raise ValueError(f"{file}: {'; '.join(said)}") from None


def run(rules: Sequence[RuleBase], story: Story) -> Verdict:
    transitions = _told(rules, story)
    wrong = []
    names = {rule.name for rule in rules}
    for expected in story.expect:
        if expected.rule not in names:
            wrong.append(f"there is no rule {expected.rule}")
        elif not any(_meets(each, expected) for each in transitions):
            when = "" if expected.between is None else f" between {durations.text(expected.between[0])} and {durations.text(expected.between[1])}"
            wrong.append(f"{expected.rule} was not {expected.state}{when}")
    wrong += [f"{each.rule} fired after {_after(each)}" for each in transitions if each.rule in story.never and each.state == "firing"]
    said = [f"{_after(each)} {each.rule} {each.state} ({each.reason}, value {each.value}, {each.samples} samples)" for each in transitions]
    return Verdict(story.name, wrong, said)


def _told(rules: Sequence[RuleBase], story: Story) -> list[Transition]:
    replay, at_ms, series = Replay(rules), 0, story.series
    name = SEPARATOR.join((series.tenant, series.environment, series.system, series.queue, series.job_class)).encode()
    for phase in story.story:
        end_ms, step_ms = at_ms + phase.for_ms, max(1000, phase.every)
        while at_ms < end_ms:
            pane = _pane(phase)
            if any(pane.counts):
                replay.second(START_S + at_ms // 1000, {name: pane})
            at_ms += step_ms
        at_ms = end_ms
    replay.until(START_S + at_ms // 1000 + QUIET_S)
    return replay.transitions


def _pane(phase: Phase) -> Pane:
    def times(ms: int | None, n: int) -> dict[int, int]:
        return {bucket(ms * 1000): n} if ms is not None and n else {}

    counts = [int(getattr(phase, field)) for field in FIELDS]
    ended = phase.finished + phase.failed
    waits, runs = times(phase.wait, phase.started or ended), times(phase.run, phase.finished)
    return Pane(counts=counts, wait=waits, run_ok=runs, run_failed=times(phase.run, phase.failed))


def _meets(each: Transition, expected: Expected) -> bool:
    if each.rule != expected.rule or each.state != expected.state:
        return False
    after_ms: Any = each.at_us // 1000 - START_S * 1000
    return expected.between is None or bool(expected.between[0] <= after_ms <= expected.between[1])


def _after(each: Transition) -> str:
    return durations.text(each.at_us // 1000 - START_S * 1000)
