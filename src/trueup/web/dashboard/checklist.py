"""The checklist: six questions about one kind of record, with what follows from the answers beside them, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from nicegui import ui

from trueup.decide.answers import QUESTIONS
from trueup.decide.verdict import judge
from trueup.reports.verdict_page import verdict_html
from trueup.web.dashboard.markup import words
from trueup.web.dashboard.tab import Field, Tab, button, line, markup
from trueup.web.desk.printed import LONGEST_NAME, PATH, YES_OR_NO, answered, parameters

if TYPE_CHECKING:
    from trueup.decide.answers import Answers, Question

FIRST = {
    "frequency": "hourly", "delay": "hours", "error_cost": "medium", "people": "5", "systems": "2",
    "ownership": "clear", "quality": "clean", "maintenance": "yes",
}  # fmt: skip
"""What stands there before anybody has answered."""


async def checklist(tab: Tab) -> None:
    """Ask, and show what follows."""
    tab.head("Checklist")
    markup("<p>Six questions about one kind of record say how it is best kept together. What follows changes with each answer.</p>")
    boxes: dict[str, Field] = {}
    with ui.element("div").classes("ask"):
        with ui.element("div"):
            name = Field("Which kind of record?", "customers", entered=lambda: show())  # noqa: PLW0108  it is defined below
            for question in QUESTIONS:
                boxes[question.name] = _asked(question, lambda: show())  # noqa: PLW0108  as above
            with line():
                if tab.guest.may("admin"):
                    button("Use these answers to set up", lambda: use(), kind="main")  # noqa: PLW0108  as above
        found = ui.element("div")

    def given() -> Answers | str:
        """The answers, or what is wrong with them."""
        return answered({question: box.value for question, box in boxes.items()})

    def show() -> None:
        answers = given()
        found.clear()
        with found:
            if isinstance(answers, str):
                markup(f'<p class="panel heed" role="status">{words(answers)}</p>')
                return
            kind = _name(name.value)
            markup(verdict_html(kind, answers, judge(answers)), "panel").props('role="status" aria-live="polite"')
            address = f"{PATH}?{urlencode(parameters(kind, answers))}".replace("&", "&amp;")
            markup(f'<p><a class="button" target="_blank" rel="noopener" href="{address}">On one page, to print</a></p>')

    async def use() -> None:
        answers = given()
        if isinstance(answers, str):
            tab.tell(answers, "heed")
            return
        kind = _name(name.value)
        draft = tab.site.place.draft
        done = await tab.work("admin", lambda _user: draft.answer(kind, answers))
        if done is not None:
            ui.navigate.to("/project")

    show()


def _asked(question: Question, changed: Any) -> Field:
    label = f"{question.number}. {question.asks}"
    if question.choices:
        return Field(
            label,
            FIRST[question.name],
            choices={choice.word: f"{choice.word}: {choice.meaning}" for choice in question.choices},
            entered=changed,
        )
    if question.least is not None:
        return Field(label, FIRST[question.name], kind="number", entered=changed)
    return Field(label, FIRST[question.name], choices=YES_OR_NO, entered=changed)


def _name(typed: str) -> str:
    return " ".join(typed.split())[:LONGEST_NAME] or "records"
