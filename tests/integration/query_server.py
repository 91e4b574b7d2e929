"""The query API on a real port for tests: uvicorn in a thread, as `jobtide api` serves it but for the signals."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import uvicorn
from fastapi import FastAPI


@dataclass(frozen=True)
class Api:
    """A running application and a client of it."""

    url: str
    app: FastAPI
    client: httpx.Client

    def get(self, path: str, status: int = 200, **params: object) -> dict[str, object]:
        """The JSON of an answer that must have this status. Parameters that are None are left out; `from_` is `from`."""
        given = {name.rstrip("_"): value for name, value in params.items() if value is not None}
        answer = self.client.get(path, params=given)  # type: ignore[arg-type]
        assert answer.status_code == status, answer.text
        found: dict[str, object] = answer.json()
        return found

    def wait_for(self, path: str, status: int = 200, deadline_s: float = 20.0) -> None:
        """Until `path` answers with `status`."""
        until = time.monotonic() + deadline_s
        while (answer := self.client.get(path)).status_code != status:
            assert time.monotonic() < until, answer.text
            time.sleep(0.02)


@contextlib.contextmanager
def serving(app: FastAPI) -> Iterator[Api]:
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive(), "the application did not start"
        assert time.monotonic() < until, "the application did not start in time"
        time.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        with httpx.Client(base_url=url, timeout=40) as client:
            yield Api(url, app, client)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the application did not stop"
