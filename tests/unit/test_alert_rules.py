"""Rule files: what is accepted, what is said about mistakes, the published schema, and the shipped rules."""

from __future__ import annotations

import json
from importlib import resources

import jsonschema_rs
import pytest
import yaml
from jobtide.streams.alerts.compiled import compile_rules, condition
from jobtide.streams.alerts.loading import RulesError, default_text, load_rules
from jobtide.streams.alerts.model import KINDS, schema

PUBLISHED = json.loads(resources.files("jobtide.streams.alerts").joinpath("rules.schema.json").read_text("utf-8"))


def problems(text: str) -> list[str]:
    with pytest.raises(RulesError) as caught:
        load_rules(text, "my.yaml")
    return caught.value.problems


def test_the_published_schema_is_the_models() -> None:
    """If this fails: write `model.schema()` into rules.schema.json."""
    assert schema() == PUBLISHED


def test_the_schema_accepts_the_shipped_rules_and_so_does_the_loader() -> None:
    assert jsonschema_rs.validator_for(PUBLISHED).is_valid(yaml.safe_load(default_text()))
    found = load_rules(default_text(), "default")
    assert {type(rule) for rule in found.rules} == set(KINDS.values())
    assert all(rule.summary for rule in found.rules)


_RATIO = "kind: ratio, metric: job_failure_rate, value: 0.1"
_THRESHOLD = "kind: threshold, metric: dead, value: 1"
_DURATION = "write a duration as a number and a unit, such as 500ms, 30s, 5m, 2h or 3d, not '5 minutes'"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (_RATIO, "field min_samples: is missing; write for example min_samples: 20"),
        (_RATIO + ", min_samples: 9, windw: 5m", "field windw: there is none; did you mean window?"),
        ("kind: ratoi", "field kind: there is no 'ratoi'; did you mean ratio?"),
        ("kind: absent, after: 1m", "field after: must be at least 2m: minutes are what is remembered of a silent class"),
        (_THRESHOLD + ", for: 5 minutes", f"field for: {_DURATION}"),
        (_THRESHOLD + ", op: above", "field op: must be 'gt', 'gte', 'lt', 'lte' or 'eq', not 'above'"),
        (_THRESHOLD + ", by: worker", "field by: must be queue, job_class, system, environment or tenant; only kind: worker is by worker"),
    ],
)
def test_a_mistake_is_named_with_file_rule_field_and_fix(rule: str, said: str) -> None:
    assert problems(f"rules: [{{name: A, {rule}}}]") == [f"my.yaml: rule A: {said}"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"rules: [{{{_THRESHOLD}}}]", "my.yaml: rule number 1: field name: is missing; write for example name: JobFailures"),
        ("rules: [7]", "my.yaml: rule number 1: must be a mapping with name and kind, not int"),
        ("rulez: []", "my.yaml: must be a mapping with a list `rules`; start it with `version: 1` and `rules:`"),
        ("a: [", "my.yaml: is not YAML: "),
    ],
)
def test_a_file_that_is_none_is_told_what_one_is(text: str, said: str) -> None:
    assert problems(text)[0].startswith(said)


_LAUGHS = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_LAUGHS + "rules: [{name: A, kind: *i}]", "aliases (*name) cannot be used"),
        ("rules: &r [*r]", "aliases (*name) cannot be used"),
        (f"rules: [{{name: A, {_THRESHOLD}, op: {'x' * 50_000}}}]", "xx…"),
        (f"rules: [{{name: A, kind: {'x' * 50_000}}}]", "xx…"),
        (f"rules: [{{name: {'x' * 50_000}, kind: ratio}}]", "field min_samples"),
        (f"rules: [{{name: A, {_THRESHOLD}, for: {'x' * 50_000}}}]", "xx"),
        (f"rules: [{{name: A, {_THRESHOLD}, {'x' * 900}: 1}}]", "there is none"),
        (f"rules: [{{name: A, kind: 0x{'f' * 20_000}}}]", "too long to be shown"),
        ("version: " + "9" * 50_000, "cannot read"),
        ("version: 2026-99-99", "cannot read"),
        ("version: !!bool x", "cannot read"),
        ("version: !!timestamp x", "cannot read"),
        ("[" * 5000, "nested too deeply"),
        ("rules: [" + "7, " * 500 + "]", "number 200:"),
    ],
)  # fmt: skip
def test_a_hostile_file_is_refused_in_few_words(text: str, said: str) -> None:
    found = problems(text)
    assert said in " ".join(found), found[0][:300]
    assert all(len(each) < 1_000 for each in found)
    assert len(found) <= 201


def test_every_mistake_is_told_at_once() -> None:
    assert len(problems("rules: [{name: A, kind: ratio}, {name: B, kind: burn_rate, objective: 0.5, min_samples: 5}]")) == 4
    twice = "rules: [{name: B, kind: stuck}, {name: B, kind: stuck}]"
    assert problems(twice) == ["my.yaml: rule B: the name is used twice; alerts are told apart by it, so give one another name"]


@pytest.mark.parametrize(("objective", "fine"), [(0.5, False), (0.9309, False), (0.931, True), (0.9999, True), (1, False)])
def test_an_objective_that_could_never_burn_fast_enough_is_refused(objective: float, fine: bool) -> None:
    text = f"rules: [{{name: A, kind: burn_rate, objective: {objective}, min_samples: 5}}]"
    if fine:
        assert load_rules(text, "x").rules[0].objective == objective
        assert 14.4 * (1 - objective) < 1
    else:
        assert "objective" in problems(text)[0]


@pytest.mark.parametrize("kind", [name for name, model in KINDS.items() if model.needs_samples])
def test_rules_on_shares_must_say_how_many_samples_are_enough(kind: str) -> None:
    assert any("field min_samples: is missing" in each for each in problems(f"rules: [{{name: A, kind: {kind}}}]"))


@pytest.mark.parametrize(
    "text",
    [
        # The thresholds of the systems this one replaces, each in a line.
        "{kind: queue_depth, metric: ready, op: gt, value: 100}",
        "{kind: queue_depth, metric: oldest_ready, op: gte, value: 30m}",
        "{kind: percentile, metric: wait, quantile: 0.95, window: 5m, op: gt, value: 300s, min_samples: 1}",
        "{kind: ratio, metric: attempt_failure_rate, window: 5m, op: gt, value: 0.05, min_samples: 20}",
        "{kind: ratio, metric: success_rate, window: 5m, op: lt, value: 0.9, min_samples: 20, mute: 5m, for: 3m}",
        "{kind: threshold, metric: dead, window: 5m, op: gt, value: 0}",
        "{kind: threshold, metric: throughput, window: 5m, op: lte, value: 1.5, by: queue}",
        "{kind: threshold, metric: in_flight, op: eq, value: 0, match: {queue: mail*, job_class: ['*', '!Old*']}}",
        "{kind: percentile, metric: run, quantile: 1, window: 1h, op: gt, value: 10m, min_samples: 1}",
        "{kind: stuck, verdicts: [slow], older_than: 30m, count: 3}",
        "{kind: worker, metric: cpu_percent, op: gt, value: 85}",
        "{kind: worker, metric: heartbeat_age, value: 2m}",
        "{kind: change, metric: wait_p95, window: 5m, op: gt, value: 3, min_samples: 100}",
        "{kind: burn_rate, objective: 0.999, tiers: [14.4, 6], min_samples: 100}",
    ],
)
def test_every_rule_of_the_older_systems_can_be_said(text: str) -> None:
    found = load_rules(f"rules: [{{name: R, {text[1:]}]", "x")
    assert condition(found.rules[0], "6")
    assert compile_rules(found.rules, lambda _: [], lambda _: 0)
    assert jsonschema_rs.validator_for(PUBLISHED).is_valid(yaml.safe_load(f"rules: [{{name: R, {text[1:]}]"))


def test_a_rule_that_is_off_is_checked_but_not_run() -> None:
    found = load_rules("rules: [{name: R, kind: stuck, enabled: false}]", "x")
    assert compile_rules(found.rules, lambda _: [], lambda _: 0) == []
