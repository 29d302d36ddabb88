"""The short forms of a configuration: durations, shares, keys, conflict rules, schedules, each from what a person writes to one value.

Each function takes what the file says and returns the value, or raises through `wrong` with a message and a hint for the person.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast, get_args
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from pydantic_core import PydanticCustomError

from trueup.config.suggest import did_you_mean, listing
from trueup.core.clean import WORDS
from trueup.model import CleanStep, ConflictRule, When
from trueup.yamlfile import WrittenFloat, WrittenInt

DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w))+$"
MAX_DURATION_S = 10 * 366 * 86_400.0
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_NAMES = frozenset(DAYS) | {"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}
MERGES = ("add", "union", "text", "max", "min")
PLAIN_RULES = ("manual", "last_write_wins", "first_write_wins")
ASSIGNERS = ("system", "sequence", "uuid")

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_DURATION = re.compile(DURATION_PATTERN, re.ASCII)
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)", re.ASCII)
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%", re.ASCII)
_CLOCK = re.compile(r"([0-9]{1,2}):([0-9]{2})", re.ASCII)
_OFF = ("off", "no", "none", "false")


def wrong(message: str, hint: str = "", at: tuple[str | int, ...] = ()) -> PydanticCustomError:
    """An error for a person; `at` is where below the value that was checked."""
    return PydanticCustomError("trueup", "{message}", {"message": message, "hint": hint, "at": at})


def text_of(value: Any) -> str:
    """Text as written: a number in a place for text stands for its own text, a boolean must be put in quotes."""
    if isinstance(value, str):
        return value
    if isinstance(value, WrittenInt | WrittenFloat):
        return value.text
    if isinstance(value, bool):
        raise wrong(
            f"`{str(value).lower()}` without quotes is a boolean, text is expected", f'write "{str(value).lower()}" if the text is meant'
        )
    if isinstance(value, int | float):
        return str(value)
    raise wrong("text is expected", f"this is {kind_of(value)}")


def filled_text(value: Any) -> str:
    """Text that is not empty or blank."""
    text = text_of(value)
    if not text.strip():
        raise wrong("the text is empty", "write a value, or leave the line out")
    if "\x00" in text:
        raise wrong("the text holds a NUL character", "remove it")
    return text


def kind_of(value: Any) -> str:
    """What a value is, in words of YAML."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, dict):
        return "a mapping (name: value)"
    if isinstance(value, list):
        return "a list"
    return "text" if isinstance(value, str) else "a number"


def duration_s(value: Any) -> float:
    """Seconds of `90s`, `2m`, `1h30m`, `1d`; longer than nothing and at most ten years."""
    text = value.strip().lower() if isinstance(value, str) else ""
    if not _DURATION.match(text):
        hint = "write a number with a unit: 90s, 2m, 1h30m, 1d"
        raise wrong(
            f"`{value}` has no unit" if isinstance(value, int | float) and not isinstance(value, bool) else "this is not a duration", hint
        )
    total = sum(float(number) * _UNITS_S[unit] for number, unit in _DURATION_PART.findall(text))
    if not 0 < total <= MAX_DURATION_S:
        raise wrong("a duration must be longer than nothing and at most ten years", "for example 15m or 1d")
    return total


def share(value: Any) -> float | None:
    """A share of rows, above 0 and at most 1, from `5%` or `0.05`; None for `off`."""
    hint = 'write a share as "5%" or 0.05, or off'
    if value is False or (isinstance(value, str) and value.strip().lower() in _OFF):
        return None
    number: float | None = None
    if isinstance(value, str):
        match = _PERCENT.fullmatch(value.strip())
        if match:
            number = float(match.group(1)) / 100
        else:
            try:
                number = float(value)
            except ValueError:
                number = None
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    if number is None or number != number:  # noqa: PLR0124  NaN is the one number that differs from itself
        raise wrong("this is not a share of the rows", hint)
    if not 0 <= number <= 1:
        raise wrong("a share lies between 0 and 1 (0% and 100%)", f"{hint}; a plain count belongs to at_least")
    return number


def zone(value: Any) -> str:
    """The name of a time zone that this machine knows, for example `Europe/London`."""
    name = filled_text(value).strip()
    hint = "write a name of the time zone database, for example Europe/London or UTC"
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError, TypeError) as error:
        raise wrong(f"unknown time zone `{name}`{did_you_mean(name, available_timezones())}", hint) from error
    return name


def clock(value: Any) -> str:
    """A time of day `02:00`, with two digits for the hour."""
    match = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or int(match.group(1)) > 23 or int(match.group(2)) > 59:
        raise wrong("this is not a time of day", 'write hours and minutes in quotes: "02:00"')
    return f"{int(match.group(1)):02}:{match.group(2)}"


def clock_ranges(value: Any) -> tuple[tuple[str, str], ...]:
    """Times of day between which something rests: one pair `["09:00", "17:00"]` or a list of pairs; a pair may reach over midnight."""
    pairs = value if isinstance(value, list) and value and all(isinstance(item, list) for item in value) else [value]
    ranges = []
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise wrong("two times of day are expected", 'write ["09:00", "17:00"]')
        start, end = clock(pair[0]), clock(pair[1])
        if start == end:
            raise wrong(f"the time from {start} to {end} is empty", 'write ["09:00", "17:00"]; paused: true stops a system altogether')
        ranges.append((start, end))
    return tuple(ranges)


def days(value: Any) -> tuple[int, ...]:
    """Days of the week, Monday 0, sorted: `mon-fri`, `sat,sun`, `[mon, wed]`, `daily`; a range may go over the weekend (`fri-mon`)."""
    parts = value if isinstance(value, list) else str(value).split(",") if isinstance(value, str) else []
    found: set[int] = set()
    hint = "write mon-fri, sat,sun or [mon, wed]"
    for part in parts:
        text = part.strip().lower() if isinstance(part, str) else ""
        if text == "daily":
            found.update(range(7))
            continue
        ends = [end.strip()[:3] if end.strip() in _DAY_NAMES else "" for end in text.split("-")]
        if len(ends) > 2 or any(end not in DAYS for end in ends):
            raise wrong(f"`{text}` is no day of the week" if text else "days of the week are expected", hint)
        first, last = DAYS.index(ends[0]), DAYS.index(ends[-1])
        found.update((first + step) % 7 for step in range((last - first) % 7 + 1))
    if not found:
        raise wrong("days of the week are expected", hint)
    return tuple(sorted(found))


def cron(value: Any) -> str:
    """A cron expression of five fields; a day that no month has is refused."""
    text = " ".join(filled_text(value).split())
    hint = 'write minute, hour, day, month, weekday: "30 2 * * mon-fri"'
    if len(text.split(" ")) != 5:
        raise wrong("a cron expression has five fields", hint)
    try:
        CronSim(text, datetime(2024, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise wrong(f"`{text}` is not a cron expression: {error}", hint) from error
    return text


def when(value: Any) -> When:
    """One item of `when`: `realtime`, `{every: 15m}`, `{at: "02:00", days: mon-fri, timezone: …}` or `{cron: "…", timezone: …}`."""
    hint = 'write realtime, {every: 15m}, {at: "02:00", days: mon-fri, timezone: Europe/London} or {cron: "30 2 * * *", timezone: UTC}'
    if isinstance(value, str):
        if value.strip().lower().replace("-", "") == "realtime":
            return When(kind="realtime")
        raise wrong(f"`{value}` is no schedule", hint)
    kinds = [kind for kind in ("every", "at", "cron") if isinstance(value, dict) and kind in value]
    if len(kinds) != 1:
        raise wrong("a schedule says exactly one of every, at, cron", hint)
    kind = kinds[0]
    allowed = {"every": ("every",), "at": ("at", "days", "timezone"), "cron": ("cron", "timezone")}[kind]
    known_only(value, allowed, f"a schedule with {kind}")
    timezone = below("timezone", zone, value["timezone"]) if value.get("timezone") is not None else "UTC"
    if kind == "every":
        return When(kind="every", every_s=below("every", duration_s, value["every"]))
    if kind == "cron":
        return When(kind="cron", cron=below("cron", cron, value["cron"]), timezone=timezone)
    chosen = below("days", days, value["days"]) if value.get("days") is not None else tuple(range(7))
    return When(kind="at", at=below("at", clock, value["at"]), days=chosen, timezone=timezone)


def comparing(value: Any) -> When | None:
    """When systems are compared: an item of `when` that the clock decides, or None for `off`."""
    if value is False or (isinstance(value, str) and value.strip().lower() in _OFF):
        return None
    found = when(value)
    if found.kind == "realtime":
        raise wrong("nothing is compared in real time", 'write {at: "03:00", timezone: Europe/London}, {every: 1d}, {cron: …} or off')
    return found


def repeating(value: Any) -> When:
    """How often something is done by hand: a span (`7d`), or an item of `when` that the clock decides."""
    if not isinstance(value, dict):
        return When(kind="every", every_s=duration_s(value))
    return when(value)


def below(part: str, parse: Any, value: Any) -> Any:
    """Parse a part of a form; its error then points at that part."""
    try:
        return parse(value)
    except PydanticCustomError as error:
        context = dict(error.context or {})
        raise wrong(context["message"], context["hint"], (part, *context["at"])) from error


def known_only(value: dict[str, Any], known: tuple[str, ...], what: str) -> None:
    """Refuse the first name that is not known."""
    for name in value:
        if name not in known:
            raise wrong(f"unknown setting `{name}` in {what}{did_you_mean(name, known)}", listing("known", known), (name,))


@dataclass(frozen=True, slots=True)
class Conflict:
    """A field's conflict rule; `expression` only where the rule is `rule`."""

    rule: ConflictRule
    expression: str | None = None


def conflict(value: Any) -> Conflict:
    """`manual`, `last_write_wins`, `first_write_wins`, `{merge: add | union | text | max | min}` or `{rule: "expression"}`."""
    hint = 'write manual, last_write_wins, first_write_wins, {merge: add | union | text | max | min} or {rule: "expression"}'
    if isinstance(value, str):
        name = value.strip()
        if name in PLAIN_RULES:
            return Conflict(cast("ConflictRule", name))
        raise wrong(
            f"unknown conflict rule `{name}`{did_you_mean(name, PLAIN_RULES)}", f"write {{merge: {name}}}" if name in MERGES else hint
        )
    if not isinstance(value, dict) or len(value) != 1 or not set(value) <= {"merge", "rule"}:
        raise wrong("this is not a conflict rule", hint)
    if "rule" in value:
        return Conflict("rule", below("rule", filled_text, value["rule"]))
    name = below("merge", filled_text, value["merge"])
    if name not in MERGES:
        raise wrong(f"unknown merge `{name}`{did_you_mean(name, MERGES)}", listing("known", MERGES), ("merge",))
    return Conflict(cast("ConflictRule", name))


def clean_steps(value: Any) -> tuple[CleanStep, ...]:
    """`[trim, lower, {phone: GB}]`; a single step may stand without brackets."""
    steps = []
    for number, item in enumerate(value if isinstance(value, list) else [value]):
        if isinstance(item, str) and item.strip():
            steps.append(CleanStep(item.strip()))
        elif isinstance(item, dict) and len(item) == 1:
            name, argument = next(iter(item.items()))
            steps.append(CleanStep(name, None if argument is None else _argument(argument)))
        else:
            raise wrong(
                "this is not a cleaning step",
                "write a name (trim) or a name with its argument ({phone: GB})",
                (number,) if isinstance(value, list) else (),
            )
    return tuple(steps)


def _argument(value: Any) -> str:
    """The argument of a cleaning step: a text, or a list of words."""
    if not isinstance(value, list):
        return text_of(value)
    words = [text_of(item) for item in value]
    if not words or any(not word.strip() or WORDS in word for word in words):
        raise wrong(f"the words of a cleaning step must not be empty, or hold {WORDS}", 'write them as [n/a, "-"]')
    return WORDS.join(words)


@dataclass(frozen=True, slots=True)
class Key:
    """A mapping's key: native columns, and who gives a new row its key (None: not said)."""

    columns: tuple[str, ...]
    assign: tuple[str, ...] | None = None


def key(value: Any) -> Key:
    """`id`, `[order_id, line]` or `{column: …, assign: system | sequence | uuid | a field's name}` (with a list, one field per column)."""
    hint = "write a column, a list of columns, or {column: Customer No, assign: sequence}"
    if isinstance(value, dict):
        known_only(value, ("column", "assign"), "a key")
        if value.get("column") is None:
            raise wrong("the key names no column", hint)
        assign = value.get("assign")
        return Key(
            below("column", _names, value["column"]),
            None if assign is None else below("assign", _names, assign),
        )
    return Key(_names(value))


def _names(value: Any) -> tuple[str, ...]:
    """One name or a list of names, each once."""
    if value is None or isinstance(value, dict) or value == []:
        raise wrong("a name or a list of names is expected", "for example id or [order_id, line]")
    names = tuple(filled_text(item) for item in value) if isinstance(value, list) else (filled_text(value),)
    if len(set(names)) < len(names):
        raise wrong("a name is given twice", "name each once")
    return names


def name_list(value: Any) -> tuple[str, ...]:
    """One name or a list of names, each once."""
    return _names(value)


def secrets(value: Any) -> str | tuple[str, ...]:
    """One secret, or a list of those that are good now: while a secret is being changed, the new one and the old one."""
    if isinstance(value, list):
        found = _names(value)
        return found if len(found) > 1 else found[0]
    return filled_text(value)


def match_rule(value: Any) -> tuple[str, ...]:
    """One match rule: a list of fields. A bare name is refused: `[phone, name]` could mean one rule or two."""
    if not isinstance(value, list):
        raise wrong("a match rule is a list of fields", "write each rule in its own brackets: [[email], [phone, name]]")
    return _names(value)


@dataclass(frozen=True, slots=True)
class NativeObject:
    """A native object by name, or by a query that is only read."""

    name: str | None = None
    sql: str | None = None


def native_object(value: Any) -> NativeObject:
    """`contacts` or `{sql: "SELECT …"}`."""
    if not isinstance(value, dict):
        return NativeObject(name=filled_text(value))
    known_only(value, ("sql",), "an object")
    if value.get("sql") is None:
        raise wrong("this is not an object", 'write a name (contacts) or {sql: "SELECT …"}')
    sql = below("sql", filled_text, value["sql"]).strip().removesuffix(";").rstrip()
    first = re.match(r"(?:\s|\(|--[^\n]*\n|/\*.*?\*/)*([A-Za-z]+)", sql, re.DOTALL)
    if first is None or first.group(1).upper() not in {"SELECT", "WITH", "VALUES", "TABLE"}:
        raise wrong("a query object must be a SELECT", "it is only read; to write, map the table itself", ("sql",))
    return NativeObject(sql=sql)


def conflict_rules() -> tuple[str, ...]:
    """All rules by the names that the model uses."""
    return get_args(ConflictRule)
