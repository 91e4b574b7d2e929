"""The process that is a ClickHouse HTTP server: `python clickhouse_process.py LIBRARY DIRECTORY PORT [CONFIG]`.

Only that; installing, starting and ending it is `clickhouse_server.py`. Imports nothing of ours, so that it can run as a file.
"""

import ctypes
import sys

# The listener starts from a query that never ends: one row a second, as many as there are.
SERVE = (
    "SYSTEM START LISTEN HTTP; SELECT sleepEachRow(1) FROM system.numbers LIMIT 1000000000"
    " SETTINGS function_sleep_max_microseconds_per_block=0, max_block_size=1, max_threads=1 FORMAT Null"
)


def main(library: str, directory: str, port: str, config: str | None = None) -> None:
    arguments = ["clickhouse", f"--path={directory}", "--listen_host=127.0.0.1", f"--http_port={port}", f"--query={SERVE}"]
    arguments += [f"--config-file={config}"] if config else []
    argv = (ctypes.c_char_p * len(arguments))(*(argument.encode() for argument in arguments))
    sys.exit(ctypes.CDLL(library).chdb_query_cmdline(len(arguments), argv))


if __name__ == "__main__":
    main(*sys.argv[1:])
