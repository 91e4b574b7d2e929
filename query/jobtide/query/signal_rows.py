"""What the keeper knows of a queue, as rows. Pure."""

from __future__ import annotations

from jobtide.query.answers import named, optional_text
from jobtide.query.selection import Key
from jobtide.query.signal_answers import AdviceRow, ForecastRow, HealthReason, QueueHealthRow, ScalingRow, ScoreRow
from jobtide.query.signals import health
from jobtide.query.signals.facts import WINDOW, Flow, QueueFacts
from jobtide.query.signals.scaling import COOLDOWN_US
from jobtide.query.signals.state import QueueSignals, Score
from jobtide.streams.events import time_text

SCORES = 10


def health_row(key: Key, facts: QueueFacts) -> QueueHealthRow:
    found = health.reasons(facts)
    return QueueHealthRow(
        **named(key),
        status=health.worst(reason.status for reason in found),
        reasons=[HealthReason(what=r.what, status=r.status, value=r.value, threshold=r.threshold) for r in found],
        waiting=facts.waiting,
        wait_p95_ms=facts.wait_p95_ms,
        failure_rate=facts.failed / facts.tried if facts.tried else None,
    )


def scaling_row(key: Key, facts: QueueFacts, known: QueueSignals) -> ScalingRow:
    return ScalingRow(
        **named(key),
        advice=known.delta,
        desired=known.desired,
        reason=known.reason,
        since=optional_text(known.advised_us or None),
        cooldown_until=optional_text(known.advised_us + COOLDOWN_US if known.delta else None),
        workers=facts.workers,
        busy=facts.busy,
        slots=facts.slots,
        utilisation=facts.utilisation,
        waiting=facts.waiting,
        incoming_per_s=round(facts.incoming_per_s, 6),
        processed_per_s=round(facts.processed_per_s, 6),
        history=[AdviceRow(at=time_text(a.at_us), workers=a.workers, desired=a.desired, reason=a.reason) for a in known.history],
    )


def forecast_row(key: Key, facts: QueueFacts, known: QueueSignals) -> ForecastRow:
    made = known.forecast
    return ForecastRow(
        **named(key),
        waiting=facts.waiting,
        state="shrinking" if made is not None else "growing" if known.growing else "none",
        drain_per_s=round(facts.flows.get(WINDOW, Flow()).drain_per_s, 6),
        earliest_at=optional_text(made.earliest_us) if made else None,
        expected_at=optional_text(made.expected_us) if made else None,
        latest_at=optional_text(made.latest_us) if made else None,
        clear_s=max(0.0, (made.expected_us - facts.at_us) / 1e6) if made else None,
        scored=known.scored,
        inside=known.inside,
        scores=[_score(score) for score in known.scores[-SCORES:]],
    )


def _score(score: Score) -> ScoreRow:
    made = score.forecast
    return ScoreRow(
        made_at=time_text(made.made_us),
        waiting=made.waiting,
        expected_at=time_text(made.expected_us),
        cleared_at=time_text(score.cleared_us),
        inside=score.inside,
        error=round(score.error, 4),
    )
