"""`trueup decide`: six questions, and which way of keeping records together they speak for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trueup.cli.shared import AsJson, say, say_json, style

if TYPE_CHECKING:
    from trueup.decide.answers import Answers, Question


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("decide", short_help="Six questions, and the way that they speak for.")(decide)


def decide(
    *,
    answers: Annotated[
        Path | None,
        typer.Option(
            "--answers", metavar="FILE", help="Take the answers from this file instead of asking.", show_default=False, dir_okay=False
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="FILE", help="Keep the answers in a file, for --answers.", show_default=False, dir_okay=False),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Also write the recommendation as a page to hand around.", show_default=False, dir_okay=False
        ),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            "--init", metavar="FOLDER", help="Also begin what is recommended in this folder.", show_default=False, file_okay=False
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Answer six questions about a kind of record, and see whether and how to integrate: with reasons, risks and next steps.

    Nothing is read but the answers, and nothing needs to be configured.
    """
    from trueup.config.answers import read_answers
    from trueup.decide.starter import starter
    from trueup.decide.verdict import recommend
    from trueup.reports.verdict_page import verdict_page
    from trueup.reports.verdict_text import verdict_dict, verdict_text

    records = read_answers(answers) if answers is not None else _asked()
    found = recommend(records)
    if save is not None:
        _write(save, _as_yaml(records))
    if html is not None:
        _write(html, verdict_page(records, found))
    begun = _begin(init, {"answers.yaml": _as_yaml(records), **starter(records, found)}) if init is not None else []
    if as_json:
        say_json(verdict_dict(records, found))
        return
    say(verdict_text(found, style()))
    if html is not None:
        say(f"\nThe page is in {html}.")
    if save is not None:
        say(f"\nThe answers are in {save}.")
    if init is not None:
        say(f"\nBegun in {init}: {', '.join(begun)}.")


def _write(path: Path, text: str) -> None:
    from trueup.errors import UsageError

    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint="name a file in a folder that exists") from error


def _begin(folder: Path, files: dict[str, str]) -> list[str]:
    """Put these files into a folder, none of which is there yet; their names."""
    from trueup.errors import UsageError

    there = [name for name in files if (folder / name).exists()]
    if there:
        raise UsageError(f"{folder / there[0]} is there already", hint="name another folder with --init, or move it away")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder} cannot be made: {error.strerror}", hint="name a folder that you may write to") from error
    for name, text in files.items():
        _write(folder / name, text)
    return list(files)


def _as_yaml(records: dict[str, Answers]) -> str:
    from dataclasses import asdict
    from io import StringIO

    from ruamel.yaml import YAML

    written = {name: {key: value for key, value in asdict(answers).items() if value not in (None, ())} for name, answers in records.items()}
    for given in written.values():
        if "abilities" in given:
            given["abilities"] = list(given["abilities"])
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    text = StringIO()
    yaml.dump({"records": written}, text)
    return text.getvalue()


# ---------------------------------------------------------------- asking


def _asked() -> dict[str, Answers]:
    """The answers of whoever sits at the terminal. Raises UsageError where nobody does."""
    from trueup.errors import UsageError

    if not sys.stdin.isatty():
        raise UsageError(
            "nobody can be asked: this is no terminal", hint="give the answers in a file: `trueup decide --answers answers.yaml`"
        )
    records: dict[str, Answers] = {}
    while True:
        name = _line("Which kind of record? (customers, orders, stock, …)")
        records[name] = _questions()
        if not typer.confirm("Another kind of record?", default=False):
            typer.echo()
            return records


def _line(prompt: str) -> str:
    while True:
        text = str(typer.prompt(prompt)).strip()
        if text:
            return text


def _questions() -> Answers:
    from trueup.decide.answers import QUESTIONS, Answers, contradiction

    given: dict[str, Any] = {}
    for question in QUESTIONS:
        given[question.name] = _answer(question)
        if question.name == "delay":
            why = contradiction(given["frequency"], given["delay"])
            while why is not None:
                typer.echo(f"  That contradicts the answer before: {why}. Once more, both:")
                given |= {asked.name: _answer(asked) for asked in QUESTIONS[:2]}
                why = contradiction(given["frequency"], given["delay"])
    return Answers(**given)


def _answer(question: Question) -> Any:
    """One answer: a number of the list or its word, a whole number, or yes or no."""
    title = f"\n{question.number}. {question.asks}"
    if question.choices:
        typer.echo(title)
        for number, choice in enumerate(question.choices, 1):
            typer.echo(f"   {number}  {choice.word:<11} {choice.meaning}")
        words = [choice.word for choice in question.choices]
        return _chosen(words)
    if question.least is not None:
        return _number(title, question.least)
    return typer.confirm(title)


def _chosen(words: list[str]) -> str:
    numbered = {str(number): word for number, word in enumerate(words, 1)}
    while True:
        text = _line("  ").casefold()
        if text in words or text in numbered:
            return numbered.get(text, text)
        typer.echo(f"  One of 1 to {len(words)}, or {', '.join(words)}.")


def _number(title: str, least: int) -> int:
    while True:
        text = _line(title)
        if text.isascii() and text.isdigit() and int(text) >= least:
            return int(text)
        typer.echo(f"  A whole number, {least} or more.")
