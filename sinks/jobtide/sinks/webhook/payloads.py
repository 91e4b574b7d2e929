"""What each kind of receiver is sent: requests made from a notification. Pure, and the same bytes for the same notification.

A request is kept as it is until it is delivered: nothing in it may depend on when it is sent. Signatures, which do, are made at the sending.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import orjson
from jobtide.sinks.webhook.grouping import Notification
from jobtide.sinks.webhook.receivers import Alertmanager, Email, PagerDuty, Slack, StatusPage, Webhook
from jobtide.streams.alerts.transitions import Transition
from jobtide.streams.events import time_text

COLOURS = {"critical": "#c0392b", "warning": "#d68910", "info": "#2471a3"}
SLACK_LISTS = 20
MOST_COMPONENTS = 1000  # of a status page: a letter has to fit into a batch
SEVERITIES = {"critical": "critical", "warning": "warning", "info": "info"}


class Request(msgspec.Struct):
    """One message to one receiver. `path` is added to its address; `subject` is for e-mail."""

    id: str
    receiver: str
    group: str
    kind: str
    body: bytes
    path: str = ""
    subject: str = ""
    about: list[str] = []  # ids of the transitions it tells


def requests(receiver: Any, told: Notification, public_url: str, firing: Sequence[Transition]) -> list[Request]:
    """Everything to be sent for a notification; `firing`: all that fires now, for a status page."""
    ids = [each.id for each in told.transitions]

    def request(body: Any, number: int | None = None, path: str = "", subject: str = "", about: list[str] = ids) -> Request:
        raw = body if isinstance(body, bytes) else orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
        return Request(told.id + (f".{number}" if number is not None else ""), told.receiver, told.group, receiver.kind, raw, path, subject, about)

    match receiver:
        case Webhook():
            return [request(webhook(told, public_url))]
        case Slack():
            return [request(slack(told, public_url))]
        case PagerDuty():
            key = receiver.routing_key.get_secret_value()
            return [request(pagerduty(each, key, public_url), n, about=[each.id]) for n, each in enumerate(told.transitions)]
        case Alertmanager():
            return [request([alertmanager(each, public_url) for each in told.transitions], path="/api/v2/alerts")]
        case StatusPage():
            return [request(status_page(firing, max(each.at_us for each in told.transitions)))]
        case Email():
            return [request(text(told, public_url).encode(), subject=title(told))]
    raise TypeError(f"no receiver: {receiver!r}")


def webhook(told: Notification, public_url: str) -> dict[str, Any]:
    last_us = max(each.at_us for each in told.transitions)
    return {
        "type": "alerts.repeated" if told.repeat else "alerts.changed",
        "timestamp": time_text(last_us),
        "data": {"group": told.group, "receiver": told.receiver, "alerts": [described(each, public_url) for each in told.transitions]},
    }


def described(each: Transition, public_url: str) -> dict[str, Any]:
    """One transition with the evidence for its number."""
    return {
        "id": each.id,
        "fingerprint": each.fingerprint,
        "rule": each.rule,
        "kind": each.kind,
        "state": each.state,
        "reason": each.reason,
        "severity": each.severity,
        "summary": each.summary,
        "runbook": each.runbook,
        "labels": each.labels,
        "condition": each.condition,
        "value": each.value,
        "samples": each.samples,
        "started_at": time_text(each.episode_us),
        "at": time_text(each.at_us),
        "window": {"from": time_text(each.from_us), "to": time_text(each.to_us)},
        "query": each.query,
        "link": public_url + each.query if public_url else None,
        "examples": each.examples,
    }


def title(told: Notification) -> str:
    firing = [each for each in told.transitions if each.state == "firing"]
    first = (firing or told.transitions)[0]
    where = " ".join(each for each in (first.labels.get("queue"), first.labels.get("job_class"), first.labels.get("worker_id")) if each)
    more = f" and {len(told.transitions) - 1} more" if len(told.transitions) > 1 else ""
    return f"[{'FIRING' if firing else 'RESOLVED'}] {first.rule} {where}{more}"


def lines(each: Transition, public_url: str) -> list[str]:
    where = ", ".join(f"{name}={value}" for name, value in sorted(each.labels.items()))
    value = "no value" if each.value is None else f"{each.value:.6g}"
    out = [
        f"{each.state.upper()} {each.rule} ({each.severity}, {each.reason})",
        *([each.summary] if each.summary else []),
        f"{each.condition}: {value} of {each.samples} samples, {time_text(each.from_us)} to {time_text(each.to_us)}",
        where,
    ]
    if each.examples:
        out.append("examples: " + ", ".join(example.get("event_id") or example.get("job_id", "") for example in each.examples))
    if public_url:
        out.append(public_url + each.query)
    return [*out, each.runbook] if each.runbook else out


def slack(told: Notification, public_url: str) -> dict[str, Any]:
    attachments = [
        {"color": COLOURS[each.severity] if each.state == "firing" else "#1e8449", "text": escaped("\n".join(lines(each, public_url)))}
        for each in told.transitions[:SLACK_LISTS]
    ]
    if len(told.transitions) > SLACK_LISTS:
        attachments.append({"color": "#7f8c8d", "text": f"and {len(told.transitions) - SLACK_LISTS} more"})
    return {"text": escaped(title(told)), "attachments": attachments}


def escaped(text_: str) -> str:
    """Slack's three special characters: a class name must not become a mention."""
    return text_.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def pagerduty(each: Transition, routing_key: str, public_url: str) -> dict[str, Any]:
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "trigger" if each.state == "firing" else "resolve",
        "dedup_key": each.fingerprint,
    }
    if each.state == "firing":
        event["payload"] = {
            "summary": (each.summary or each.condition)[:1024],
            "source": "/".join(each.labels.get(name, "") for name in ("tenant", "environment", "system", "queue")),
            "severity": SEVERITIES[each.severity],
            "timestamp": time_text(each.at_us),
            "component": each.labels.get("job_class", ""),
            "group": each.labels.get("queue", ""),
            "class": each.rule,
            "custom_details": described(each, public_url),
        }
        if public_url:
            event["links"] = [{"href": public_url + each.query, "text": "the number"}]
    return event


def alertmanager(each: Transition, public_url: str) -> dict[str, Any]:
    alert: dict[str, Any] = {
        "labels": {**each.labels, "alertname": each.rule, "severity": each.severity},
        "annotations": {
            "summary": each.summary, "condition": each.condition, "value": str(each.value), "samples": str(each.samples), "query": each.query,
        },
        "startsAt": time_text(each.episode_us),
        "generatorURL": public_url + each.query if public_url else "",
    }
    if each.runbook:
        alert["annotations"]["runbook_url"] = each.runbook
    if each.state == "resolved":
        alert["endsAt"] = time_text(each.at_us)
    return alert


def status_page(firing: Iterable[Transition], at_us: int) -> dict[str, Any]:
    """Every queue that something fires for, and the worst of it; of very many the worst, and how many `further` ones there are."""
    worst: dict[tuple[str, ...], tuple[int, set[str]]] = {}
    for each in firing:
        name = tuple(each.labels.get(part, "") for part in ("tenant", "environment", "system", "queue"))
        rank, rules = worst.get(name, (0, set()))
        rules.add(each.rule)
        worst[name] = max(rank, {"info": 0, "warning": 1, "critical": 2}[each.severity]), rules
    shown = sorted(worst.items(), key=lambda item: (-item[1][0], item[0]))[:MOST_COMPONENTS]
    states = ("operational", "degraded", "outage")
    components = [
        {"name": "/".join(part for part in name if part), "status": states[rank], "alerts": sorted(rules)}
        for name, (rank, rules) in sorted(shown)
    ]
    overall = states[max((rank for rank, _ in worst.values()), default=0)]
    return {"status": overall, "updated_at": time_text(at_us), "components": components, "further": len(worst) - len(shown)}


def text(told: Notification, public_url: str) -> str:
    return "\n\n".join("\n".join(lines(each, public_url)) for each in told.transitions) + "\n"
