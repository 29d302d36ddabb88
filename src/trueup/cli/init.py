"""`trueup init`: from the systems' addresses to a project that `check` accepts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trueup.cli.shared import NEEDS_PERSON, AsJson, complain, leave, say, say_json, style

if TYPE_CHECKING:
    from trueup.decide.answers import Answers
    from trueup.setup.addresses import Address
    from trueup.setup.proposal import ProposedEntity


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init", short_help="From the systems' addresses to a project.")(init)


def init(
    systems: Annotated[
        list[str], typer.Argument(metavar="NAME=ADDRESS...", help="The systems: a database's URL, or a file.", show_default=False)
    ],
    *,
    into: Annotated[
        Path, typer.Option("--into", metavar="FOLDER", help="Where the project goes (default: here).", show_default=False, file_okay=False)
    ] = Path(),
    answers: Annotated[
        Path | None,
        typer.Option(
            "--answers", metavar="FILE", help="Answers to `decide`: they set the pace and the owner.", show_default=False, dir_okay=False
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing: take what Enter would take.", show_default=False)] = False,
    as_json: AsJson = False,
) -> None:
    """Look at the systems, propose which records, keys and fields belong together, and write a `trueup.yaml` with the reasons beside it.

    Only reads the systems. In a terminal it asks what it cannot know, and nothing without one, with --yes or with --json: of what is not
    certain, the file then holds a comment. An existing `trueup.yaml` is never touched.
    """
    from trueup.cli.init_asking import ask
    from trueup.errors import UsageError
    from trueup.setup.addresses import read_addresses
    from trueup.setup.proposal import propose
    from trueup.setup.proposed import look_at, nothing_shared
    from trueup.setup.written import as_environment, as_yaml, proposals

    addresses = read_addresses(systems)
    target = into / "trueup.yaml"
    if target.exists():
        raise UsageError(f"{target} is there already", hint="name another folder with --into, or move it away")
    given = _answers(answers)
    asking = sys.stdin.isatty() and not yes and not as_json
    seen = look_at(addresses)
    aside: list[str] = []
    entities = propose(seen.samples, given, aside=aside)
    for line in seen.left_out:
        complain(f"left out: {line}")
    if not entities:
        raise nothing_shared(seen, aside, then=": nothing was written")
    for line in aside:
        complain(f"not proposed: {line}")
    unused = _unused(given, entities)
    if not as_json:
        _tell(entities)
    if asking:
        ask(entities)
        if not entities:
            raise UsageError("none of these records is wanted: nothing was written", hint="run it again, and keep some together")
    _write(target, as_yaml(_from(addresses, into), entities, seen.clocks), into, as_environment(addresses))
    if as_json:
        say_json({"file": str(target), "entities": proposals(entities), "left_out": seen.left_out, "unused_answers": unused})
    else:
        for kind in unused:
            say(f"The answers for `{kind}` were not used: nothing that was found is called so.")
        say(f"The project is in {target}. Read it; `trueup check`, `trueup drift` and `trueup plan` only look,")
        say("`trueup rehearse` tries it on masked copies, `trueup sync` writes.")
    leave(NEEDS_PERSON if seen.left_out else 0)


def _answers(path: Path | None) -> dict[str, Answers]:
    from trueup.config.answers import read_answers

    return {} if path is None else read_answers(path)


def _unused(answers: dict[str, Answers], entities: list[ProposedEntity]) -> list[str]:
    """The kinds of record that were answered for, and of which nothing was found."""
    used = {entity.answers_of for entity in entities}
    return [kind for kind in answers if kind not in used]


def _from(addresses: list[Address], into: Path) -> list[Address]:
    """The addresses as they are written in that folder: paths of files relative to it."""
    from dataclasses import replace

    folder = into.resolve()
    return [replace(item, path=os.path.relpath(Path(item.path).resolve(), folder)) if item.path is not None else item for item in addresses]


def _write(target: Path, text: str, into: Path, environment: str) -> None:
    """The files of the project: the configuration appears whole and valid, and passwords in a file that only its owner may read."""
    from trueup.config.load import load_config
    from trueup.errors import UsageError

    draft = into / ".trueup-init.yaml"
    try:
        into.mkdir(parents=True, exist_ok=True)
        if environment:
            _add_environment(into / ".env", environment)
        try:
            draft.write_text(text, encoding="utf-8")
            load_config(draft)  # what is proposed has to hold
            os.link(draft, target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}", hint="name a folder that you may write to with --into") from error


def _add_environment(path: Path, lines: str) -> None:
    """Add lines to `.env`; a variable that it has already keeps its value where that is the same, and is an error where not."""
    from trueup.errors import UsageError

    there = path.read_text(encoding="utf-8") if path.exists() else ""
    known = dict(line.split("=", 1) for line in there.splitlines() if "=" in line)
    wanted = dict(line.split("=", 1) for line in lines.splitlines())
    for name, value in wanted.items():
        if known.get(name, value) != value:
            raise UsageError(f"{path} says something else for {name}", hint="remove that line, or give the system another name")
    new = "".join(f"{name}={value}\n" for name, value in wanted.items() if name not in known)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as file:
        file.write(("\n" if there and not there.endswith("\n") else "") + new)


def _tell(entities: list[ProposedEntity]) -> None:
    from trueup.reports.table import table

    for entity in entities:
        places = ", ".join(f"{system}: {sample.name}" for system, sample in entity.samples.items())
        say(f"{entity.name} ({places}), matched by {', '.join(name for name, _why in entity.match)}")
        rows = []
        for item in entity.fields.values():
            others = [shown for shown in item.shown.values() if shown.evidence]
            why = min(others, key=lambda shown: shown.confidence).evidence if others else ""
            columns = [item.shown[system].column if system in item.shown else "–" for system in entity.samples]
            rows.append([item.name, *columns, "sure" if item.sure else "to look at", why])
        say(table(["field", *entity.samples, "this is", "because"], rows, style(), indent="  ", open_end=True))
        if entity.left_out:
            say(f"  Not mapped: {', '.join(entity.left_out)}")
        say()
