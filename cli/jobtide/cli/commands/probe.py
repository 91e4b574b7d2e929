"""`jobtide probe URL` (hidden): exit code 0 if the URL answers 200. For health checks of containers without curl."""

import http.client
from urllib.parse import urlsplit

import click


@click.command(hidden=True)
@click.argument("url")
def command(url: str) -> None:
    """Exit with 0 if URL answers 200, else with 1."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", parts.path or "/")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        click.echo(f"{url}: {error}", err=True)
        raise SystemExit(1) from None
    if status != 200:
        click.echo(f"{url}: {status}", err=True)
        raise SystemExit(1)
