"""How often guards hold ordinary work, and how often damage: made-up companies, months of their work, then one mistake after the other.

make alarms                        5 companies, 150 days each
make alarms ARGS="--write"         puts the tables into docs/deletes-and-guards.md
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.alarm_days import DAMAGE, EVENTS, Books, a_day, fill
from trueup.config.load import load_config
from trueup.runtime.workspace import Workspace
from trueup.store import hold

BEGIN, END = "<!-- alarms: begin -->", "<!-- alarms: end -->"
QUIET_DAYS = 60
CONFIG = """
systems:
  crm: {connector: sqlite, path: crm.db}
  news: {connector: sqlite, path: news.db}
entities:
  contact:
    match: [[email]]
    precedence: [crm, news]
    fields:
      email: {required: true}
      name: {conflict: last_write_wins}
      firm: {conflict: last_write_wins}
      phone: {conflict: last_write_wins}
      city: {conflict: last_write_wins}
      owner: {conflict: last_write_wins}
      newsletter: {type: boolean, conflict: last_write_wins}
      note: {conflict: last_write_wins}
    mappings:
      crm: &contact
        object: contacts
        key: id
        fields: {email: email, name: name, firm: firm, phone: phone, city: city, owner: owner, newsletter: newsletter, note: note}
      news: *contact
    deletes: {from: [crm, news], action: propagate}
  product:
    match: [[sku]]
    precedence: [crm, news]
    fields:
      sku: {required: true}
      ean: {conflict: last_write_wins}
      category: {conflict: last_write_wins}
      price: {type: decimal, scale: 2, conflict: last_write_wins}
      stock: {type: integer, conflict: {merge: add}}
      active: {type: boolean, conflict: last_write_wins}
      launched: {type: date, conflict: last_write_wins}
    mappings:
      crm: &product
        object: products
        key: id
        fields: {sku: sku, ean: ean, category: category, price: price, stock: stock, active: active, launched: launched}
      news: *product
    deletes: {from: [crm, news], action: propagate}
"""


@dataclass
class Found:
    """What guards did. ordinary: kind of work -> (times, held); damage: kind -> (times, held before anything of it left)."""

    passes: int = 0
    days: int = 0
    quiet_holds: int = 0
    ordinary: dict[str, list[int]] = field(default_factory=dict)
    damage: dict[str, list[int]] = field(default_factory=dict)
    words: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, table: dict[str, list[int]], kind: str, *, held: bool, why: str = "") -> None:
        """One more time."""
        counts = table.setdefault(kind, [0, 0])
        counts[0] += 1
        counts[1] += held
        if held:
            self.words.setdefault(kind, Counter())[why] += 1


class Company:
    """One made-up company at work, under a clock of its own."""

    def __init__(self, folder: Path, seed: int, found: Found) -> None:
        self.folder = folder
        self.found = found
        self.chance = random.Random(seed)
        self.now = datetime(2026, 1, 5, 6, tzinfo=UTC)
        fill(folder, self.chance)
        (folder / "trueup.yaml").write_text(CONFIG, encoding="utf-8")
        self.sync()

    def workspace(self) -> Workspace:
        """The company's project at this moment."""
        return Workspace(load_config(self.folder / "trueup.yaml"), clock=lambda: self.now)

    def sync(self) -> tuple[bool, str]:
        """One run: whether something was held, and why."""
        with self.workspace() as workspace:
            held = workspace.sync().status == "held"
            self.found.passes += 1
            with workspace.store.read() as db:
                rows = [{"counts": orjson.loads(row["counts"])} for row in hold.of(db, decided=False).iter_rows(named=True)]
        return held, "; ".join(_why(row) for row in rows)

    def approve(self) -> None:
        """Somebody looks, and lets it pass."""
        for _turn in range(4):
            with self.workspace() as workspace, workspace.store.write() as tx:
                for row in hold.of(tx, decided=False).iter_rows(named=True):
                    hold.decide(tx, row["id"], "approved", at=self.now, ceiling=int(orjson.loads(row["counts"])["count"]))
            self.now += timedelta(minutes=10)
            if not self.sync()[0]:
                return

    def books(self) -> Books:
        """Its two systems, to be edited."""
        return Books(self.folder, self.chance)

    def live(self, days: int) -> None:
        """Its work: a quiet stretch first, then something out of the ordinary every third day or so, each kind once."""
        coming = list(EVENTS)
        self.chance.shuffle(coming)
        every = max(1, (days - QUIET_DAYS) // len(coming))
        for day in range(days):
            self.now = self.now.replace(hour=6, minute=0) + timedelta(days=1)
            self.found.days += 1
            if self.now.weekday() < 5:
                with closing(self.books()) as books:
                    a_day(books)
            held, why = self.sync()
            if held:
                self.found.quiet_holds += 1
                self.found.words.setdefault("an ordinary day", Counter())[why] += 1
                self.approve()
            if day >= QUIET_DAYS and coming and (day - QUIET_DAYS) % every == 0:
                self.event(coming.pop())

    def event(self, kind: str) -> None:
        """Something out of the ordinary: one or several runs, some hours apart."""
        asked = False
        reasons: list[str] = []
        for step in EVENTS[kind]:
            self.now += timedelta(hours=2)
            with closing(self.books()) as books:
                step(books)
            held, why = self.sync()
            if held:
                asked = True
                reasons.append(why)
                self.approve()
        self.found.add(self.found.ordinary, kind, held=asked, why=reasons[0] if reasons else "")

    def damage(self, kind: str, steps: tuple[Callable[[Books], None], ...], place: Path) -> None:
        """One mistake, in a copy of the company: is it held before the other system hears of it?"""
        copy = place / "damaged"
        shutil.copytree(self.folder, copy)
        there = object.__new__(Company)
        there.folder, there.found, there.chance, there.now = copy, self.found, random.Random(kind), self.now
        there.now += timedelta(days=3)  # nothing of the day before counts with it
        there.sync()
        held, why = False, ""
        for step in steps:
            with closing(there.books()) as books:
                step(books)
                before = books.fingerprint("crm")
            held, why = there.sync()
            there.now += timedelta(minutes=75)
            if held:
                break
        with closing(there.books()) as books:
            stopped = held and books.fingerprint("crm") == before
        self.found.add(self.found.damage, kind, held=stopped, why=why)
        shutil.rmtree(copy)


def _why(row: dict[str, dict[str, object]]) -> str:
    """What a hold says, without its numbers."""
    pattern = row["counts"].get("pattern")
    return str(pattern["kind"]) if isinstance(pattern, dict) else "more than the limit"


def main() -> None:
    """Play, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--companies", type=int, default=5)
    parser.add_argument("--days", type=int, default=150)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/deletes-and-guards.md")
    options = parser.parse_args()
    found = Found()
    for seed in range(options.companies):
        with tempfile.TemporaryDirectory(prefix="trueup-alarms-") as name:
            folder = Path(name, "company")
            folder.mkdir()
            company = Company(folder, seed, found)
            company.live(options.days)
            for kind, steps in DAMAGE.items():
                company.damage(kind, steps, Path(name))
        print(f"company {seed + 1} of {options.companies}", file=sys.stderr, flush=True)
    text = tables(found, options.companies)
    print(text)
    if options.write:
        page = Path(__file__).resolve().parents[1] / "docs" / "deletes-and-guards.md"
        before, _mark, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def tables(found: Found, companies: int) -> str:
    """Both tables, as Markdown."""
    head = f'`make alarms ARGS="--companies {companies} --days {found.days // companies}"`: {found.days:,} days, {found.passes:,} runs.'
    lines = [head, "", "| ordinary work | times | held | because of |", "|---|---:|---:|---|"]
    everyday = found.words.get("an ordinary day", Counter())
    lines.append(f"| a day of small edits, new and deleted records | {found.days:,} | {found.quiet_holds} | {_words(everyday)} |")
    for kind, (times, held) in sorted(found.ordinary.items(), key=lambda item: (item[1][1], item[0])):
        lines.append(f"| {kind} | {times} | {held} | {_words(found.words.get(kind, Counter()))} |")
    lines += ["", "| damage | times | held, and nothing of that run spread | because of |", "|---|---:|---:|---|"]
    for kind, (times, held) in found.damage.items():
        lines.append(f"| {kind} | {times} | {held} | {_words(found.words.get(kind, Counter()))} |")
    return "\n".join(lines)


def _words(counts: Counter[str]) -> str:
    return ", ".join(sorted(counts))


if __name__ == "__main__":
    main()
