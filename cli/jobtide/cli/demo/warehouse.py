"""The shop's RQ half: the functions its workers import, and how they are enqueued. DEMO_REDIS_URL is its store."""

from __future__ import annotations

import os

import jobtide_emitter.rq
from jobtide.cli.demo import work
from redis import Redis
from rq import Queue, Retry

QUEUE = "warehouse"
jobtide_emitter.rq.install()
queue = Queue(QUEUE, connection=Redis.from_url(os.environ["DEMO_REDIS_URL"]))


def index_product() -> None:
    """A job class that always works."""
    _attempt("index_product")


def sync_stock() -> None:
    """A job class that is retried."""
    _attempt("sync_stock")


def export_orders() -> None:
    """A job class that fails for good, or dies."""
    _attempt("export_orders")


def _attempt(name: str) -> None:
    work.perform(work.RQ[name])


def enqueue(name: str) -> None:
    """Hand one job to RQ."""
    function = {"index_product": index_product, "sync_stock": sync_stock, "export_orders": export_orders}[name]
    retry = Retry(max=work.RETRIES, interval=[1, 2]) if work.RQ[name].retried else None
    queue.enqueue(function, retry=retry, result_ttl=60, failure_ttl=600)
