"""`trueup record`: one record on one page."""

from __future__ import annotations

from typing import Annotated

import typer

from trueup.cli.shared import AsJson, ConfigFile, looked, say, say_json, state_as_configured, style, workspace_of

EntityName = Annotated[str, typer.Argument(metavar="ENTITY", help="The entity: customer, order …", show_default=False)]
RecordKey = Annotated[str, typer.Argument(metavar="KEY", help="SYSTEM:KEY of one of its rows, or the record's number.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("record", short_help="One record: what is agreed, and who holds what.")(record)


def record(
    ctx: typer.Context,
    entity: EntityName,
    key: RecordKey,
    *,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="TIME", help="As it was agreed then: an ISO date or time, UTC unless it names a zone.", show_default=False
        ),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show one record: its agreed values and who set them, what each system holds and waits for, and its history."""
    from trueup.reports.record_facts import record_dict
    from trueup.reports.record_words import record_text
    from trueup.runtime.explain import view_record
    from trueup.runtime.past import as_of, moment_named
    from trueup.runtime.records import find_record

    moment = moment_named(at) if at is not None else None
    with workspace_of(ctx, config, connects=False) as workspace, state_as_configured(workspace) as store, store.read() as db:
        gid = find_record(workspace, db, entity, key)
        looked(workspace, record=gid)
        view = view_record(db, workspace.config, workspace.config.entities[entity], gid)
        view = view if moment is None else as_of(db, view, moment)
    if as_json:
        say_json(record_dict(view))
    else:
        say(record_text(view, style()))
