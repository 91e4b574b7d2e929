"""Rules over history: the fold and the evaluator that run live, on what ClickHouse has of each second.

`run` is pure and takes long: whoever serves others runs it in a process of its own. History is final: what came late is where it belongs, so
differences to what was said live are what late events changed (or rules that were other then). They are listed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from jobtide.query.alert_answers import Backtest, Difference, Episode
from jobtide.sinks.webhook.desk import Desk
from jobtide.sinks.webhook.receivers import ReceiversFile
from jobtide.streams.alerts.compiled import compile_rules
from jobtide.streams.alerts.loading import load_rules
from jobtide.streams.alerts.model import Emitter, Pipeline, QueueDepth, Stuck, Threshold, Worker
from jobtide.streams.alerts.replay import Replay
from jobtide.streams.alerts.transitions import Transition
from jobtide.streams.events import time_text
from jobtide.streams.folds.attempts import CANCELLED, DEAD, DISCARDED, ENQUEUED, FAILED, FINISHED, RETRIED, STARTED
from jobtide.streams.folds.panes import Pane
from jobtide.streams.folds.records import SEPARATOR

SECOND_US = 1_000_000
FLAP_US = 3600 * SECOND_US
MOST_SHOWN = 1000
WARM_UP_S = 3660  # before the range: the longest window has to be full, and series known
Row = Sequence[Any]


def pane(row: Row) -> tuple[int, bytes, Pane]:
    """(second, series, pane) of a row of sql/backtest.sql."""
    counts = [0] * 8
    named = zip((ENQUEUED, STARTED, FINISHED, FAILED, CANCELLED, DISCARDED, RETRIED, DEAD), row[6:14], strict=True)
    for place, n in named:
        counts[place] = int(n)
    histograms = [{int(bucket): int(n) for bucket, n in found.items()} for found in row[15:18]]
    return int(row[5]), SEPARATOR.join(row[:5]).encode(), Pane(counts, int(row[14]), int(row[18]), int(row[19]), int(row[20]), *histograms)


def not_in_history(rules: Iterable[Any]) -> list[str]:
    """Rules about what is now and not about what was counted."""

    def about_now(rule: Any) -> bool:
        of_now = isinstance(rule, Stuck | QueueDepth | Worker | Emitter | Pipeline)
        return of_now or (isinstance(rule, Threshold) and rule.metric in ("waiting", "in_flight"))

    return [rule.name for rule in rules if rule.enabled and about_now(rule)]


def transitions(rules: Sequence[Any], rows: Iterable[Row], from_s: int, to_s: int) -> tuple[list[Transition], int, int]:
    """What the rules say in [from_s, to_s) on rows in the order of their seconds; (transitions, seconds with data, series)."""
    left_out = set(not_in_history(rules))
    replay, seconds, series = Replay([rule for rule in rules if rule.name not in left_out]), 0, set[bytes]()
    at_s, panes = -1, dict[bytes, Pane]()
    for row in rows:
        second, name, of_it = pane(row)
        if second != at_s:
            if panes:
                replay.second(at_s, panes)
            at_s, panes, seconds = second, {}, seconds + 1
        panes[name] = of_it
        series.add(name)
    if panes:
        replay.second(at_s, panes)
    replay.until(to_s)
    return [each for each in replay.transitions if each.at_us >= from_s * SECOND_US], seconds, len(series)


def run(rules_text: str, rows: Sequence[Row], from_us: int, to_us: int, receivers: ReceiversFile, live: Sequence[Transition]) -> Backtest:
    rules = load_rules(rules_text, "rules").rules
    found, seconds, series = transitions(rules, rows, from_us // SECOND_US, to_us // SECOND_US)
    left_out = set(not_in_history(rules))
    known = {compiled.rule.name for compiled in compile_rules(rules, lambda _: [], lambda _: 0)} - left_out
    compared = [each for each in live if from_us <= each.at_us < to_us and each.rule in known]
    shown = episodes(found)
    return Backtest(
        range_from=time_text(from_us), range_to=time_text(to_us), seconds_with_data=seconds, series=series,
        episodes=shown[-MOST_SHOWN:], episodes_total=len(shown), notifications=notifications(found, receivers), flaps=flaps(found),
        not_in_history=sorted(left_out), differences=differences(found, compared) if compared else [], compared=len(compared),
    )  # fmt: skip


def episodes(found: Sequence[Transition]) -> list[Episode]:
    by_episode: dict[tuple[str, int], list[Transition]] = defaultdict(list)
    for each in found:
        by_episode[each.fingerprint, each.episode_us].append(each)
    out = []
    for story in by_episode.values():
        states = {each.state: each for each in story}
        fired, last = states.get("firing"), story[-1]
        out.append(
            Episode(
                rule=last.rule, severity=last.severity, labels=last.labels, began_at=time_text(last.episode_us),
                fired_at=time_text(fired.at_us) if fired else None,
                resolved_at=time_text(states["resolved"].at_us) if "resolved" in states else None,
                value=(fired or story[0]).value, samples=(fired or story[0]).samples, reason=last.reason,
            )
        )  # fmt: skip
    return out


def flaps(found: Sequence[Transition]) -> dict[str, int]:
    newest: dict[str, int] = {}
    out: Counter[str] = Counter()
    for each in found:
        if each.state == "resolved":
            newest[each.fingerprint] = each.at_us
        elif each.state == "firing" and each.at_us - newest.get(each.fingerprint, -FLAP_US) < FLAP_US:
            out[each.rule] += 1
    return dict(out)


def notifications(found: Sequence[Transition], receivers: ReceiversFile) -> dict[str, int]:
    """Messages per receiver, by the notifier's own grouping, inhibition and repetition."""
    desk = Desk(receivers, "")
    told: Counter[str] = Counter({each.name: 0 for each in receivers.receivers})
    now_ms = 0

    def pass_until(until_ms: int) -> None:
        nonlocal now_ms
        while now_ms < until_ms and any(group.waiting or group.alerts for group in desk.groups.values()):
            told.update(each.receiver for each in desk.due(now_ms))
            now_ms = min(now_ms + 60_000, until_ms)
        now_ms = until_ms

    for offset, each in enumerate(found):
        pass_until(each.at_us // 1000)
        desk.read(0, offset, each, now_ms, False)
        told.update(each.receiver for each in desk.due(now_ms))
    pass_until(now_ms + 600_000)
    return dict(told)


def differences(found: Sequence[Transition], live: Sequence[Transition]) -> list[Difference]:
    mine, theirs = {each.id: each for each in found}, {each.id: each for each in live}
    out = [_difference("only_live", theirs[id_]) for id_ in theirs.keys() - mine.keys()]
    out += [_difference("only_backtest", mine[id_]) for id_ in mine.keys() - theirs.keys()]
    return sorted(out, key=lambda each: (each.at, each.rule, each.where))[:MOST_SHOWN]


def _difference(where: Any, each: Transition) -> Difference:
    return Difference(where=where, rule=each.rule, state=each.state, at=time_text(each.at_us), labels=each.labels, id=each.id)
