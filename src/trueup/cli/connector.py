"""`trueup connector`: connector files looked at and tried, before any system uses them; those that come with trueup."""

from __future__ import annotations

import difflib
import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup.cli.shared import COULD_NOT, AsJson, ConfigFile, complain, config_path, leave, looked, say, say_json, style, workspace_of

if TYPE_CHECKING:
    from trueup.connectors.rest.connector import RestConnector
    from trueup.connectors.rest.schema import FileShape

File = Annotated[Path, typer.Argument(metavar="FILE", help="The connector file, or the name of one that comes along.", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="NAME", help="One of `trueup connector list`.", show_default=False)]
MOST_ROWS = 10

connector = typer.Typer(rich_markup_mode=None, no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(connector, name="connector", short_help="Web applications: those that trueup knows, and connector files for others.")


@connector.callback()
def all_() -> None:
    """Look at the web applications that trueup knows, and at a connector file of another one (`connector: rest`)."""


@connector.command("list", short_help="The applications that trueup knows.")
def list_(
    *,
    drafts: Annotated[bool, typer.Option("--drafts", help="Those as well that nobody has confirmed yet.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the applications whose connector files come with trueup: `connector: NAME` in trueup.yaml takes one."""
    from trueup.connectors.presets import draft_names, preset_names
    from trueup.connectors.rest.preset import preset_file
    from trueup.reports.preset import line_of, summary
    from trueup.reports.table import table

    names = [*preset_names(), *(draft_names() if drafts else ())]
    found = [preset_file(name)[1] for name in names]
    if as_json:
        say_json({"presets": [summary(file) for file in found]})
        return
    say(table(["name", "application", "version", "confirmed", "objects"], [line_of(file) for file in found], style()))
    if drafts:
        say("\ndrafts are not taken by name: `trueup connector show NAME --file > NAME.yaml`, and connector: rest with that file")


@connector.command("show", short_help="How a system uses one of them, and what it does.")
def show(
    name: Name,
    *,
    as_file: Annotated[bool, typer.Option("--file", help="Its connector file, to be changed and used by connector: rest.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is to be written into trueup.yaml for one of these applications, what was confirmed and what is not covered."""
    from trueup.connectors.rest.connector import caps_of
    from trueup.reports.connector_file import facts
    from trueup.reports.preset import starter, summary, told

    path, file = _preset(name)
    if as_file:
        say(path.read_text(encoding="utf-8").rstrip("\n"))
    elif as_json:
        say_json({**summary(file), **facts(file, caps_of(file)), "starter": starter(file)})
    else:
        say("\n".join(told(file)))


def _preset(name: str) -> tuple[Path, FileShape]:
    from trueup.connectors.presets import draft_names, preset_names
    from trueup.connectors.rest.preset import preset_file
    from trueup.errors import UsageError

    try:
        return preset_file(name)
    except KeyError:
        known = [*preset_names(), *draft_names()]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise UsageError(f"no connector file called {name or 'nothing'!r} is here or comes with trueup", hint=hint) from None


def _where(file: Path) -> Path:
    """The file as it was named: one that is there, else the one of that name that comes with trueup."""
    if file.exists() or len(file.parts) != 1 or file.suffix:
        return file
    return _preset(file.name)[0]


@connector.command("check", short_help="What is wrong with a connector file, and what it will do.")
def check(file: File, *, as_json: AsJson = False) -> None:
    """Read a connector file and say in words what it will do. All problems are told at once; nothing is connected."""
    from trueup.connectors.rest.connector import caps_of
    from trueup.connectors.rest.file import read_file
    from trueup.errors import ConfigError
    from trueup.reports.connector_file import facts, words
    from trueup.reports.findings import problems_json

    try:
        found = read_file(_where(file))
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
def try_(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="The connector file, the name of one that comes along, or a system of trueup.yaml.", show_default=False
        ),
    ],
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
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Connect, and show the first rows of an object as they would be mapped. Only reads.

    A system of trueup.yaml is asked with its own settings, and with the access that `trueup connect` was given.
    """
    configured = not (secret or value or base_url or file.exists() or len(file.parts) != 1 or file.suffix)
    if configured and config_path(ctx, config).exists() and (found := _of_system(ctx, config, file.name, name, rows)) is not None:
        columns, shown, rejected = found
    else:
        with closing(_opened(_where(file), secret or [], value or [], base_url)) as opened:
            columns, shown, rejected = _first(opened, name, rows)
    if as_json:
        say_json({"object": name, "columns": columns, "rows": shown, "rejected": rejected})
    else:
        _print(name, columns, shown)
        for reject in rejected:
            complain(f"a record cannot be read: {reject['key'] or reject['where']}: {reject['reason']}")
    leave(COULD_NOT if rejected and not shown else 0)


def _of_system(
    ctx: typer.Context, config: Path | None, system: str, name: str, rows: int
) -> tuple[dict[str, str], list[dict[str, Any]], list[dict[str, Any]]] | None:
    """What a system of the configuration shows; None where it has none of this name."""
    from trueup.connectors.rest.connector import RestConnector
    from trueup.errors import UsageError
    from trueup.runtime.opening import Opening

    with workspace_of(ctx, config) as workspace:
        if system not in workspace.config.systems:
            return None
        with closing(Opening(workspace.config)) as opening, closing(opening.open(system)) as opened:
            if not isinstance(opened, RestConnector):
                raise UsageError(f"{system} is no web application", hint="`trueup check` shows rows of every system")
            looked(workspace)
            return _first(opened, name, rows)


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
