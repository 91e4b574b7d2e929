"""`jobtide gateway`."""

import click
from jobtide.cli.options import everywhere, http_port


@click.command()
@http_port
@everywhere
def command(port: int | None, listen_everywhere: bool) -> None:
    """Run the HTTP gateway: POST /v1/events → Kafka."""
    from jobtide.cli.options import start
    from jobtide.cli.serving import serve
    from jobtide.gateway import create_app

    settings = start(http_port=port)
    serve(create_app(settings), settings, listen_everywhere)
