"""The six questions of the checklist, and answers to them for one kind of record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Frequency = Literal["real-time", "hourly", "nightly", "less-often"]
Delay = Literal["seconds", "minutes", "hours", "days"]
Cost = Literal["low", "medium", "high"]
Ownership = Literal["clear", "duplicated"]
Quality = Literal["clean", "messy"]
Ability = Literal["api", "hooks", "exports"]
Budget = Literal["none", "small", "ample"]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the answers to a question: the word for it, and what it means."""

    word: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. `choices` is empty where a whole number is asked for, of at least `least`, and for `yes or no` questions."""

    name: str
    number: int
    asks: str
    choices: tuple[Choice, ...] = ()
    least: int | None = None


QUESTIONS = (
    Question(
        "frequency",
        1,
        "How often must such records move?",
        (
            Choice("real-time", "as they happen"),
            Choice("hourly", "a few times a day, up to every hour"),
            Choice("nightly", "once a day"),
            Choice("less-often", "weekly, monthly, now and then"),
        ),
    ),
    Question(
        "delay",
        2,
        "When one has changed, how long may the other systems go without it?",
        (
            Choice("seconds", "a customer or a colleague is waiting"),
            Choice("minutes", "a short while"),
            Choice("hours", "until the end of the day, or the next morning"),
            Choice("days", "nobody minds"),
        ),
    ),
    Question(
        "error_cost",
        3,
        "What does a wrong or lost record cost?",
        (
            Choice("high", "customers or money"),
            Choice("medium", "work that has to be done again"),
            Choice("low", "convenience"),
        ),
    ),
    Question("people", 4, "How many people work with these records?", least=1),
    Question("systems", 4, "In how many systems are they kept?", least=2),
    Question(
        "ownership",
        5,
        "Who owns them?",
        (
            Choice("clear", "one owner, and one system whose word counts"),
            Choice("duplicated", "several people or systems, each with a version"),
        ),
    ),
    Question(
        "quality",
        5,
        "What state are they in?",
        (
            Choice("clean", "written alike, each record once"),
            Choice("messy", "doubled, outdated, written in many ways"),
        ),
    ),
    Question("maintenance", 6, "Is there somebody who monitors integrations and keeps them up to date?"),
)
"""What has to be answered, in the order in which it is asked."""

OPTIONAL = (
    Question("kind", 0, "What kind of data is it? (stock, prices, contacts, …)"),
    Question(
        "abilities",
        0,
        "What can the systems do?",
        (Choice("api", "be asked by programs"), Choice("hooks", "tell of changes"), Choice("exports", "write files and no more")),
    ),
    Question("volume", 0, "How many records are there?", least=0),
    Question("volume_in_two_years", 0, "How many will there be in two years?", least=0),
    Question("regulated", 0, "Are they about people, or regulated in another way?"),
    Question(
        "budget",
        0,
        "What may it cost?",
        (Choice("none", "nothing"), Choice("small", "some days of work, or a small subscription"), Choice("ample", "what it takes")),
    ),
)
"""What may be answered: it sharpens reasons and risks, and changes no verdict."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers for one kind of record; None and no abilities: not answered."""

    frequency: Frequency
    delay: Delay
    error_cost: Cost
    people: int
    systems: int
    ownership: Ownership
    quality: Quality
    maintenance: bool
    kind: str | None = None
    abilities: tuple[Ability, ...] = ()
    volume: int | None = None
    volume_in_two_years: int | None = None
    regulated: bool | None = None
    budget: Budget | None = None


_CANNOT_BOTH = {
    ("real-time", "hours"),
    ("real-time", "days"),
    ("hourly", "seconds"),
    ("nightly", "seconds"),
    ("nightly", "minutes"),
}


def contradiction(frequency: str, delay: str) -> str | None:
    """Why two answers cannot both hold, or None. Records that move seldom may well have to move at once when they do."""
    if (frequency, delay) not in _CANNOT_BOTH:
        return None
    if frequency == "real-time":
        return f"records that move as they happen do not wait for {delay}"
    return f"records that move {frequency} wait longer than {delay}"
