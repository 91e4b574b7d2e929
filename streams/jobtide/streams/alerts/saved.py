"""What the evaluator remembers as checkpoint records, and back. Keys are text parts joined by U+001F, values msgpack.

`a`: where it stands, with the ticks it has seen. `i`: an alert, with what it needs to end
if its rule is gone: severity and level. `s`: the last activity of a class that may fall silent. `f`: since when a
series is known. `l`: an hour of a
series' long totals. Only what changed is written. Not here: writing it at once and whole (`checkpoint.log`).
"""

from __future__ import annotations

from typing import cast

import msgspec
from jobtide.streams.alerts.compiled import Compiled, Key
from jobtide.streams.alerts.evaluator import Evaluator
from jobtide.streams.alerts.lifecycle import Instance
from jobtide.streams.alerts.long_totals import HOUR_S, LONGEST_S
from jobtide.streams.alerts.model import Emitter, Pipeline, RuleBase, SavedLevel, Threshold, Worker
from jobtide.streams.folds.records import SEPARATOR, Record, Tick, encode

APPLIED = b"a"
_decode_instance = msgspec.msgpack.Decoder(tuple[Instance, str, SavedLevel]).decode
_decode_int = msgspec.msgpack.Decoder(int).decode
_decode_hour = msgspec.msgpack.Decoder(list[tuple[int, int, int, int]]).decode


class Applied(msgspec.Struct, array_like=True):
    """Everything is as of `offset` of job.panes, evaluated at `second`; pipeline rules as of the newest of the ticks."""

    offset: int
    second: int
    ticks: list[Tick]


_decode_applied = msgspec.msgpack.Decoder(Applied).decode


def save(evaluator: Evaluator, ticks: list[Tick]) -> list[Record]:
    """What changed since the last call. `applied` comes last."""
    out: list[Record] = []
    rules = evaluator.rules
    for id_, key in evaluator.removed:  # first: the same key may be of an alert that is there again
        out += [(_key("i", id_, key), None), (_key("s", id_, key), None)]
    for index, key in evaluator.unsaved:
        compiled = rules[index]
        instance = compiled.instances.get(key)
        value = None if instance is None else encode((instance, compiled.severity, compiled.level))
        out.append((_key("i", compiled.id, key), value))
    for index, key in evaluator.unsaved_last:
        last_s = rules[index].last_s.get(key)
        out.append((_key("s", rules[index].id, key), None if last_s is None else encode(last_s)))
    for key in evaluator.unsaved_first:
        first_s = evaluator.first_s.get(key)
        out.append((_key("f", "", key), None if first_s is None else encode(first_s)))
    evaluator.unsaved_first = {}
    for name, hour in evaluator.unsaved_hours:
        totals = evaluator.totals.get(name)
        buckets = totals.hour(hour) if totals is not None else []
        out.append((b"l\x1f%d\x1f%b" % (hour, name), encode(buckets) if buckets else None))
        over = hour - LONGEST_S // HOUR_S - 2
        out.append((b"l\x1f%d\x1f%b" % (over, name), None))
    evaluator.unsaved, evaluator.unsaved_last, evaluator.unsaved_hours, evaluator.removed = {}, {}, {}, {}
    out.append((APPLIED, encode(Applied(evaluator.offset, evaluator.second, ticks))))
    return out


def _key(kind: str, id_: str, key: Key) -> bytes:
    return SEPARATOR.join((kind, id_, *key)).encode()


class Restorer:
    """Takes the records of a partition in any order; `finish` when all are there."""

    def __init__(self) -> None:
        self.applied: Applied | None = None
        self._records: list[tuple[bytes, bytes]] = []

    def load(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            return
        if key == APPLIED:
            self.applied = _decode_applied(value)
        else:
            self._records.append((key, value))

    def finish(self, evaluator: Evaluator) -> None:
        """Give an evaluator what was saved. Alerts of rules that are gone since are resolved, and taken out at the next save."""
        if self.applied is None:
            return
        evaluator.offset, evaluator.second = self.applied.offset, self.applied.second
        evaluator.clock_us = max((tick.told_us for tick in self.applied.ticks), default=0)
        rules = {compiled.id: compiled for compiled in evaluator.rules}
        for key, value in self._records:
            kind, id_, rest = key.split(b"\x1f", 2)
            if kind == b"l":
                parts = tuple(rest.decode().split(SEPARATOR))
                evaluator.totals_for(rest, parts).load(_decode_hour(value))
                continue
            if kind == b"f":
                evaluator.first_s[tuple(rest.decode().split(SEPARATOR))] = _decode_int(value)
                continue
            compiled, parts = rules.get(id_.decode()), tuple(rest.decode().split(SEPARATOR))
            if kind == b"i":
                instance, severity, level = _decode_instance(value)
                fits = compiled is not None and level == compiled.level  # not by the number of parts: a queue and a worker have as many
                if fits:
                    cast(Compiled, compiled).instances[parts] = instance
                else:
                    evaluator.orphan(_gone(id_.decode(), level, severity), parts, instance)
            else:
                fits = compiled is not None and compiled.when == "absent" and len(parts) == compiled.depth
                if fits:
                    cast(Compiled, compiled).last_s[parts] = _decode_int(value)
            if not fits:
                evaluator.removed[id_.decode(), parts] = None
        for totals in evaluator.totals.values():
            totals.settle(evaluator.second)


def _gone(id_: str, level: SavedLevel, severity: str) -> Compiled:
    """A stand-in for a rule that was removed while nobody evaluated: enough to say that its alert is over."""
    name = id_.partition("@")[0]
    rule: RuleBase
    if level == "worker":
        rule = Worker.model_validate({"name": name, "kind": "worker", "metric": "heartbeat_age", "value": "1m"})
    elif level in ("emitting_system", "emitter"):
        rule = Emitter.model_validate({"name": name, "kind": "emitter", "metric": "lost", "value": 0, "by": level.removeprefix("emitting_")})
    elif level == "pipeline":
        rule = Pipeline.model_validate({"name": name, "kind": "pipeline", "value": "1m"})
    else:
        rule = Threshold.model_validate({"name": name, "kind": "threshold", "metric": "failed", "value": 0, "by": level})
    return Compiled(rule, -1, id_, severity, None, "changed", 0)
