"""`python -m jobtide_emitter.agent`: the agent where jobtide itself is not installed. `jobtide agent` is the same."""

from __future__ import annotations

import argparse
import logging
import os
import sys

from jobtide_emitter.agent import Agent, serve
from jobtide_emitter.errors import ConfigError
from jobtide_emitter.settings import load


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m jobtide_emitter.agent", description="Delivers what dead processes left in the spool directory.")
    parser.add_argument("--spool-dir", default="", help="the directory (JOBTIDE_EMITTER_SPOOL_DIR)")
    parser.add_argument("--once", action="store_true", help="deliver what is there and end: 0 if nothing is left, else 1")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        settings, _ = load(os.environ, **({"spool_dir": options.spool_dir} if options.spool_dir else {}))
        return serve(Agent(settings), once=options.once)
    except ConfigError as error:
        sys.stderr.write(f"jobtide agent: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
