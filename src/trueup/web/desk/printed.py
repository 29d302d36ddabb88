"""Pages that are looked at whole, kept, or printed: what the checklist recommends, and how far systems disagree."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from trueup.decide.answers import QUESTIONS, Answers, contradiction
from trueup.decide.verdict import recommend
from trueup.reports.verdict_page import verdict_page
from trueup.web.access.asking import acting
from trueup.web.access.problems import Problem
from trueup.web.api.parts import Admin, Here, Viewer

if TYPE_CHECKING:
    from collections.abc import Mapping

router = APIRouter(include_in_schema=False)
PATH = "/api/printed/checklist"
DRIFT = "/api/printed/drift"
LONGEST_NAME = 80
YES_OR_NO = {"yes": "yes", "no": "no"}
_NEEDED = [question.name for question in QUESTIONS]


def parameters(name: str, answers: Answers) -> dict[str, str]:
    """How an address says answers."""
    return {"records": name} | {
        part.name: ("yes" if value else "no") if isinstance(value, bool) else str(value)
        for part in fields(Answers)
        if part.name in _NEEDED and (value := getattr(answers, part.name)) is not None
    }


@router.get(PATH)
async def checklist(user: Viewer, request: Request) -> Response:
    """What is recommended for the answers that the address says, on one page."""
    del user
    name = " ".join(request.query_params.get("records", "").split())[:LONGEST_NAME] or "records"
    records = {name: _answers(request.query_params)}
    return HTMLResponse(verdict_page(records, recommend(records)))


def _answers(given: Mapping[str, str]) -> Answers:
    found = answered(given)
    if isinstance(found, str):
        raise Problem(422, found, kind="not-valid", hint="answer the questions on the page Checklist")
    return found


def answered(given: Mapping[str, str]) -> Answers | str:
    """Answers from what was chosen and typed, or what is wrong with it."""
    read: dict[str, Any] = {}
    for question in QUESTIONS:
        text = str(given.get(question.name, "")).strip()
        if question.choices:
            if text not in {choice.word for choice in question.choices}:
                return f"{question.asks} One of: {', '.join(choice.word for choice in question.choices)}."
            read[question.name] = text
        elif question.least is not None:
            if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) >= question.least):
                return f"{question.asks} A whole number, {question.least} or more."
            read[question.name] = int(text)
        elif text not in YES_OR_NO:
            return f"{question.asks} Yes or no."
        else:
            read[question.name] = text == "yes"
    why = contradiction(read["frequency"], read["delay"])
    return f"Two answers do not go together: {why}." if why else Answers(**read)


@router.get(DRIFT)
async def drift(user: Admin, here: Here) -> Response:
    """How far the systems disagree, of the project that is being put together, or of the one that there is. Only reads."""

    def look() -> str:
        with acting(user, "drift", config=here.config), here.store.write():
            pass  # whoever is shown records is told in the audit trail
        return here.draft.drift()

    return HTMLResponse(await asyncio.to_thread(look))
