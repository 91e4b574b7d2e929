"""D1 over all seven Python backends at once: real workers through real Kafka into history, against what their jobs wrote down.

Counts only, exactly, per class: live, history, and the SQL of a ClickHouse server where one runs. Percentiles and the
backends' own counters are in tests/proof/d1_backends, for the three backends that keep such counters.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests import servers
from tests.proof import d1_backends, recount
from tests.proof.answers import Api
from tests.proof.shop import RETRY_MS, Shop
from tests.up_process import UpProcess

TESTS = Path(__file__).parents[2] / "emitters" / "python" / "tests"
BACKENDS = [name for name in ("celery", "rq", "dramatiq", "huey", "arq", "taskiq", "procrastinate") if find_spec(name)]
JOBS, SEED, DEADLINE_S = 60, 43, 150


class AnyShop(Shop):
    """The proof's shop, with the backends it does not know yet."""

    postgres = ""

    def _environment(self) -> dict[str, str]:
        # every count is to be exact, however busy the machine is: a slow broker is no outage
        patient = {"JOBTIDE_EMITTER_FLUSH_TIMEOUT_MS": "30000", "JOBTIDE_EMITTER_REQUEST_TIMEOUT_MS": "30000"}
        return {**super()._environment(), "JOBTIDE_EXAMPLE_POSTGRES": self.postgres, **patient}

    def prepare(self) -> None:
        """procrastinate keeps its queue in PostgreSQL."""
        if self.backend == "procrastinate":
            argv = [sys.executable, "-m", "procrastinate", "--app", "jobtide_example.procrastinate_app.app", "schema", "--apply"]
            subprocess.run(argv, env={**os.environ, **self._environment(), "JOBTIDE_EMITTER_DISABLED": "1"}, check=True, timeout=60)


@pytest.fixture
def postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if os.environ.get("JOBTIDE_TEST_POSTGRES"):
        yield os.environ["JOBTIDE_TEST_POSTGRES"]
        return
    monkeypatch.syspath_prepend(TESTS)
    from postgres_server import running

    with running(tmp_path) as dsn:
        yield dsn


def shops(process: UpProcess, folder: Path, postgres: str) -> list[AnyShop]:
    kafka = {"JOBTIDE_EMITTER_BROKER": f"127.0.0.1:{process.port + 1}"}
    gateway = {"JOBTIDE_EMITTER_URL": f"http://127.0.0.1:{process.port}/v1/events"}
    made = []
    for number, backend in enumerate(BACKENDS):
        (folder / backend).mkdir()
        target = gateway if number % 2 else kafka
        shop = AnyShop(backend, "", folder / backend, target, JOBS, 1, 2, d1_backends.TENANT, SEED + number)
        shop.postgres = postgres
        made.append(shop)
    return made


def work(made: list[AnyShop]) -> None:
    """All jobs of all backends at the same time, to their last end."""
    with contextlib.ExitStack() as stack:
        for shop in made:
            shop.redis_url = stack.enter_context(servers.valkey(shop.folder / "valkey")).address
            shop.prepare()
            stack.enter_context(shop.working())
        drivers = [stack.enter_context(shop.drive()) for shop in made]
        begun = time.monotonic()
        while any([shop.last_ends() < shop.jobs for shop in made]):
            assert all(driver.poll() in (None, 0) for driver in drivers), [p.read_text()[-800:] for s in made for p in s.folder.glob("*-drive.log")]
            broken = [shop.failed() for shop in made if shop.failed()]
            assert not broken, broken
            assert time.monotonic() - begun < DEADLINE_S, {shop.backend: shop.ended for shop in made}
            time.sleep(0.25)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_count_of_every_backend_is_exact(tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for backend in BACKENDS:
        monkeypatch.setitem(RETRY_MS, backend, 0)
    from_us = time.time_ns() // 1000
    with d1_backends._installation() as (process, clickhouse, _):
        api = Api(process.port)
        made = shops(process, tmp_path, postgres)
        work(made)
        attempts = [attempt for shop in made for attempt in shop.attempts()]
        assert {attempt.series[0] for attempt in attempts} == set(BACKENDS)
        compared: dict[str, Any] = {"live": d1_backends._live(api, attempts)[0]}
        compared["history"] = d1_backends._history(api, attempts, from_us, time.time_ns() // 1000 + 60_000_000)
        if clickhouse:
            compared["SQL"] = d1_backends._sql(clickhouse, attempts)
    assert {name: comparison.wrong[:10] for name, comparison in compared.items()} == {name: [] for name in compared}
    assert sum(total.counts["dead"] for total in recount.totals(attempts, 0, 1 << 62).values()) > len(BACKENDS)
