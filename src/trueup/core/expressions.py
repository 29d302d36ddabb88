"""Expressions a user writes in the configuration: SQL scalar expressions, row by row, without side effects.

They are read by Polars SQL, but only after this module has read their tokens itself: Polars would happily take `sum(x)`, `now()` or a
subquery, so every function must be on `FUNCTIONS`, and every word and sign must be one of scalar SQL. Nothing is ever `eval`ed.

Numbers: literals such as `0.5` are exact decimals, and arithmetic on decimals stays exact. `/` between two whole numbers gives a float
(`5 / 2` is 2.5) and `//` rounds down; to divide exactly, cast one side to a decimal. `concat` and `concat_ws` skip nulls; `||` with a
null is null. `strpos` and `position` count characters from 1 and say 0 for "not there". A division of decimals by zero fails on that row.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

FUNCTIONS = frozenset({
    # text
    "char_length", "character_length", "concat", "concat_ws", "ends_with", "initcap", "left", "length", "lower", "lpad", "ltrim",
    "octet_length", "position", "regexp_like", "regexp_replace", "replace", "reverse", "right", "rpad", "rtrim", "split_part",
    "starts_with", "strpos", "substr", "substring", "trim", "upper",
    # numbers
    "abs", "ceil", "ceiling", "floor", "mod", "pow", "power", "round", "sign", "sqrt", "trunc", "truncate",
    # choice and null
    "coalesce", "greatest", "if", "ifnull", "least", "nullif",
    # dates and types
    "cast", "date_part", "date_trunc", "extract", "strftime", "strptime", "try_cast",
})  # fmt: skip
"""Functions that may be called: all of them look at one row only and always give the same answer."""

_PAREN_WORDS = frozenset({
    "and", "or", "not", "in", "between", "like", "ilike", "rlike", "regexp", "case", "when", "then", "else", "is", "from", "for",
    "decimal", "numeric", "varchar", "char", "float",
})  # fmt: skip
"""Words after which a parenthesis is no call."""

_FORBIDDEN_WORDS = frozenset({
    "all", "any", "current_date", "current_time", "current_timestamp", "current_user", "distinct_on", "except", "exists", "filter", "group",
    "having", "intersect",
    "limit", "localtime", "localtimestamp", "offset", "order", "over", "partition", "qualify", "select", "session_user",
    "some", "union", "unnest", "user", "values", "where", "window", "with", "within",
})  # fmt: skip
"""Words of whole queries, windows and clocks. A column of such a name can be used in double quotes."""

_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<comment>--|/\*)
    | (?P<text>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*"|`[^`]*`)
    | (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<word>[^\W\d]\w*)
    | (?P<sign>::|\|\||<=|>=|<>|!=|==|//|!~\*|!~|~\*|[-+*/%(),<>=~])
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class CompiledExpression:
    """An expression ready to run: its text, the Polars expression, and the columns used, in order of first use."""

    text: str
    expr: pl.Expr
    names: tuple[str, ...]


def parse_expression(text: str, names: Collection[str] | None = None) -> CompiledExpression:
    """Read an expression. `names` are the columns that exist; None: any may be used. Raises ValueError with a reason for people."""
    compiled = _parse(text)
    if names is not None:
        for name in compiled.names:
            if name not in names:
                message = f"unknown column {name!r} in {text!r}{did_you_mean(name, names)}"
                raise ValueError(message)
    return compiled


def did_you_mean(name: str, known: Collection[str]) -> str:
    """A hint ending for messages: `: did you mean 'email'?`, or the known names when few, or nothing."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.7)
    if close:
        return f": did you mean {by_lower[close[0]]!r}?"
    return f" (there are: {', '.join(sorted(known))})" if 0 < len(known) <= 12 else ""


def evaluate(frame: pl.DataFrame, compiled: CompiledExpression, dtype: pl.DataType | None = None) -> tuple[pl.Series, pl.DataFrame]:
    """Values of the expression for each row, and the rows on which it fails.

    The second is a frame row Int64, reason String; at those rows the value is null. `dtype`, when given, is cast to, strictly. A frame
    that fails as a whole is halved over its distinct inputs until the failing ones are known.
    """
    expr = compiled.expr if dtype is None else compiled.expr.cast(dtype, strict=True)
    inputs = frame.select(compiled.names) if compiled.names else pl.DataFrame({"__row": pl.int_range(frame.height, eager=True)})
    try:
        return _run(inputs, expr), _no_failures()
    except _FAILURES:
        pass
    return _bisect(inputs, expr)


def result_type(compiled: CompiledExpression, schema: Mapping[str, pl.DataType]) -> pl.DataType:
    """The type an expression gives over columns of these types. Raises ValueError where it cannot run on them at all."""
    frame = pl.DataFrame(schema=dict(schema) or {"__row": pl.Int64()})
    try:
        return _run(frame, compiled.expr).dtype
    except _FAILURES as error:
        message = f"{compiled.text!r} cannot run: {_first_line(error)}"
        raise ValueError(message) from None


# ---------------------------------------------------------------- reading

_FAILURES = (pl.exceptions.PolarsError, pl.exceptions.PanicException)


@lru_cache(maxsize=4096)
def _parse(text: str) -> CompiledExpression:
    tokens = list(_tokens(text))
    _check_tokens(text, tokens)
    try:
        expr = pl.sql_expr(_rewritten(text, tokens))
        roots = expr.meta.root_names()
        several = expr.meta.has_multiple_outputs()
        renamed = not expr.meta.undo_aliases().meta.eq(expr)
    except _FAILURES as error:
        message = f"cannot read the expression {text!r}: {_first_line(error)}"
        raise ValueError(message) from None
    if several:
        message = f"the expression {text!r} gives several columns; exactly one value per row is needed"
        raise ValueError(message)
    if renamed:  # `first_name last_name` would mean first_name, called last_name
        message = f"the expression {text!r} has a word too many: two columns need an operator or a function between them"
        raise ValueError(message)
    return CompiledExpression(text, expr, tuple(dict.fromkeys(roots)))


def _check_tokens(text: str, tokens: Sequence[tuple[str, str]]) -> None:
    if not tokens:
        message = "the expression is empty"
        raise ValueError(message)
    for number, (kind, token) in enumerate(tokens):
        called = number + 1 < len(tokens) and tokens[number + 1][1] == "("
        previous = tokens[number - 1][1].lower() if number else ""
        if kind == "word":
            _check_word(text, token, called=called, after=previous)
        elif kind == "quoted":
            _check_quoted(text, token, called=called)
        elif kind == "text" and number and tokens[number - 1][0] == "word" and len(previous) == 1:
            message = f"{tokens[number - 1][1]}{token} in {text!r}: text literals take no prefix"
            raise ValueError(message)


def _check_word(text: str, word: str, *, called: bool, after: str) -> None:
    name = word.lower()
    if name in _FORBIDDEN_WORDS:
        message = f"{word} in {text!r} is not allowed: an expression looks at one row only (a column of that name needs double quotes)"
        raise ValueError(message)
    if name == "distinct" and after not in {"is", "not"}:
        message = f"{word} in {text!r} is not allowed: an expression looks at one row only"
        raise ValueError(message)
    if called and name not in FUNCTIONS and name not in _PAREN_WORDS:
        message = f"function {word}() in {text!r} is not allowed{did_you_mean(name, FUNCTIONS)}"
        raise ValueError(message)


def _check_quoted(text: str, token: str, *, called: bool) -> None:
    name = token[1:-1]
    if called:
        message = f"function {name}() in {text!r} is not allowed: write functions without quotes"
        raise ValueError(message)
    if name.startswith("^") and name.endswith("$"):  # Polars would take it for a pattern over all columns
        message = f"column {name!r} in {text!r} cannot be used in an expression: its name begins with ^ and ends with $"
        raise ValueError(message)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            message = f"cannot read {text!r} at {text[at : at + 12]!r}: an unclosed quote, or a sign that expressions do not have"
            raise ValueError(message)
        if found.lastgroup == "comment":
            message = f"comments are not allowed in an expression: {text!r}"
            raise ValueError(message)
        if found.lastgroup != "space":
            yield found.lastgroup, found.group()
        at = found.end()


def _rewritten(text: str, tokens: Sequence[tuple[str, str]]) -> str:
    """The expression for Polars, with `strpos` and `position` spelled out: Polars' own count bytes and take the needle for a pattern."""
    words: list[str] = []
    at = 0
    while at < len(tokens):
        kind, token = tokens[at]
        name = token.lower()
        if kind == "word" and name in _SEARCHES and at + 1 < len(tokens) and tokens[at + 1][1] == "(":
            end = _closing(text, tokens, at + 1)
            first, second = _two_arguments(text, token, tokens[at + 2 : end])
            haystack, needle = (first, second) if name == "strpos" else (second, first)
            words.append(_search(_rewritten(text, haystack), _rewritten(text, needle)))
            at = end + 1
        else:
            words.append(token)
            at += 1
    return " ".join(words)


_SEARCHES = {"strpos": ",", "position": "in"}  # what stands between the two arguments


def _search(haystack: str, needle: str) -> str:
    before = f"length(split_part({haystack}, {needle}, 1))"
    return (
        f"(CASE WHEN ({haystack}) IS NULL OR ({needle}) IS NULL THEN NULL WHEN ({needle}) = '' THEN 1 "
        f"WHEN {before} < length({haystack}) THEN {before} + 1 ELSE 0 END)"
    )


def _closing(text: str, tokens: Sequence[tuple[str, str]], opening: int) -> int:
    depth = 0
    for at in range(opening, len(tokens)):
        depth += {"(": 1, ")": -1}.get(tokens[at][1], 0)
        if depth == 0:
            return at
    message = f"cannot read the expression {text!r}: a parenthesis is not closed"
    raise ValueError(message)


def _two_arguments(text: str, name: str, tokens: Sequence[tuple[str, str]]) -> tuple[Sequence[tuple[str, str]], Sequence[tuple[str, str]]]:
    between, depth, cuts = _SEARCHES[name.lower()], 0, []
    for at, (_, token) in enumerate(tokens):
        depth += {"(": 1, ")": -1}.get(token, 0)
        if depth == 0 and token.lower() == between:
            cuts.append(at)
    if len(cuts) != 1 or not tokens[: cuts[0]] or not tokens[cuts[0] + 1 :]:
        message = f"{name}() in {text!r} needs two arguments: strpos(text, 'part') or position('part' IN text)"
        raise ValueError(message)
    return tokens[: cuts[0]], tokens[cuts[0] + 1 :]


# ---------------------------------------------------------------- running


def _run(inputs: pl.DataFrame, expr: pl.Expr) -> pl.Series:
    return inputs.with_columns(expr.alias("__value")).get_column("__value")


def _bisect(inputs: pl.DataFrame, expr: pl.Expr) -> tuple[pl.Series, pl.DataFrame]:
    whole = _failure(inputs.clear(), expr)
    if whole is not None:  # fails on no rows at all: the types do not fit, so every row fails alike
        rows = pl.int_range(inputs.height, eager=True).alias("row")
        return pl.Series("__value", [None] * inputs.height, dtype=pl.Null), _failures(rows, [whole] * inputs.height)
    distinct = inputs.unique(maintain_order=True).with_row_index("__input")
    reasons: dict[int, str] = {}
    good: list[pl.DataFrame] = []
    stack = [distinct]
    while stack:
        part = stack.pop()
        try:
            good.append(part.select("__input", expr.alias("__value")))
        except _FAILURES as error:
            if part.height == 1:
                reasons[part["__input"][0]] = _first_line(error)
            else:
                middle = part.height // 2
                stack += [part[:middle], part[middle:]]
    values = pl.concat(good) if good else distinct.select("__input", pl.lit(None).alias("__value")).clear()
    numbered = inputs.join(distinct, on=inputs.columns, how="left", nulls_equal=True, maintain_order="left")
    joined = numbered.select("__input").join(values, on="__input", how="left", maintain_order="left")
    failing = joined.with_row_index("row").filter(pl.col("__input").is_in(list(reasons)))
    return joined["__value"], _failures(failing["row"], [reasons[number] for number in failing["__input"]])


def _failure(inputs: pl.DataFrame, expr: pl.Expr) -> str | None:
    try:
        _run(inputs, expr)
    except _FAILURES as error:
        return _first_line(error)
    return None


def _failures(rows: pl.Series, reasons: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"row": rows.cast(pl.Int64), "reason": pl.Series(reasons, dtype=pl.String)})


def _no_failures() -> pl.DataFrame:
    return pl.DataFrame(schema={"row": pl.Int64, "reason": pl.String})


def _first_line(error: BaseException) -> str:
    line = str(error).strip().split("\n", 1)[0]
    line = re.sub(r" in column '__value'| in column ''", "", line)
    one = _CONVERSION.fullmatch(line)
    if one is not None:
        kind, column, value = one.groups()
        return f'"{value}"{f" in {column}" if column else ""} cannot be made {_kind_word(kind)}'
    return line or type(error).__name__


_CONVERSION = re.compile(r"conversion from `str` to `(\w+)[^`]*` failed(?: in column '(.*)')? for 1 out of 1 values: \[\"(.*)\"\]")


def _kind_word(polars: str) -> str:
    words = {"i": "a whole number", "u": "a whole number", "f": "a number", "decimal": "a decimal number", "datetime": "a time"}
    return words.get(polars) or words.get(polars.rstrip("0123456789"), polars)
