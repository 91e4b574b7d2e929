"""`jobtide api`."""

import click
from jobtide.cli.options import everywhere, http_port


@click.command()
@http_port
@everywhere
def command(port: int | None, listen_everywhere: bool) -> None:
    """Run the query API: live answers from Redis, history from ClickHouse."""
    from jobtide.cli.options import start
    from jobtide.cli.serving import serve
    from jobtide.query.app import create_app

    settings = start(http_port=port)
    serve(create_app(settings), settings, listen_everywhere)
