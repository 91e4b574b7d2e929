"""Which lane an event belongs to, and which Kafka partition a lane lives on: the same in every language.

Nothing here knows what a partition key means; `jobs` and `workers` build them.
"""

from __future__ import annotations

from zlib import crc32

LANES = 64


def lane_of(partitionkey: str) -> int:
    """crc32 of the key's UTF-8 bytes, modulo 64.

    >>> lane_of("acme/celery/7f0c")
    8
    """
    return crc32(partitionkey.encode()) & (LANES - 1)


def partition_of(lane: int, partitions: int) -> int:
    """The Kafka partition of a lane; `partitions` divides 64."""
    return lane % partitions


def lanes_of(partition: int, partitions: int) -> range:
    """The lanes that live on one Kafka partition.

    >>> list(lanes_of(5, 16))
    [5, 21, 37, 53]
    """
    return range(partition, LANES, partitions)
