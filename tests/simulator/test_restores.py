"""Random histories around a restore: edits, runs, a backup, more edits and runs, the state lost or replaced, and put back.

People know the truth: what each field of each record was last edited to, and whether anybody but the editing system has heard of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

import trueup
from tests.sparing import every_third
from trueup.connectors.memory_world import MemoryTable, MemoryWorld
from trueup.model import ColumnInfo
from trueup.runtime.keeping import back_up, put_back
from trueup.runtime.resolve import take_system
from trueup.runtime.workspace import Workspace
from trueup.store import conflict, golden

SYSTEMS = ("crm", "shop", "till")
CONFIG = """
systems:
  crm: {connector: memory, world: WORLD-crm}
  shop: {connector: memory, world: WORLD-shop}
  till: {connector: memory, world: WORLD-till}
entities:
  customer:
    match: [[code]]
    precedence: [crm, shop, till]
    guard: off
    deletes: {from: [crm, shop, till], action: propagate}
    fields:
      code: {required: true}
      status: {}
      city: {conflict: last_write_wins}
      price: {type: integer, source_of_truth: crm}
      top: {type: integer, conflict: {merge: max}}
      points: {type: integer, conflict: {merge: add}}
    mappings:
      crm: {object: people, key: id, fields: {code: code, status: status, city: city, price: price, top: top, points: points}}
      shop: {object: people, key: id, fields: {code: code, status: status, city: city, price: price, top: top, points: points}}
      till: {object: people, key: id, fields: {code: code, status: status, city: city, points: points}}
"""
TEXTS = ("status", "city")
NUMBERS = ("price", "top", "points")
SHOWN = {"crm": (*TEXTS, *NUMBERS), "shop": (*TEXTS, *NUMBERS), "till": (*TEXTS, "points")}


@dataclass
class Game:
    """Three systems, and what their people did. `fresh`: (code, field) -> systems of which an edit was not seen by any run yet."""

    workspace: Workspace
    tables: dict[str, MemoryTable]
    random: Random
    numbers: Iterator[int]
    fresh: dict[tuple[str, str], list[tuple[str, Any, Any]]] = field(default_factory=dict)

    def rows(self, system: str) -> dict[str, dict[str, Any]]:
        """The records of a system, by code."""
        found = list(self.tables[system].values().values())
        assert len({values["code"] for values in found}) == len(found), f"{system} holds a record twice"
        return {values["code"]: values for values in found}

    def play(self, moves: int) -> None:
        for _ in range(moves):
            self.random.choices((self.edit, self.add, self.sync), (6, 1, 2))[0]()

    def add(self) -> None:
        number = next(self.numbers)
        system = self.random.choice(SYSTEMS)
        values = {name: self.draw(name) for name in SHOWN[system]}
        last = max((row["id"] for row in self.tables[system].values().values()), default=1000 * SYSTEMS.index(system))
        self.tables[system].insert({"id": last + 1, "code": f"K{number}", **values})

    def draw(self, name: str) -> Any:
        return self.random.choice("ABC") if name in TEXTS else self.random.randrange(5)

    def edit(self) -> None:
        system = self.random.choice(SYSTEMS)
        if not self.tables[system].rows:
            return
        key = self.random.choice(sorted(self.tables[system].rows))
        before = self.tables[system].values()[key]
        name = self.random.choice(SHOWN[system])
        value = self.draw(name) if name != "points" else (before[name] or 0) + self.random.choice((-2, 1, 3))
        if value != before[name]:
            self.tables[system].edit(key, {name: value})
            self.fresh.setdefault((before["code"], name), []).append((system, before[name], value))

    def remove(self) -> None:
        """A record is deleted in one system."""
        system = self.random.choice(SYSTEMS)
        if self.tables[system].rows:
            self.tables[system].remove(self.random.choice(sorted(self.tables[system].rows)))

    def sync(self, *, settled: bool = True) -> Any:
        result = self.workspace.sync()
        assert result.status != "failed", result.error
        self.fresh.clear()
        if settled:
            self.settle()
        return result

    def settle(self) -> None:
        """People answer what waits for them: the first of the candidates."""
        with self.workspace.store.read() as db:
            waiting = conflict.open_of(db, "customer")
        for number, candidates in waiting.select("id", "candidates").rows():
            system = next(item["system"] for item in orjson.loads(candidates) if item["system"])
            take_system(self.workspace.store, self.workspace.config, number, system, self.workspace.clock())
        if waiting.height:
            self.workspace.sync()

    def open_questions(self) -> set[tuple[str, str]]:
        """(code, field) that wait for a person."""
        with self.workspace.store.read() as db:
            rows = conflict.open_of(db, "customer")
            known = golden.fetch(db, "customer", rows["gid"].unique()) if rows.height else None
        if known is None:
            return set()
        codes = {gid: orjson.loads(data)["code"] for gid, data in known.select("id", "data").rows()}
        return {(codes[gid], name) for gid, name in rows.select("gid", "field").rows()}


@contextmanager
def game(folder: Path, seed: int) -> Iterator[Game]:
    random = Random(seed)
    mark = f"{folder.name}-{seed}"
    (folder / "trueup.yaml").write_text(CONFIG.replace("WORLD", mark))
    tables = {}
    for name in SYSTEMS:
        columns = [ColumnInfo(name="id", type="integer", nullable=False), ColumnInfo(name="code", type="text")]
        columns += [ColumnInfo(name=item, type="text" if item in TEXTS else "integer") for item in SHOWN[name]]
        tables[name] = MemoryWorld.named(f"{mark}-{name}").add_table("people", columns, ["id"])
    try:
        with trueup.open(folder / "trueup.yaml") as workspace:
            yield Game(workspace, tables, random, iter(range(1, 900)))
    finally:
        for name in SYSTEMS:
            MemoryWorld.forget(f"{mark}-{name}")


def put_it_back(played: Game, kept: Path, *, lost: bool) -> None:
    played.workspace.close()
    if lost:
        for path in kept.parent.glob(".trueup/state.db*"):
            path.unlink()
    put_back(played.workspace, kept)


def check_value(what: str, item: str, shown: set[Any], now: set[Any], edits: list[tuple[str, Any, Any]] | None) -> None:
    """One value in all systems, before and after the first run since; `edits` that nobody had heard of, None: a person is asked, or new."""
    if len(shown) == 1:
        assert now == shown, f"{what}: all systems agreed on {shown}, and now they show {now}"
    if edits is None or item == "price":
        return
    if item == "points":
        assert edits or now <= shown, f"{what}: counted twice, {shown} became {now}"
    elif item != "top" and len({system for system, *_values in edits}) == 1:
        assert now == {edits[-1][2]}, f"{what}: {edits} is lost, {shown} became {now}"


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("seed", every_third(range(5)))
def test_nothing_is_replayed_and_no_edit_is_lost(tmp_path: Path, seed: int, lost: bool) -> None:
    with game(tmp_path, seed) as played:
        for _ in range(4):
            played.add()
        played.sync()
        played.play(8)
        kept = tmp_path / "kept.trueup"
        back_up(played.workspace, kept, verify=False)
        played.play(15)
        put_it_back(played, kept, lost=lost)
        before = {name: played.rows(name) for name in SYSTEMS}
        fresh = dict(played.fresh)
        played.sync(settled=False)
        waiting = played.open_questions()
        after = {name: played.rows(name) for name in SYSTEMS}
        for code in {code for rows in before.values() for code in rows}:
            holders = [name for name in SYSTEMS if code in before[name]]
            for item in (*TEXTS, *NUMBERS):
                shown = {before[name][code][item] for name in holders if item in SHOWN[name]}
                now = {after[name][code][item] for name in SYSTEMS if code in after[name] and item in SHOWN[name]}
                edits = fresh.get((code, item), []) if len(holders) > 1 and (code, item) not in waiting else None
                check_value(f"{code}.{item}", item, shown, now, edits)
        for name in SYSTEMS:
            assert before[name].keys() <= after[name].keys(), f"{name} lost a row"
        played.settle()
        for _ in range(3):
            played.sync()
        final = {name: played.rows(name) for name in SYSTEMS}
        for item in ("code", *TEXTS, "points"):
            assert len({tuple(sorted((code, row[item]) for code, row in rows.items())) for rows in final.values()}) == 1, item


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("seed", every_third(range(3)))
def test_deletes_of_then_and_now(tmp_path: Path, seed: int, lost: bool) -> None:
    """What was deleted everywhere stays deleted; what vanished in one system alone is deleted nowhere else, and not made again there."""
    with game(tmp_path, seed) as played:
        for _ in range(8):
            played.add()
        played.sync()
        kept = tmp_path / "kept.trueup"
        back_up(played.workspace, kept, verify=False)
        played.remove()
        played.sync()
        played.remove()
        before = {name: set(played.rows(name)) for name in SYSTEMS}
        put_it_back(played, kept, lost=lost)
        for _ in range(3):
            played.workspace.sync()
            assert {name: set(played.rows(name)) for name in SYSTEMS} == before
