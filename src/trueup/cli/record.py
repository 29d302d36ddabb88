"""`trueup record`: one record on one page."""

from __future__ import annotations

from typing import Annotated

import typer

from trueup.cli.shared import AsJson, ConfigFile, known_state, say, say_json, style, workspace_of

EntityName = Annotated[str, typer.Argument(metavar="ENTITY", help="The entity: customer, order …", show_default=False)]
RecordKey = Annotated[str, typer.Argument(metavar="KEY", help="SYSTEM:KEY of one of its rows, or the record's number.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("record", short_help="One record: what is agreed, and who holds what.")(record)


def record(ctx: typer.Context, entity: EntityName, key: RecordKey, *, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Show one record: its agreed values and who set them, what each system holds and waits for, and its history."""
    from trueup.reports.record_facts import record_dict
    from trueup.reports.record_words import record_text
    from trueup.runtime.explain import view_record
    from trueup.runtime.records import find_record

    with workspace_of(ctx, config, connects=False) as workspace, known_state(workspace) as store, store.read() as db:
        gid = find_record(workspace, db, entity, key)
        view = view_record(db, workspace.config, workspace.config.entities[entity], gid)
    if as_json:
        say_json(record_dict(view))
    else:
        say(record_text(view, style()))
