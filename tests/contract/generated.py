"""Random events made from the JSON Schema itself: valid ones, and the same with something hostile in them.

Not hypothesis: ten thousand events have to be cheap, and half of them have to be acceptable. Because values and
boundaries are read from the schema, a bound that is changed there and not in the decoder shows up as a disagreement.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

from tests.contract import vectors

SCHEMA = vectors.schema()
TYPES: list[str] = SCHEMA["properties"]["type"]["enum"]
HOSTILE: list[Any] = [
    None, True, False, 0, -1, 1, 63, 64, 1.0, 100.0, 1.5, -0.0, 1e300, -1e-300, 100_000, 100_001,
    2**31 - 1, 2**31, -(2**31) - 1, 2**53 - 1, 2**53, 2**63, 2**64, 10**30,
    "", " ", "x", "7", "1.0", "default", "\x00", "a\x1f", "a\n", "\x7f", "ß", "漢字", "🚚", "\u2028", "a\\b", '"',
    "é" * 64, "é" * 65, "é" * 256, "é" * 257, "A", "a-b", "a_b", "9a", "t" * 63, "t" * 64, "s" * 32, "s" * 33,
    "x" * 15, "x" * 16, "x" * 64, "x" * 65, "x" * 4096, "x" * 4097,
    [], {}, [1], ["a"], [None], {"a": 1}, {"": ""}, [[]], {"class": "E"},
    "2026-11-22T10:00:00Z", "2026-11-22T10:00:00.123Z", "2028-02-29T00:00:00.5Z", "2026-02-29T00:00:00Z",
    "1970-01-01T00:00:00.000000Z", "2099-12-31T23:59:59.999999999Z", "2100-01-01T00:00:00Z", "1969-12-31T23:59:59Z",
    "2026-04-31T00:00:00Z", "2026-11-22t10:00:00Z", "2026-11-22T10:00:00+00:00", "2026-11-22T10:00:60Z",
    "2026-11-22T24:00:00Z", "2026-11-22T10:00:00.Z", "2026-11-22T10:00:00.12345678901Z", "２026-11-22T10:00:00Z",
    "2026-11-22T10:00:00.12_345Z", "2026-11-22T10:00:00.1234567Z", "job.started.v1", "job.started",
]  # fmt: skip
NAMES = ["a", "default", "größe", "App\\Jobs\\Mail", "7f0c9e2a-5d1b-4c3e-9a88-1c2d3e4f5a6b", "漢" * 256, "x" * 16]
_NUMBERED = {"epoch": "string", "lane": "integer", "seq": "integer"}
PATTERNED = {  # schema pattern -> values that match
    SCHEMA["$defs"]["tenant"]["pattern"]: ["acme", "t" * 63, "0", "a-b_c"],
    SCHEMA["$defs"]["system"]["pattern"]: ["celery", "s" * 32, "b_9"],
    SCHEMA["$defs"]["environment"]["pattern"]: ["production", "é" * 64, "a b"],
    SCHEMA["$defs"]["time"]["pattern"]: [
        "2026-11-22T10:00:00.123456Z", "2026-11-22T10:00:00.123Z", "1970-01-01T00:00:00Z",
        "2028-02-29T23:59:59.999999999Z", "2099-12-31T23:59:59.999999Z",
    ],
    SCHEMA["$defs"]["emitter_stats"]["properties"]["next"]["propertyNames"]["pattern"]: ["0", "7", "63"],
}  # fmt: skip


def events(count: int, seed: int) -> Iterator[tuple[Any, bytes]]:
    """(tree, bytes) of `count` events; about half are as the schema wants them."""
    random = Random(seed)
    for _ in range(count):
        tree = valid_event(random)
        for _ in range(random.choice((0, 0, 1, 1, 1, 2))):
            tree = mutated(random, tree)
        yield tree, json.dumps(tree, ensure_ascii=random.random() < 0.5).encode()


def valid_event(random: Random) -> dict[str, Any]:
    kind = random.choice(TYPES)
    event: dict[str, Any] = _object(random, {k: v for k, v in SCHEMA.items() if k not in ("anyOf", "allOf")})
    event["type"] = kind
    numbered = random.random() < 0.7
    for name in ("epoch", "lane", "seq"):
        event.pop(name, None)
        if numbered:
            event[name] = value_for(random, {**_resolved(SCHEMA["properties"][name]), "type": _NUMBERED[name]})
    event["data"] = {}
    for rule in SCHEMA["allOf"]:
        wanted = rule["if"]["properties"]["type"]
        prefix = wanted.get("pattern", "^!").replace("\\", "").lstrip("^")
        if kind.startswith(prefix) or kind == wanted.get("const") or kind in wanted.get("enum", ()):
            event["data"] |= value_for(random, rule["then"]["properties"]["data"])
    return event


def value_for(random: Random, node: dict[str, Any]) -> Any:
    """A value that the schema node accepts."""
    node = _resolved(node)
    if "anyOf" in node:
        return value_for(random, random.choice(node["anyOf"]))
    if "allOf" in node:
        return {k: v for part in node["allOf"] for k, v in value_for(random, part).items()}
    if "const" in node or "enum" in node:
        return random.choice(node.get("enum", [node.get("const")]))
    types = node.get("type", "object")
    kind = random.choice(types) if isinstance(types, list) and random.random() < 0.2 else _first(types)
    return _MAKERS[kind](random, node)


def _resolved(node: dict[str, Any]) -> Any:
    return SCHEMA["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node


def mutated(random: Random, tree: Any) -> Any:
    """The event with one member, somewhere, removed, replaced or added."""
    *parents, last = random.choice(list(_paths(tree)))
    copy = json.loads(json.dumps(tree))
    at = copy
    for step in parents:
        at = at[step]
    action = random.random()
    if action < 0.15:
        del at[last]
    elif action < 0.25 and isinstance(at, dict):
        at[random.choice(["extension", "x_y", "time_us", "run_us", ""])] = random.choice(HOSTILE)
    elif action < 0.35 and isinstance(at[last], int):
        at[last] = float(at[last])
    else:
        at[last] = random.choice(HOSTILE)
    return copy


def _paths(tree: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    members = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, member in members:
        yield (*above, name)
        yield from _paths(member, (*above, name))


def _first(types: str | list[str]) -> str:
    return types if isinstance(types, str) else types[0]


def _string(random: Random, node: dict[str, Any]) -> Any:
    if node.get("pattern") in PATTERNED:
        return random.choice(PATTERNED[node["pattern"]])
    low, high = node.get("minLength", 0), node.get("maxLength", 300)
    fitting = [name for name in NAMES if low <= len(name) <= high]
    return random.choice([*fitting, "x" * low, "é" * high if high <= 512 else "z" * min(high, 4096)])


def _integer(random: Random, node: dict[str, Any]) -> Any:
    return random.choice([node["minimum"], node["maximum"], random.randint(node["minimum"], node["maximum"])])


def _number(random: Random, node: dict[str, Any]) -> Any:
    return random.choice([node["minimum"], node["maximum"], random.uniform(node["minimum"], node["maximum"])])


def _array(random: Random, node: dict[str, Any]) -> list[Any]:
    count = random.choice([0, 1, 2, node["maxItems"]] if random.random() < 0.05 else [0, 1, 2])
    return [value_for(random, node["items"]) for _ in range(count)]


def _object(random: Random, node: dict[str, Any]) -> dict[str, Any]:
    required = set(node.get("required", ()))
    made = {
        name: value_for(random, member)
        for name, member in node.get("properties", {}).items()
        if name in required or random.random() < 0.4
    }
    if "propertyNames" in node:
        for _ in range(random.choice([0, 1, 3, node.get("maxProperties", 5)])):
            made[_string(random, node["propertyNames"])] = value_for(random, node["additionalProperties"])
    return made


_MAKERS: dict[str, Any] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "array": _array,
    "object": _object,
    "boolean": lambda random, node: random.random() < 0.5,
    "null": lambda random, node: None,
}
