"""Which series a question is about, and the order in which lists show them.

Pure. A series is (tenant, environment, system, queue, job_class); a queue is the first four, and so on: a key of
depth n is the first n.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import msgspec

SERIES_PARTS = ("tenant", "environment", "system", "queue", "job_class")
CLASS_DEPTH, QUEUE_DEPTH, SYSTEM_DEPTH = 5, 4, 3

Key = tuple[str, ...]  # the first parts of a series, in the order of SERIES_PARTS


@dataclass(frozen=True, slots=True)
class Selection:
    """The series whose parts equal what is given; None matches all."""

    tenant: str | None = None
    environment: str | None = None
    system: str | None = None
    queue: str | None = None
    job_class: str | None = None

    def matches(self, key: Key) -> bool:
        """True if a key of any depth is selected; parts it does not have are not asked.

        >>> Selection(queue="mail").matches(("acme", "default", "celery", "mail"))
        True
        """
        return all(wanted is None or wanted == part for wanted, part in zip(self.parts, key, strict=False))

    def given(self) -> dict[str, str]:
        """What is selected, by name."""
        return {name: part for name, part in zip(SERIES_PARTS, self.parts, strict=True) if part is not None}

    @property
    def parts(self) -> tuple[str | None, ...]:
        return (self.tenant, self.environment, self.system, self.queue, self.job_class)


def scope(question: str, selection: Selection, *filters: object) -> str:
    """The text that binds a cursor to a question: its name, selection and every other filter, without the limit."""
    return msgspec.json.encode([question, asdict(selection), filters]).decode()
