"""The questions of `trueup init`, in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from trueup.setup.proposal import ProposedEntity
    from trueup.setup.questions import Asked


def ask(entities: list[ProposedEntity]) -> None:
    """Ask what the systems do not tell, and settle it in these; an entity that is not wanted is taken out."""
    from trueup.setup.questions import questions

    typer.echo("Some questions that only you can answer. Enter takes what is in brackets; nothing is written before the last one.")
    for asked in questions(entities):
        asked.settle(_answer(asked))
    typer.echo()


def _answer(asked: Asked) -> str:
    """A choice's word, or the words typed; Enter takes the default."""
    from trueup.setup.questions import chosen

    typer.echo(f"\n{asked.asks}")
    for line in asked.evidence:
        typer.echo(f"   {line}")
    if not asked.choices:
        return str(typer.prompt("  [nobody yet]", default="", show_default=False))
    width = max(len(choice.word) for choice in asked.choices)
    for number, choice in enumerate(asked.choices, 1):
        typer.echo(f"   {number}  {choice.word:<{width}}  {choice.meaning}")
    while True:
        word = chosen(asked, str(typer.prompt(f"  [{asked.default}]", default="", show_default=False)))
        if word is not None:
            return word
        typer.echo(f"  One of 1 to {len(asked.choices)}, or {', '.join(choice.word for choice in asked.choices)}.")
