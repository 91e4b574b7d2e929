"""The MCP server of `jobtide mcp`: tools that ask a jobtide over HTTP, spoken over standard input and output."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from jobtide.cli.ask.api import Api
from jobtide.streams.errors import ConfigError, TransientError


def run(url: str) -> None:
    """Until the assistant goes. ConfigError if the extra is not installed."""
    try:
        from jobtide.query.mcp.tools import Refused, server
    except ImportError:
        raise ConfigError("`jobtide mcp` needs the MCP library: pip install 'jobtide[mcp]'") from None
    api = Api(url)

    async def ask(path: str, params: Mapping[str, Any], headers: Mapping[str, str] | None) -> dict[str, Any]:
        try:
            return await asyncio.to_thread(api.get, path, params)
        except (ConfigError, TransientError) as error:
            raise Refused(str(error)) from None

    server(ask, version("jobtide")).run("stdio")
