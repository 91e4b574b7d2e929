"""The outbox, on SQLite and on a real PostgreSQL: events commit with their rows, and no fault in it costs a transaction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jobtide_emitter
import pytest
from jobtide_emitter import guard
from jobtide_emitter.transports.memory import MemoryTransport

sa = pytest.importorskip("sqlalchemy")

from jobtide_emitter.outbox import Outbox, Relay  # noqa: E402
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column  # noqa: E402

Delivered = Callable[[], list[dict[str, Any]]]


class Base(DeclarativeBase):
    """The app's tables."""


class Order(Base):
    """A business row."""

    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "sqlite":
        made = sa.create_engine(f"sqlite:///{tmp_path}/app.db")
    else:
        pytest.importorskip("psycopg")
        parts = dict(part.split("=", 1) for part in request.getfixturevalue("postgres_dsn").split())
        query = {"host": parts["host"], **({"port": parts["port"]} if "port" in parts else {})}
        made = sa.create_engine(sa.URL.create("postgresql+psycopg", parts["user"], parts.get("password"), database=parts["dbname"], query=query))
        with made.begin() as connection:
            connection.exec_driver_sql("DROP TABLE IF EXISTS orders, jobtide_outbox")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def outbox(engine: Any) -> Outbox:
    made = Outbox()
    made.create(engine)
    return made


def job(emitter: jobtide_emitter.Emitter, number: int) -> jobtide_emitter.Job:
    return emitter.job("cron", "q", "ship", str(number))


def waiting(engine: Any, outbox: Outbox) -> int:
    with engine.begin() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(outbox.table)).scalar())


def test_the_event_goes_with_the_row(engine: Any, outbox: Outbox, emitter: jobtide_emitter.Emitter, delivered: Delivered, no_errors: None) -> None:
    with Session(engine) as session, session.begin():
        session.add(Order(id=1))
        outbox.job_enqueued(session, job(emitter, 1))
        outbox.job_enqueued(session, job(emitter, 2), run_at_us=1_795_341_600_000_000)
    with pytest.raises(ZeroDivisionError), Session(engine) as session, session.begin():
        session.add(Order(id=3))
        outbox.job_enqueued(session, job(emitter, 3))
        raise ZeroDivisionError
    relay = Relay(outbox, engine)
    assert relay.run_once() == 2
    assert relay.run_once() == 0
    events = delivered()
    assert [(event["type"], event["subject"]) for event in events] == [("job.enqueued.v1", "1"), ("job.scheduled.v1", "2")]
    assert events[1]["data"]["run_at"].startswith("2026-11-22")
    assert waiting(engine, outbox) == 0


def test_in_a_plain_connection_too(engine: Any, outbox: Outbox, emitter: jobtide_emitter.Emitter, delivered: Delivered) -> None:
    with engine.begin() as connection:
        outbox.job_cancelled(connection, job(emitter, 1), "changed my mind")
    assert Relay(outbox, engine).run_once() == 1
    assert delivered()[0]["data"]["reason"] == "changed my mind"


def test_what_is_not_acknowledged_stays(engine: Any, outbox: Outbox, memory: MemoryTransport) -> None:
    emitter = jobtide_emitter.configure(make_transport=lambda: memory, linger_ms=0)
    memory.down = True
    with engine.begin() as connection:
        outbox.job_enqueued(connection, job(emitter, 1))
    relay = Relay(outbox, engine)
    assert relay.run_once() == 0
    assert waiting(engine, outbox) == 1
    memory.down = False
    while not relay.run_once():
        pass
    assert {event["subject"] for event in memory.of("job.enqueued")} == {"1"}
    assert waiting(engine, outbox) == 0


def test_without_its_table_the_transaction_commits_all_the_same(engine: Any, emitter: jobtide_emitter.Emitter) -> None:
    with Session(engine) as session, session.begin():
        session.add(Order(id=1))
        Outbox(name="not_there").job_enqueued(session, job(emitter, 1))
        session.add(Order(id=2))
    with Session(engine) as session:
        assert session.query(Order).count() == 2
    assert guard.sites["outbox.write"].errors == 1


def test_a_fault_inside_costs_no_transaction(engine: Any, outbox: Outbox, emitter: jobtide_emitter.Emitter, monkeypatch: pytest.MonkeyPatch) -> None:
    def boom(*_: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(guard.sites["outbox.write"], "function", boom)
    with Session(engine) as session, session.begin():
        outbox.job_enqueued(session, job(emitter, 1))
        session.add(Order(id=1))
    with Session(engine) as session:
        assert session.query(Order).count() == 1


def test_the_apps_own_mistakes_stay_its_own(engine: Any, outbox: Outbox, emitter: jobtide_emitter.Emitter) -> None:
    with Session(engine) as session, session.begin():
        session.add(Order(id=1))
    with pytest.raises(sa.exc.IntegrityError), Session(engine) as session, session.begin():
        session.add(Order(id=1))
        outbox.job_enqueued(session, job(emitter, 1))
    assert guard.sites["outbox.write"].errors == 0
    assert waiting(engine, outbox) == 0


def test_two_relays_share_the_work(engine: Any, outbox: Outbox, emitter: jobtide_emitter.Emitter, delivered: Delivered) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer")
    with engine.begin() as connection:
        for number in range(1200):
            outbox.job_enqueued(connection, job(emitter, number))
    relays = [Relay(outbox, engine) for _ in range(3)]
    threads = [threading.Thread(target=lambda relay=relay: [relay.run_once() for _ in range(4)]) for relay in relays]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(int(event["subject"]) for event in delivered()) == list(range(1200))


def test_a_thread_does_it_by_itself(engine: Any, outbox: Outbox, emitter: jobtide_emitter.Emitter, memory: MemoryTransport) -> None:
    relay = Relay(outbox, engine, pause_s=0.02)
    relay.start()
    with engine.begin() as connection:
        outbox.job_enqueued(connection, job(emitter, 1))
    from test_flusher import until

    until(lambda: len(memory.of("job.enqueued")) == 1 and waiting(engine, outbox) == 0)
    relay.stop()
