"""Which Kafka partition gets which bytes of an event, and how a partition's events become messages. Pure.

Not the lane rule itself (`jobtide.streams.events`). An event keeps the client's bytes, epoch, lane and seq. Events that
speak to every partition (a worker's heartbeat, an emitter's statistics, a deploy) are sent to each one unless the
client already chose a lane; what they list is cut to the partition's own slice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

import orjson
from jobtide.streams.errors import ContractError
from jobtide.streams.events import BROADCAST, MAX_PACK_BYTES, Event, Reason, lane_of

ONE = b"application/cloudevents+json"
PACK = b"application/cloudevents-batch+json"


def place(event: Event, line: bytes, partitions: int) -> list[tuple[int, bytes]]:
    """(partition, bytes) for every partition that gets the event."""
    if event.lane is not None:
        return [(event.lane % partitions, line)]
    if event.kind not in BROADCAST:
        return [(lane_of(event.partitionkey) % partitions, line)]
    return _broadcast(line, partitions)


def _broadcast(line: bytes, partitions: int) -> list[tuple[int, bytes]]:
    try:
        tree = orjson.loads(line)
    except ValueError as error:  # stricter than the decoder inside members nobody reads
        raise ContractError(Reason.NOT_JSON, str(error)) from None
    data = tree["data"]
    running, upcoming = data.get("running"), data.get("next")
    if not running and not upcoming:
        return [(partition, line) for partition in range(partitions)]
    copies = []
    owner = f"{data['tenant']}/{data.get('system')}"
    for partition in range(partitions):
        if running:
            data["running"] = [job for job in running if lane_of(f"{owner}/{job['job_id']}") % partitions == partition]
        if upcoming:
            data["next"] = {lane: seq for lane, seq in upcoming.items() if int(lane) % partitions == partition}
        copies.append((partition, orjson.dumps(tree)))
    return copies


def messages(placed: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes, bytes]]:
    """(partition, Kafka value, its content type): a partition's events in order, packed up to the contract's limit."""
    queues: defaultdict[int, list[bytes]] = defaultdict(list)
    for partition, line in placed:
        queues[partition].append(line)
    for partition, lines in queues.items():
        for group in _groups(lines):
            if len(group) == 1:
                yield partition, group[0], ONE
            else:
                yield partition, b"[" + b",".join(group) + b"]", PACK


def _groups(lines: list[bytes]) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    size = 1
    for line in lines:
        if group and size + len(line) + 1 > MAX_PACK_BYTES:
            yield group
            group, size = [], 1
        group.append(line)
        size += len(line) + 1
    yield group
