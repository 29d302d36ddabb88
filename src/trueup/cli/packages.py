"""`trueup export`, `trueup import` and `trueup packages`: data packages out, in, and how they stand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from trueup.cli.shared import (
    DONE,
    HELD,
    NEEDS_PERSON,
    AsJson,
    ConfigFile,
    complain,
    leave,
    looked,
    say,
    say_json,
    state_to_change,
    state_to_read,
    style,
    workspace_of,
)

if TYPE_CHECKING:
    from trueup.model import Package
    from trueup.runtime.packages.incoming import Taken
    from trueup.runtime.workspace import Workspace

PATIENCE_S = 60.0


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("export", short_help="Put a data package of an entity's records somewhere.")(export)
    app.command("import", short_help="Check data packages, and take them in through an ordinary pass.")(import_)
    app.command("packages", short_help="How data packages stand: sent, answered, received, late.")(packages)


def export(
    ctx: typer.Context,
    entity: Annotated[str, typer.Argument(metavar="ENTITY", help="Whose agreed records.", show_default=False)],
    *,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="PLACE", help="A folder, or sftp://… or s3://…; left out: as configured.", show_default=False),
    ] = None,
    cutoff: Annotated[
        str | None,
        typer.Option(
            "--cutoff", metavar="TIME", help="The records as of this moment; left out: as configured, or now.", show_default=False
        ),
    ] = None,
    form: Annotated[
        Literal["csv", "jsonl"] | None,
        typer.Option("--format", help="CSV or JSON Lines; left out: as configured, or CSV.", show_default=False),
    ] = None,
    zipped: Annotated[bool, typer.Option("--zip", help="One .zip instead of a folder.", show_default=False)] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Put a data package of an entity's agreed records somewhere, under the next number of that entity and place.

    It appears under its name only when all of it is there. Nothing is read from the systems: it tells what the last `sync` agreed on.
    """
    from dataclasses import replace

    from trueup.exchange.statement import in_zone
    from trueup.reports.package_words import exported_text
    from trueup.runtime.packages.chosen import going_out
    from trueup.runtime.packages.outgoing import export as put_there
    from trueup.runtime.past import moment_named

    with workspace_of(ctx, config) as workspace:
        package = going_out(workspace.config, entity, to)
        package = replace(package, form=form or package.form, zipped=zipped or package.zipped)
        moment = None if cutoff is None else moment_named(cutoff)
        with state_to_change(workspace) as store:
            done = put_there(workspace.config, store, package, workspace.clock(), cutoff=moment)
    statement = done.statement
    body = {
        "package": done.name,
        "place": done.place,
        "entity": statement.entity,
        "sequence": statement.sequence,
        "cutoff": in_zone(statement.cutoff, statement.timezone),
        "timezone": statement.timezone,
        "rows": statement.rows,
        "gone": statement.gone_rows,
        "totals": statement.totals,
        "bytes": sum(one.bytes for one in statement.resources),
        "signed": statement.signed,
        "encrypted": done.encrypted,
    }
    if as_json:
        say_json(body)
    else:
        say(exported_text(body | {"place": _near(done.place), "cutoff": statement.cutoff}))


def _near(place: str) -> str:
    """A folder as one would name it from here."""
    here = f"{Path.cwd()}/"
    return place.removeprefix(here)


def import_(
    ctx: typer.Context,
    place: Annotated[
        str,
        typer.Argument(
            metavar="PLACE", help="Where packages come from, one package there, or a name under `packages:`.", show_default=False
        ),
    ],
    *,
    following: Annotated[
        int | None,
        typer.Option(
            "--next",
            min=1,
            metavar="N",
            help="The next number is this one, whatever came before: after a gap, or a new beginning.",
            show_default=False,
        ),
    ] = None,
    wait: Annotated[
        float, typer.Option("--wait", min=0, metavar="S", help="Wait up to S seconds for another process on this state.")
    ] = PATIENCE_S,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Take in the data packages that wait in a place, in the order of their numbers.

    Each is checked as a whole before anything is touched. Then it becomes the system that the configuration says, an ordinary pass looks at
    it, and an acknowledgement is put beside it.
    """
    from trueup.errors import UsageError
    from trueup.reports.package_words import imported_text
    from trueup.runtime.packages.chosen import coming_in

    with workspace_of(ctx, config) as workspace:
        chosen, only = coming_in(workspace.config, place)
        if following is not None and len(chosen) > 1:
            raise UsageError("--next is about one entity, and here are several", hint="name one of `packages:` instead of a place")
        found = [_import(workspace, one, only, following, wait) for one in chosen]
    if as_json:
        say_json([_part(package, taken, late, last) for package, taken, late, last in found])
    else:
        say(imported_text([_part(package, taken, late, last) for package, taken, late, last in found], style()))
    leave(max((_status(taken, late) for _package, taken, late, _last in found), default=DONE))


def _import(
    workspace: Workspace, package: Package, only: Any, following: int | None, wait_s: float
) -> tuple[Package, list[Taken], Any, str | None]:
    from trueup.runtime.packages.incoming import Incoming, Settled
    from trueup.runtime.packages.listed import late_dict
    from trueup.runtime.packages.standing import Received, received

    def settle() -> Settled:
        result = workspace.sync([package.entity], wait_s=wait_s)
        return Settled(result.run, result.status, result.error)

    taken = Incoming(workspace.config, workspace.store, package, workspace.clock, settle).step(only, following=following)
    with workspace.store.read() as db:
        known = received(db, package) or Received(since=workspace.clock())
    return package, taken, late_dict(package, known, workspace.clock()), known.name or None


def _part(package: Package, taken: list[Taken], late: Any, last: str | None) -> dict[str, Any]:
    return {
        "entity": package.entity,
        "system": package.system,
        "packages": [
            {
                "package": one.name,
                "status": one.status,
                "kind": one.kind,
                "why": one.why,
                "rows": one.rows,
                "gone": one.gone,
                "totals": one.totals,
                "run": one.settled.run if one.settled is not None else None,
                "run_status": one.settled.status if one.settled is not None else None,
                "waiting": one.waiting,
            }
            for one in taken
        ],
        "late": late,
        "last": last,
    }


def _status(taken: list[Taken], late: Any) -> int:
    runs = {one.settled.status for one in taken if one.settled is not None}
    if "held" in runs:
        return HELD
    troubled = late is not None or "partial" in runs or any(one.status != "accepted" for one in taken)
    return NEEDS_PERSON if troubled else DONE


def packages(ctx: typer.Context, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """List the data packages of the configuration: the last one out or in, its answer, what is late or was refused, and public keys.

    Answers that have come are looked for in their places.
    """
    from trueup.errors import SystemError_
    from trueup.reports.package_words import packages_text
    from trueup.runtime.packages.listed import listed
    from trueup.runtime.packages.outgoing import look_for_answer

    with workspace_of(ctx, config) as workspace:
        with state_to_read(workspace) as store:
            there = store is not None
        if there:
            looked(workspace)
            with state_to_change(workspace) as store:
                for one in workspace.config.packages.values():
                    try:
                        if one.direction == "out":
                            look_for_answer(workspace.config, store, one)
                    except SystemError_ as error:
                        complain(f"{one.name}: {error}")
        with state_to_read(workspace) as store:
            body = listed(workspace.config, store, workspace.clock())
    if as_json:
        say_json(body)
    else:
        say(packages_text([one | {"place": _near(one["place"])} for one in body], style()) or "The configuration has no `packages`.")
    leave(NEEDS_PERSON if any(one["trouble"] is not None or one["late"] is not None for one in body) else DONE)
