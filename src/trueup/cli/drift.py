"""`trueup drift`: how far the systems disagree, before anything is connected for writing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trueup.cli.shared import (
    COULD_NOT,
    NO_ENTITIES,
    AsJson,
    ConfigFile,
    Entities,
    complain,
    end_of_trail,
    leave,
    looked,
    say,
    say_json,
    style,
    workspace_of,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("drift", short_help="How far the systems disagree.")(drift)


def drift(
    ctx: typer.Context,
    entities: Entities = None,
    *,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Also write the report as one HTML file to hand around.", show_default=False, dir_okay=False
        ),
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Show how far the systems disagree: by entity, field and system, with examples, duplicates and dirty values.

    Only reads. Nothing is written to any system, and no state is needed or made.
    """
    from trueup.cli.progress import progress
    from trueup.reports.drift_facts import drift_dict
    from trueup.reports.drift_text import drift_text
    from trueup.reports.trail import head_dict, head_text, with_head
    from trueup.runtime.drift import measure_drift
    from trueup.runtime.order import chosen

    with workspace_of(ctx, config) as workspace:
        names = chosen(workspace.config.entities, entities or ())
        looked(workspace)
        with progress(workspace) as tick:
            report = measure_drift(workspace.config, workspace.systems, names, workspace.clock(), tick)
        head = end_of_trail(workspace)
    if html is not None:
        _write_page(html, report, head_text(head))
    if as_json:
        say_json(drift_dict(report) | {"audit": head_dict(head)})
    elif report.comparable:
        say(with_head(drift_text(report, style()), head))
    if not report.comparable:
        if not report.entities:
            complain(NO_ENTITIES)
        for entity in report.entities.values():
            why = "; ".join(entity.left_out.values()) or f"{len(entity.systems)} mapped"
            complain(f"{entity.name}: fewer than two systems can be read: {why}")
        leave(COULD_NOT)
    if html is not None and not as_json:
        say(f"The report is in {html}.")


def _write_page(path: Path, report: object, head: str) -> None:
    from trueup.errors import UsageError
    from trueup.reports.drift_facts import DriftReport
    from trueup.reports.drift_page import drift_page

    assert isinstance(report, DriftReport)
    try:
        path.write_text(drift_page(report, head), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"the report cannot be written to {path}: {error.strerror}", hint="name a file in a folder that exists") from error
