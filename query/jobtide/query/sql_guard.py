"""An analyst's SQL to the SQL that is run, or why not. Pure: parsed, judged and written anew, nothing of the text is passed on as it is.

Everything is forbidden that is not allowed: one SELECT (or a UNION of them) over named views, with functions of a closed list, and no
clause that changes settings, formats or files. Each view is replaced by a subquery that holds one tenant's rows only, if there is one.
The second wall is the client that runs it (`analyst`): read-only, with limits and with the tenant as a filter on every table.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

import sqlglot
from jobtide.query.sql_functions import AGGREGATES, COMBINATORS, FUNCTIONS
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Token, TokenType  # type: ignore[attr-defined]

DIALECT = "clickhouse"
MAX_CHARS = 20_000
MAX_NODES = 2_000
# What can be asked, and what it is. Each has the column `tenant`.
VIEWS = {
    "executions": "one row per attempt: queue, class, state, times, wait and run time, error",
    "failed_executions": "attempts that failed at some time, and later attempts of their jobs, with `recovered`",
    "rollups": "counts and histograms of each series by minute",
    "rollup_hours": "the same by hour",
    "events": "every event once",
    "workers": "what workers said of themselves",
    "deploys": "releases as they were marked",
    "queue_states": "queue snapshots, pauses and resumptions",
    "alerts": "every change of an alert's state, with the number it was decided by",
}
PREFIX = "cte_"  # of every name that WITH makes: it can then mean nothing else


class Reason(StrEnum):
    EMPTY = "empty"
    TOO_LONG = "too_long"
    SYNTAX = "syntax"
    NOT_ONE_STATEMENT = "not_one_statement"
    NOT_A_SELECT = "not_a_select"
    TABLE = "table"
    FUNCTION = "function"
    CLAUSE = "clause"


class Refused(ValueError):
    """Not to be run. `reason` is for counting, the message says what would be right."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


# Words that begin a clause which must not be there, or that call functions by their bare name.
_FORBIDDEN_WORDS = frozenset({
    "SETTINGS", "FORMAT", "OUTFILE", "INTO", "INFILE", "APPLY", "COLUMNS", "EXPLAIN", "DESCRIBE", "SYSTEM", "SAMPLE", "FINAL", "PREWHERE",
    "INSERT", "GRANT", "ATTACH", "DETACH", "KILL", "WATCH", "OPTIMIZE", "TRUNCATE", "PARALLEL", "RECURSIVE", "DEFINER",
})  # fmt: skip
# What may stand before a bracket and is no function.
_BEFORE_BRACKET = frozenset({
    "IN", "NOT", "AND", "OR", "ON", "AS", "OVER", "FROM", "JOIN", "BY", "SELECT", "WHERE", "HAVING", "WHEN", "THEN", "ELSE", "CASE", "UNION",
    "ALL", "DISTINCT", "EXCEPT", "INTERSECT", "LIKE", "ILIKE", "BETWEEN", "USING", "LIMIT", "OFFSET", "WITH", "ANY", "EXISTS", "IS", "QUALIFY",
    "INTERVAL", "GLOBAL", "ARRAY", "TUPLE", "RETURN", "VALUES_", "PARTITION", "ORDER", "GROUP", "SETS", "ROLLUP", "CUBE", "REPLACE", "FILL",
})  # fmt: skip
# Types with brackets, as in CAST(x AS Nullable(Int64)).
_TYPES = frozenset({
    "NULLABLE", "ARRAY", "MAP", "TUPLE", "LOWCARDINALITY", "DATETIME64", "DATETIME", "DECIMAL", "DECIMAL32", "DECIMAL64", "DECIMAL128",
    "FIXEDSTRING", "NUMERIC",
})  # fmt: skip


def guarded(text: str, tenant: str | None) -> str:
    """The SQL to run for `text`, over the rows of `tenant` (None: of all). Raises Refused."""
    if not text.strip():
        raise Refused(Reason.EMPTY, "there is no SQL")
    if len(text) > MAX_CHARS or "\x00" in text:
        raise Refused(Reason.TOO_LONG, f"more than {MAX_CHARS} characters, or a character 0")
    tree = _parsed(text)
    _judge_characters(_tokens(text))
    if not isinstance(tree, exp.Select | exp.SetOperation):
        raise Refused(Reason.NOT_A_SELECT, "only SELECT (also with WITH and UNION) can be asked")
    if any(not select.expressions for select in tree.find_all(exp.Select)):
        raise Refused(Reason.SYNTAX, "SELECT of nothing")
    if sum(1 for _ in tree.walk()) > MAX_NODES:
        raise Refused(Reason.TOO_LONG, f"more than {MAX_NODES} parts: ask a simpler question")
    _judge(tree)
    named = _rename_ctes(tree)
    for table in list(tree.find_all(exp.Table)):
        _confine(table, named, tenant)
    written = tree.sql(dialect=DIALECT, comments=False)
    _judge_tokens(written)
    return written


def _parsed(text: str) -> exp.Expression:
    try:
        found = [statement for statement in sqlglot.parse(text, dialect=DIALECT) if statement is not None]
    except (SqlglotError, RecursionError, ValueError) as error:
        raise Refused(Reason.SYNTAX, f"cannot be understood: {str(error).splitlines()[0][:200] if str(error) else 'too deep'}") from None
    if len(found) != 1:
        raise Refused(Reason.NOT_ONE_STATEMENT, f"{len(found)} statements: one SELECT can be asked at a time")
    return found[0]  # type: ignore[return-value]


_REFUSED_NODES: tuple[tuple[type[exp.Expression], str], ...] = (
    (exp.Placeholder, "parameters cannot be given: write the values"),
    (exp.Parameter, "parameters cannot be given: write the values"),
    (exp.Into, "INTO is not possible"),
    (exp.Command, "only SELECT can be asked"),
    (exp.Lateral, "LATERAL is not possible"),
    (exp.TableSample, "SAMPLE is not possible"),
    (exp.Final, "FINAL is not needed: views hold each thing once"),
    (exp.Values, "VALUES is not possible"),
)


def _judge(tree: exp.Expression) -> None:
    for kind, why in _REFUSED_NODES:
        if tree.find(kind) is not None:
            raise Refused(Reason.CLAUSE, why)
    for node in tree.walk():
        for name in ("settings", "format", "into", "sample", "hint"):
            if node.args.get(name):
                raise Refused(Reason.CLAUSE, f"{name.upper()} is not possible here")
        if isinstance(node, exp.In) and node.args.get("field") is not None:
            raise Refused(Reason.TABLE, "IN needs a list or a SELECT in brackets: a bare name would be a table")
        if isinstance(node, exp.In) and len(node.expressions) == 1 and isinstance(_bare(node.expressions[0]), exp.Column | exp.Dot | exp.Identifier):
            raise Refused(Reason.TABLE, "IN needs a list of values or a SELECT: one name, also in brackets, would be a table")
        if isinstance(node, exp.Identifier) and any(c in node.name for c in "\\\"`\x00"):
            raise Refused(Reason.SYNTAX, "names have no quotes and no backslashes in them")
        if isinstance(node, exp.DDL | exp.DML) and not isinstance(node, exp.Query):
            raise Refused(Reason.NOT_A_SELECT, "only SELECT can be asked")


def _bare(node: exp.Expression) -> exp.Expression:
    """Without brackets and aliases around it."""
    while isinstance(node, exp.Paren | exp.Alias):
        node = node.this
    return node


def _rename_ctes(tree: exp.Expression) -> set[str]:
    """Every name that WITH gives to a query gets a prefix, where it is made and where it is used; the new names."""
    made = {cte.alias for cte in tree.find_all(exp.CTE) if isinstance(cte.this, exp.Query) and not cte.args.get("scalar")}
    for cte in tree.find_all(exp.CTE):
        if cte.alias in made and isinstance(cte.this, exp.Query):
            cte.set("alias", exp.TableAlias(this=exp.to_identifier(PREFIX + cte.alias, quoted=True)))
    for table in tree.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier) and not table.db and table.name in made:
            if not table.alias:
                table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name, quoted=True)))
            table.set("this", exp.to_identifier(PREFIX + table.name, quoted=True))
    return {PREFIX + name for name in made}


def _confine(table: exp.Table, named: set[str], tenant: str | None) -> None:
    """Replace a view by the tenant's rows of it. Raises Refused for everything else that can stand after FROM."""
    if not isinstance(table.this, exp.Identifier):
        raise Refused(Reason.TABLE, "table functions are not possible: ask the views " + ", ".join(VIEWS))
    if table.db or table.catalog:
        raise Refused(Reason.TABLE, f"{table.sql(dialect=DIALECT)[:80]}: views are named without a database")
    if table.name in named:
        return
    if table.name not in VIEWS:
        raise Refused(Reason.TABLE, f"there is no view {table.name[:80]!r}: there are {', '.join(VIEWS)}")
    rows = exp.select("*").from_(exp.Table(this=exp.to_identifier(physical(table.name), quoted=True)))
    if tenant is not None:
        rows = rows.where(exp.EQ(this=exp.column("tenant", quoted=True), expression=exp.Literal.string(tenant)))
    alias = table.args.get("alias") or exp.TableAlias(this=exp.to_identifier(table.name, quoted=True))
    subquery = exp.Subquery(this=rows, alias=alias)
    for name in ("joins", "laterals"):
        if table.args.get(name):
            subquery.set(name, table.args[name])
    table.replace(subquery)


def physical(view: str) -> str:
    """The name of a view in the database."""
    return f"analyst_{view}"


def _tokens(text: str) -> list[Token]:
    try:
        return list(sqlglot.tokenize(text, dialect=DIALECT))
    except (SqlglotError, ValueError) as error:
        raise Refused(Reason.SYNTAX, f"cannot be understood: {str(error)[:200]}") from None


_QUOTED = (TokenType.STRING, TokenType.IDENTIFIER)


def _judge_characters(tokens: list[Token]) -> None:
    """What the parser takes for a letter can be a space or a quote to ClickHouse (U+200B, U+2018): then the two read different words."""
    for token in tokens:
        if token.token_type not in (*_QUOTED, TokenType.HEREDOC_STRING) and not token.text.isascii():
            raise Refused(Reason.SYNTAX, f"{ascii(token.text)[:80]}: outside of quotes only ASCII can be used")


def _judge_tokens(written: str) -> None:
    """The text that will be run, word by word: whatever the parser took something for."""
    tokens = _tokens(written)
    _judge_characters(tokens)
    for token, after in _pairs(tokens):
        if token.token_type in _QUOTED:
            if token.token_type is TokenType.IDENTIFIER and after is not None and after.token_type is TokenType.L_PAREN:
                raise Refused(Reason.FUNCTION, f"{token.text[:80]}: functions are named without quotes")
            continue
        word = token.text.upper()
        if word in _FORBIDDEN_WORDS:
            raise Refused(Reason.CLAUSE, f"{word} is not possible here")
        if token.token_type in (TokenType.SEMICOLON, TokenType.PARAMETER, TokenType.PLACEHOLDER, TokenType.L_BRACE):
            raise Refused(Reason.CLAUSE, f"{token.text[:20]!r} is not possible here")
        if after is not None and after.token_type is TokenType.L_PAREN and not _callable(token):
            raise Refused(Reason.FUNCTION, f"function {token.text[:80]} is not in the list of those that can be used")


def _callable(token: Token) -> bool:
    word = token.text
    if not (word[:1].isalpha() or word[:1] == "_"):
        return not any(c.isalnum() or c in "_$@\\" or ord(c) > 126 for c in word)  # an operator or a bracket, and nothing else
    lower = word.lower()
    return word.upper() in _BEFORE_BRACKET or word.upper() in _TYPES or lower in FUNCTIONS or _aggregate(lower)


def _aggregate(lower: str) -> bool:
    """An aggregate function, alone or with combinators.

    >>> _aggregate("countif"), _aggregate("summapif"), _aggregate("fileif")
    (True, True, False)
    """
    if lower in AGGREGATES:
        return True
    return any(lower.endswith(end) and _aggregate(lower.removesuffix(end)) for end in COMBINATORS if len(lower) > len(end))


def _pairs(tokens: list[Token]) -> Iterator[tuple[Token, Token | None]]:
    for number, token in enumerate(tokens):
        yield token, tokens[number + 1] if number + 1 < len(tokens) else None
