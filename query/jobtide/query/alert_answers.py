"""The shape of answers about alerts, rules, silences and notifications."""

from __future__ import annotations

from typing import Any, Literal

from jobtide.sinks.webhook.silences import Silence
from jobtide.streams.alerts.transitions import Transition
from jobtide.streams.events import time_text
from pydantic import BaseModel, ConfigDict, Field


class AlertChange(BaseModel):
    """One alert in one state."""

    id: str = Field(description="Of this state: rule, fingerprint, episode and state hashed. The same log gives the same.")
    fingerprint: str = Field(description="Of the alert over all its episodes.")
    rule: str
    kind: str
    state: Literal["pending", "firing", "resolved", "inactive"]
    reason: str
    severity: Literal["info", "warning", "critical"]
    labels: dict[str, str]
    summary: str
    runbook: str
    condition: str = Field(description="What the value was compared with.")
    value: float | None
    samples: int
    started_at: str = Field(description="When the condition was first true, event time.")
    at: str = Field(description="When this state was entered, event time.")
    window_from: str
    window_to: str
    query: str = Field(description="Path and parameters that give the number again.")


class AlertRow(AlertChange):
    """One alert, as it is now."""

    silenced_by: str | None = Field(description="The silence that holds it back; null if none does.")


class PastAlert(AlertChange):
    """A change of an alert's state, as history has it."""

    examples: list[dict[str, str]] = Field(description="Some of the jobs it is about, if its rule names any: job_id, attempt, verdict.")


class Alerts(BaseModel):
    items: list[AlertRow]
    truncated: bool = Field(description="There are more than `limit`.")


class InUse(BaseModel):
    """Which rules the worker of a partition uses."""

    partition: int
    file: str
    digest: str
    rules: int
    problems: list[str] = Field(description="Why a newer file is not used; the rules from before stay.")


class Rules(BaseModel):
    file: str = Field(description="The file as the API sees it.")
    digest: str
    problems: list[str]
    rules: list[dict[str, Any]]
    in_use: list[InUse] = Field(description="What each partition's worker says it uses.")


MAX_RULES_CHARS = 64 << 10


class RulesText(BaseModel):
    model_config = ConfigDict(extra="forbid")
    rules: str = Field(max_length=MAX_RULES_CHARS, description="A rule file, YAML.")


class Checked(BaseModel):
    problems: list[str] = Field(description="One sentence per mistake, with rule, field and fix; empty if the file is right.")
    rules: int


class BacktestAsked(RulesText):
    """Rules, and the stretch of history to run them over."""

    rules: str = Field("", max_length=MAX_RULES_CHARS, description="A rule file, YAML; empty for the rules in use.")
    last: str = Field("24h", description="A duration back from what history is complete until; at most 31d.")
    tenant: str | None = Field(None, max_length=1024, description="Only this tenant.")


class Episode(BaseModel):
    rule: str
    severity: str
    labels: dict[str, str]
    began_at: str
    fired_at: str | None = Field(description="null if it did not hold for as long as `for` says.")
    resolved_at: str | None = Field(description="null if it would still fire.")
    value: float | None
    samples: int
    reason: str


class Difference(BaseModel):
    """A transition that only one of the two said: what late events changed, or rules that were other then."""

    where: Literal["only_live", "only_backtest"]
    rule: str
    state: str
    at: str
    labels: dict[str, str]
    id: str


class Backtest(BaseModel):
    range_from: str
    range_to: str
    seconds_with_data: int
    series: int
    episodes: list[Episode]
    episodes_total: int
    notifications: dict[str, int] = Field(description="Per receiver: messages it would have got.")
    flaps: dict[str, int] = Field(description="Per rule: episodes that began within an hour of the one before of the same series.")
    not_in_history: list[str] = Field(description="Rules that need what history does not keep second by second, left out.")
    differences: list[Difference] = Field(description="Against what was said live, where that is known; empty if nothing differs.")
    compared: int = Field(description="Live transitions it was compared with.")


class SilenceAsked(BaseModel):
    model_config = ConfigDict(extra="forbid")
    match: dict[str, str] = Field(min_length=1, max_length=20, description="Labels, rule, severity → glob. All must match.")
    minutes: float = Field(gt=0, le=366 * 1440, description="How long from now.")
    comment: str = Field("", max_length=500)


class SilenceRow(BaseModel):
    id: str
    match: dict[str, str]
    starts_at: str
    ends_at: str
    active: bool
    created_by: str
    comment: str


class Silences(BaseModel):
    items: list[SilenceRow]


class LetterRow(BaseModel):
    """A message to a receiver. Its bytes are not shown: they may hold a receiver's secret."""

    id: str
    receiver: str
    state: Literal["waiting", "delivered", "dead"]
    attempts: int
    reason: str
    created_at: str
    next_at: str | None
    ended_at: str | None
    about: list[str] = Field(description="Ids of the transitions it tells.")


class Letters(BaseModel):
    items: list[LetterRow]
    truncated: bool


class Component(BaseModel):
    name: str
    status: Literal["operational", "degraded", "outage"]
    alerts: list[str]


class Status(BaseModel):
    """A status page as JSON."""

    status: Literal["operational", "degraded", "outage"]
    updated_at: str
    components: list[Component]
    further: int  # queues that are not shown: none of them is worse


def alert_row(each: Transition, silenced_by: str) -> AlertRow:
    return AlertRow(
        id=each.id, fingerprint=each.fingerprint, rule=each.rule, kind=each.kind, state=each.state, reason=each.reason,
        severity=each.severity,  # type: ignore[arg-type]  # one of the three
        labels=each.labels, summary=each.summary, runbook=each.runbook, condition=each.condition, value=each.value,
        samples=each.samples, started_at=time_text(each.episode_us), at=time_text(each.at_us), window_from=time_text(each.from_us),
        window_to=time_text(each.to_us), query=each.query, silenced_by=silenced_by or None,
    )  # fmt: skip


def silence_row(each: Silence, now_ms: int) -> SilenceRow:
    return SilenceRow(
        id=each.id, match=each.match, starts_at=time_text(each.starts_ms * 1000), ends_at=time_text(each.ends_ms * 1000),
        active=each.active(now_ms), created_by=each.created_by, comment=each.comment,
    )  # fmt: skip
