"""What the contract's README says about types, reasons and the example event is what the decoder does."""

from __future__ import annotations

import json
import re
from typing import get_args

from jobtide.streams.events import MAX_EVENT_BYTES, MAX_PACK_BYTES, Event, Reason, check_lane, decode

from tests.contract.vectors import CONTRACT

README = (CONTRACT / "README.md").read_text()


def test_the_example_is_accepted_and_in_its_lane() -> None:
    found = re.search(r"```json\n(.*?)```", README, re.DOTALL)
    assert found
    (event,) = decode(json.dumps(json.loads(found[1])).encode())
    check_lane(event)


def test_every_type_is_in_the_table() -> None:
    table = README.partition("| type (each")[2].partition("\n\n")[0]
    said = set()
    for row in table.splitlines()[2:]:
        names = re.findall(r"`([a-z_.]+)`", row.split("|")[1])
        family = names[0].partition(".")[0]
        said |= {family + name if name.startswith(".") else name for name in names}
    assert said == {struct.name for struct in get_args(Event)}


def test_every_reason_is_listed_and_no_other() -> None:
    section = README.partition("## Reasons")[2].partition("## The vectors")[0].partition("one of:")[2]
    assert set(re.findall(r"`([a-z_]+)`", section)) == {reason.value for reason in Reason}


def test_the_limits_are_the_decoders() -> None:
    assert f"at most {MAX_EVENT_BYTES // 1024} KiB" in README
    assert f"{MAX_PACK_BYTES // 1024} KiB" in README
