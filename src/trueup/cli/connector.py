"""`trueup connector`: connector files looked at and tried, before any system uses them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup.cli.shared import COULD_NOT, AsJson, complain, leave, say, say_json, style

if TYPE_CHECKING:
    from trueup.connectors.rest.connector import RestConnector

File = Annotated[Path, typer.Argument(metavar="FILE", help="The connector file.", show_default=False)]
MOST_ROWS = 10

connector = typer.Typer(rich_markup_mode=None, no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(connector, name="connector", short_help="Check and try a connector file for a web application.")


@connector.callback()
def all_() -> None:
    """Look at a connector file, which describes a web application, before a system uses it (`connector: rest`)."""


@connector.command("check", short_help="What is wrong with a connector file, and what it will do.")
def check(file: File, *, as_json: AsJson = False) -> None:
    """Read a connector file and say in words what it will do. All problems are told at once; nothing is connected."""
    from trueup.connectors.rest.connector import caps_of
    from trueup.connectors.rest.file import read_file
    from trueup.errors import ConfigError
    from trueup.reports.connector_file import facts, words
    from trueup.reports.findings import problems_json

    try:
        found = read_file(file)
    except ConfigError as error:
        if not as_json:
            raise
        say_json({"ok": False, "problems": problems_json(error.problems)})
        leave(COULD_NOT)
        return
    if as_json:
        say_json({"ok": True, "problems": [], **facts(found, caps_of(found))})
    else:
        say("\n".join(words(found)))


@connector.command("try", short_help="Show live rows of an object.")
def try_(
    file: File,
    name: Annotated[str, typer.Argument(metavar="OBJECT", help="An object of the file.", show_default=False)],
    *,
    secret: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VARIABLE", help="Take `${secrets.NAME}` from this environment variable, or from .env.", show_default=False
        ),
    ] = None,
    value: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="What `${values.NAME}` stands for.", show_default=False)
    ] = None,
    base_url: Annotated[str | None, typer.Option(metavar="URL", help="Another address than the file's.", show_default=False)] = None,
    rows: Annotated[int, typer.Option(min=1, max=1000, help="How many rows to show.")] = MOST_ROWS,
    as_json: AsJson = False,
) -> None:
    """Connect, and show the first rows of an object as they would be mapped. Only reads."""
    opened = _opened(file, secret or [], value or [], base_url)
    try:
        columns, shown, rejected = _first(opened, name, rows)
    finally:
        opened.close()
    if as_json:
        say_json({"object": name, "columns": columns, "rows": shown, "rejected": rejected})
    else:
        _print(name, columns, shown)
        for reject in rejected:
            complain(f"a record cannot be read: {reject['key'] or reject['where']}: {reject['reason']}")
    leave(COULD_NOT if rejected and not shown else 0)


def _opened(file: Path, secrets: list[str], values: list[str], base_url: str | None) -> RestConnector:
    from trueup.config.environment import open_environment
    from trueup.connectors.rest.connector import RestConnector
    from trueup.errors import UsageError

    environment = open_environment(Path(), os.environ)
    given = {}
    for name, variable in _pairs(secrets, "--secret").items():
        found = environment.get(variable)
        if not found:
            raise UsageError(f"the variable {variable} is not set", hint=f"write it into .env, or set it: export {variable}=…")
        given[name] = found
    settings: dict[str, Any] = {"file": str(file), "secrets": given, "values": _pairs(values, "--value")}
    if base_url is not None:
        settings["base_url"] = base_url
    return RestConnector.open(file.stem, settings)


def _pairs(written: list[str], option: str) -> dict[str, str]:
    from trueup.errors import UsageError

    found = {}
    for text in written:
        name, equals, rest = text.partition("=")
        if not (name and equals and rest):
            raise UsageError(f"{option} {text}: something is missing", hint=f"write {option} NAME=…")
        found[name] = rest
    return found


def _first(opened: RestConnector, name: str, rows: int) -> tuple[dict[str, str], list[dict[str, Any]], list[dict[str, Any]]]:
    """Columns with their types, the first rows, and what could not be read on the way to them."""
    from trueup.model import ObjectSpec

    info = opened.describe(ObjectSpec(name=name, key=()))
    shown: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    for page in opened.read(ObjectSpec(name=name, key=info.key), list(info.columns), page_rows=rows):
        shown += page.rows.select(list(info.columns)).to_dicts()
        rejected += [{"key": reject.key, "reason": reject.reason, "where": reject.where} for reject in page.rejected]
        if len(shown) >= rows:
            break
    return {column: facts.type for column, facts in info.columns.items()}, shown[:rows], rejected[:rows]


def _print(name: str, columns: dict[str, str], shown: list[dict[str, Any]]) -> None:
    from trueup.reports.table import counted, table

    say(f"{name}: {counted(len(shown), 'row')} shown, {counted(len(columns), 'column')}")
    say(", ".join(f"{column} ({kind})" for column, kind in columns.items()))
    if shown:
        say()
        say(table(list(columns), [list(row.values()) for row in shown], style()))
