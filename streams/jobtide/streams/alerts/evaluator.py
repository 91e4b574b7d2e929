"""Evaluates the rules of one partition of job.panes: at every second of the watermark, what changed and what is due.

It is told by the windows' fold (see `windows.watch`), in the order of the log, and has no other clock than the seconds it is told of. What
it decides is a function of the log up to an offset; what it remembers can be saved and loaded again at that offset (`saved`), so that a
restart anywhere says the same transitions with the same ids. Never evaluates everything: a series that did not change and is not due costs
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import Any, Protocol

from jobtide.streams.alerts.compiled import PIPELINE, SECOND_US, Compiled, Examples, Key, compile_rules
from jobtide.streams.alerts.groups import Group
from jobtide.streams.alerts.lifecycle import Instance, Verdict, step
from jobtide.streams.alerts.long_totals import BUCKET_S, HOUR_S, LongTotals
from jobtide.streams.alerts.measures import OPERATORS, Measured
from jobtide.streams.alerts.model import BurnRate, Change, RuleBase
from jobtide.streams.alerts.notices import FORGOTTEN_US, about_emitters, about_queue, about_worker
from jobtide.streams.alerts.transitions import Reason, Transition
from jobtide.streams.folds.attempts import DEAD, FAILED, FINISHED
from jobtide.streams.folds.attempts import FIELDS as COUNT_NAMES
from jobtide.streams.folds.records import LedgerRecord
from jobtide.streams.snapshots import QueueSnapshot, WorkerSnapshot
from jobtide.streams.windows.series import LiveSeries
from jobtide.streams.windows.tallies import Tally

GIVE_UP_S = 30 * 86_400  # a class that has been silent for so long is not expected back
STUCK_EVERY_S = 5
NOTICES = ("queues", "workers", "emitters")
STUCK_EXAMPLES = 5
Delta = tuple[int, LiveSeries, Tally | None, Tally]


class StuckWork(Protocol):
    """What rules need of a stuck attempt; see snapshots.StuckAttempt."""

    job_id: str
    attempt: int
    verdict: Any
    since_us: int


class Facts(Protocol):
    """What the evaluator asks the windows' fold for."""

    def queue(self, key: Key) -> QueueSnapshot | None: ...

    def worker(self, key: Key) -> WorkerSnapshot | None: ...

    def emitters(self, key: Key) -> Sequence[LedgerRecord]: ...

    def noticed(self) -> Iterable[tuple[str, Key]]:
        """The queues, workers and emitters that something is known of, as `Evaluator.heard` is told them."""
        ...

    def all_series(self) -> Iterable[LiveSeries]: ...

    def stuck_attempts(self) -> Iterable[tuple[Key, StuckWork]]:
        """With the parts of the series' name."""
        ...


class Plan:
    """What has to be looked at when a series changes."""

    __slots__ = ("absent", "burns", "direct", "group", "queue", "shared")

    def __init__(self, group: Group, queue: Group) -> None:
        self.group, self.queue = group, queue
        self.direct: list[Compiled] = []
        self.shared: list[Compiled] = []  # about the whole queue
        self.absent: list[tuple[Compiled, Key, int]] = []
        self.burns = False


class Evaluator:
    """See the module. `offset` and `second` are where the evaluation stands."""

    def __init__(self, rules: Sequence[RuleBase], facts: Facts) -> None:
        self.facts = facts
        self.offset, self.second = -1, 0
        self.clock_us = 0  # as told by the ticks: the time of pipeline rules
        self.transitions: list[Transition] = []
        self.unsaved: dict[tuple[int, Key], None] = {}  # alerts
        self.unsaved_last: dict[tuple[int, Key], None] = {}
        self.unsaved_hours: dict[tuple[bytes, int], None] = {}
        self.removed: dict[tuple[str, Key], None] = {}  # of rules that are gone: to be taken out of what is saved
        self.unsaved_first: dict[Key, None] = {}
        self.first_s: dict[Key, int] = {}  # series: the first minute of those that the windows remember
        self.totals: dict[bytes, LongTotals] = {}
        self._of_queue: dict[Key, list[bytes]] = {}
        self._plans: dict[LiveSeries, Plan] = {}
        self._groups: dict[Key, Group] = {}
        self._due: list[tuple[int, int, Key]] = []
        self._scheduled: dict[tuple[int, Key], int] = {}
        self._deltas: list[Delta] = []
        self._heard: dict[tuple[str, Key], None] = {}
        self._everything = False
        self._now: list[Transition] = []
        self.rules: list[Compiled] = []
        self._use(rules)

    # -- rules

    def _use(self, rules: Sequence[RuleBase]) -> None:
        self.rules = compile_rules(rules, self._totals_of, self._since)
        self._minutely = [c for c in self.rules if c.when == "minute"]
        self._absent = [c for c in self.rules if c.when == "absent"]
        self._of_notices = {kind: [c for c in self.rules if c.when == kind] for kind in NOTICES}
        self._pipeline = [c for c in self.rules if c.when == "ticks"]
        self._stuck = [c for c in self.rules if c.when == "stuck"]
        self._changes = any(isinstance(c.rule, Change) for c in self.rules)
        self._burning = [c for c in self.rules if isinstance(c.rule, BurnRate)]

    def replace(self, rules: Sequence[RuleBase]) -> None:
        """Go on with other rules. Alerts of a rule that keeps its name go on; of others they resolve."""
        before = {c.id: c for c in self.rules}
        # What is over since the last save is in nobody's hands any more: it still has to be taken out. What is not over is written after that.
        self.removed.update({(self.rules[index].id, key): None for index, key in (*self.unsaved, *self.unsaved_last)})
        self._use(rules)
        self._plans, self._groups, self._due, self._scheduled = {}, {}, [], {}
        self.unsaved, self.unsaved_last = {}, {}
        for compiled in self.rules:
            old = before.pop(compiled.id, None)
            if old is not None and old.level == compiled.level:
                compiled.instances, compiled.last_s = old.instances, old.last_s
            elif old is not None:
                before[old.id] = old
            self.unsaved.update({(compiled.index, key): None for key in compiled.instances})
            self.unsaved_last.update({(compiled.index, key): None for key in compiled.last_s})
        for old in before.values():
            for key, instance in old.instances.items():
                self.orphan(old, key, instance)
            self.removed.update({(old.id, key): None for key in (*old.instances, *old.last_s)})
        self._remind()
        self._everything = True

    def orphan(self, old: Compiled, key: Key, instance: Instance) -> None:
        """End the alert of a rule that is gone."""
        if instance.state in ("pending", "firing"):
            state = "resolved" if instance.state == "firing" else "inactive"
            second = max(self.second, self.clock_us // SECOND_US) if old.level == "pipeline" else self.second
            self.transitions.append(old.transition(key, state, Reason.RULE_REMOVED, instance.episode_us, second, None, 0))  # type: ignore[arg-type]

    def succeed(self, old: Evaluator) -> None:
        """Before the first record of another log: say that the alerts of the one before are over, and take out what was saved of it."""
        self.removed.update(old.removed)
        self.removed.update({(old.rules[index].id, key): None for index, key in (*old.unsaved, *old.unsaved_last)})
        for compiled in old.rules:
            for key, instance in compiled.instances.items():
                old.orphan(compiled, key, instance)
            self.removed.update({(compiled.id, key): None for key in (*compiled.instances, *compiled.last_s)})
        self.transitions, old.transitions = old.transitions, []
        self.unsaved_hours.update({(name, start // HOUR_S): None for name, totals in old.totals.items() for start in totals.buckets})
        self.unsaved_first.update(dict.fromkeys(old.first_s))

    def start(self) -> None:
        """After the fold and what was saved stand at the same offset: go on from there."""
        for series in self.facts.all_series():
            self._plan(series)
        self._remind()

    def _remind(self) -> None:
        """Put on the list what has to be looked at later."""
        for compiled in self.rules:
            for key, instance in compiled.instances.items():
                timing = compiled.timing
                if instance.state == "pending":
                    self._schedule(compiled, key, instance.episode_us + timing.for_us)
                elif instance.state == "muted":
                    self._schedule(compiled, key, instance.until_us)
                elif instance.clear_us:
                    self._schedule(compiled, key, instance.clear_us + timing.keep_us)
            for key, last_s in compiled.last_s.items():
                self._schedule(compiled, key, (last_s + compiled.length_s) * SECOND_US)
            if compiled.when in NOTICES:
                for key in compiled.instances:
                    self._schedule(compiled, key, 0)
        for kind, key in self.facts.noticed():  # who says nothing more is on no list yet, and may be silent for too long one day
            self.heard(kind, key)

    # -- what the fold tells

    def minute(self, start_s: int, series: LiveSeries, before: Tally | None, now: Tally) -> None:
        """A minute's sum entered the windows, or was revised. Counted at the next second, so that a restart counts it once."""
        if self._burning or self._absent or self._changes:
            self._deltas.append((start_s, series, before, now))

    def heard(self, kind: str, key: Key) -> None:
        if self._of_notices[kind]:
            self._heard[kind, key] = None

    def forgotten(self, series: LiveSeries) -> None:
        plan = self._plans.pop(series, None)
        if self.first_s.pop(tuple(series.key), None) is not None:
            self.unsaved_first[tuple(series.key)] = None
        if plan is not None:
            for group in (plan.group, plan.queue):
                if series in group.series:
                    group.series.remove(series)
                if not group.series:
                    self._groups.pop(group.key, None)

    def at_tick(self, clock_us: int, watermark_us: int) -> None:
        """How stale everything is: asked at every tick, since the seconds stand still while it grows. Its time is the told clock.

        After a restart ticks come again that were judged already. They change neither of the two, which the saved ticks gave, and so nothing.
        """
        if not clock_us:
            return
        self.clock_us = clock_us
        stale_us = max(0, clock_us - watermark_us)
        for compiled in self._pipeline:
            breach = OPERATORS[compiled.rule.op](stale_us, compiled.rule.value * 1000)  # type: ignore[attr-defined]
            self._take(compiled, PIPELINE, (Verdict.BREACH if breach else Verdict.CLEAR, float(stale_us), 1), at_us=clock_us)
        if self._pipeline:
            self._told()

    def at_second(self, second: int, offset: int, changed: Iterable[LiveSeries]) -> None:
        """Evaluate at watermark `second`; `changed`: the series that changed since the second before."""
        self.second, self.offset = second, offset
        if self._everything:
            self._everything = False
            changed = {**dict.fromkeys(self.facts.all_series()), **dict.fromkeys(changed)}
        if second % BUCKET_S == 0 and self.totals:
            self._roll()
        if self._deltas:
            self._count_minutes()
        self._changed(changed)
        if self._heard:
            self._notices()
        if self._stuck and second % STUCK_EVERY_S == 0:
            self._stuck_work()
        self._deadlines()
        self._told()

    def _told(self) -> None:
        if self._now:
            self.transitions.extend(sorted(self._now, key=lambda t: (t.rule, t.fingerprint)))
            self._now = []

    # -- series

    def _changed(self, changed: Iterable[LiveSeries]) -> None:
        plans, second, breach = self._plans, self.second, Verdict.BREACH
        queues: dict[Key, tuple[Group, list[Compiled]]] = {}
        for series in changed:
            plan = plans.get(series)
            if plan is None:
                plan = self._plan(series)
            group = plan.group
            group.at(second)
            key = group.key
            for compiled in plan.direct:
                measured = compiled.judge(group)  # type: ignore[misc]
                instances = compiled.instances
                if measured[0] is breach or compiled.fires_on_nothing or (instances and key in instances):
                    self._take(compiled, key, measured)
            if plan.shared:
                queues[plan.queue.key] = (plan.queue, plan.shared)
        for key, (queue, rules) in queues.items():
            queue.at(second)
            for compiled in rules:
                self._take(compiled, key[: compiled.depth], compiled.judge(queue))  # type: ignore[misc]

    def _plan(self, series: LiveSeries) -> Plan:
        key = tuple(series.key)
        group = self._group(key)
        plan = self._plans[series] = Plan(group, group if series.sums_up else self._group(key[:4]))
        for group in (plan.group, plan.queue):
            if series not in group.series:
                group.series.append(series)
        for compiled in self.rules:
            if compiled.when in ("changed", "absent") and compiled.matches(key):
                if compiled.when == "absent":
                    metric = compiled.rule.metric  # type: ignore[attr-defined]
                    plan.absent.append((compiled, key[: compiled.depth], COUNT_NAMES.index(metric)))
                else:
                    (plan.direct if compiled.depth == 5 else plan.shared).append(compiled)
        plan.burns = any(compiled.matches(key) for compiled in self._burning)
        return plan

    def _group(self, key: Key) -> Group:
        found = self._groups.get(key)
        if found is None:
            found = self._groups[key] = Group(key)
        found.at(self.second)
        return found

    # -- minutes

    def _roll(self) -> None:
        touched: dict[Key, None] = {}
        for name, totals in list(self.totals.items()):
            if totals.roll(self.second):
                key = tuple(name.decode().split("\x1f"))
                touched[key] = None
                if not totals.buckets:
                    self._drop_totals(name, key)
        self._judge_minutely(touched)

    def _drop_totals(self, name: bytes, key: Key) -> None:
        del self.totals[name]
        self._of_queue[key[:4]].remove(name)

    def _count_minutes(self) -> None:
        deltas, self._deltas = self._deltas, []
        touched: dict[Key, None] = {}
        heard: dict[tuple[int, Key], None] = {}  # judged once all minutes are known: several may come at once
        for start_s, series, before, now in deltas:
            plan = self._plans.get(series) or self._plan(series)
            counts = now.counts if before is None else [a - b for a, b in zip(now.counts, before.counts, strict=True)]
            if self._changes and plan.group.key not in self.first_s:
                self.first_s[plan.group.key] = start_s
                self.unsaved_first[plan.group.key] = None
            if plan.burns:
                self.totals_for(series.name, tuple(series.key)).add(start_s, counts[FINISHED], counts[FAILED], counts[DEAD])
                self.unsaved_hours[series.name, start_s // 3600] = None
                touched[tuple(series.key)] = None
            for compiled, key, place in plan.absent:
                if now.counts[place] and start_s + 60 > compiled.last_s.get(key, 0):
                    compiled.last_s[key] = start_s + 60
                    self.unsaved_last[compiled.index, key] = None
                    heard[compiled.index, key] = None
        for index, key in heard:
            self._take(self.rules[index], key, self._judge_absent(self.rules[index], key))
        self._judge_minutely(touched)

    def totals_for(self, name: bytes, key: Key) -> LongTotals:
        found = self.totals.get(name)
        if found is None:
            found = self.totals[name] = LongTotals()
            found.roll(self.second)
            self._of_queue.setdefault(key[:4], []).append(name)
        return found

    def _totals_of(self, group: Group) -> list[LongTotals]:
        key = group.key
        names = ["\x1f".join(key).encode()] if len(key) == 5 else self._of_queue.get(key, [])
        return [self.totals[name] for name in names if name in self.totals]

    def _since(self, group: Group) -> int:
        known = [self.first_s[key] for key in (tuple(series.key) for series in group.series) if key in self.first_s]
        return min(known, default=self.second)

    def _judge_minutely(self, touched: Iterable[Key]) -> None:
        for compiled in self._minutely:
            for key in dict.fromkeys(key[: compiled.depth] for key in touched if compiled.matches(key)):
                self._take(compiled, key, compiled.judge(self._group_of(compiled.group_key(key))))  # type: ignore[misc]

    def _group_of(self, key: Key) -> Group:
        """The group of a key, also of one whose series are all forgotten: not kept then."""
        found = self._groups.get(key)
        if found is None:
            found = Group(key)
        found.at(self.second)
        return found

    def _judge_absent(self, compiled: Compiled, key: Key) -> Measured:
        last_s = compiled.last_s.get(key)
        if last_s is None:
            return Verdict.GONE, None, 0
        silent_s = self.second - last_s
        if silent_s < compiled.length_s:
            self._schedule(compiled, key, (last_s + compiled.length_s) * SECOND_US)
            return Verdict.CLEAR, float(max(0, silent_s)), 0
        if silent_s < GIVE_UP_S:
            self._schedule(compiled, key, (last_s + GIVE_UP_S) * SECOND_US)
            return Verdict.BREACH, float(silent_s), 0
        del compiled.last_s[key]
        self.unsaved_last[compiled.index, key] = None
        return Verdict.GONE, float(silent_s), 0

    # -- queues, workers, stuck work

    def _notices(self) -> None:
        heard, self._heard = self._heard, {}
        due: dict[tuple[int, Key], None] = {}  # of an emitter a rule may be about all of its system
        for kind, key in heard:
            for compiled in self._of_notices[kind]:
                if compiled.matches(key):
                    due[compiled.index, key[: compiled.depth]] = None
        for index, key in due:
            self._take(self.rules[index], key, self._judge_notice(self.rules[index], key))

    def _judge_notice(self, compiled: Compiled, key: Key) -> Measured:
        now_us = self.second * SECOND_US
        queue = self.facts.queue(key) if compiled.when == "queues" else None
        worker = self.facts.worker(key) if compiled.when == "workers" else None
        if compiled.when == "emitters":
            measured, again_us = about_emitters(compiled.rule, self.facts.emitters(key), now_us)  # type: ignore[arg-type]
        elif queue is not None:
            measured, again_us = about_queue(compiled.rule, queue, now_us)  # type: ignore[arg-type]
        elif worker is not None:
            measured, again_us = about_worker(compiled.rule, worker, now_us)  # type: ignore[arg-type]
        else:  # forgotten after a day, or not heard of since a restart
            known = compiled.instances.get(key)
            over_us = known.episode_us + FORGOTTEN_US if known is not None else 0
            again_us = over_us if over_us > now_us else 0
            measured = (Verdict.UNKNOWN if again_us else Verdict.GONE, None, 0)
        if again_us:
            self._schedule(compiled, key, again_us)
        return measured

    def _stuck_work(self) -> None:
        now_us = self.second * SECOND_US
        found = list(self.facts.stuck_attempts())
        for compiled in self._stuck:
            rule = compiled.rule
            stuck: dict[Key, list[StuckWork]] = {key: [] for key in compiled.instances}
            for series, attempt in found:
                age_us = now_us - attempt.since_us
                if attempt.verdict in rule.verdicts and age_us >= rule.older_than * 1000 and compiled.matches(series):  # type: ignore[attr-defined]
                    key = series[: compiled.depth]
                    stuck.setdefault(key, []).append(attempt)
            for key, attempts in stuck.items():
                n = len(attempts)
                verdict = Verdict.BREACH if n >= rule.count else Verdict.CLEAR  # type: ignore[attr-defined]
                self._take(compiled, key, (verdict, float(n), n), examples_of(attempts))

    # -- alerts

    def _take(self, compiled: Compiled, key: Key, measured: Measured, examples: Examples = (), at_us: int = 0) -> None:
        """`at_us`: its time where that is not the second's; then whoever asks asks again by himself."""
        verdict, value, samples = measured
        known = compiled.instances.get(key)
        if known is None and verdict is not Verdict.BREACH and not compiled.fires_on_nothing:
            return
        now_us = at_us or self.second * SECOND_US
        instance, entered, again_us = step(known, verdict, now_us, compiled.timing)
        if instance is not known:
            if instance is None:
                del compiled.instances[key]
            else:
                compiled.instances[key] = instance
            self.unsaved[compiled.index, key] = None
        episode_us = known.episode_us if known is not None and known.state != "muted" else instance.episode_us if instance else now_us
        for state, reason in entered:
            self._now.append(compiled.transition(key, state, reason, episode_us, now_us // SECOND_US, value, samples, examples))
        if again_us and not at_us:
            self._schedule(compiled, key, again_us)

    def _schedule(self, compiled: Compiled, key: Key, at_us: int) -> None:
        place = (compiled.index, key)
        known = self._scheduled.get(place)
        if known is None or at_us < known:
            self._scheduled[place] = at_us
            heappush(self._due, (at_us, compiled.index, key))

    def _deadlines(self) -> None:
        due, now_us = self._due, self.second * SECOND_US
        while due and due[0][0] <= now_us:
            at_us, index, key = heappop(due)
            if self._scheduled.get((index, key)) == at_us:
                del self._scheduled[index, key]
                self._assess(self.rules[index], key)

    def _assess(self, compiled: Compiled, key: Key) -> None:
        if compiled.when in NOTICES:
            measured = self._judge_notice(compiled, key)
        elif compiled.when == "absent":
            measured = self._judge_absent(compiled, key)
        elif compiled.when in ("stuck", "ticks"):
            return  # looked at every few seconds anyway
        else:
            measured = compiled.judge(self._group_of(compiled.group_key(key)))  # type: ignore[misc]
        self._take(compiled, key, measured)


def examples_of(attempts: Sequence[StuckWork]) -> Examples:
    """The longest stuck, for whoever is paged."""
    longest = sorted(attempts, key=lambda each: (each.since_us, each.job_id, each.attempt))[:STUCK_EXAMPLES]
    return [{"job_id": each.job_id, "attempt": str(each.attempt), "verdict": str(each.verdict)} for each in longest]
