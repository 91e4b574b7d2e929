"""Typed events from Kafka bytes. Pure: no clock, network, environment or log.

`decode` for the hot path, `decode_each` and `split` for dead letters, `check_lane` once per attempt, `time_us` for
RFC 3339 text. Errors are `jobtide.streams.errors.ContractError` with a `Reason`.
"""

from jobtide.streams import compiled

__path__ = compiled.path(__name__, __path__)

from jobtide.streams.events.decode import MAX_EVENT_BYTES, MAX_PACK_BYTES, decode, decode_each, is_pack, split
from jobtide.streams.events.jobs import Job, decode_job
from jobtide.streams.events.placement import BROADCAST, LANES, check_lane, key_of, lane_of
from jobtide.streams.events.reasons import Reason
from jobtide.streams.events.time import time_text, time_us
from jobtide.streams.events.types import LAST_JOB_KIND, Event, JobEvent, Kind, QueueEvent, WorkerEvent, is_job

__all__ = [
    "BROADCAST", "LANES", "LAST_JOB_KIND", "MAX_EVENT_BYTES", "MAX_PACK_BYTES", "Event", "Job", "JobEvent", "Kind",
    "QueueEvent", "Reason", "WorkerEvent", "check_lane", "decode", "decode_each", "decode_job", "is_job", "is_pack", "key_of",
    "lane_of", "split", "time_text", "time_us",
]  # fmt: skip
