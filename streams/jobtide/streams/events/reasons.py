"""Why an event was refused: the closed list that dead letters, counters and gateway answers use.

Not error text: that is `ContractError.detail`. A new reason is an additive change of the contract; the invalid vectors
hold at least one example of each.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why an event is not folded."""

    NOT_JSON = "not_json"                        # malformed, truncated, not UTF-8, a lone surrogate, NaN
    NOT_AN_EVENT = "not_an_event"                # JSON, but not an object (or not an array of objects)
    TOO_LARGE = "too_large"                      # an event over 32 KiB, a pack over 256 KiB
    TOO_DEEP = "too_deep"                        # nested deeper than a parser can go
    UNSUPPORTED_VERSION = "unsupported_version"  # specversion other than 1.0, a datacontenttype other than JSON
    UNKNOWN_TYPE = "unknown_type"                # a `type` this version does not know
    MISSING_FIELD = "missing_field"              # a required member is absent
    WRONG_TYPE = "wrong_type"                    # a member has the wrong JSON type
    OUT_OF_BOUNDS = "out_of_bounds"              # a number or a length outside its limits
    BAD_NAME = "bad_name"                        # a tenant, system or other name with characters it may not have
    BAD_TIME = "bad_time"                        # not RFC 3339 with Z, no such date, or outside 1970-2099
    PARTIAL_SEQUENCE = "partial_sequence"        # some but not all of epoch, lane and seq
    WRONG_KEY = "wrong_key"                      # partitionkey is not the one its data asks for
    WRONG_LANE = "wrong_lane"                    # lane is not crc32(partitionkey) & 63
    WRONG_PARTITION = "wrong_partition"          # the lane does not live on the Kafka partition it came from
