"""`trueup failures`: records that could not be read, mapped, matched or written, each with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup.cli.shared import AsJson, ConfigFile, config_path, looked, say, say_json, state_to_change, state_to_read, style, workspace_of

if TYPE_CHECKING:
    import polars as pl

failures = typer.Typer(rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(failures, name="failures", short_help="Records that could not be read or written, and why.")


@failures.callback(invoke_without_command=True)
def list_(
    ctx: typer.Context,
    *,
    entity: Annotated[str | None, typer.Option("--entity", metavar="ENTITY", help="Only of this entity.", show_default=False)] = None,
    system: Annotated[str | None, typer.Option("--system", metavar="SYSTEM", help="Only in this system.", show_default=False)] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List the records that could not be read, mapped, matched or written, each with its reason.

    What may mend itself is tried again by later runs; what the system refused waits until the record changes, or until `retry`.
    """
    config_path(ctx, config)
    if ctx.invoked_subcommand is not None:
        return
    from trueup.reports.waiting import failures_text
    from trueup.store import failure

    with workspace_of(ctx, config, connects=False) as workspace:
        _known(entity, workspace.config.entities, "entity")
        _known(system, workspace.config.systems, "system")
        rows: list[dict[str, Any]] = []
        with state_to_read(workspace) as store:
            if store is not None:
                looked(workspace)
                with store.read() as db:
                    rows = _rows(failure.of(db, entity, system))
    if as_json:
        say_json(rows)
    else:
        say(failures_text(rows, style()) or "No failures.")


@failures.command("retry", short_help="Try failures again at the next run.")
def retry(
    ctx: typer.Context,
    ids: Annotated[list[int] | None, typer.Argument(metavar="ID", help="Which; left out: all.", show_default=False)] = None,
    *,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Let the next `sync` try failures again, whatever their time."""
    from trueup.reports.table import counted
    from trueup.runtime.deciding import retry_failures

    with workspace_of(ctx, config, connects=False) as workspace, state_to_change(workspace) as store:
        wanted = retry_failures(store, ids, workspace.clock())
    if as_json:
        say_json({"retry": wanted})
    else:
        say(f"{counted(len(wanted), 'failure')} will be tried again by the next `trueup sync`.")


@failures.command("drop", short_help="Forget a failure.")
def drop(
    ctx: typer.Context,
    ids: Annotated[list[int], typer.Argument(metavar="ID", help="Which failures.", show_default=False)],
    *,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Forget failures: give up on them, until their record changes.

    An update that is still due is tried again by the next run; a row that could not be made is made once its record changes.
    """
    from trueup.reports.table import counted
    from trueup.runtime.deciding import drop_failures

    with workspace_of(ctx, config, connects=False) as workspace, state_to_change(workspace) as store:
        wanted = drop_failures(store, ids, workspace.clock())
    if as_json:
        say_json({"dropped": wanted})
    else:
        say(f"Forgot {counted(len(wanted), 'failure')}.")


@failures.command("mend", short_help="Give another value, and try again.")
def mend(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="ID", help="Which failure, as `trueup failures` shows it.", show_default=False)],
    *,
    field: Annotated[
        str | None, typer.Option("--field", metavar="FIELD", help="Of which field, where the failure names none.", show_default=False)
    ] = None,
    value: Annotated[str | None, typer.Option("--value", metavar="VALUE", help="What it is from now on.", show_default=False)] = None,
    empty: Annotated[bool, typer.Option("--empty", help="No value at all (null).", show_default=False)] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Give a field of a record that a system refused another value, in all systems; the next `sync` delivers it."""
    from trueup.errors import UsageError
    from trueup.reports.queues import mended_text, settled_dict
    from trueup.runtime.mending import mend_failure
    from trueup.store import Store

    if (value is not None) == empty:
        raise UsageError("say either --value VALUE or --empty", hint=f"for example: trueup failures mend {number} --value 'Ada Lovelace'")
    with (
        workspace_of(ctx, config, connects=False) as workspace,
        Store.open(workspace.state_target, create=False) as store,
        store.lock("failures mend", now=workspace.clock()),
    ):
        done = mend_failure(store, workspace.config, number, field, value, workspace.clock())
    if as_json:
        say_json(settled_dict(done, None))
    else:
        say(mended_text(done))


def _known(name: str | None, known: Any, what: str) -> None:
    from trueup.errors import UsageError

    if name is not None and name not in known:
        raise UsageError(f"there is no {what} {name!r}", hint=f"configured: {', '.join(known)}")


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Failures in their public form."""
    return [
        {
            "id": row["id"],
            "entity": row["entity"],
            "system": row["system"],
            "key": row["key"],
            "record": row["gid"],
            "stage": row["stage"],
            "field": row["field"],
            "reason": row["reason"],
            "attempts": row["attempts"],
            "next_try_at": None if row["next_try_at"] is None else row["next_try_at"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        for row in frame.iter_rows(named=True)
    ]
