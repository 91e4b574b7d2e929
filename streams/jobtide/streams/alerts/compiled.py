"""A rule as the evaluator runs it: matcher, judge, timing, and the alerts it has. A burn rate rule becomes one per tier.

Only put together here; what is measured is in `measures`, when it is asked is the evaluator's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlencode

from jobtide.streams.alerts import durations, measures
from jobtide.streams.alerts.groups import Group
from jobtide.streams.alerts.lifecycle import Instance, Timing
from jobtide.streams.alerts.long_totals import LongTotals
from jobtide.streams.alerts.matching import PARTS, matcher
from jobtide.streams.alerts.model import (
    SCOPES,
    TIERS,
    Absent,
    BurnRate,
    Change,
    Emitter,
    Percentile,
    Pipeline,
    QueueDepth,
    Ratio,
    RuleBase,
    Stuck,
    Threshold,
    Worker,
)
from jobtide.streams.alerts.transitions import Reason, State, Transition, fingerprint, transition_id
from jobtide.streams.events import time_text

Key = tuple[str, ...]
# What the parts of an alert's key are called. A level is saved with an alert, so each name stands for one form of key.
LEVELS: dict[str, tuple[str, ...]] = {
    "queue": PARTS[:4],
    "job_class": PARTS,
    "worker": ("tenant", "environment", "system", "worker_id"),
    "system": PARTS[:3],
    "environment": PARTS[:2],
    "tenant": PARTS[:1],
    "emitter": ("tenant", "system", "source"),
    "emitting_system": ("tenant", "system"),
    "pipeline": ("pipeline",),
}
PIPELINE: Key = ("stream",)  # there is one
Examples = Sequence[dict[str, str]]
SECOND_US = 1_000_000


class Compiled:
    """`when`: what makes it worth asking again: a change of the windows, a minute that closed, a notice, or the clock."""

    def __init__(self, rule: RuleBase, index: int, id_: str, severity: str, judge: measures.Judge | None, when: str, length_s: int) -> None:
        self.rule, self.index, self.id, self.severity = rule, index, id_, severity
        self.judge, self.when, self.length_s = judge, when, length_s
        self.level: str = rule.level
        self.names = LEVELS[self.level]
        self.depth = len(self.names)
        self.matches: Callable[[Sequence[str]], bool] = self._matcher(matcher(rule.match, self.names))
        self.timing = Timing(rule.for_ms * 1000, rule.keep_firing_for * 1000, rule.mute * 1000, rule.no_data)
        self.fires_on_nothing = rule.no_data == "alert"
        self.instances: dict[Key, Instance] = {}
        self.last_s: dict[Key, int] = {}  # absent: the end of the last minute that had any
        self.extra = {"burn_rate": id_.partition("@")[2]} if "@" in id_ else {}

    def _matcher(self, parts_match: Callable[[Sequence[str]], bool]) -> Callable[[Sequence[str]], bool]:
        """Of series: the parts that are told apart are there, and no more of them than that."""
        depth = self.depth
        if self.level in SCOPES:
            return lambda name: bool(name[depth - 1]) and not name[depth] and parts_match(name)
        if self.level in ("queue", "job_class"):
            return lambda name: bool(name[3]) and parts_match(name)
        return parts_match

    def group_key(self, key: Key) -> Key:
        """The key of the group that an alert's key is about."""
        return key + ("",) * (len(PARTS) - self.depth) if self.level in SCOPES else key

    @property
    def kind(self) -> str:
        return str(self.rule.kind)  # type: ignore[attr-defined]  # each subclass has it

    def labels(self, key: Key) -> dict[str, str]:
        return {**self.rule.labels, **self.extra, **dict(zip(self.names, key, strict=True))}

    def identity(self, key: Key) -> str:
        """The fingerprint: of what the alert is about, not of the labels that the file may change."""
        return fingerprint(self.id, dict(zip(self.names, key, strict=True)))

    def transition(
        self, key: Key, state: State, reason: Reason, episode_us: int, second: int, value: float | None, samples: int, examples: Examples = ()
    ) -> Transition:
        from_s, to_s = self.window(second)
        print_ = self.identity(key)
        return Transition(
            id=transition_id(self.id, print_, episode_us, state),
            rule=self.rule.name,
            kind=self.kind,
            fingerprint=print_,
            labels=self.labels(key),
            severity=self.severity,
            state=state,
            reason=reason.value,
            episode_us=episode_us,
            at_us=second * SECOND_US,
            value=value,
            samples=samples,
            condition=condition(self.rule, self.extra.get("burn_rate")),
            from_us=from_s * SECOND_US,
            to_us=to_s * SECOND_US,
            query=query(self.level, key, from_s, to_s, self.kind),
            summary=self.rule.summary,
            runbook=self.rule.runbook,
            examples=list(examples),
        )

    def window(self, second: int) -> tuple[int, int]:
        if self.level in SCOPES:
            second -= second % 60
        name = getattr(self.rule, "window", None)
        return measures.window_of(name, second) if name else (second - self.length_s, second)


def compile_rules(
    rules: Sequence[RuleBase], totals: Callable[[Group], list[LongTotals]], since: Callable[[Group], int]
) -> list[Compiled]:
    """The enabled rules; `totals` finds the long sums of a group's series, `since` the second from which on it is known."""
    out: list[Compiled] = []

    def add(rule: RuleBase, judge: measures.Judge | None, when: str, length_s: int = 0, id_: str = "", severity: str = "") -> None:
        out.append(Compiled(rule, len(out), id_ or rule.name, severity or rule.severity, judge, when, length_s))

    for rule in rules:
        if not rule.enabled:
            continue
        match rule:
            case Threshold():
                add(rule, measures.threshold(rule), "changed")
            case Ratio():
                add(rule, measures.ratio(rule), "changed")
            case Percentile():
                add(rule, measures.percentile(rule), "changed")
            case Change():
                add(rule, measures.change(rule, since), "changed")
            case BurnRate():
                for name in rule.tiers:
                    long_s, short_s, severity = TIERS[float(name)]
                    when = "changed" if short_s == 300 else "minute"
                    add(rule, measures.burn_rate(rule, float(name), totals), when, long_s, f"{rule.name}@{name}", severity)
            case Absent():
                add(rule, None, "absent", rule.after // 1000)
            case QueueDepth():
                add(rule, None, "queues")
            case Worker():
                add(rule, None, "workers")
            case Emitter():
                add(rule, None, "emitters")
            case Pipeline():
                add(rule, None, "ticks")
            case Stuck():
                add(rule, None, "stuck")
    return out


def condition(rule: RuleBase, tier: str | None = None) -> str:
    """What is compared with what, for people."""
    if isinstance(rule, BurnRate):
        long_s, short_s, _ = TIERS[float(tier or 1)]
        lengths = " and ".join(durations.text(each * 1000) for each in (long_s, short_s))
        return f"{rule.sli} burn more than {tier} times the budget of {rule.objective:g} over {lengths}"
    if isinstance(rule, Stuck):
        return f"{rule.count} or more attempts {' or '.join(rule.verdicts)} for {durations.text(rule.older_than)}"
    if isinstance(rule, Absent):
        return f"nothing {rule.metric} for {durations.text(rule.after)}"
    value = getattr(rule, "value")  # noqa: B009 - of the kinds that are left
    metric = getattr(rule, "metric")  # noqa: B009
    sign = measures.SIGNS[getattr(rule, "op")]  # noqa: B009
    if isinstance(rule, Percentile):
        return f"{metric} time p{rule.quantile * 100:g} {sign} {durations.text(rule.value)} over {rule.window}"
    if isinstance(rule, Change):
        return f"{metric} of {rule.window} {sign} {value:g} × that of the rest of {rule.baseline}"
    if metric in ("oldest_ready", "heartbeat_age", "clock_skew", "silent", "staleness"):
        return f"{metric} {sign} {durations.text(int(value))}"
    over = f" over {rule.window}" if isinstance(rule, Ratio) or (isinstance(rule, Threshold) and metric not in ("waiting", "in_flight")) else ""
    return f"{metric} {sign} {value:g}{over}"


def query(level: str, key: Key, from_s: int, to_s: int, kind: str) -> str:
    """Where the API tells the same numbers."""
    if level == "worker":
        return "/v1/workers?" + urlencode(dict(zip(PARTS[:3], key[:3], strict=True)))
    if level in ("emitting_system", "emitter"):
        return "/v1/completeness?" + urlencode(dict(zip(LEVELS["emitting_system"], key[:2], strict=True)))
    if level == "pipeline":
        return "/v1/overview"
    selection = dict(zip(PARTS, key, strict=False))
    if kind == "stuck":
        return "/v1/stuck?" + urlencode(selection)
    path = "/v1/classes" if level == "job_class" else "/v1/queues"
    if kind == "queue_depth" or from_s == to_s:
        return f"{path}?" + urlencode({**selection, "last": "1m"})
    return f"{path}?" + urlencode({**selection, "from": time_text(from_s * SECOND_US), "to": time_text(to_s * SECOND_US)})
