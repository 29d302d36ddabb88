"""Packages out: the golden records as of a cut-off, put to a place under the next number.

What is about to appear under a number is kept in the state before it does. So a process that is killed leaves either nothing there or a
whole package of which the state learns the next time; a number is never given to two packages.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from trueup.errors import PackageError, StateError, TrueupError, UsageError
from trueup.exchange.answer import read_answer
from trueup.exchange.naming import FOLDER, SEALED, ZIP, PackageName, packages_among
from trueup.exchange.places import open_place
from trueup.exchange.records import RecordsAsOf
from trueup.exchange.sealed import seal_file, unzip, zip_folder
from trueup.exchange.signing import signature
from trueup.exchange.statement import FILE, ID, SIGNATURE, Column, Head, in_zone
from trueup.exchange.writing import write_package
from trueup.runtime.packages.standing import Received, Sent, keep_received, keep_sent, last_before, received, sent, troubled
from trueup.runtime.packages.workroom import workroom
from trueup.sealing import parse_keys
from trueup.store import audit, golden

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from trueup.exchange.places import Place
    from trueup.exchange.statement import Statement
    from trueup.model import Config, Package
    from trueup.store import Store


@dataclass(frozen=True, slots=True)
class Exported:
    """A package that is there now."""

    name: str
    place: str
    statement: Statement
    encrypted: bool
    known: Sent


def export(config: Config, store: Store, package: Package, now: datetime, *, cutoff: datetime | None = None) -> Exported:
    """Put the next package there. `cutoff` instead of the one that the package's settings say.

    Raises UsageError, StateError, SystemUnreachableError, TrueupError; then nothing appeared, or, where only the state could not be told of
    it, a whole package.
    """
    place = open_place(package.place, config.directory)
    with closing(place), workroom(config, "out", place.shown, package.entity) as room:
        known = _settled(store, package, place)
        moment = _cutoff(package, known, now, cutoff)
        folder = room / "package"
        folder.mkdir()
        number = 1 + max([known.sequence, *(one.number for one in _all_named(place, package.entity))])
        statement = _written(config, store, package, folder, _head(config, package, number, moment, now))
        name, source = _packed(package, room, folder, number)
        known = _published(store, package, place, known, _Ready(name, source, statement, sha256((folder / FILE).read_bytes()).hexdigest()))
        return Exported(str(name), place.shown, statement, package.encrypt is not None, known)


@dataclass(frozen=True, slots=True)
class _Ready:
    """A package that is ready to appear."""

    name: PackageName
    source: Path
    statement: Statement
    digest: str


def _all_named(place: Place, entity: str) -> list[PackageName]:
    names = place.names()
    return [*packages_among(names, entity), *packages_among(names, entity, answers=True)]


def _settled(store: Store, package: Package, place: Place) -> Sent:
    """How far it is, with what became of a package that was being put there when a process was killed."""
    with store.read() as db:
        known = sent(db, package, place.shown)
    if known.writing is None:
        return known
    written = known.writing
    there = {str(one) for one in packages_among(place.names(), package.entity)}
    moments = {name: datetime.fromisoformat(written[name]) for name in ("at", "cutoff")}
    known = replace(known, **(written | moments), writing=None) if written["name"] in there else replace(known, writing=None)
    with store.write() as tx:
        keep_sent(tx, package, place.shown, known)
    return known


def _cutoff(package: Package, known: Sent, now: datetime, wanted: datetime | None) -> datetime:
    moment = wanted
    if moment is None:
        moment = now if package.cutoff is None else last_before(package.cutoff, now)
    if moment is None:
        raise UsageError("there was no cut-off within fifteen days", hint="give one with --cutoff")
    if moment > now:
        raise UsageError("the cut-off is in the future", hint="a package tells what was agreed")
    if known.cutoff is not None and moment < known.cutoff:
        before = in_zone(known.cutoff, package.timezone)
        raise UsageError(f"{known.name} tells of {before}, which is after this cut-off", hint="packages tell of later and later moments")
    return moment


def _head(config: Config, package: Package, number: int, cutoff: datetime, now: datetime) -> Head:
    fields = config.entities[package.entity].fields
    return Head(
        entity=package.entity,
        sequence=number,
        cutoff=cutoff,
        timezone=package.timezone,
        exported_at=now,
        form=package.form,
        columns=(Column(ID, "integer"), *(Column(name, fields[name].type) for name in package.fields)),
        signed=package.sign is not None,
    )


def _written(config: Config, store: Store, package: Package, folder: Path, head: Head) -> Statement:
    with store.read() as db:
        if golden.current_version(db) == 0:
            raise StateError(f"there are no agreed records of {package.entity} yet", hint="run `trueup sync` first")
        records = RecordsAsOf(db, config.entities[package.entity], package.fields, head.cutoff)
        return write_package(folder, head, records.frames, records.gone)


def _packed(package: Package, room: Path, folder: Path, number: int) -> tuple[PackageName, Path]:
    """The package as it is to appear: signed, and as one file or encrypted where that is asked for."""
    if package.sign is not None:
        key = parse_keys(package.sign, "`sign`")[0]
        (folder / SIGNATURE).write_bytes(signature(key, (folder / FILE).read_bytes()))
    if package.encrypt is None and not package.zipped:
        return PackageName(package.entity, number, ending=FOLDER), folder
    zipped = room / "package.zip"
    zip_folder(folder, zipped)
    if package.encrypt is None:
        return PackageName(package.entity, number, ending=ZIP), zipped
    name, sealed = PackageName(package.entity, number, ending=SEALED), room / "package.sealed"
    seal_file(zipped, sealed, name.stem, parse_keys(package.encrypt, "`encrypt`")[0])
    return name, sealed


def _published(store: Store, package: Package, place: Place, known: Sent, ready: _Ready) -> Sent:
    statement = ready.statement
    facts: dict[str, Any] = {
        "sequence": statement.sequence,
        "at": statement.exported_at,
        "cutoff": statement.cutoff,
        "rows": statement.rows,
        "gone": statement.gone_rows,
        "name": str(ready.name),
        "statement": ready.digest,
        "unanswered_since": known.unanswered_since or statement.exported_at,
    }
    with store.write(lasting=True) as tx:
        keep_sent(tx, package, place.shown, replace(known, writing=facts))
        told = {
            "event": "export",
            "package": str(ready.name),
            "rows": statement.rows,
            "gone": statement.gone_rows,
            "statement": ready.digest,
        }
        audit.tell(tx, "package", {**told, "fields": list(package.fields), "place": place.shown}, at=statement.exported_at)
    place.publish(ready.source, ready.name)
    known = replace(known, **facts, writing=None, trouble=None)
    with store.write() as tx:
        keep_sent(tx, package, place.shown, known)
    return known


def note_trouble(config: Config, store: Store, package: Package, error: TrueupError, now: datetime) -> None:
    """Remember why packages cannot be sent or fetched, until they can."""
    if package.direction == "in":
        with store.write() as tx:
            come = received(tx, package) or Received(since=now)
            keep_received(tx, package, replace(come, trouble=troubled(come.trouble, "unreachable", "", str(error), now)))
        return
    place = open_place(package.place, config.directory)
    with closing(place), store.write() as tx:
        known = sent(tx, package, place.shown)
        keep_sent(tx, package, place.shown, replace(known, trouble=troubled(known.trouble, "unreachable", "", str(error), now)))


# ---------------------------------------------------------------- answers


def look_for_answer(config: Config, store: Store, package: Package) -> Sent:
    """Take in the newest answer that is not known yet. Raises SystemUnreachableError; an answer that cannot be read is left."""
    place = open_place(package.place, config.directory)
    answers = place if package.answers is None else open_place(package.answers, config.directory)
    with closing(place), closing(answers):
        with store.read() as db:
            known = sent(db, package, place.shown)
        told = 0 if known.answer is None else int(known.answer["sequence"])
        fresh = [one for one in packages_among(answers.names(), package.entity, answers=True) if told < one.number <= known.sequence]
        if known.trouble is not None and not known.writing:  # the place answers again
            known = replace(known, trouble=None)
            with store.write() as tx:
                keep_sent(tx, package, place.shown, known)
        if not fresh:
            return known
        with workroom(config, "answers", place.shown, package.entity) as room:
            found = _answer(room, answers, fresh[-1], package.signers)
        if found is None:
            return known
        if found["status"] == "accepted" and found["sequence"] == known.sequence and found["statement"] != known.statement:
            found |= {"kind": "tampered", "why": "what the receiver accepted under this number is not the package that was sent"}
        pending = None if found["sequence"] == known.sequence else known.at
        known = replace(known, answer=found, unanswered_since=pending)
        with store.write() as tx:
            keep_sent(tx, package, place.shown, known)
        return known


def _answer(room: Path, answers: Place, name: PackageName, signers: Sequence[str]) -> dict[str, Any] | None:
    """What an answer says; None where it is not whole yet, or not genuine."""
    folder = room / "answer"
    try:
        if name.ending:
            answers.fetch(name, room / "answer.zip")
            folder.mkdir()
            unzip(room / "answer.zip", folder)
        else:
            answers.fetch(name, folder)
        found = read_answer(folder, name.entity, name.number, signers)
    except PackageError:
        return None
    names = ("sequence", "status", "at", "kind", "why", "waiting", "statement")
    return {one: getattr(found, one) for one in names}
