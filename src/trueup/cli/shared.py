"""What every command shares: the options, the way to the workspace and the state, and how results are printed."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from trueup.core.chain import Head
    from trueup.model import Config
    from trueup.reports.table import Style
    from trueup.runtime.workspace import Workspace
    from trueup.store import Store

DEFAULT_CONFIG = Path("trueup.yaml")

DONE, COULD_NOT, USAGE, NEEDS_PERSON, HELD, INTERRUPTED = 0, 1, 2, 3, 4, 130
LARGEST = 2**63 - 2
"""No number in a state is larger; one beyond it names nothing, and as a limit is none."""

NO_ENTITIES = "nothing is kept in agreement here: name what your systems share under `entities:` (`trueup init` proposes it)"

STATUS_EXITS = {"done": DONE, "partial": NEEDS_PERSON, "held": HELD, "failed": COULD_NOT}
"""Exit status of a run's outcome."""

ConfigFile = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", help="The configuration (default: trueup.yaml).", show_default=False, dir_okay=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text.", show_default=False)]
Entities = Annotated[list[str] | None, typer.Argument(metavar="ENTITY", help="Only these entities; left out: all.", show_default=False)]


@dataclass
class Session:
    """What was said before the command: kept in the context, handed down to subcommands."""

    config: Path | None = None


def config_path(ctx: typer.Context, config: Path | None) -> Path:
    """The configuration asked for, before or after the command; the latter wins, and holds for subcommands."""
    session = ctx.ensure_object(Session)
    if config is not None:
        session.config = config
    return session.config or DEFAULT_CONFIG


@contextmanager
def workspace_of(ctx: typer.Context, config: Path | None, *, connects: bool = True) -> Iterator[Workspace]:
    """The workspace of a command, closed afterwards; `connects=False` where only the state is needed. Raises ConfigError."""
    from trueup.config.load import load_config
    from trueup.runtime.workspace import Workspace

    workspace = Workspace(load_config(config_path(ctx, config), connects=connects))
    begin_command(ctx, workspace.config)
    all_loaded()
    with workspace:
        yield workspace


def all_loaded() -> None:
    """Collect garbage from here on, which the start of the process has left alone; what is there by now is none."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def begin_command(ctx: typer.Context, config: Config) -> None:
    """Let the audit trail know the command: its line goes with the first change that it makes, or with `looked`."""
    from datetime import UTC, datetime

    from trueup.cli.arguments import harmless
    from trueup.store import audit

    name = " ".join(ctx.command_path.split()[1:])
    audit.begin(audit.Command(name, harmless(ctx.params, config), datetime.now(UTC), config.file, config.digests))


def looked(workspace: Workspace, *, record: int | None = None) -> None:
    """Let the audit trail say that this command shows records (`record`: which one), before it does.

    Where there is no state, there is no trail. A state that this user may read and not write is shown all the same, with a word about it.
    """
    from trueup.store import audit

    audit.shows(record)
    noted(workspace.state_target)


def noted(target: str) -> None:
    """Write the line of this command into the state, if there is one, although the command does not change it."""
    from trueup.errors import StateError, StateMissingError
    from trueup.store import Store

    try:
        with Store.open(target, create=False, upgrade=False) as store, store.write():
            pass  # the line of the command goes with any transaction
    except StateMissingError:
        return
    except StateError as error:
        complain(f"not noted in the audit trail: {error}")


@contextmanager
def state_to_read(workspace: Workspace) -> Iterator[Store | None]:
    """The state for reading, or None where nothing was ever synced; it is not made by this."""
    from trueup.errors import StateMissingError
    from trueup.store import Store

    try:
        store = Store.open(workspace.state_target, read_only=True)
    except StateMissingError:
        yield None
        return
    with store:
        yield store


@contextmanager
def known_state(workspace: Workspace) -> Iterator[Store]:
    """The state for reading. Raises StateMissingError where nothing was ever synced."""
    from trueup.store import Store

    with Store.open(workspace.state_target, read_only=True) as store:
        yield store


@contextmanager
def state_as_configured(workspace: Workspace) -> Iterator[Store]:
    """The state for reading, under the names of the configuration: what it says was renamed is so before the next run, too.

    Raises StateMissingError where nothing was ever synced.
    """
    from trueup.runtime.renames import with_new_names

    with known_state(workspace) as store, with_new_names(store, workspace.config) as named:
        yield named


@contextmanager
def state_to_change(workspace: Workspace) -> Iterator[Store]:
    """The state for a person's decision. Raises StateMissingError where nothing was ever synced."""
    from trueup.store import Store

    with Store.open(workspace.state_target, create=False) as store:
        yield store


def end_of_trail(workspace: Workspace) -> Head | None:
    """The head of the audit trail; None where there is no state, or none that can be read."""
    from trueup.errors import StateError
    from trueup.store import audit

    try:
        with state_to_read(workspace) as store:
            if store is None:
                return None
            with store.read() as db:
                return audit.head(db)
    except StateError:
        return None


_interrupted = ["what was done stands, and the next run continues from there"]


def only_looks(words: str = "nothing was changed") -> None:
    """Let whoever interrupts this command be told that it has changed nothing."""
    _interrupted[0] = words


def when_interrupted() -> str:
    """What is said to whoever interrupts the command at work."""
    return _interrupted[0]


def leave(status: int) -> None:
    """End the command with an exit status."""
    if status:
        raise typer.Exit(status)


# ---------------------------------------------------------------- printing


def say(text: str = "") -> None:
    """Print a line of the result."""
    sys.stdout.write(text + "\n")


def complain(text: str) -> None:
    """Print one line about trouble on stderr; line ends inside become semicolons."""
    sys.stderr.write("trueup: " + "; ".join(line.strip() for line in text.splitlines() if line.strip()) + "\n")


def say_json(value: Any) -> None:
    """Print a value as JSON: decimals as exact text, times in UTC with a Z, keys as they are."""
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS
    sys.stdout.write(orjson.dumps(value, default=str, option=options).decode())


def style() -> Style:
    """How to print to stdout: coloured and fitted on a terminal, plain elsewhere or with NO_COLOR."""
    from trueup.reports.table import Style

    if not sys.stdout.isatty():
        return Style()
    colour = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return Style(colour=colour, width=_terminal_width())


def _terminal_width() -> int:
    import shutil

    return max(40, shutil.get_terminal_size((100, 24)).columns)
