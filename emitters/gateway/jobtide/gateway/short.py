"""The flat short form of an event, completed to a full one. Pure: the arrival time and a nonce are arguments.

Not validation: the contract's decoder judges the result, so a wrong short event is refused with the same reasons as a
full one. `{"type": "job.started", "system": …, "job_id": …}` comes in, the CloudEvents envelope around `data` goes out.
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

SOURCE = "/gateway"
_ENVELOPE = ("id", "time", "source", "subject", "backfill", "traceparent", "tracestate")


def is_short(tree: dict[str, Any]) -> bool:
    """A full event says `specversion` or `data`; a short one neither."""
    return "specversion" not in tree and "data" not in tree


def expand(flat: dict[str, Any], arrived: str, nonce: str, tenant: str = "default", environment: str = "default") -> dict[str, Any]:
    """The full event.

    Without `time` it happened when it arrived (`arrived`: RFC 3339 Z). Without `id` its id is a hash of its content, so
    that a client may send the same line again; without both nothing tells a repetition from a second event, and `nonce`
    makes the id unique. Without `tenant` or `environment` it is of those given here (an ingest key's).

    >>> expand({"type": "job.started", "system": "cron", "job_id": "7"}, "2026-11-22T00:00:00Z", "n")["partitionkey"]
    'default/cron/7'
    """
    data: dict[str, Any] = {"tenant": tenant, "environment": environment}
    data |= {name: value for name, value in flat.items() if name not in _ENVELOPE and name != "type"}
    kind = flat.get("type")
    if _family(kind) == "job":
        data.setdefault("attempt", 1)
    key, subject = _place(kind, data)
    event = {
        "specversion": "1.0",
        "id": flat.get("id", _content_id(flat, data, nonce)),
        "source": flat.get("source", SOURCE),
        "type": f"{kind}.v1" if isinstance(kind, str) and not kind.endswith(".v1") else kind,
        "subject": flat.get("subject", subject[:300]),
        "time": flat.get("time", arrived),
        "partitionkey": key,
        "data": data,
    }
    event |= {name: flat[name] for name in ("backfill", "traceparent", "tracestate") if name in flat}
    if kind is None:
        del event["type"]
    return event


def _family(kind: Any) -> str:
    return kind.partition(".")[0] if isinstance(kind, str) else ""


def _place(kind: Any, data: dict[str, Any]) -> tuple[str, str]:
    """(partitionkey, subject) by the contract's rule; absent members are the decoder's to refuse."""
    owner = f"{data['tenant']}/{data.get('system')}"
    family = _family(kind)
    if family == "worker":
        return f"{owner}/w/{data.get('worker_id')}", str(data.get("worker_id"))
    if family == "queue":
        return f"{owner}/q/{data.get('queue')}", str(data.get("queue"))
    if family == "job":
        return f"{owner}/{data.get('job_id')}", str(data.get("job_id"))
    return str(data["tenant"]), str(data.get("release", data["tenant"]))


def _content_id(flat: dict[str, Any], data: dict[str, Any], nonce: str) -> str:
    content = [flat.get("type"), flat.get("time", nonce), data]
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]
