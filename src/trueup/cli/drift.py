"""`trueup drift`: how far the systems disagree, before anything is connected for writing."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trueup.cli.shared import (
    COULD_NOT,
    NO_ENTITIES,
    AsJson,
    ConfigFile,
    all_loaded,
    complain,
    end_of_trail,
    leave,
    looked,
    only_looks,
    say,
    say_json,
    style,
    workspace_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.runtime.workspace import Workspace


PROPOSED = """
Which records and fields belong together was proposed from what the systems hold. `trueup init` writes it down, with the same words."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("drift", short_help="How far the systems disagree.")(drift)


def drift(
    ctx: typer.Context,
    entities: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ENTITY|NAME=ADDRESS]", help="Only these entities; or systems, where nothing is configured yet.", show_default=False
        ),
    ] = None,
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

    Only reads. Nothing is written to any system, and no state is needed or made. Before there is a configuration, name the systems as for
    `trueup init`: `trueup drift crm=postgresql://me@localhost/crm sheet=customers.xlsx`. What belongs together is then proposed.
    """
    from trueup.cli.files import write_page
    from trueup.cli.progress import progress
    from trueup.reports.drift_facts import drift_dict
    from trueup.reports.drift_page import drift_page
    from trueup.reports.drift_text import drift_text
    from trueup.reports.trail import head_dict, head_text, with_head
    from trueup.runtime.drift import measure_drift
    from trueup.runtime.order import chosen

    only_looks()
    with _workspace(ctx, config, entities or ()) as (workspace, wanted):
        names = chosen(workspace.config.entities, wanted)
        looked(workspace)
        with progress(workspace) as tick:
            report = measure_drift(workspace.config, workspace.systems, names, workspace.clock(), tick)
        head = end_of_trail(workspace)
    if html is not None:
        write_page(html, drift_page(report, head_text(head)))
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
    if any("=" in word for word in entities or ()) and not as_json:
        say(PROPOSED)


@contextmanager
def _workspace(ctx: typer.Context, config: Path | None, words: Sequence[str]) -> Iterator[tuple[Workspace, Sequence[str]]]:
    """The workspace, and the entities that are asked for; of systems that are named by their addresses where a word has `=`."""
    if not any("=" in word for word in words):
        with workspace_of(ctx, config) as workspace:
            yield workspace, words
        return
    from trueup.errors import UsageError
    from trueup.runtime.workspace import Workspace
    from trueup.setup.addresses import read_addresses
    from trueup.setup.proposed import proposed

    if config is not None:
        raise UsageError("addresses need no configuration", hint="leave -c out, or name entities that it has")
    with proposed(read_addresses(words)) as (found, left_out):
        for line in left_out:
            complain(f"left out: {line}")
        all_loaded()
        with Workspace(found) as workspace:
            yield workspace, ()
