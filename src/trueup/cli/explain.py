"""`trueup explain`: why a value is what it is."""

from __future__ import annotations

from typing import Annotated

import typer

from trueup.cli.record import EntityName, RecordKey
from trueup.cli.shared import AsJson, ConfigFile, looked, say, say_json, state_as_configured, style, workspace_of


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain", short_help="Why each value is what it is.")(explain)


def explain(
    ctx: typer.Context,
    entity: EntityName,
    key: RecordKey,
    field: Annotated[str | None, typer.Argument(metavar="[FIELD]", help="Only this field.", show_default=False)] = None,
    *,
    expected: Annotated[
        str | None,
        typer.Option("--expected", metavar="VALUE", help="Where this value of FIELD went, which somebody expected.", show_default=False),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Say why each value of a record is what it is: from whom, when, under which rule, what it replaced, and who was overruled.

    What waits is told with the reason and what to do about it. With FIELD, everything that happened to it is told.
    """
    from trueup.errors import UsageError
    from trueup.reports.record_facts import story_dict
    from trueup.reports.record_words import explain_text
    from trueup.runtime.expected import look_for
    from trueup.runtime.explain import explain_record, view_record
    from trueup.runtime.records import find_record

    if expected is not None and field is None:
        raise UsageError("--expected says nothing without a field", hint=f"trueup explain {entity} {key} FIELD --expected VALUE")

    with workspace_of(ctx, config, connects=False) as workspace, state_as_configured(workspace) as store, store.read() as db:
        gid = find_record(workspace, db, entity, key)
        looked(workspace, record=gid)
        known = workspace.config.entities[entity]
        view = view_record(db, workspace.config, known, gid)
        stories = explain_record(view, known, field)
        if expected is not None:
            stories[0].expected = look_for(db, workspace.config, known, view, stories[0], expected)
    if as_json:
        say_json(story_dict(view, stories))
    else:
        say(explain_text(view, stories, style(), chain=field is not None))
