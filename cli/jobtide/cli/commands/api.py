"""`jobtide api`."""

import click
from jobtide.cli.options import http_port


@click.command()
@http_port
def command(port: int | None) -> None:
    """Run the query API: live answers from Redis, history from ClickHouse."""
    from jobtide.cli.options import start
    from jobtide.cli.serving import serve
    from jobtide.query.app import create_app

    settings = start(http_port=port)
    serve(create_app(settings), settings)
