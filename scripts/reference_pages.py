"""The texts of the reference pages, from the code that they describe. Imports of the product are made where they are needed."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

# Not registry.names(), which also tells what happens to be installed beside trueup; nor memory, which declares whatever its world does.
SHIPPED = ("sqlite", "postgres", "mysql", "csv", "excel", "jsonl", "webhook", "carddav", "tap")

COMMANDS_HEAD = """# Commands

Every command of `trueup`, as `trueup COMMAND --help` says it.
"""
CONFIGURATION_HEAD = """# Configuration

Everything that `trueup.yaml` may say. `trueup schema` prints the same as a JSON Schema, which editors use to complete and to check.
"""
MONITORING_HEAD = """# Metrics and alerts

What `trueup serve` tells at `/metrics`, and of which troubles it tells the owners; [monitoring](../monitoring.md) shows both in use.
"""
PRESETS_HEAD = """# Applications that are known

`connector: NAME` takes one; `trueup connector show NAME` says what to write. *Confirmed* means that every request and answer was held
against what is named there; where a limit is not declared, what the application says when it is too much is waited for.
"""
DRAFTS_HEAD = """## Drafts

Written from documentation and confirmed by nothing. They are not taken by name: `trueup connector show NAME --file > NAME.yaml`, and then
`connector: rest` with that file, first on a test account.
"""
CONNECTORS_HEAD = """# Connectors

What each connector declares; the conformance suite fails a connector that does not do what it declares.
"""


# --- commands ---------------------------------------------------------------------------------------------------------------------------


def commands() -> str:
    """The page of the command line."""
    import typer

    from trueup.cli.main import app

    root = typer.main.get_command(app)
    return "\n".join([COMMANDS_HEAD, *_command(root, root.make_context("trueup", [], resilient_parsing=True), level=2)])


def _command(command: Any, context: Any, level: int) -> Iterator[str]:
    yield f"{'#' * level} `{context.command_path}`\n"
    yield f"{_clean_help(command.help)}\n"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"    {context.command_path} {usage}".rstrip() + "\n"
    rows = [record for parameter in command.params if (record := _parameter(parameter, context))]
    if rows:
        yield _table(("option or argument", "meaning"), rows)
    if not hasattr(command, "list_commands"):
        return
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        if not below.hidden:
            yield from _command(below, type(context)(below, info_name=name, parent=context, resilient_parsing=True), level + 1)


def _parameter(parameter: Any, context: Any) -> tuple[str, str] | None:
    if getattr(parameter, "hidden", False):
        return None
    record = parameter.get_help_record(context)
    return None if record is None else (f"`{record[0]}`", record[1])


def _clean_help(text: str | None) -> str:
    """Help without the marks that only a terminal understands."""
    return re.sub(r"\[/?[a-z ]+\]", "", inspect.cleandoc(text or "")).replace("\b", "").strip()


# --- configuration ----------------------------------------------------------------------------------------------------------------------


def schema() -> dict[str, Any]:
    """The JSON Schema of trueup.yaml."""
    from trueup.config.editor import json_schema

    found: dict[str, Any] = json_schema()
    return found


def configuration() -> str:
    """The page of the configuration: a table per kind of section."""
    whole = schema()
    definitions: Mapping[str, Any] = whole.get("$defs", {})
    parts = [CONFIGURATION_HEAD, *_section("trueup.yaml", whole, definitions)]
    for name, part in definitions.items():
        if properties(part):
            parts += _section(_title(name), part, definitions)
    return "\n".join(parts)


def properties(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a section may say, by name; also of one that has a short form beside it. Empty for a plain value."""
    long_forms = [form for form in part.get("anyOf", ()) if form.get("properties")]
    found: Mapping[str, Any] = (long_forms[0] if long_forms else part).get("properties", {})
    return found


def _title(definition: str) -> str:
    """What a kind of section is called: the schema's name without the code's suffix."""
    return definition.removesuffix("Shape")


def _section(title: str, part: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {title}\n"
    if part.get("description"):
        yield f"{inspect.cleandoc(part['description'])}\n"
    short = next((form["description"] for form in part.get("anyOf", ()) if form.get("description") and not form.get("properties")), None)
    if short:
        yield f"In short: {short}.\n"
    required = set(part.get("required", ()))
    rows = []
    for name, field in properties(part).items():
        meaning = " ".join(field.get("description", "").split())
        examples = field.get("examples") or ()
        shown = f"`{json.dumps(examples[0], ensure_ascii=False)}`" if examples else ""
        rows.append((f"`{name}`{' (required)' if name in required else ''}", _type_of(field, definitions), meaning, shown))
    yield _table(("name", "value", "meaning", "example"), rows)


def _type_of(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[-1]
        target = definitions.get(name, {})
        return f"[{_title(name)}](#{_title(name).lower()})" if properties(target) else _type_of(target, definitions)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in field:
            kinds = [_type_of(one, definitions) for one in field[several] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(kinds))
    if "enum" in field:
        return ", ".join(f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if field.get("type") == "array":
        return f"list of {_type_of(field.get('items', {}), definitions)}"
    if field.get("type") == "object" and isinstance(field.get("additionalProperties"), Mapping):
        return f"by name: {_type_of(field['additionalProperties'], definitions)}"
    kind = field.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


# --- monitoring ---------------------------------------------------------------------------------------------------------------------------


def monitoring() -> str:
    """The page of the metrics and of the rules."""
    from trueup.config.schema import AlertRulesShape
    from trueup.reports.alert_rules import RULES
    from trueup.reports.alert_words import threshold
    from trueup.reports.metrics import METRICS

    defaults = AlertRulesShape().model_dump()
    rules = [(f"`{rule.name}`", threshold(rule.name, defaults[rule.name]), rule.words.format("so much")) for rule in RULES]
    metrics = [(f"`{metric.name}`", metric.kind, ", ".join(f"`{name}`" for name in metric.labels), metric.help) for metric in METRICS]
    metrics_table = _table(("metric", "kind", "labels", "tells"), metrics)
    rules_table = _table(("rule", "default", "fires when"), rules)
    return f"{MONITORING_HEAD}\n## Metrics\n\n{metrics_table}\n## Rules of the alerts\n\n{rules_table}"


# --- connectors -------------------------------------------------------------------------------------------------------------------------


def connectors() -> str:
    """The page of the connectors: who declares what, and what the words mean."""
    from trueup.connectors import registry
    from trueup.connectors.presets import draft_names, preset_names
    from trueup.connectors.rest.connector import caps_of
    from trueup.connectors.rest.preset import preset_file
    from trueup.model import Caps

    declared = {name: registry.connector_class(name).caps for name in SHIPPED}
    files = [caps_of(preset_file(name)[1]) for name in (*preset_names(), *draft_names())]
    rows = []
    for field in fields(Caps):
        said = {_shown(getattr(caps, field.name)) for caps in files}
        cells = [_shown(getattr(caps, field.name)) for caps in declared.values()]
        rows.append((f"`{field.name}`", *cells, said.pop() if len(said) == 1 else "by file"))
    meaning = inspect.cleandoc(Caps.__doc__ or "").split("\n\n", 1)[-1]
    words = "`by file`: of `rest`, what the connector file describes ([presets](presets.md), [connectors](../connectors.md))\n"
    return "\n".join([CONNECTORS_HEAD, _table(("", *SHIPPED, "rest"), rows), words, "## The words\n", f"```text\n{meaning}\n```\n"])


def presets() -> str:
    """The page of the applications that are known: how each was confirmed, what it can do, and what it does not cover."""
    from trueup.connectors.presets import draft_names, preset_names
    from trueup.connectors.rest.preset import preset_file
    from trueup.reports.preset import row_of

    head = ("name", "application", "how it was confirmed", "what it can do", "limits that are kept", "who asks", "not covered")
    tables = [_table(head, [row_of(preset_file(name)[1]) for name in names]) for names in (preset_names(), draft_names())]
    return f"{PRESETS_HEAD}\n{tables[0]}\n{DRAFTS_HEAD}\n{tables[1]}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "–"
    return str(value)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines) + "\n"
