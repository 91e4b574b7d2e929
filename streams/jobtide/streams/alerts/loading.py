"""From the text of a rule file to rules, or to sentences that say what is wrong: file, rule, field and the fix.

Pure: the caller reads the file. Nothing of a file with a mistake is used.
"""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Any

import yaml
from jobtide.streams.alerts.model import KINDS, RuleBase
from pydantic import ValidationError

MAX_BYTES = 1 << 20
MAX_QUOTED = 200  # characters of what was given, in a sentence about it
MAX_PROBLEMS = 200
DEFAULT_NAME = "the default rules"


@dataclass(frozen=True)
class RuleSet:
    """The rules of one file. `digest` names its content."""

    file: str
    rules: tuple[Any, ...]
    digest: str


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Without aliases: a few lines of them stand for more than any memory holds, and a repr writes it all out."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) cannot be used; write the value again")
        return super().compose_node(parent, index)


class RulesError(Exception):
    """A rule file cannot be used. `problems`: one sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def default_text() -> str:
    """The rules that are used when no file is named."""
    return resources.files("jobtide.streams.alerts").joinpath("default_rules.yaml").read_text("utf-8")


def load_rules(text: str, file: str) -> RuleSet:
    """Raises RulesError with everything that is wrong, not only the first."""
    if len(text.encode()) > MAX_BYTES:
        raise RulesError([f"{file}: is larger than {MAX_BYTES >> 20} MiB; split or shorten it"])
    try:
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise RulesError([f"{file}: is not YAML: {' '.join(str(error).split())[: 3 * MAX_QUOTED]}"]) from None
    except RecursionError:
        raise RulesError([f"{file}: is nested too deeply"]) from None
    except (ValueError, ArithmeticError, LookupError, AttributeError, TypeError) as error:  # of a number or date that is none
        raise RulesError([f"{file}: has a value that YAML cannot read: {str(error)[:MAX_QUOTED]}"]) from None
    problems: list[str] = []
    rules = [_rule(each, index, file, problems) for index, each in enumerate(_listed(data, file, problems))]
    problems += _twice(rules, file)
    if len(problems) > MAX_PROBLEMS:
        problems = [*problems[:MAX_PROBLEMS], f"{file}: and {len(problems) - MAX_PROBLEMS} more"]
    if problems:
        raise RulesError(problems)
    return RuleSet(file, tuple(rule for rule in rules if rule is not None), hashlib.sha256(text.encode()).hexdigest()[:16])


def _said(given: Any) -> str:
    """What was given, as a sentence can quote it.

    >>> _said("above"), len(_said("a" * 1000))
    ("'above'", 201)
    """
    try:
        text = repr(given)
    except (ValueError, RecursionError):  # a number with too many digits to be written, for example
        return f"a {type(given).__name__} that is too long to be shown"
    return text if len(text) <= MAX_QUOTED else text[:MAX_QUOTED] + "…"


def _listed(data: Any, file: str, problems: list[str]) -> list[Any]:
    if not isinstance(data, dict) or not isinstance(data.get("rules"), list):
        problems.append(f"{file}: must be a mapping with a list `rules`; start it with `version: 1` and `rules:`")
        return []
    if data.get("version", 1) != 1:
        problems.append(f"{file}: version {_said(data['version'])} is not known; write version: 1")
    problems.extend(f"{file}: {_said(name)} does not belong here; a file has version and rules" for name in data if name not in ("version", "rules"))
    if len(data["rules"]) > 500:
        problems.append(f"{file}: has {len(data['rules'])} rules; at most 500")
        return []
    return list(data["rules"])


def _rule(data: Any, index: int, file: str, problems: list[str]) -> RuleBase | None:
    named = data.get("name") if isinstance(data, dict) else None
    where = f"{file}: rule {named[:MAX_QUOTED] if isinstance(named, str) and named else f'number {index + 1}'}"
    if not isinstance(data, dict):
        problems.append(f"{where}: must be a mapping with name and kind, not {type(data).__name__}")
        return None
    kind = KINDS.get(data["kind"]) if isinstance(data.get("kind"), str) else None
    if kind is None:
        problems.append(f"{where}: field kind: {_choice(data.get('kind'), list(KINDS))}")
        return None
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problems.extend(f"{where}: {_sentence(each, kind)}" for each in error.errors(include_url=False, include_context=True))
        return None


def _sentence(error: Any, kind: type[RuleBase]) -> str:
    path = ".".join(str(part) for part in error["loc"])[:MAX_QUOTED] or "the rule"
    known = [field.alias or name for name, field in kind.model_fields.items()]
    match error["type"]:
        case "missing":
            example = f"; write for example {path}: {_EXAMPLES[path]}" if path in _EXAMPLES else ""
            return f"field {path}: is missing{example}"
        case "extra_forbidden":
            near = difflib.get_close_matches(path, known, n=1)
            return f"field {path}: there is none; {f'did you mean {near[0]}?' if near else 'there are ' + ', '.join(known)}"
        case "literal_error":
            return f"field {path}: must be {error['ctx']['expected']}, not {_said(error['input'])}"
        case "value_error":
            return f"field {path}: {str(error['ctx']['error'])[: 2 * MAX_QUOTED]}"
        case "string_pattern_mismatch":
            return f"field {path}: {_said(error['input'])} does not look like {error['ctx']['pattern']}; use letters, digits, _ . and -"
    message = error["msg"][:1].lower() + error["msg"][1:]
    return f"field {path}: {message}, not {_said(error['input'])}"


_EXAMPLES = {"min_samples": "20", "name": "JobFailures", "value": "0.1", "quantile": "0.95", "objective": "0.99", "after": "30m"}


def _choice(given: Any, known: list[str]) -> str:
    near = difflib.get_close_matches(given[:MAX_QUOTED], known, n=1) if isinstance(given, str) else []
    if near:
        return f"there is no {_said(given)}; did you mean {near[0]}?"
    return f"must be one of {', '.join(known)}, not {_said(given)}"


def _twice(rules: list[RuleBase | None], file: str) -> list[str]:
    names = [rule.name for rule in rules if rule is not None]
    return [f"{file}: rule {name[:MAX_QUOTED]}: the name is used twice; alerts are told apart by it, so give one another name"
            for name in sorted({name for name in names if names.count(name) > 1})]  # fmt: skip
