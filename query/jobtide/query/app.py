"""The query API as one application: readers, routes, problems, and the tasks that keep the live state.

Thin: what is answered is in `routes`, from where in `sources`. `create_app` opens nothing before the application
starts; other parts of the same port (the gateway) add their routes and wrap the lifespan.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from importlib.util import find_spec

from fastapi import Depends, FastAPI
from jobtide.access.guard import Access, install, takes_tenant
from jobtide.query import openapi, problems
from jobtide.query.alert_feed import AlertFeed
from jobtide.query.analyst import Analyst
from jobtide.query.engine import STORE as CLICKHOUSE
from jobtide.query.engine import Engine
from jobtide.query.etags import ETags
from jobtide.query.feed import Feed
from jobtide.query.follow import Follower
from jobtide.query.frames import Frames
from jobtide.query.history import ClickHouseHistory
from jobtide.query.insight import Insight
from jobtide.query.live import STORE as REDIS
from jobtide.query.live import MirrorLive
from jobtide.query.meters import LiveCollector
from jobtide.query.mirror import Mirror
from jobtide.query.routes import (
    admin,
    alert_history,
    alerts,
    batches,
    checks,
    classes,
    completeness,
    deploys,
    errors,
    health,
    jobs,
    live,
    overview,
    query,
    queues,
    series,
    signals,
    stuck,
    trends,
    why_slow,
    workers,
)
from jobtide.query.signal_keeper import SignalKeeper
from jobtide.query.signal_meters import SignalCollector
from jobtide.query.sources import Sources
from jobtide.sinks.clickhouse.connection import ClickHouse
from jobtide.sinks.erasure import Erasure
from jobtide.sinks.redis.hot_state import RedisHotState
from jobtide.streams.settings import Settings
from prometheus_client import CollectorRegistry

log = logging.getLogger(__name__)

TITLE = "jobtide"
DESCRIPTION = (
    "Live and historical numbers of background jobs. Every answer says which range it is about, how far event time has "
    "come (`watermark`, `complete_until`), how much of what was emitted has arrived (`completeness`) and which store "
    "answered (`source`). Errors are application/problem+json."
)


WRITER_TIMEOUT_S = 60

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def clock_us() -> int:
    """The present, µs since the epoch."""
    return time.time_ns() // 1000


def create_app(settings: Settings) -> FastAPI:
    """The application of these settings, to be served as it is or joined by other routes."""
    mirror = Mirror()
    follower = Follower(settings, mirror)
    engine = Engine(settings)
    analyst = Analyst(settings)
    live_reader = MirrorLive(mirror)
    history = ClickHouseHistory(engine, settings.retention_workers_days, settings.retention_events_days)
    feed = Feed(mirror, Frames(mirror, live_reader), secrets.token_hex(6), clock_us)
    sink = RedisHotState(settings)
    keeper = SignalKeeper(mirror, sink, clock_us)
    key = settings.cursor_key.encode() or secrets.token_bytes(32)
    writer = ClickHouse(settings, timeout_s=WRITER_TIMEOUT_S)
    access = Access(settings, writer.insert)
    alert_feed = AlertFeed(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        tasks = [
            _running("hot state", follower.run), _running("live feed", feed.run), _running("signals", keeper.run), _running("alerts", alert_feed.run),
        ]  # fmt: skip
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await follower.close()
            await sink.close()
            await alert_feed.close()
            await asyncio.to_thread(engine.close)
            await asyncio.to_thread(analyst.close)
            await asyncio.to_thread(writer.close)

    registry = CollectorRegistry()
    registry.register(LiveCollector(mirror, live_reader, feed, clock_us))
    registry.register(SignalCollector(keeper))
    sources = Sources(live_reader, history, Insight(engine, settings.partitions), clock_us, key)
    app = assembled(sources, feed, lifespan, settings.guarded)
    app.state.registry = registry  # whoever serves it may send it on
    app.include_router(signals.router(sources, keeper))
    app.add_middleware(ETags)
    app.include_router(query.router(sources, engine, analyst))
    app.include_router(health.router({REDIS: follower.ping, CLICKHOUSE: history.ready}, registry))
    app.include_router(alerts.router(settings, alert_feed, engine, clock_us))
    app.include_router(admin.router(Erasure(writer, settings), access.trail, engine))
    install(app, access)
    if find_spec("mcp") is not None:  # the extra jobtide[mcp]
        from jobtide.query.mcp.mounted import mount

        mount(app, version("jobtide"))
    return app


def assembled(sources: Sources, feed: Feed, lifespan: Lifespan | None = None, guarded: bool = False) -> FastAPI:
    """The routes over any readers."""
    app = FastAPI(title=TITLE, version="1", description=DESCRIPTION, lifespan=lifespan, dependencies=[Depends(takes_tenant)])
    nouns = (overview, queues, classes, series, jobs, workers, errors, why_slow, trends, deploys, batches, checks, completeness, alert_history)
    for noun in nouns:
        app.include_router(noun.router(sources))
    app.include_router(stuck.router(sources))
    app.include_router(live.router(feed))
    problems.install(app)
    openapi.install(app, guarded)
    return app


def _running(name: str, run: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    async def running() -> None:
        try:
            await run()
        except Exception:
            # Without it every live answer would grow old in silence: end the process, its supervisor starts another.
            log.critical("a task of the query API failed", exc_info=True, extra={"task": name})
            signal.raise_signal(signal.SIGTERM)

    return asyncio.create_task(running(), name=name)
