"""What happened, told when something is wrong at the end: who said what when, what trueup made of it, and how the weather was."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

import orjson

from tests.weather.company import KEYS, Company, Said, moment

RECORDS = 3
"""Of so many customers everything is told."""
AROUND = timedelta(seconds=2)
"""Passes are told that ended so shortly before or after something was recorded about one of these customers."""
FREQUENT = {"pass", "delivered late"}


class Diary:
    """What was done to servers, networks and questions, in the order of time."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._turn = threading.Lock()

    def note(self, what: str) -> None:
        """This happens now."""
        with self._turn:
            self.lines.append(f"{moment()}  {what}")


def evidence(company: Company, emails: Iterable[str], diary: Diary, told: Iterable[dict[str, Any]], trueup: Callable[..., str]) -> str:
    """What is known about some customers, and what happened meanwhile.

    `told` is the server's log; `trueup` runs a command and gives what it printed.
    """
    lines: list[str] = []
    moments: list[datetime] = []
    for email in list(emails)[:RECORDS]:
        said = company.ledger(email)
        lines += ["", f"{email}: what people said, by the ledgers", *_sums(said)]
        lines += ["  and what the systems hold now", *(f"  {system}: {company.rows(system).get(email)}" for system in KEYS)]
        view = known(company, email, trueup)
        if view is None:
            lines.append("  trueup knows no such record")
            continue
        lines += [f"  what trueup knows: record {view['id']}, agreed {view['golden']}"]
        for system, held in view["systems"].items():
            lines.append(f"  {system}: {held['state']}, key {held['key']}, holds {held['holds']}, waiting {held['pending']}")
        lines += [f"  open: {conflict}" for conflict in view["conflicts"]]
        lines += ["  and its history", *(_event(event) for event in view["history"])]
        moments += [datetime.fromisoformat(event["recorded_at"]) for event in view["history"]]
    lines += ["", "what was done to servers, networks and questions", *(f"  {line}" for line in diary.lines)]
    return "\n".join([*lines, "", "what serve told", *_told(told, moments)])


def known(company: Company, email: str, trueup: Callable[..., str]) -> dict[str, Any] | None:
    """What trueup knows about a customer, as `record --json` tells it; None where it knows none of the rows."""
    for row in orjson.loads(trueup("sql", f"SELECT id FROM customer WHERE email = '{email}'", "--json")):
        view: dict[str, Any] = orjson.loads(trueup("record", "customer", str(row["id"]), "--json"))
        return view
    return None


def _sums(said: list[Said]) -> list[str]:
    lines, points = [], 0
    for one in said:
        points += one.change or 0
        what = f"name {one.name}" if one.change is None else f"points {one.change:+} = {points}"
        lines.append(f"  {one.at}  {one.system}: {what}")
    return lines


def _event(event: dict[str, Any]) -> str:
    return (
        f"  {event['recorded_at']}  run {event['run']}, version {event['version']}: {event['field']} {event['kind']} by {event['system']}"
        f" of {event['at']}: {event['before']} -> {event['after']} ({event['rule']})"
    )


def _told(told: Iterable[dict[str, Any]], moments: list[datetime]) -> list[str]:
    """The server's log; of what is told several times a second, only what is near one of these moments."""
    lines = []
    for event in told:
        at = str(event.get("at", ""))
        if event["event"] in FREQUENT and not any(abs(datetime.fromisoformat(at) - one) < AROUND for one in moments):
            continue
        rest = {name: value for name, value in event.items() if name not in {"at", "event", "entity", "hint"}}
        lines.append(f"  {at}  {event['event']} {rest}")
    return lines
