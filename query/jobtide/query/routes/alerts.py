"""`/v1/alerts`, `/v1/rules`, `/v1/silences`, `/v1/notifications`, `/v1/status`: what fires, why, who was told, and rules before they are used."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi import Path as PathParameter
from jobtide.access.guard import caller_of
from jobtide.query import backtest
from jobtide.query.alert_answers import (
    Alerts,
    Backtest,
    BacktestAsked,
    Checked,
    Component,
    InUse,
    LetterRow,
    Letters,
    Rules,
    RulesText,
    SilenceAsked,
    SilenceRow,
    Silences,
    Status,
    alert_row,
    silence_row,
)
from jobtide.query.alert_feed import STORE, AlertFeed
from jobtide.query.engine import Engine
from jobtide.query.history import PER_LN
from jobtide.query.params import Name
from jobtide.query.problems import Problem, wrong
from jobtide.query.ranges import ParamError, duration_s
from jobtide.query.readers import Unavailable
from jobtide.query.single_flight import SingleFlight
from jobtide.sinks.webhook.letters import read_letters
from jobtide.sinks.webhook.payloads import status_page
from jobtide.sinks.webhook.receivers import ReceiversFile, load_receivers
from jobtide.sinks.webhook.silences import Silence, silenced
from jobtide.streams.alerts.loading import DEFAULT_NAME, RulesError, default_text, load_rules
from jobtide.streams.alerts.model import schema
from jobtide.streams.errors import ConfigError
from jobtide.streams.events import time_text
from jobtide.streams.settings import Settings

SECOND_US = 1_000_000
LONGEST_S = 31 * 86_400
MOST_ROWS = 2_000_000
ORDER = {"firing": 0, "pending": 1, "resolved": 2, "inactive": 3}
TenantParam = Annotated[Name | None, Query(description="Only this tenant.")]
IdParam = Annotated[str, PathParameter(min_length=1, max_length=200, description="Its id.")]


def router(settings: Settings, feed: AlertFeed, engine: Engine, now_us: Callable[[], int]) -> APIRouter:
    routes = APIRouter(tags=["alerts"])
    letters = SingleFlight(lambda: read_letters(settings))  # a whole topic: not once per request that waits for it

    @routes.get("/v1/alerts", summary="Alerts that fire or are pending, worst first")
    async def alerts(
        tenant: TenantParam = None,
        state: Annotated[
            list[Literal["pending", "firing", "resolved", "inactive"]], Query(description="Only these states; may be repeated.")
        ] = ["firing", "pending"],  # noqa: B006 - FastAPI's way of a default
        rule: Annotated[Name | None, Query(description="Only of this rule.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="Most items.")] = 200,
    ) -> Alerts:
        """Each alert once, in its newest state. `state=resolved` shows those that are over."""
        feed.ready()
        found = [
            each for each in feed.alerts.values()
            if each.state in state and (tenant is None or each.labels.get("tenant") == tenant) and (rule is None or each.rule == rule)
        ]  # fmt: skip
        rank = {"critical": 0, "warning": 1, "info": 2}
        found.sort(key=lambda each: (ORDER[each.state], rank[each.severity], -each.at_us, each.fingerprint))
        now_ms = now_us() // 1000
        rows = [alert_row(each, silenced(each, feed.silences.values(), now_ms)) for each in found[:limit]]
        return Alerts(items=rows, truncated=len(found) > limit)

    @routes.get("/v1/status", summary="A status page as JSON: every queue that something fires for")
    async def status(tenant: TenantParam = None) -> Status:
        feed.ready()
        firing = [each for each in feed.alerts.values() if each.state == "firing" and (tenant is None or each.labels.get("tenant") == tenant)]
        page = status_page(firing, now_us())
        components = [Component(**each) for each in page["components"]]
        return Status(status=page["status"], updated_at=page["updated_at"], components=components, further=page["further"])

    @routes.get("/v1/rules", summary="The rules, and what each worker uses of them")
    async def rules() -> Rules:
        """`problems` says why the file as it is now cannot be used; then workers keep the rules from before."""
        text, file = _text(settings)
        problems: list[str] = []
        shown: list[dict[str, Any]] = []
        digest = ""
        try:
            found = await asyncio.to_thread(load_rules, text, file)
            digest, shown = found.digest, [each.model_dump(by_alias=True, mode="json") for each in found.rules]
        except RulesError as error:
            problems = error.problems
        in_use = [InUse(partition=int(partition), **each) for partition, each in sorted(feed.statuses.items()) if each]
        return Rules(file=file, digest=digest, problems=problems, rules=shown, in_use=in_use)

    @routes.get("/v1/rules/schema", summary="The JSON Schema of a rule file")
    async def rules_schema() -> dict[str, Any]:
        return schema()

    @routes.post("/v1/rules/check", summary="Is a rule file right?")
    async def check(asked: RulesText) -> Checked:
        """Changes nothing."""
        try:
            return Checked(problems=[], rules=len((await asyncio.to_thread(load_rules, asked.rules, "rules")).rules))
        except RulesError as error:
            return Checked(problems=error.problems, rules=0)

    @routes.post("/v1/rules/backtest", summary="What would rules have said over history?", responses={429: {"description": "One is running."}})
    async def run_backtest(asked: BacktestAsked) -> Backtest:
        """Episodes, messages per receiver, flaps, and what late events changed against the live transitions. Changes nothing."""
        text = asked.rules or _text(settings)[0]
        try:
            await asyncio.to_thread(load_rules, text, "rules")
        except RulesError as error:
            raise wrong("rules", "; ".join(error.problems)[:2000]) from None
        try:
            length_s = duration_s(asked.last, "last")
        except ParamError as error:
            raise wrong(error.param, error.detail) from None
        if length_s > LONGEST_S:
            raise wrong("last", "is longer than 31d")
        to_us = await _complete_until(engine, now_us())
        from_us = to_us - length_s * SECOND_US
        rows = await _rows(engine, asked.tenant, from_us - backtest.WARM_UP_S * SECOND_US, to_us)
        live = [each for each in feed.recent if asked.tenant is None or each.labels.get("tenant") == asked.tenant]
        return await _aside(text, rows, from_us, to_us, _receivers(settings), live)

    @routes.get("/v1/silences", summary="Silences, those that end last first")
    async def silences(tenant: TenantParam = None) -> Silences:
        feed.ready()
        now_ms = now_us() // 1000
        recent = [each for each in feed.silences.values() if each.ends_ms > now_ms - 86_400_000]
        found = [each for each in recent if tenant is None or each.match.get("tenant") == tenant]
        return Silences(items=[silence_row(each, now_ms) for each in sorted(found, key=lambda each: -each.ends_ms)])

    @routes.post("/v1/silences", summary="Silence alerts for a while", status_code=201)
    async def silence(request: Request, asked: SilenceAsked, tenant: TenantParam = None) -> SilenceRow:
        """Alerts that match are not told to anybody until it ends. `tenant` is put into `match`."""
        now_ms = now_us() // 1000
        match = {**asked.match, **({"tenant": tenant} if tenant is not None else {})}
        if asked.match.get("tenant", tenant) != tenant and tenant is not None:
            raise Problem(403, f"match.tenant: the question is about tenant {tenant!r}")
        new = Silence(secrets.token_hex(8), match, now_ms, now_ms + round(asked.minutes * 60_000), caller_of(request).name, asked.comment)
        await feed.send("silence", new.id, msgspec.json.encode(new))
        feed.silences[new.id] = new
        return silence_row(new, now_ms)

    @routes.delete("/v1/silences/{silence_id}", summary="End a silence")
    async def unsilence(silence_id: IdParam, tenant: TenantParam = None) -> SilenceRow:
        feed.ready()
        known = feed.silences.get(silence_id)
        if known is None or (tenant is not None and known.match.get("tenant") != tenant):
            raise Problem(404, f"there is no silence {silence_id!r}")
        await feed.send("silence", silence_id, None)
        feed.silences.pop(silence_id, None)
        return silence_row(msgspec.structs.replace(known, ends_ms=now_us() // 1000), now_us() // 1000)

    @routes.get("/v1/notifications", summary="Messages to receivers and what became of them, newest first")
    async def notifications(
        state: Annotated[Literal["waiting", "delivered", "dead"] | None, Query(description="Only in this state.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="Most items.")] = 200,
    ) -> Letters:
        """Delivered ones are shown for a day, dead ones for thirty."""
        feed.ready()
        found = [each for each in (await letters.get()).values() if state is None or each.state == state]
        found.sort(key=lambda each: -each.number)
        return Letters(items=[_letter(each) for each in found[:limit]], truncated=len(found) > limit)

    @routes.post("/v1/notifications/{letter_id}/redeliver", summary="Send a dead message again")
    async def redeliver(letter_id: IdParam) -> LetterRow:
        """The same bytes under the same id."""
        feed.ready()
        letter = (await letters.get()).get(letter_id)
        if letter is None or letter.state != "dead":
            raise Problem(404, f"there is no dead message {letter_id!r}; see /v1/notifications?state=dead")
        await feed.send("redeliver", letter_id, msgspec.json.encode({"at_ms": now_us() // 1000}))
        return _letter(letter)

    @routes.post("/v1/notifications/receivers/{receiver}/enable", summary="Use a receiver again that answered 410")
    async def enable(receiver: IdParam) -> dict[str, str]:
        await feed.send("enable", receiver, msgspec.json.encode({"at_ms": now_us() // 1000}))
        return {"receiver": receiver, "state": "enabled"}

    return routes


def _letter(each: Any) -> LetterRow:
    def at(ms: int) -> str | None:
        return time_text(ms * 1000) if ms else None

    return LetterRow(
        id=each.request.id, receiver=each.request.receiver, state=each.state, attempts=each.attempts, reason=each.reason,
        created_at=time_text(each.created_ms * 1000), next_at=at(each.next_ms) if each.state == "waiting" else None, ended_at=at(each.ended_ms),
        about=each.request.about,
    )  # fmt: skip


def _text(settings: Settings) -> tuple[str, str]:
    if not settings.rules:
        return default_text(), DEFAULT_NAME
    try:
        return Path(settings.rules).read_text("utf-8"), settings.rules
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable("the rule file", f"{settings.rules}: {error}"[:200]) from error


def _receivers(settings: Settings) -> ReceiversFile:
    """Those of the notifier, if its file can be read here; their secrets are not needed."""
    try:
        return load_receivers(Path(settings.receivers).read_text("utf-8"), settings.receivers, _AnySecret()) if settings.receivers else _nobody()
    except (ConfigError, OSError):
        return _nobody()


class _AnySecret(dict[str, str]):
    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> str:
        return "whsec_" + "A" * 32


def _nobody() -> ReceiversFile:
    return ReceiversFile.model_validate({})


async def _complete_until(engine: Engine, now_us: int) -> int:
    from jobtide.query import history_rows

    reached = history_rows.progress(await engine.ask("progress", {})).complete_until_us
    return (min(reached, now_us) if reached else now_us) // SECOND_US * SECOND_US


async def _rows(engine: Engine, tenant: str | None, from_us: int, to_us: int) -> list[Any]:
    """Hour by hour, so that no single question is large."""
    rows: list[Any] = []
    while from_us < to_us:
        until_us = min(to_us, from_us + 3600 * SECOND_US)
        ends = {"from_us": from_us, "to_us": until_us, "minutes_from_us": from_us, "minutes_to_us": from_us, "per_ln": PER_LN}
        rest = {"tenant": tenant, **dict.fromkeys(("environment", "system", "queue", "job_class"))}
        rows += await engine.ask("backtest", {**ends, **rest, "limit": MOST_ROWS + 1}, ("attempts",))
        if len(rows) > MOST_ROWS:
            raise wrong("last", f"holds more than {MOST_ROWS} seconds of series; ask for less, or for one tenant")
        from_us = until_us
    return rows


_busy = asyncio.Semaphore(1)


async def _aside(*arguments: Any) -> Backtest:
    """In a process of its own, one at a time: it computes for seconds, and others want answers meanwhile."""
    if _busy.locked():
        raise Problem(429, "a backtest is running: come back when it is done", headers={"Retry-After": "10"})
    async with _busy:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return await asyncio.get_running_loop().run_in_executor(pool, partial(backtest.run, *arguments))


__all__ = ["STORE", "router"]
