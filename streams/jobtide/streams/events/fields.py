"""Bounded field types of the contract: what msgspec checks in C while it parses.

Only lengths and ranges stand here. Patterns cost ~0.5 µs each as `Meta(pattern=…)`, so `decode` checks those with
caches. Every bound has its twin in the JSON Schema; a test holds the two together on generated events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from msgspec import Meta

MAX_SAFE_INT = 9_007_199_254_740_991  # 2**53 - 1: what every language's JSON parser keeps exactly
MAX_MS = 31_622_400_000               # 366 days

# Bounded by their patterns, which decode checks (a length here would cost ~20 ns each and say less).
Tenant: TypeAlias = str
System: TypeAlias = str
Timestamp: TypeAlias = str
# Bounded by the size of the event only: nothing keeps them.
Subject: TypeAlias = str
Key: TypeAlias = str
Traceparent: TypeAlias = str

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Source = Annotated[str, Meta(min_length=1, max_length=256)]
EventId = Annotated[str, Meta(min_length=16, max_length=64)]
Epoch = Annotated[str, Meta(min_length=8, max_length=64)]
Short = Annotated[str, Meta(max_length=128)]
Text = Annotated[str, Meta(max_length=256)]
TraceState = Annotated[str, Meta(max_length=512)]
Message = Annotated[str, Meta(max_length=4096)]
Backtrace = Annotated[str, Meta(max_length=16_384)]
Preview = Annotated[str, Meta(max_length=2048)]
LabelKey = Annotated[str, Meta(min_length=1, max_length=63)]

Lane = Annotated[int, Meta(ge=0, le=63)]
Seq = Annotated[int, Meta(ge=0, le=2_147_483_647)]
Attempt = Annotated[int, Meta(ge=1, le=100_000)]
Attempts = Annotated[int, Meta(ge=0, le=100_000)]
Priority = Annotated[int, Meta(ge=-2_147_483_648, le=2_147_483_647)]
Count = Annotated[int, Meta(ge=0, le=MAX_SAFE_INT)]
Milliseconds = Annotated[float, Meta(ge=0, le=MAX_MS)]
Ratio = Annotated[float, Meta(ge=0, le=1)]
Percent = Annotated[float, Meta(ge=0, le=1_000_000)]  # of one core: a busy 128-core worker shows 12 800

Labels = Annotated[dict[LabelKey, Text], Meta(max_length=16)]

if TYPE_CHECKING:
    Environment = str
    Microseconds = int
    MaybeMicroseconds = int | None
else:
    # null is the same as absent; decode puts "default" there, so readers always see a string.
    Environment = str | None
    # Filled by decode from the text beside it, whatever a sender may have put there: parsing each time once is cheaper.
    Microseconds = MaybeMicroseconds = Any
