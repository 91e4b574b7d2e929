"""Signatures, retries, silences, inhibition, grouping, payloads: the notifier's decisions, one by one."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jobtide.sinks.webhook import signing
from jobtide.sinks.webhook.desk import Desk
from jobtide.sinks.webhook.grouping import MOST_HELD, MOST_TOLD, Group, Notification, due, is_news, take
from jobtide.sinks.webhook.payloads import requests, status_page
from jobtide.sinks.webhook.receivers import ReceiversFile, load_receivers
from jobtide.sinks.webhook.retrying import DELAYS_MS, JITTER, OPENS_AFTER, Breaker, Outcome, decide
from jobtide.sinks.webhook.silences import Inhibition, Inhibitors, Silence, silenced
from jobtide.streams.alerts.transitions import State, Transition, fingerprint, transition_id
from jobtide.streams.checkpoint.log import MAX_BATCH_BYTES
from jobtide.streams.errors import ConfigError
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(1, 33))).decode()


def alert(state: State, at_s: int, rule: str = "R", severity: str = "warning", episode_s: int | None = None, **labels: str) -> Transition:
    labels = {"tenant": "acme", "environment": "prod", "system": "celery", "queue": "mail", "job_class": "Send"} | labels
    print_, episode_us = fingerprint(rule, labels), (episode_s if episode_s is not None else at_s) * 1_000_000
    return Transition(
        id=transition_id(rule, print_, episode_us, state), rule=rule, kind="ratio", fingerprint=print_, labels=labels, severity=severity, state=state,
        reason="held", episode_us=episode_us, at_us=at_s * 1_000_000, value=0.5, samples=40, condition="job_failure_rate > 0.1 over 5m",
        from_us=(at_s - 300) * 1_000_000, to_us=at_s * 1_000_000, query="/v1/classes?queue=mail", summary="Jobs <fail>",
    )  # fmt: skip


# -- signatures


@given(st.binary(max_size=200), st.text(alphabet="abcdef0123456789_", min_size=1, max_size=40))
def test_the_library_verifies_every_signature(body: bytes, name: str) -> None:
    text = json.dumps({"body": body.hex()}).encode()
    now_s = int(datetime.now(UTC).timestamp())
    found = signing.headers(f"msg_{name}", now_s, text, [SECRET])
    Webhook(SECRET).verify(text, found)
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(text, found)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(text + b" ", found)


def test_while_a_secret_is_replaced_both_verify() -> None:
    found = signing.headers("msg_1", int(datetime.now(UTC).timestamp()), b"{}", [SECRET, OTHER])
    Webhook(SECRET).verify(b"{}", found)
    Webhook(OTHER).verify(b"{}", found)


# -- retries


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "delivered"), (204, "delivered"), (302, "again"), (400, "again"), (404, "again"), (410, "gone"), (429, "again"), (None, "again")],
)
def test_what_an_answer_means(status: int | None, outcome: str) -> None:
    assert decide(status, "", 1, None, 0, 0.5).outcome == outcome


def test_the_waits_grow_to_a_day_with_jitter_and_then_the_letter_is_dead() -> None:
    waits = [decide(500, "", attempt, None, 0, 0.5).wait_ms for attempt in range(1, 11)]
    assert waits == list(DELAYS_MS) and waits[:5] == [5_000, 30_000, 120_000, 300_000, 900_000] and waits[-1] == 86_400_000
    assert decide(500, "", 1, None, 0, 0.0).wait_ms == 5_000 * (1 - JITTER)
    assert decide(500, "", 11, None, 0, 0.5).outcome is Outcome.DEAD


def test_retry_after_is_obeyed_but_not_for_ever_and_never_shortens() -> None:
    assert decide(429, "", 1, "90", 0, 0.5).wait_ms == 90_000
    assert decide(503, "", 1, "Thu, 01 Jan 1970 00:02:00 GMT", 60_000, 0.5).wait_ms == 60_000
    assert decide(429, "", 1, "1", 0, 0.5).wait_ms == 5_000
    assert decide(429, "", 1, "99999999999", 0, 0.5).wait_ms == 86_400_000
    assert decide(500, "", 1, "90", 0, 0.5).wait_ms == 5_000


def test_a_breaker_opens_lets_one_probe_through_and_closes() -> None:
    breaker = Breaker()
    for now_ms in range(OPENS_AFTER):
        assert breaker.lets(now_ms)
        breaker.note(False, now_ms)
    assert not breaker.lets(1000) and breaker.state == "open"
    assert breaker.lets(40_000) and not breaker.lets(40_001)  # one probe
    breaker.note(False, 40_002)
    assert not breaker.lets(90_000) and breaker.lets(110_000)
    breaker.note(True, 110_001)
    assert breaker.lets(110_002) and breaker.state == "closed"
    breaker.pause(200_000)
    assert not breaker.lets(199_999) and breaker.lets(200_000)


# -- silences and inhibition


def test_a_silence_is_of_labels_rule_and_severity_and_ends() -> None:
    silence = Silence("s1", {"queue": "ma*", "severity": "warning", "rule": "R"}, 1000, 2000)
    firing = alert("firing", 1)
    assert [silenced(firing, [silence], now) for now in (999, 1000, 1999, 2000)] == ["", "s1", "s1", ""]
    assert silenced(alert("firing", 1, queue="other"), [silence], 1500) == ""


def test_a_critical_alert_inhibits_the_warning_of_the_same_series_only() -> None:
    critical = alert("firing", 1, rule="C", severity="critical")
    ours = Inhibitors(ReceiversFile().inhibitions())
    for each in (critical, alert("firing", 2)):
        ours.add(each)
    assert ours.of(alert("firing", 2)) == critical.fingerprint
    assert ours.of(alert("firing", 2, queue="other")) == ""
    assert ours.of(critical) == ""
    ours.remove(critical)
    assert ours.of(alert("firing", 2)) == ""
    assert Inhibitors([Inhibition({"rule": "X"}, {}, [])]).of(alert("firing", 2)) == ""


# -- grouping


def group(**more: int) -> Group:
    return Group("hook", "rule=R", **({"wait_ms": 0, "interval_ms": 300_000, "repeat_ms": 14_400_000, "since_ms": 0} | more))


def free(_: Transition) -> bool:
    return False


def held(_: Transition) -> bool:
    return True


def only(*asked: Any) -> Notification | None:
    found = due(*asked)
    assert len(found) <= 1
    return found[0] if found else None


def test_the_first_alert_is_told_at_once_the_next_after_the_interval_and_again_after_the_repeat() -> None:
    one, other = alert("firing", 1), alert("firing", 2, job_class="Other")
    g = group()
    take(g, one, free)
    first = only(g, 10, free)
    assert first is not None and first.transitions == [one]
    take(g, other, free)
    assert only(g, 200_000, free) is None
    second = only(g, 300_010, free)
    assert second is not None and second.transitions == [other]
    assert only(g, 300_011, free) is None
    again = only(g, 300_010 + 14_400_000, free)
    assert again is not None and again.repeat and again.transitions == [one, other]
    assert len({first.id, second.id, again.id}) == 3


def test_what_fired_and_resolved_within_the_interval_is_told_whole_and_in_order() -> None:
    g, story = group(sent_ms=1), [alert("firing", 1), alert("resolved", 5, episode_s=1), alert("firing", 9), alert("resolved", 12, episode_s=9)]
    for each in story:
        take(g, each, free)
    told = only(g, 300_001, free)
    assert told is not None and told.transitions == story and g.over


def test_what_was_silenced_until_it_resolved_is_never_told_and_what_still_fires_is_told_later() -> None:
    g = group()
    take(g, alert("firing", 1), held)
    assert only(g, 10, held) is None
    take(g, alert("resolved", 5, episode_s=1), held)
    assert only(g, 10, free) is None and g.over
    take(g, alert("firing", 9), held)
    assert only(g, 20, held) is None
    told = only(g, 30, free)
    assert told is not None and [each.state for each in told.transitions] == ["firing"]
    take(g, alert("resolved", 12, episode_s=9), held)  # they heard that it fires: they hear that it is over
    told = only(g, 400_000, held)
    assert told is not None and [each.state for each in told.transitions] == ["resolved"]


def test_whether_an_alert_is_held_is_asked_only_when_it_is_time_to_tell() -> None:
    asked: list[Transition] = []

    def ask(each: Transition) -> bool:
        asked.append(each)
        return False

    g = group(sent_ms=1000)
    take(g, alert("firing", 1), free)
    assert due(g, 1001, ask) == [] and not asked
    assert len(due(g, 301_000, ask)) == 1 and len(asked) == 1


def test_a_storm_is_told_whole_in_order_in_parts_and_so_is_its_repeat() -> None:
    g, storm = group(), [alert("firing", n, job_class=f"C{n}") for n in range(1, 2 * MOST_TOLD + 51)]
    for each in storm:
        take(g, each, free)
    parts = due(g, 10, free)
    assert [len(each.transitions) for each in parts] == [MOST_TOLD, MOST_TOLD, 50]
    assert [each for part in parts for each in part.transitions] == storm and len({each.id for each in parts}) == 3
    again = due(g, 10 + 14_400_000, free)
    assert [(len(each.transitions), each.repeat) for each in again] == [(MOST_TOLD, True), (MOST_TOLD, True), (50, True)]
    assert len({each.id for each in (*parts, *again)}) == 6


def test_a_record_that_comes_again_is_not_news() -> None:
    seen: dict[str, Any] = {}
    story = [alert("pending", 1), alert("firing", 5, episode_s=1), alert("resolved", 9, episode_s=1)]
    assert [is_news(seen, each) for each in [*story, *story, alert("firing", 20)]] == [True] * 3 + [False] * 3 + [True]


# -- receivers

FILE = f"""
receivers:
  - {{name: hook, kind: webhook, url: "https://hooks.example.com/x", secrets: ["{SECRET}", "env:NEW_SECRET"]}}
  - {{name: chat, kind: slack, url: "https://chat.example.com/x"}}
  - {{name: pager, kind: pagerduty, routing_key: "env:PAGER", least_severity: critical}}
  - {{name: am, kind: alertmanager, url: "https://am.example.com"}}
  - {{name: page, kind: status_page, url: "https://status.example.com/x"}}
  - {{name: post, kind: email, host: mail.example.com, sender: jobtide@example.com, to: [ops@example.com]}}
routes:
  - {{match: {{tenant: acme}}, receivers: [hook, pager, post], interval: 1m}}
  - {{receivers: [chat, am, page]}}
"""
ENVIRONMENT = {"NEW_SECRET": OTHER, "PAGER": "key123"}


def test_the_file_is_read_secrets_come_from_the_environment_and_are_not_shown() -> None:
    found = load_receivers(FILE, "r.yaml", ENVIRONMENT)
    assert "key123" not in repr(found) and SECRET not in repr(found) and "hooks.example.com" not in repr(found)
    warning, critical = alert("firing", 1), alert("firing", 1, severity="critical")
    assert [name for _, name in found.routes_of(warning, {"tenant": "acme"})] == ["hook", "post", "chat", "am", "page"]
    assert [name for _, name in found.routes_of(critical, {"tenant": "acme"})] == ["hook", "pager", "post", "chat", "am", "page"]
    assert [name for _, name in found.routes_of(critical, {"tenant": "other"})] == ["chat", "am", "page"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("receivers: [{name: a, kind: webhook, url: 'https://u:p@x.example/'}]", "a user name or password"),
        ("receivers: [{name: a, kind: webhook, url: 'https://x.example/', secrets: ['whsec_abc']}]", "is no secret"),
        ("receivers: [{name: a, kind: webhook, url: 'env:NOT_SET'}]", "the environment has no NOT_SET"),
        ("receivers: [{name: a, kind: smoke}]", "smoke"),
        ("routes: [{receivers: [nobody]}]", "a route names the receiver nobody"),
        ("receivers: [{name: a, kind: slack, url: 'https://x.example/'}, {name: a, kind: slack, url: 'https://x.example/'}]", "two receivers"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_mistake_is_said_with_file_and_fix(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load_receivers(text, "r.yaml", {})
    assert str(caught.value).startswith("r.yaml: ") and "whsec_abc" not in str(caught.value) and "u:p@" not in str(caught.value)


# -- payloads


def told_by(name: str, *transitions: Transition) -> list[Any]:
    found = load_receivers(FILE, "r.yaml", ENVIRONMENT)
    desk = Desk(found, "https://jobtide.example/")
    for offset, each in enumerate(transitions):
        desk.read(0, offset, each, 1000, False)
    out = []
    for each in desk.due(1000):
        if each.receiver == name:
            out += requests(found.receiver(name), each, desk.public_url, list(desk.firing.values()))
    return out


def test_a_webhook_carries_the_evidence_for_its_number() -> None:
    (request,) = told_by("hook", alert("firing", 1000))
    said = json.loads(request.body)["data"]["alerts"][0]
    assert said["link"] == "https://jobtide.example/v1/classes?queue=mail" and said["query"] == "/v1/classes?queue=mail"
    assert said["window"] == {"from": "1970-01-01T00:11:40.000000Z", "to": "1970-01-01T00:16:40.000000Z"}
    assert (said["value"], said["samples"], said["reason"]) == (0.5, 40, "held") and said["id"] == alert("firing", 1000).id
    assert told_by("hook", alert("firing", 1000)) == [request]  # the same bytes and id, whoever decides it


def test_pagerduty_gets_one_event_per_alert_with_the_fingerprint_to_resolve_it() -> None:
    found = told_by("pager", alert("firing", 1, severity="critical"), alert("firing", 2, severity="critical", job_class="Other"))
    events = [json.loads(each.body) for each in found]
    assert [each["event_action"] for each in events] == ["trigger", "trigger"] and len({each["dedup_key"] for each in events}) == 2
    assert events[0]["routing_key"] == "key123" and events[0]["payload"]["severity"] == "critical"


def test_slack_cannot_be_made_to_mention_anybody() -> None:
    (request,) = told_by("chat", alert("firing", 1, job_class="<!channel>"))
    assert b"<!channel>" not in request.body and b"&lt;!channel&gt;" in request.body


def test_alertmanager_gets_its_own_form_and_a_status_page_the_state_of_queues() -> None:
    (request,) = told_by("am", alert("firing", 1))
    assert request.path == "/api/v2/alerts" and json.loads(request.body)[0]["labels"]["alertname"] == "R"
    page = status_page([alert("firing", 1, severity="critical"), alert("firing", 1, queue="other")], 5_000_000)
    assert page["status"] == "outage"
    assert [(each["name"], each["status"]) for each in page["components"]] == [
        ("acme/prod/celery/mail", "outage"), ("acme/prod/celery/other", "degraded"),
    ]  # fmt: skip


def test_a_status_page_of_very_many_alerts_shows_the_worst_and_says_how_many_there_are_beside() -> None:
    """A letter has to fit into a batch, and many alerts of one queue must not take the square of their number."""
    many = [alert("firing", 1, queue="one", job_class=f"C{n}") for n in range(100_000)]
    others = [alert("firing", 1, queue=f"q{n:05}", severity="critical" if n == 4321 else "info") for n in range(5000)]
    page = status_page([*many, *others], 5_000_000)
    assert (len(page["components"]), page["further"], page["status"]) == (1000, 4001, "outage")
    assert {each["name"].split("/")[-1] for each in page["components"] if each["status"] != "operational"} == {"q04321", "one"}
    assert len(json.dumps(page)) < 200_000


def test_an_email_says_it_in_words() -> None:
    (request,) = told_by("post", alert("firing", 1))
    assert request.subject == "[FIRING] R mail Send"
    assert b"job_failure_rate > 0.1 over 5m: 0.5 of 40 samples" in request.body


# -- the desk


def desk(kind: str = "{name: ops, kind: slack, url: https://8.8.8.8/x}", more: str = "") -> Desk:
    text = f"receivers: [{kind}]\nroutes: [{{receivers: [ops], group_by: [queue]}}]\n{more}"
    return Desk(load_receivers(text, "r.yml", {}), "")


def told(by: Desk, now_ms: int) -> int:
    """Decide and write; the number of letters there are now."""
    for each in by.due(now_ms):
        by.write(each, now_ms)
    return len(by.letters)


def test_a_letter_is_sent_only_when_its_intent_is_durable_not_while_it_is_being_saved() -> None:
    ours = desk()
    ours.read(0, 0, alert("firing", 10), 1000, stale=False)
    assert told(ours, 1000) == 1
    assert ours.next_letter("ops", 1000) is None  # not saved
    ours.take_unsaved()
    assert ours.next_letter("ops", 1000) is None  # the save is on its way
    ours.read(0, 1, alert("firing", 11, queue="other"), 1000, stale=False)
    assert told(ours, 1001) == 2  # decided in the meantime: of the next save
    ours.saved()
    letter = ours.next_letter("ops", 1001)
    assert letter is not None and letter.number == 0
    ours.note(letter, decide(200, "", 1, None, 1001, 0.5), 1001)
    assert ours.next_letter("ops", 1001) is None
    ours.take_unsaved()
    ours.saved()
    second = ours.next_letter("ops", 1001)
    assert second is not None and second.number == 1


def test_what_one_save_holds_is_bounded_and_nothing_is_lost_by_it() -> None:
    ours, asked = desk(), 3 * MOST_HELD
    biggest, read = 0, 0
    storm = [alert("firing", 10, job_class=f"{n}" + "x" * 2000) for n in range(asked)]
    heard: list[str] = []
    for now_ms in range(1000, 1100):
        while read < asked:
            ours.read(0, read, storm[read], now_ms, stale=False)
            read += 1
            if ours.heavy:
                break
        before = set(ours.letters)
        told(ours, now_ms)
        heard += [name for id_ in ours.letters.keys() - before for name in ours.letters[id_].request.about]
        biggest = max(biggest, sum(len(key) + len(value or b"") for key, value in ours.take_unsaved()))
        ours.saved()
    for now_ms in (400_000, 400_001, 400_002, 400_003, 400_004):
        before = set(ours.letters)
        told(ours, now_ms)
        heard += [name for id_ in ours.letters.keys() - before for name in ours.letters[id_].request.about]
        biggest = max(biggest, sum(len(key) + len(value or b"") for key, value in ours.take_unsaved()))
    assert biggest < MAX_BATCH_BYTES * 3 // 4
    assert sorted(heard) == sorted(each.id for each in storm)
    assert max(len(each.alerts) for each in ours.groups.values()) <= MOST_HELD


def test_letters_to_a_disabled_receiver_are_dead_at_once_and_those_that_wait_for_it_too() -> None:
    ours = desk()
    for n, queue in enumerate(("a", "b", "c")):
        ours.read(0, n, alert("firing", 10, queue=queue), 1000, stale=False)
    told(ours, 1000)
    ours.take_unsaved()
    ours.saved()
    first = ours.next_letter("ops", 1000)
    assert first is not None
    ours.note(first, decide(410, "", 1, None, 1000, 0.5), 1000)
    ours.read(0, 3, alert("firing", 11, queue="d"), 1001, stale=False)
    told(ours, 1001)
    assert [(each.state, each.reason) for each in ours.letters.values()][3] == ("dead", "receiver disabled")
    told(ours, 100_000)  # the next cleaning
    assert {each.state for each in ours.letters.values()} == {"dead"}


def test_letters_that_nobody_takes_do_not_wait_for_ever_but_one_redelivered_by_hand_does_not_die_of_its_age() -> None:
    ours = desk()
    ours.read(0, 0, alert("firing", 10), 1000, stale=False)
    told(ours, 1000)
    (letter,) = ours.letters.values()
    week_ms = 7 * 86_400_000
    told(ours, 1000 + week_ms)
    assert letter.state == "waiting"
    told(ours, 70_000 + week_ms)
    assert (letter.state, letter.reason) == ("dead", "waited for seven days")
    ours.command(f"redeliver\x1f{letter.request.id}", b'{"at_ms": %d}' % (80_000 + week_ms), 80_000 + week_ms)
    told(ours, 200_000 + week_ms)
    assert letter.state == "waiting"
    other = desk("{name: new, kind: slack, url: https://8.8.8.8/x}, {name: ops, kind: slack, url: https://8.8.8.8/x}")
    other.file = load_receivers("receivers: [{name: new, kind: slack, url: https://8.8.8.8/x}]", "r.yml", {})
    for key, value in ours.take_unsaved():
        other.load(key, value)
    told(other, 300_000 + week_ms)
    assert {(each.state, each.reason) for each in other.letters.values()} == {("dead", "receiver not in the file")}
