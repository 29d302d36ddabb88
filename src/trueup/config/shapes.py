"""From plain data to shapes: everything that is wrong with the shape of a configuration, at once, and the rest of it still usable."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pydantic import ValidationError

from trueup.config.forms import kind_of
from trueup.config.schema import ConfigShape
from trueup.config.schema_base import Shape
from trueup.config.suggest import did_you_mean, listing

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from trueup.config.report import Report
    from trueup.yamlfile import YamlPath

_WRONG_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "a mapping (name: value)",
    "model_type": "a mapping (name: value)",
    "model_attributes_type": "a mapping (name: value)",
    "list_type": "a list",
}
_ROUNDS = 100
_STAND_INS = {"key": "?", "connector": "?"}


def read_shape(data: Any, report: Report) -> ConfigShape | None:
    """The configuration's shape, without the parts that are wrong; those are reported. None where nothing of it can be used."""
    rest = copy.deepcopy(data)
    for path in report.broken:  # text with a variable that is not set
        _remove(rest, path)
    for _ in range(_ROUNDS):
        try:
            return ConfigShape.model_validate(rest)
        except ValidationError as error:
            details = error.errors(include_url=False)
        paths = [_existing(data, _place(detail)) for detail in details]
        for path, detail in zip(paths, details, strict=True):
            _report(report, path, detail)
        mended = [_mend(rest, path, detail) for path, detail in zip(paths, details, strict=True)]
        if not all(mended):
            return None
    return None


def _mend(data: Any, path: YamlPath, detail: ErrorDetails) -> bool:
    """Take out what is wrong; something missing gets a stand-in, so that what stands beside it can be checked. False: nothing is left."""
    missing = str(detail["loc"][-1]) if detail["type"] == "missing" else ""
    if missing not in _STAND_INS:
        return _remove(data, path)
    for part in path:
        if not isinstance(data, dict) or part not in data:
            return True
        data = data[part]
    data[missing] = _STAND_INS[missing]
    return True


def _place(detail: ErrorDetails) -> YamlPath:
    """Where an error is; a missing setting is missing from the thing around it."""
    place = tuple(part for part in detail["loc"] if part != "[key]")
    return place[:-1] if detail["type"] == "missing" else place


def _existing(data: Any, path: YamlPath) -> YamlPath:
    """The longest beginning of `path` that the file has."""
    for length, part in enumerate(path):
        if isinstance(data, dict) and part in data:
            data = data[part]
        elif isinstance(data, list) and part in range(len(data)):
            data = data[int(part)]
        else:
            return path[:length]
    return path


def _remove(data: Any, path: YamlPath) -> bool:
    """Take out what is at `path`, or its list: an item cannot go without shifting the others. False where that is everything."""
    for length, part in enumerate(path, start=1):
        if not isinstance(data, dict) or part not in data:
            return True
        if length == len(path) or isinstance(data[part], list):
            del data[part]
            return True
        data = data[part]
    return False


def _report(report: Report, path: YamlPath, detail: ErrorDetails) -> None:
    message, hint, below = _explained(path, detail)
    if detail["type"] == "missing":  # several may be missing from one thing: all are told, at the thing
        if not report.is_broken((*path, str(detail["loc"][-1]))):
            report.also(path, message, hint)
            report.broken.add((*path, str(detail["loc"][-1])))
    else:
        report.add((*path, *below), message, hint)


def _explained(path: YamlPath, detail: ErrorDetails) -> tuple[str, str, YamlPath]:
    """Message, hint, and where below `path`."""
    kind, context = detail["type"], detail.get("ctx", {})
    name = str(path[-1]) if path else "the configuration"
    if kind == "trueup":
        return context["message"], context["hint"], tuple(context["at"])
    if kind == "missing":
        missing = str(detail["loc"][-1])
        place = f" in `{path[-1]}`" if path else ""
        return f"`{missing}` is missing{place}", _help(path, missing), ()
    if kind == "extra_forbidden":
        known = _settings(path[:-1])
        place = f" in `{path[-2]}`" if len(path) > 1 else ""
        return f"unknown setting `{name}`{place}{did_you_mean(name, known)}", listing("known", known), ()
    if kind == "literal_error":
        known = tuple(part.strip("'") for part in str(context["expected"]).replace(" or ", ", ").split(", "))
        given = detail["input"]
        what = f"`{given}` is not known here{did_you_mean(given, known)}" if isinstance(given, str) else f"`{name}` is {kind_of(given)}"
        return what, listing("known", known), ()
    shape = _shape_at(path)
    if kind in _WRONG_KINDS and shape is not None and shape.short_schema is not None:
        return (
            f"`{name}` is {kind_of(detail['input'])}",
            str(shape.short_schema.get("description", "write its settings as name: value")),
            (),
        )
    if kind in _WRONG_KINDS:
        return f"`{name}` must be {_WRONG_KINDS[kind]}", f"this is {kind_of(detail['input'])}", ()
    if kind == "too_short":
        return f"`{name}` is empty", "name at least one", ()
    return f"`{name}` {detail['msg'].replace('Input should', 'must')}", "", ()


def _settings(path: YamlPath) -> tuple[str, ...]:
    """The settings known at `path`."""
    shape = _shape_at(path)
    return shape.settings() if shape else ()


def _help(path: YamlPath, name: str) -> str:
    """What a missing setting is for, with an example."""
    shape = _shape_at(path)
    for field_name, info in shape.model_fields.items() if shape else ():
        if (info.alias or field_name) == name:
            example = f"; for example {name}: {info.examples[0]}" if info.examples and not isinstance(info.examples[0], dict) else ""
            return f"{(info.description or '').rstrip('.')}{example}"
    return ""


def _shape_at(path: YamlPath) -> type[Shape] | None:
    """The shape that a path leads to, following settings, names in mappings and numbers in lists."""
    current: Any = ConfigShape
    for part in path:
        if isinstance(current, type) and issubclass(current, Shape):
            fields = {info.alias or name: info.annotation for name, info in current.model_fields.items()}
            current = _unwrapped(fields.get(str(part)))
        elif get_origin(current) in {dict, list}:
            current = _unwrapped(get_args(current)[-1])
        else:
            return None
    return current if isinstance(current, type) and issubclass(current, Shape) else None


def _unwrapped(annotation: Any) -> Any:
    """`X` of `X | None`."""
    options = [option for option in get_args(annotation) if option is not type(None)]
    return options[0] if type(None) in get_args(annotation) and options else annotation
