"""`trueup runbook`: pages for people, from the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from trueup.cli.shared import AsJson, ConfigFile, say, say_json, workspace_of

if TYPE_CHECKING:
    from trueup.runtime.runbooks import Kind, Runbook


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("runbook", short_help="Pages for people, from the configuration.")(runbook)


def runbook(
    ctx: typer.Context,
    kinds: Annotated[
        list[str] | None,
        typer.Argument(metavar="KIND", help="by-hand, ownership, events or incidents; left out: all.", show_default=False),
    ] = None,
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Write them there; left out: where `runbooks:` says, else `runbooks` beside the configuration.",
            show_default=False,
            file_okay=False,
        ),
    ] = None,
    printed: Annotated[bool, typer.Option("--print", help="Print them as Markdown instead of writing files.", show_default=False)] = False,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Write the pages that people need, as Markdown and as HTML.

    They say what is done by hand, which field is changed where and by whom, which events start an immediate sync, and what to do when a
    system stops or an account is compromised. No system is asked, and no state is needed. Written again, pages are replaced, and those of
    what is configured no more are removed; files that are not of this command are left alone.
    """
    from trueup.errors import UsageError
    from trueup.runtime.runbooks import KINDS, runbooks

    for kind in kinds or ():
        if kind not in KINDS:
            raise UsageError(f"there is no kind of runbook {kind!r}", hint=f"known: {', '.join(KINDS)}")
    with workspace_of(ctx, config, connects=False) as workspace:
        chosen = tuple(dict.fromkeys(kinds or ()))
        pages = runbooks(workspace.config, cast("tuple[Kind, ...]", chosen) or KINDS)
        folder = out or Path(workspace.config.runbooks or Path(workspace.config.directory, "runbooks"))
    if printed:
        say("\n".join(page.text for page in pages) if pages else _nothing(chosen))
        return
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    removed = _written(folder, pages, everything=not chosen) if pages or (not chosen and folder.is_dir()) else []
    if as_json:
        told = [
            {"kind": page.kind, "name": page.name, "title": page.title, "from": list(page.parts), "digest": page.digest} for page in pages
        ]
        say_json({"folder": str(shown), "pages": told, "removed": removed})
    elif not pages:
        say(_nothing(chosen))
    else:
        for page in pages:
            say(f"{page.name}: {page.title}")
        for name in removed:
            say(f"{name}: removed, the configuration has nothing of that kind any more")
        say(f"\nIn {shown}, each as .md and .html; index.html lists them." if not chosen else f"\nIn {shown}, each as .md and .html.")


def _nothing(kinds: tuple[str, ...]) -> str:
    of = f" of the kind {', '.join(kinds)}" if kinds else ""
    return (
        f"The configuration asks for no page{of}: it names no `manual:`, no `source_of_truth`, no `when: [realtime]` and no system for it."
    )


def _written(folder: Path, pages: list[Runbook], *, everything: bool) -> list[str]:
    """Write the pages into the folder, all or none; which were removed. Raises UsageError."""
    from trueup.cli.files import write_files
    from trueup.errors import UsageError
    from trueup.runtime.runbooks import contents, ours

    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = ours(folder)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written to: {error.strerror}", hint="name another folder with --out") from error
    files = {folder / name: text for page in pages for name, text in page.files.items()}
    if everything:
        files |= {folder / name: text for name, text in contents(pages).items()}
    write_files(files)
    gone = sorted(before - {page.name for page in pages} - {"index"}) if everything else []
    try:
        for name in gone:
            for ending in (".md", ".html"):
                (folder / f"{name}{ending}").unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{folder / name} cannot be removed: {error.strerror}", hint="remove it yourself") from error
    return gone
