"""Packages in: checked as a whole, then put in the place of the file that is their system, and looked at by an ordinary pass.

Nothing is touched before everything was checked. The file is exchanged in one step, as somebody would save it; from then on the package is
a system like any other, and what it says goes the way of every edit. A package's number and what became of it are kept in the state before
and after that step, so that an import that is killed at any moment is simply gone on with.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from trueup.connectors.filebase import Replacement, locked, open_to_read, stamp
from trueup.connectors.jsonl import JsonlConnector
from trueup.errors import ConfigError, PackageError, Problem, TrueupError, UsageError
from trueup.exchange.answer import PROBLEMS_SHOWN, Answer, RowProblem, write_answer
from trueup.exchange.checking import check_package, checked_rows
from trueup.exchange.naming import SEALED, ZIP, PackageName, packages_among
from trueup.exchange.places import TakenError, open_place
from trueup.exchange.sealed import open_file, unzip
from trueup.exchange.statement import FILE, ID
from trueup.exchange.writing import json_lines
from trueup.runtime.packages.checked import refused_rows
from trueup.runtime.packages.standing import Received, keep_received, received, troubled
from trueup.runtime.packages.workroom import workroom
from trueup.sealing import parse_keys
from trueup.store import audit, failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from trueup.exchange.places import Place
    from trueup.exchange.statement import Statement
    from trueup.model import Config, Package
    from trueup.store import Store

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of the pass that looked at a package: its run (None: that of a server), its status, and why it failed."""

    run: int | None
    status: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one package: accepted or refused, or left where it is (`waits`: not whole, or one before it is missing)."""

    name: str
    status: str
    kind: str | None = None
    why: str | None = None
    rows: int = 0
    gone: int = 0
    totals: dict[str, str] = field(default_factory=dict)
    settled: Settled | None = None
    waiting: int = 0


class Incoming:
    """The packages of one entity that come from one place. A step takes what is next, as long as there is some."""

    def __init__(
        self, config: Config, store: Store, package: Package, clock: Callable[[], datetime], settle: Callable[[], Settled]
    ) -> None:
        """`settle()` has an ordinary pass look at the system that the package became, and returns its run. Raises ConfigError."""
        assert package.system is not None
        self._config = config
        self._store = store
        self._package = package
        self._clock = clock
        self._settle = settle
        self._system: str = package.system
        connector = JsonlConnector(self._system, config.systems[self._system].settings, directory=config.directory)
        if not isinstance(connector.path, Path):
            problem = Problem("", 0, f"systems.{self._system}.path", "packages are taken into a file on this machine", "name a file here")
            raise ConfigError([problem])
        if connector.path.suffix.lower() not in connector.suffixes:
            _make_folder(self._system, connector.path)
        file = connector.path_of(config.entities[package.entity].mappings[self._system].object)
        assert isinstance(file, Path)
        self._file = file
        self._known, self._is_kept = Received(since=clock()), False

    def step(self, only: PackageName | None = None, *, following: int | None = None) -> list[Taken]:
        """Take what is there, in the order of the numbers; `only` this one. `following`: this number is the next one, whatever came before.

        Raises SystemUnreachableError, StateError, and what a pass raises; a package that was begun is gone on with by the next step.
        """
        with ExitStack() as stack:
            place = open_place(self._package.place, self._config.directory)
            stack.callback(place.close)
            answers = place if self._package.answers is None else open_place(self._package.answers, self._config.directory)
            stack.callback(answers.close)
            stack.enter_context(workroom(self._config, "in", self._system, self._package.entity))
            with self._store.read() as db:
                kept = received(db, self._package)
            self._known, self._is_kept = kept or Received(since=self._clock()), kept is not None
            taken = self._gone_on_with(answers)
            if following is not None:
                self._begin_anew(following)
            while (found := self._one(place, answers, only, taken)) is not None:
                taken.append(found)
                if found.status == "waits" or only is not None:
                    break
            if only is None:
                taken += self._exchanged(place, {one.name for one in taken})
            return taken

    # ---------------------------------------------------------------- which one

    def _one(self, place: Place, answers: Place, only: PackageName | None, taken: Sequence[Taken]) -> Taken | None:
        """Take the next package; None where there is none."""
        there = packages_among(place.names(), self._package.entity)
        if only is not None and only not in there:
            raise UsageError(f"there is no {only} in {place.shown}", hint="packages are named as they stand there")
        if only is not None and only.number <= self._known.sequence:
            return self._again(place, only) if not taken else None
        wanted = self._known.sequence + 1
        later = [one for one in there if one.number >= wanted and only in {None, one}]
        if not later:
            refused = self._known.status == "refused" and self._known.trouble is not None and self._known.trouble.name == self._known.name
            self._keep(trouble=self._known.trouble if refused else None)
            return None
        if later[0].number > wanted:
            return self._wait(str(later[0]), "missing", f"{self._package.entity}-{wanted:06d} never came, and {later[0]} is there")
        same = [one for one in there if one.number == wanted]
        if len(same) > 1:
            return self._wait(str(same[0]), "repeat", f"there are two of this number: {' and '.join(map(str, same))}")
        return self._take(place, answers, same[0])

    def _again(self, place: Place, name: PackageName) -> Taken:
        """One that is asked for by name, and whose number was there before."""
        same = self._known.seen.get(str(name.number)) == place.stamp(name)
        why = "it was here before" if same else "its number was here before, and it is another one now"
        return Taken(str(name), "refused", "repeat", why)

    def _exchanged(self, place: Place, told: set[str]) -> list[Taken]:
        """Packages that stand where another one was that was taken or refused. They hold up nothing, and are told each time."""
        found = []
        for one in packages_among(place.names(), self._package.entity):
            before = self._known.seen.get(str(one.number))
            if before is not None and str(one) not in told and before != place.stamp(one):
                found.append(Taken(str(one), "waits", "repeat", "its number was here before, and it is another one now"))
        if found and self._known.trouble is None:
            self._wait(found[0].name, "repeat", str(found[0].why))
        return found

    def _wait(self, name: str, kind: str, why: str) -> Taken:
        self._keep(trouble=troubled(self._known.trouble, kind, name, why, self._clock()))
        return Taken(name, "waits", kind, why)

    def _begin_anew(self, following: int) -> None:
        """A person said which number is the next one: what was there before counts no more."""
        if following < 1:
            raise UsageError("numbers of packages begin with 1")
        seen = {number: mark for number, mark in self._known.seen.items() if int(number) < following}
        self._keep(sequence=following - 1, before=following - 1, accepted=0, seen=seen, trouble=None)

    # ---------------------------------------------------------------- one package

    def _take(self, place: Place, answers: Place, name: PackageName) -> Taken:
        """Check the package and accept it, or say why not."""
        with workroom(self._config, "check", self._system, self._package.entity) as room:
            mark = place.stamp(name)
            statement: Statement | None = None
            digest = ""
            try:
                folder = self._fetched(place, name, room)
                digest = _digest_of(folder / FILE)
                statement = check_package(folder, name, signers=self._package.signers)
                snapshot = room / self._file.name
                self._check_names(statement)
                self._check_rows(folder, statement, snapshot)
                self._check_taken(snapshot, room)
            except _RefusedRowsError as refused:
                return self._refuse(answers, name, mark, digest, refused, statement, refused.problems)
            except PackageError as error:
                if error.kind == "half-copied":
                    return self._wait(str(name), error.kind, error.message)
                return self._refuse(answers, name, mark, digest, error, statement)
            if place.stamp(name) != mark:
                return self._wait(str(name), "half-copied", "it changed while it was read")
            return self._accept(answers, name, mark, digest, statement, snapshot)

    def _fetched(self, place: Place, name: PackageName, room: Path) -> Path:
        """A copy of the package's files: what was checked is what is used. Raises PackageError."""
        folder = room / "package"
        if not name.ending:
            if self._package.encrypt is not None:
                raise PackageError("it is not encrypted, and must be", kind="tampered")
            place.fetch(name, folder)
            return folder
        copy = room / "package.zip"
        place.fetch(name, copy)
        if name.ending == SEALED:
            if self._package.encrypt is None:
                raise PackageError("it is encrypted, and no key is known", kind="wrong", hint="say `encrypt` in the configuration")
            sealed, copy = copy, room / "opened.zip"
            open_file(sealed, copy, name.stem, parse_keys(self._package.encrypt, "`encrypt`"))
        elif self._package.encrypt is not None and name.ending == ZIP:
            raise PackageError("it is not encrypted, and must be", kind="tampered")
        folder.mkdir()
        unzip(copy, folder)
        return folder

    def _check_names(self, statement: Statement) -> None:
        """Whether the package has every column that this side's mapping reads."""
        mapping = self._config.entities[self._package.entity].mappings[self._system]
        there = {column.name for column in statement.records.columns}
        lacking = [one.column for one in mapping.fields.values() if one.column is not None and one.column not in there]
        if lacking:
            raise PackageError(
                f"it has no column {lacking[0]}, which {self._package.entity} is to read from {self._system}",
                kind="wrong",
                hint=f"it has {', '.join(column.name for column in statement.records.columns[1:])}",
            )

    def _check_rows(self, folder: Path, statement: Statement, snapshot: Path) -> None:
        """Check every row, and write the file that the package is to become."""
        ids: list[pl.Series] = []
        with snapshot.open("wb") as file:
            for rows in checked_rows(folder, statement, statement.records):
                file.write(json_lines(rows, statement.records.columns))
                ids.append(rows[ID].cast(pl.Int64))
        gone = [rows[ID].cast(pl.Int64) for rows in checked_rows(folder, statement, statement.gone)]
        there, told = _united(ids), _united(gone)
        both = there.filter(there.is_in(told.implode()))
        if both.len():
            raise PackageError(f"record {both[0]} is there, and told as gone", kind="wrong")
        if self._known.accepted and self._file.exists():
            before = _ids_of(self._file)
            lost = before.filter(~before.is_in(there.implode()) & ~before.is_in(told.implode()))
            if lost.len():
                raise PackageError(
                    f"{lost.len():,} records that were in the last package are neither there nor told as gone, the first of them {lost[0]}",
                    kind="wrong",
                    hint="where the sender's state was made anew, `trueup import … --next NUMBER` begins anew as well",
                )

    def _check_taken(self, snapshot: Path, room: Path) -> None:
        """Whether every row can be taken here; where the settings say so, those that cannot be wait alone."""
        if not self._package.whole:
            return
        problems = refused_rows(self._config, self._package.entity, self._system, self._file, snapshot, room)
        if problems:
            first = problems[0]
            where = f"{first.field}: " if first.field and not first.reason.startswith(f"{first.field}:") else ""
            more = "" if len(problems) == 1 else f" ({len(problems):,} values are refused)"
            raise _RefusedRowsError(f"record {first.id} cannot be taken here: {where}{first.reason}{more}", problems)

    def _refuse(
        self,
        answers: Place,
        name: PackageName,
        mark: str,
        digest: str,
        error: PackageError,
        statement: Statement | None,
        problems: Sequence[RowProblem] = (),
    ) -> Taken:
        why = error.message
        self._keep(
            sequence=name.number,
            name=str(name),
            status="refused",
            kind=error.kind,
            why=why,
            statement=digest,
            at=self._clock(),
            answered=False,
            waiting=0,
            seen=self._known.took(name.number, mark),
            trouble=troubled(None, error.kind, str(name), why, self._clock()),
            told={"event": "refused", "package": str(name), "system": self._system, "kind": error.kind, "statement": digest},
        )
        self._answer(answers, problems)
        return Taken(str(name), "refused", error.kind, str(error), rows=statement.rows if statement is not None else 0)

    def _accept(self, answers: Place, name: PackageName, mark: str, digest: str, statement: Statement, snapshot: Path) -> Taken:
        before = self._known.sequence
        self._keep(
            sequence=name.number,
            before=before,
            name=str(name),
            status="accepted",
            kind=None,
            why=None,
            cutoff=statement.cutoff,
            at=self._clock(),
            rows=statement.rows,
            totals=dict(statement.totals),
            statement=digest,
            digest=_digest_of(snapshot),
            settled=False,
            answered=False,
            run=None,
            waiting=0,
            seen=self._known.took(name.number, mark),
            told={"event": "accepted", "package": str(name), "system": self._system, "rows": statement.rows, "statement": digest},
        )
        self._exchange(snapshot)
        return replace(self._finish(answers), gone=statement.gone_rows)

    def _exchange(self, snapshot: Path) -> None:
        """Put the file in the system's place, whole and durably, as somebody would save it."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with locked(self._system, self._file):
            known = None
            if self._file.exists():
                with open_to_read(self._system, self._file) as current:
                    known = stamp(current)
            with Replacement(self._system, self._file) as target, snapshot.open("rb") as source:
                while block := source.read(BLOCK_BYTES):
                    target.write(block)
                target.commit(known)

    # ---------------------------------------------------------------- afterwards

    def _gone_on_with(self, answers: Place) -> list[Taken]:
        """What an import that broke off had begun."""
        known = self._known
        if not known.settled:
            if not self._file.exists() or _digest_of(self._file) != known.digest:
                # It was not put in its place yet: it is taken once more.
                seen = {number: mark for number, mark in known.seen.items() if number != str(known.sequence)}
                self._keep(sequence=known.before, settled=True, answered=True, seen=seen, status="", name="")
                return []
            return [self._finish(answers)]
        if not known.answered:
            self._answer(answers, self._problems())
        return []

    def _finish(self, answers: Place) -> Taken:
        """A pass looks at all that the package says; then it is answered."""
        run = self._settle()
        if run.status == "failed":
            raise TrueupError(
                f"{self._known.name} was accepted, and no pass could look at it yet: {run.error}", hint="run again: it is gone on with"
            )
        problems = self._problems()
        waiting = len({one.id for one in problems})
        self._keep(settled=True, accepted=self._known.sequence, run=run.run, waiting=waiting, trouble=None)
        self._answer(answers, problems)
        known = self._known
        return Taken(known.name, "accepted", None, None, known.rows, 0, dict(known.totals), run, waiting)

    def _problems(self) -> list[RowProblem]:
        """The rows of the package that wait for somebody, each with the reason."""
        with self._store.read() as db:
            found = failure.of(db, self._package.entity, self._system)
        rows = found.filter(pl.col("key").is_not_null()).select("key", "field", "reason").head(PROBLEMS_SHOWN)
        return [RowProblem(str(key), str(name or ""), str(reason)) for key, name, reason in rows.rows()]

    def _answer(self, answers: Place, problems: Sequence[RowProblem]) -> None:
        """Put the answer to the last package where it belongs; one that is there already was put there before a kill."""
        known = self._known
        answer = Answer(
            entity=self._package.entity,
            sequence=known.sequence,
            status="accepted" if known.status == "accepted" else "refused",
            at=known.at or self._clock(),
            statement=known.statement,
            kind=known.kind,  # type: ignore[arg-type]  # kept as the text that it was
            why=known.why,
            rows=known.rows if known.status == "accepted" else 0,
            totals=known.totals if known.status == "accepted" else {},
            waiting=known.waiting,
            problems=problems,
        )
        with workroom(self._config, "answer", self._system, self._package.entity) as room:
            key = None if self._package.sign is None else parse_keys(self._package.sign, "`sign`")[0]
            write_answer(room, answer, key)
            with suppress(TakenError):
                answers.publish(room, PackageName(self._package.entity, known.sequence, answer=True))
        self._keep(answered=True)

    def _keep(self, *, told: dict[str, Any] | None = None, **facts: Any) -> None:
        """Keep how far it is; nothing is written where nothing changed."""
        now = replace(self._known, **facts)
        if now == self._known and self._is_kept:
            return
        with self._store.write(lasting=True) as tx:
            keep_received(tx, self._package, now)
            if told is not None:
                audit.tell(tx, "package", told, at=self._clock())
        self._known, self._is_kept = now, True


class _RefusedRowsError(PackageError):
    """Rows that this side cannot take."""

    def __init__(self, message: str, problems: Sequence[RowProblem]) -> None:
        super().__init__(message, kind="wrong", hint="`whole: false` takes the others")
        self.problems = problems


def _make_folder(system: str, path: Path) -> None:
    """A system whose path names no file of JSON Lines is a folder of them. An empty file there was made by a pass before any package."""
    try:
        if path.is_file() and path.stat().st_size == 0:
            path.unlink()
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrueupError(
            f"{path} cannot be the folder of {system}: {error.strerror}", hint="name a folder as its `path`, or a file that ends in .jsonl"
        ) from None


def _digest_of(path: Path) -> str:
    digest = sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    except FileNotFoundError:
        return ""
    return digest.hexdigest()


def _united(parts: Iterable[pl.Series]) -> pl.Series:
    found = list(parts)
    return pl.concat(found) if found else pl.Series(ID, [], dtype=pl.Int64)


def _ids_of(path: Path) -> pl.Series:
    """The ids in the file that the last package became; lines that somebody wrote there otherwise are left out."""
    found: list[int] = []
    with path.open("rb") as file:
        for line in file:
            try:
                found.append(int(orjson.loads(line)[ID]))
            except (ValueError, KeyError, TypeError):
                continue
    return pl.Series(ID, found, dtype=pl.Int64)
