"""`trueup lock`: keep others from changing in one system what is changed in another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from trueup.cli.shared import AsJson, ConfigFile, leave, say, say_json, state_to_read, style, workspace_of

if TYPE_CHECKING:
    from trueup.reports.lock_facts import LockFinding
    from trueup.runtime.locks import Asked
    from trueup.runtime.workspace import Workspace

COULD_NOT, NEEDS_A_PERSON = 1, 3


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("lock", short_help="Keep others from changing what is changed elsewhere.")(lock)


def lock(  # noqa: PLR0913 - one argument per option
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Only in these systems, and fields of these entities; left out: all.", show_default=False),
    ] = None,
    *,
    show: Annotated[bool, typer.Option("--show", help="Show the statements, and change nothing.", show_default=False)] = False,
    make: Annotated[bool, typer.Option("--apply", help="Lock.", show_default=False)] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take the locks away.", show_default=False)] = False,
    whole_tables: Annotated[
        bool, typer.Option("--whole-tables", help="Lock tables as well of which only some rows take part (`where`).", show_default=False)
    ] = False,
    by: Annotated[
        str | None,
        typer.Option(
            "--by", metavar="KIND", help="Lock by `triggers` (default), or by `grants`: the rights of others are taken.", show_default=False
        ),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Keep others from changing in a system what is changed in another: fields with a source of truth, in the systems that are not it.

    Without an option it says where each field is changed, by whom, and how the locks stand. In databases a lock is made of triggers, which
    let pass what trueup writes and tell everybody else where the field is changed; or, with `--by grants`, of rights, which are taken from
    others and kept, to be given back. Elsewhere, and without a lock, such edits are overruled:
    put back, counted and reported. Exit status 3 where a lock is missing, was altered, or could not be made.
    """
    from trueup.errors import UsageError
    from trueup.runtime import locks
    from trueup.runtime.lock_rights import GRANTS, TRIGGERS

    if show + make + remove > 1:
        raise UsageError("say one of --show, --apply and --remove, not several")
    if by not in {None, GRANTS, TRIGGERS}:
        raise UsageError(f"a lock is made of triggers or of grants, not of {by!r}", hint="say --by triggers, or --by grants")
    with workspace_of(ctx, config) as workspace:
        asked = locks.asked_for(workspace.config, names or (), whole_tables=whole_tables, by=by or "")
        if make or remove:
            leave(_change((locks.apply if make else locks.remove)(workspace, asked), making=make, as_json=as_json))
        else:
            leave(_shown(workspace, asked, statements=show, as_json=as_json))


def _shown(workspace: Workspace, asked: Asked, *, statements: bool, as_json: bool) -> int:
    from trueup.reports.lock_facts import lock_dict, locks_text
    from trueup.runtime.locks import look
    from trueup.store import write_lock

    with state_to_read(workspace) as store:
        if store is None:
            known = []
        else:
            with store.read() as db:
                known = write_lock.list_(db)
    found = look(workspace.config, workspace.systems, known, asked)
    if as_json:
        say_json(lock_dict(found))
    else:
        say(locks_text(found, style(), statements=statements))
    return 0 if found.well else NEEDS_A_PERSON


def _change(done: list[tuple[LockFinding, str]], *, making: bool, as_json: bool) -> int:
    """Print what became of each object; the exit status."""
    from trueup.reports.lock_facts import changed_text

    if as_json:
        say_json([{"system": one.system, "object": one.object, "standing": one.standing, "why": problem} for one, problem in done])
    elif done:
        say(changed_text(done, style()))
    else:
        say("Nothing can be locked: see `trueup lock`." if making else "Nothing was locked.")
    failed = [problem for _one, problem in done if problem]
    if failed and len(failed) == len(done):
        return COULD_NOT
    return NEEDS_A_PERSON if failed else 0
