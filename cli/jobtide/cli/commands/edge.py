"""`jobtide edge` (hidden): what `up` puts on its one port. Gateway, query API and, with the embedded engine, the
history writer in one process, because one process owns the engine's directory.
"""

from __future__ import annotations

import asyncio

import click
from jobtide.cli.options import http_port


@click.command(hidden=True)
@http_port
def command(port: int | None) -> None:
    """Run gateway, query API and history writer in one process."""
    from jobtide.cli.history_meters import registered
    from jobtide.cli.options import start
    from jobtide.cli.serving import serve
    from jobtide.gateway import Gateway
    from jobtide.query.app import create_app
    from jobtide.sinks import history

    settings = start(http_port=port)
    app = create_app(settings)
    Gateway(settings).join(app)

    if not settings.clickhouse_url.startswith("chdb:"):
        serve(app, settings)
        return
    metrics = registered()

    async def write_history(stop: asyncio.Event) -> None:
        await history.run(settings, stop, metrics)

    serve(app, settings, beside=write_history)
