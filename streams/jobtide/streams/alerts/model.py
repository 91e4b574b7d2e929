"""What a rule file may say, as pydantic models: one class per kind of rule. The JSON Schema is made from them.

Not here: reading YAML and turning errors into sentences (`loading`), what a rule measures (`measures`).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from jobtide.streams.alerts import durations
from jobtide.streams.alerts.durations import Duration
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator, model_validator

Window = Literal["1m", "5m", "15m", "1h"]
Op = Literal["gt", "gte", "lt", "lte", "eq"]
Severity = Literal["info", "warning", "critical"]
Level = Literal["queue", "job_class", "system", "environment", "tenant", "worker", "emitter", "pipeline"]
# What an alert is about: as `by`, but what is saved with an alert has to say more.
SavedLevel = Literal["queue", "job_class", "system", "environment", "tenant", "worker", "emitter", "emitting_system", "pipeline"]
SCOPES = ("system", "environment", "tenant")  # wider than a queue
OF_SERIES = ("queue", "job_class", *SCOPES)
NoData = Literal["ok", "keep", "alert"]


def _one_or_several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_GLOB = {"type": "string", "minLength": 1, "maxLength": 512}
Globs = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=512)]],
    BeforeValidator(_one_or_several),
    Field(max_length=100),
    WithJsonSchema({"anyOf": [_GLOB, {"type": "array", "items": _GLOB, "maxItems": 100}]}),
]

LEAST_OBJECTIVE = 0.931  # 14.4 times the error budget of a lower one is more than everything: it could never fire
MINUTE_MS = 60_000
TIERS: dict[float, tuple[int, int, Severity]] = {  # burn rate → (long window in s, short window in s, severity)
    14.4: (3600, 300, "critical"),
    6: (6 * 3600, 1800, "critical"),
    3: (24 * 3600, 2 * 3600, "warning"),
    1: (3 * 86_400, 6 * 3600, "warning"),
}


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)


class Match(Strict):
    """Which series a rule is about: every part must match. `*` and `?` stand for any; a leading `!` takes out."""

    tenant: Globs = Field(["*"], description="Globs, such as acme or team-*; `!acme` takes acme out.")
    environment: Globs = ["*"]
    system: Globs = ["*"]
    queue: Globs = ["*"]
    job_class: Globs = ["*"]


def only_these(match: Match, known: tuple[str, ...], why: str) -> Match:
    """Refuse a matcher that could never be asked."""
    for part in Match.model_fields:
        if part not in known and getattr(match, part) != ["*"]:
            raise ValueError(f"match.{part} cannot be used: {why}")
    return match


class RuleBase(Strict):
    """What rules of all kinds have."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,79}$", description="Unique in the file; part of every alert's identity.")
    summary: str = Field("", max_length=500, description="One sentence for whoever is paged.")
    runbook: str = Field("", max_length=2000, description="Where it is written what to do.")
    severity: Severity = "warning"
    labels: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")], Annotated[str, Field(max_length=200)]] = Field({}, max_length=20)
    match: Match = Field(default_factory=lambda: Match.model_validate({}))
    by: Level = Field(
        "job_class",
        description="One alert per queue and class, or one per queue, or per system, environment or tenant: of all its queues together, by whole "
        "minutes.",
        json_schema_extra={"enum": list(OF_SERIES)},
    )
    for_ms: Duration = Field(0, alias="for", description="How long the condition must hold without a break.")
    keep_firing_for: Duration = Field(0, description="How long it must be over before the alert resolves.")
    mute: Duration = Field(0, description="After an alert resolved, no new one of the same series for so long.")
    no_data: NoData = Field("ok", description="Without data an alert resolves (ok), stays as it is (keep), or fires (alert).")
    enabled: bool = True
    needs_samples: ClassVar[bool] = False

    @field_validator("by")
    @classmethod
    def _by_what_the_kind_knows(cls, value: Level) -> Level:
        if cls.__annotations__.get("by") is None and value not in OF_SERIES:
            raise ValueError(f"must be {', '.join(OF_SERIES[:-1])} or {OF_SERIES[-1]}; only kind: {value} is by {value}")
        return value

    @model_validator(mode="after")
    def _a_whole_system_has_whole_minutes(self) -> RuleBase:
        if self.level in SCOPES:
            if getattr(self, "window", None) == "1m" or getattr(self, "metric", None) in ("waiting", "in_flight"):
                raise ValueError(f"by: {self.by} is counted by whole minutes: use a window of 5m or longer, and neither waiting nor in_flight")
            known = ("tenant", "environment", "system")[: 3 - SCOPES.index(self.level)]
            only_these(self.match, known, f"by: {self.by} is about all of it together")
        return self

    @property
    def level(self) -> SavedLevel:
        return self.by


class Threshold(RuleBase):
    """A count in a window, or a gauge, against a number."""

    kind: Literal["threshold"]
    metric: Literal[
        "enqueued", "started", "finished", "failed", "cancelled", "discarded", "retried", "dead", "throughput", "waiting", "in_flight"
    ]  # fmt: skip
    window: Window = "5m"
    op: Op = "gt"
    value: float


class Ratio(RuleBase):
    """A share of attempts or of jobs in a window, from 0 to 1."""

    kind: Literal["ratio"]
    metric: Literal["job_failure_rate", "attempt_failure_rate", "success_rate", "retry_rate"] = Field(
        description="job_failure_rate: dead / (finished + dead), so a failed try that a retry mends does not count. attempt_failure_rate: "
        "failed / (finished + failed). success_rate: finished / (finished + dead). retry_rate: retried / (finished + failed)."
    )
    window: Window = "5m"
    op: Op = "gt"
    value: float = Field(ge=0, le=1)
    min_samples: int = Field(ge=1, description="With fewer in the window there is no alert: 3 of 4 is not a trend.")
    needs_samples: ClassVar[bool] = True


class Percentile(RuleBase):
    """A quantile of wait or run times in a window; quantile 1 is the maximum."""

    kind: Literal["percentile"]
    metric: Literal["wait", "run", "run_ok", "run_failed"]
    quantile: float = Field(gt=0, le=1)
    window: Window = "5m"
    op: Op = "gt"
    value: Duration
    min_samples: int = Field(ge=1, description="With fewer in the window there is no alert.")
    needs_samples: ClassVar[bool] = True


class Stuck(RuleBase):
    """Attempts that are late, slow or lost for longer than a duration: one alert with a count, not one per job."""

    kind: Literal["stuck"]
    verdicts: list[Literal["late", "slow", "lost", "duplicate"]] = Field(
        ["late", "slow", "lost"], min_length=1, description="late: never started. slow: over its limit. lost: no worker. duplicate: runs twice."
    )
    older_than: Duration = 30 * MINUTE_MS
    count: int = Field(1, ge=1, description="At least so many.")
    by: Literal["queue", "job_class"] = "job_class"


class Absent(RuleBase):
    """A class that used to do something has not done it for so long."""

    kind: Literal["absent"]
    metric: Literal["enqueued", "started", "finished"] = "finished"
    after: Duration = Field(description="At least 2m; counted from the end of the last minute that had any.")

    @field_validator("after")
    @classmethod
    def _minutes(cls, value: int) -> int:
        if value < 2 * MINUTE_MS:
            raise ValueError("must be at least 2m: minutes are what is remembered of a silent class")
        return value


class QueueDepth(RuleBase):
    """What a backend says of its own queue (queue.snapshot events), against a number or an age."""

    kind: Literal["queue_depth"]
    metric: Literal["ready", "scheduled", "retry", "dead", "running", "oldest_ready"]
    op: Op = "gt"
    value: Annotated[float, WithJsonSchema({"type": ["number", "string"], "examples": [1000, "30m"]})] = Field(
        description="A number; for oldest_ready a duration."
    )
    stale_after: Duration = Field(5 * MINUTE_MS, description="An older snapshot is no data.")
    by: Literal["queue"] = "queue"

    @model_validator(mode="before")
    @classmethod
    def _an_age_is_a_duration(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("metric") == "oldest_ready" and "value" in data:
            return {**data, "value": durations.milliseconds(data["value"])}
        return data


class Worker(RuleBase):
    """What a worker says of its own process, how long it has said nothing, or how wrong its clock is: one alert per worker."""

    kind: Literal["worker"]
    metric: Literal["rss_bytes", "cpu_percent", "heartbeat_age", "clock_skew"] = Field(
        description="clock_skew: how far its clock is from the broker's, before or behind; the way to the broker is in it."
    )
    op: Literal["gt", "gte"] = "gt"
    value: Annotated[float, WithJsonSchema({"type": ["number", "string"], "examples": [2e9, "2m"]})] = Field(
        description="A number; for heartbeat_age and clock_skew a duration."
    )
    by: Literal["worker"] = "worker"

    @model_validator(mode="before")
    @classmethod
    def _an_age_is_a_duration(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("metric") in ("heartbeat_age", "clock_skew") and "value" in data:
            return {**data, "value": durations.milliseconds(data["value"])}
        return data


class Emitter(RuleBase):
    """What arrived of what emitters have numbered, or how long one has said nothing without a goodbye. Of tenants and systems only."""

    kind: Literal["emitter"]
    metric: Literal["lost", "completeness", "silent"] = Field(
        description="lost: events that have been missing for 15 minutes, of the last hour. completeness: the share that arrived of what was "
        "numbered by the emitters heard of in the last 65 minutes, from 0 to 1. silent: how long the newest process of a source has said "
        "nothing, unless it said goodbye; after 65 minutes nobody expects it back."
    )
    op: Op = "gt"
    value: Annotated[float, WithJsonSchema({"type": ["number", "string"], "examples": [0, 0.999, "5m"]})] = Field(
        description="A number; for silent a duration, less than 65m."
    )
    min_samples: int = Field(1, ge=1, description="completeness: with fewer events there is no alert.")
    by: Literal["system", "emitter"] = Field("system", description="One alert per tenant and system, or one per source that emits in it.")

    @property
    def level(self) -> SavedLevel:
        return "emitting_system" if self.by == "system" else self.by

    @model_validator(mode="before")
    @classmethod
    def _a_silence_is_a_duration(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("metric") == "silent":
            value = {"value": durations.milliseconds(data["value"])} if "value" in data else {}
            return {"by": "emitter", **data, **value}
        return data

    @model_validator(mode="after")
    def _fits_its_metric(self) -> Emitter:
        only_these(self.match, ("tenant", "system"), "emitters are known by tenant and system")
        if self.metric == "silent" and (self.by != "emitter" or self.op not in ("gt", "gte") or self.value >= 65 * MINUTE_MS):
            raise ValueError("metric silent needs by: emitter, op gt or gte, and a value less than 65m")
        return self


class Pipeline(RuleBase):
    """How far behind its own clock jobtide is: one alert. Judged whenever a source partition says how far it has come."""

    kind: Literal["pipeline"]
    metric: Literal["staleness"] = Field(
        "staleness", description="The newest clock that stage 1 has told, less the time up to which every source partition is complete."
    )
    op: Literal["gt", "gte"] = "gt"
    value: Duration
    by: Literal["pipeline"] = "pipeline"

    @field_validator("match")
    @classmethod
    def _of_all(cls, value: Match) -> Match:
        return only_these(value, (), "it is one for all")


class BurnRate(RuleBase):
    """How fast an error budget burns: each tier fires when a long and a short window both burn faster than its rate."""

    kind: Literal["burn_rate"]
    sli: Literal["job_failures", "attempt_failures"] = "job_failures"
    objective: float = Field(lt=1, description=f"The promised share of successes, at least {LEAST_OBJECTIVE}; 0.99 for 99 %.")
    tiers: list[Annotated[Literal["14.4", "6", "3", "1"], WithJsonSchema({"enum": [14.4, 6, 3, 1, "14.4", "6", "3", "1"]})]] = Field(
        ["14.4", "6", "3", "1"], min_length=1, description="14.4: 1h and 5m; 6: 6h and 30m (critical). 3: 24h and 2h; 1: 3d and 6h (warning)."
    )
    min_samples: int = Field(ge=1, description="With fewer in the long window there is no alert.")
    needs_samples: ClassVar[bool] = True

    @field_validator("tiers", mode="before")
    @classmethod
    def _numbers(cls, value: Any) -> Any:
        return [f"{each:g}" if isinstance(each, int | float) else each for each in value] if isinstance(value, list) else value

    @field_validator("objective")
    @classmethod
    def _reachable(cls, value: float) -> float:
        if value < LEAST_OBJECTIVE:
            raise ValueError(
                f"must be at least {LEAST_OBJECTIVE}: of a lower objective's error budget 14.4 times is more than everything, so it never fires; "
                "use kind: ratio for such a class"
            )
        return value


class Change(RuleBase):
    """A window compared with the time before it: a factor of rates, shares or percentiles."""

    kind: Literal["change"]
    metric: Literal["enqueued", "started", "finished", "failed", "throughput", "job_failure_rate", "attempt_failure_rate", "wait_p95", "run_p95"]
    window: Literal["1m", "5m", "15m"] = "5m"
    baseline: Literal["15m", "1h"] = Field("1h", description="The longer window; what is in `window` is taken out of it.")
    op: Op = "lt"
    value: float = Field(gt=0, description="0.5 with op lt: less than half of what it was.")
    min_samples: int = Field(ge=1, description="With fewer in the baseline (for gt and gte in the window, too) there is no alert.")
    needs_samples: ClassVar[bool] = True

    @model_validator(mode="after")
    def _longer(self) -> Change:
        if self.window == self.baseline:
            raise ValueError("baseline must be longer than window: write baseline: 1h")
        return self


Rule = Annotated[
    Threshold | Ratio | Percentile | Stuck | Absent | QueueDepth | Worker | Emitter | Pipeline | BurnRate | Change,
    Field(discriminator="kind"),
]
KINDS: dict[str, type[RuleBase]] = {
    "threshold": Threshold, "ratio": Ratio, "percentile": Percentile, "stuck": Stuck, "absent": Absent,
    "queue_depth": QueueDepth, "worker": Worker, "emitter": Emitter, "pipeline": Pipeline, "burn_rate": BurnRate, "change": Change,
}  # fmt: skip


class RuleFile(Strict):
    """A rule file of jobtide."""

    version: Literal[1] = 1
    rules: list[Rule] = Field(max_length=500)


def schema() -> dict[str, Any]:
    """The JSON Schema of a rule file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **RuleFile.model_json_schema(by_alias=True)}
