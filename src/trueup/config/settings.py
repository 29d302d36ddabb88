"""A system's own settings against its connector's JSON Schema, in words for people. Values are never shown: they may be secrets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from trueup.config.forms import kind_of
from trueup.config.suggest import did_you_mean, listing
from trueup.yamlfile import WrittenFloat, WrittenInt, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.config.report import Report
    from trueup.yamlfile import YamlPath

_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
}
_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a mapping",
    "array": "a list",
}
_TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def check_settings(
    settings: Mapping[str, Any], schema: Mapping[str, Any], path: YamlPath, report: Report, general: tuple[str, ...]
) -> dict[str, Any]:
    """The settings with numbers and truth values in their types; everything wrong is reported. `general` are settings every system has."""
    known: Mapping[str, Any] = schema.get("properties", {})
    result: dict[str, Any] = {}
    for name, value in settings.items():
        if name in known:
            if value is not None:
                result[name] = _checked(value, known[name], (*path, name), report)
        elif schema.get("additionalProperties", False) in (False, None):
            place = f"system {path[-1]}"
            report.add(
                (*path, name),
                f"unknown setting `{name}` in {place}{did_you_mean(name, [*known, *general])}",
                listing("known", [*known, *general]),
            )
        else:
            result[name] = plain(value)
    for name in schema.get("required", ()):
        if settings.get(name) is None and not report.is_broken((*path, name)):
            report.also(path, f"`{name}` is missing in system {path[-1]}", _help(name, known.get(name, {})))
    _check_alternatives(settings, schema, path, report)
    return result


def _check_alternatives(settings: Mapping[str, Any], schema: Mapping[str, Any], path: YamlPath, report: Report) -> None:
    """`anyOf` and `oneOf` of required settings: `url`, or `host` and `database`."""
    for word in ("anyOf", "oneOf"):
        groups = [group["required"] for group in schema.get(word, ()) if "required" in group]
        if not groups:
            continue
        met = [group for group in groups if all(settings.get(name) is not None or report.is_broken((*path, name)) for name in group)]
        ways = " or ".join(" and ".join(f"`{name}`" for name in group) for group in groups)
        if not met:
            report.also(path, f"system {path[-1]} needs {ways}", "")
        elif word == "oneOf" and len(met) > 1:
            report.also(path, f"system {path[-1]} takes only one of {ways}", "keep one of them")


def _checked(value: Any, schema: Mapping[str, Any], path: YamlPath, report: Report) -> Any:
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        kinds = [kind for option in options for kind in _kinds(option)]
        fitting = [option for option in options if _fits(_converted(value, _kinds(option)), _kinds(option))]
        if not fitting:
            report.add(path, f"`{path[-1]}` must be {_words(kinds)}", f"this is {kind_of(value)}")
            return None
        schema = {**fitting[0], **{key: part for key, part in schema.items() if key not in {"anyOf", "oneOf"}}}
    kinds = _kinds(schema)
    found = _converted(value, kinds)
    if not _fits(found, kinds):
        report.add(path, f"`{path[-1]}` must be {_words(kinds)}", f"this is {kind_of(value)}")
        return None
    _check_limits(found, schema, path, report)
    if path[-1] == "url" and isinstance(found, str):
        _check_address(found, path, report)
    if isinstance(found, dict) and "properties" in schema:
        return check_settings(found, schema, path, report, ())
    if isinstance(found, list) and isinstance(schema.get("items"), dict):
        return [_checked(item, schema["items"], (*path, number), report) for number, item in enumerate(found)]
    return plain(found)


def _check_address(address: str, path: YamlPath, report: Report) -> None:
    """A password with an @ or / of its own moves the place where the host begins: the rest of it would be taken, and shown, for a host."""
    login, _, rest = re.sub(r"^[a-z+]+://", "", address, count=1).partition("/") if "://" in address else ("", "", "")
    password = login.partition(":")[2]
    hidden = "@" not in login and not password.isdigit() and password and "@" in rest
    if login.partition("?")[0].count("@") > 1 or hidden:
        report.add(
            path,
            "it cannot be told where the password ends and the host begins",
            "write %40 for @, %2F for /, %3A for :, %23 for # and %3F for ? in a user name or password",
        )


def _kinds(schema: Mapping[str, Any]) -> list[str]:
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else list(kinds)


def _converted(value: Any, kinds: list[str]) -> Any:
    """Text that came from a variable as number or truth value, and numbers where text is meant, as written."""
    if not kinds or _fits(value, kinds):
        return value
    if "string" in kinds and isinstance(value, WrittenInt | WrittenFloat):
        return value.text
    if isinstance(value, str):
        text = value.strip()
        if {"integer", "number"} & set(kinds) and re.fullmatch(r"[+-]?[0-9]{1,18}", text):
            return int(text)
        if "number" in kinds and re.fullmatch(r"[+-]?[0-9]{1,18}\.[0-9]{1,18}", text):
            return float(text)
        if "boolean" in kinds and text.lower() in _TRUTH:
            return _TRUTH[text.lower()]
    return value


def _fits(value: Any, kinds: list[str]) -> bool:
    if not kinds:
        return True
    if isinstance(value, bool):
        return "boolean" in kinds
    return any(isinstance(value, _KINDS[kind]) for kind in kinds if kind != "boolean")


def _check_limits(value: Any, schema: Mapping[str, Any], path: YamlPath, report: Report) -> None:
    name = path[-1]
    if "enum" in schema and value not in schema["enum"]:
        known = [str(item) for item in schema["enum"]]
        report.add(path, f"`{name}` has a value that is not known{did_you_mean(str(value), known)}", listing("known", known))
    if "const" in schema and value != schema["const"]:
        report.add(path, f"`{name}` can only be {schema['const']}", "")
    if isinstance(value, str):
        if len(value) < schema.get("minLength", 0):
            report.add(path, f"`{name}` is empty" if not value else f"`{name}` is too short", _help("", schema))
        if "pattern" in schema and not re.search(schema["pattern"], value):
            report.add(path, f"`{name}` is not written as expected", _help("", schema))
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = schema.get("minimum"), schema.get("maximum")
        if (low is not None and value < low) or (high is not None and value > high):
            limits = [f"at least {low}" if low is not None else "", f"at most {high}" if high is not None else ""]
            report.add(path, f"`{name}` must be {' and '.join(filter(None, limits))}", "")


def _words(kinds: list[str]) -> str:
    return " or ".join(dict.fromkeys(_WORDS[kind] for kind in kinds if kind in _WORDS))


def _help(name: str, schema: Mapping[str, Any]) -> str:
    description = str(schema.get("description") or schema.get("title") or "").rstrip(".")
    examples = schema.get("examples") or []
    example = f"for example {name + ': ' if name else ''}{examples[0]}" if examples else ""
    return "; ".join(filter(None, [description, example]))
