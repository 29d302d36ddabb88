"""Locks in the systems: how they stand, making them, and taking them away.

The state knows a lock before it is begun, and knows its digest once it is there: whatever ends the program in between leaves a lock that
is known to be unfinished, which making it again completes and removing it takes away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from trueup.core.locks import Place, changed_where, places
from trueup.errors import AccessRefusedError, ObjectMissingError, TrueupError, UsageError, WriteRefusedError
from trueup.reports.lock_facts import LockFinding, Locks
from trueup.runtime import lock_rights
from trueup.runtime.lock_rights import GRANTS, TRIGGERS
from trueup.runtime.order import in_order
from trueup.runtime.trail import decided
from trueup.store import Store, audit, write_lock
from trueup.store.write_lock import WriteLock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from trueup.connectors.locking import Granting, Locking
    from trueup.model import Config, ObjectSpec
    from trueup.reports.lock_facts import Standing
    from trueup.runtime.systems import Systems
    from trueup.runtime.workspace import Workspace

PUT_BACK = "such edits are put back and reported"
FILTERED = f"only some of its rows take part (`where`), and a lock is of all of them (--whole-tables); {PUT_BACK}"
NO_RIGHTS = f"it has no users whose rights could be taken (`trueup lock --by triggers`); {PUT_BACK}"
OVERRULED = {"file": f"a file cannot be locked; {PUT_BACK}", "push": "it only pushes; what it says of such fields is not taken"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked about: systems and entities by name (empty: all), and whether tables are locked of which only some rows take part.

    `by`: "triggers" or "grants", of which a lock is to be made; "": of what it is made, else triggers.
    """

    systems: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    whole_tables: bool = False
    by: str = ""


def asked_for(config: Config, names: Sequence[str], *, whole_tables: bool, by: str = "") -> Asked:
    """What the names mean, `system:NAME` or `entity:NAME` where one is both. Raises UsageError for a name that is neither, or both."""
    kinds: dict[str, list[str]] = {"system": [], "entity": []}
    for name in names:
        prefix, _, rest = name.partition(":")
        meant = [kind for kind, known in (("system", config.systems), ("entity", config.entities)) if name in known]
        if not meant and prefix in kinds and rest in (config.systems if prefix == "system" else config.entities):
            kinds[prefix].append(rest)
        elif len(meant) == 1:
            kinds[meant[0]].append(name)
        elif meant:
            raise UsageError(f"{name} is both a system and an entity", hint=f"say system:{name} or entity:{name}")
        else:
            raise UsageError(f"there is no system or entity {name!r}", hint=f"configured: {', '.join((*config.systems, *config.entities))}")
    return Asked(tuple(kinds["system"]), tuple(kinds["entity"]), whole_tables, by)


def kept_locks(target: str) -> list[WriteLock]:
    """The locks that a state knows; none where there is no state, or it cannot be read now (which is for others to tell)."""
    try:
        with Store.open(target, read_only=True) as store, store.read() as db:
            return write_lock.list_(db)
    except TrueupError:
        return []


def look(config: Config, systems: Systems, known: Sequence[WriteLock], asked: Asked = Asked()) -> Locks:
    """How the locks stand. Asks the systems and changes nothing; one that does not answer is told as such."""
    entities = asked.entities or tuple(in_order(config.entities, config.entities))
    found = Locks(fields=[one for one in changed_where(config, entities) if one.system is not None])
    by_place = {(one.system, one.object.label): one for one in known}
    for place in places(config, asked.systems or tuple(config.systems), entities):
        found.findings.append(_finding(systems, place, by_place.pop((place.system, place.object.label), None), asked))
    if not asked.entities:
        left = [one for one in by_place.values() if one.system in (asked.systems or config.systems)]
        found.findings += [_leftover(systems, one) for one in left]
    return found


def _finding(systems: Systems, place: Place, known: WriteLock | None, asked: Asked) -> LockFinding:
    shown = LockFinding(place.system, place.object.label, place.entities, place.lock.columns, place.lock.rows, "open")
    try:
        connector = systems.connector(place.system)
        if not connector.caps.locks:
            why = OVERRULED.get(connector.caps.kind, f"nothing can be locked there; {PUT_BACK}")
            return replace(shown, standing="overruled", why=why)
        if known is None and place.filtered and not asked.whole_tables:
            return replace(shown, standing="overruled", why=FILTERED)
        if (asked.by if known is None else _kind(known)) == GRANTS:
            if not connector.caps.grants:
                return replace(shown, standing="overruled", why=NO_RIGHTS)
            return lock_rights.finding(cast("Granting", connector), place, known, shown)
        locking = cast("Locking", connector)
        plan = locking.lock_plan(place.object, place.lock)
        there = locking.locked(place.object)
    except WriteRefusedError as error:
        return replace(shown, standing="overruled", why=f"{error.message}; {PUT_BACK}")
    except ObjectMissingError as error:
        if known is None and systems.is_unmade(systems.config.entities[place.entities[0]].mappings[place.system]):
            return replace(shown, standing="overruled", why="it is not there yet: the first sync makes it")
        return replace(shown, standing="unknown", why=str(error))
    except TrueupError as error:
        return replace(shown, standing="unknown", why=str(error))
    standing = _standing(place, known, there)
    make = () if standing == "locked" else plan.make
    return replace(shown, standing=standing, make=make, remove=plan.remove, passes=plan.passes)


def _kind(known: WriteLock) -> str:
    """What a lock is made of."""
    return GRANTS if known.rights is not None else TRIGGERS


def _standing(place: Place, known: WriteLock | None, there: str | None) -> Standing:
    if known is None:
        return "open" if there is None else "stranger"
    if known.digest is None:
        return "unfinished"
    if there is None:
        return "missing"
    if there != known.digest:
        return "altered"
    return "locked" if known.lock == place.lock else "outdated"


def _leftover(systems: Systems, known: WriteLock) -> LockFinding:
    """A lock that was made of an object of which nothing is changed elsewhere any more."""
    shown = LockFinding(known.system, known.object.label, (), known.lock.columns, known.lock.rows, "leftover")
    try:
        is_there = _is_there(systems, known)
    except ObjectMissingError:
        return replace(shown, why="the table is gone as well")
    except TrueupError as error:
        return replace(shown, standing="unknown", why=str(error))
    return shown if is_there else replace(shown, why="it is gone already")


def _is_there(systems: Systems, known: WriteLock) -> bool:
    """Whether there is anything of a lock. Raises the connector's errors."""
    connector = systems.connector(known.system)
    if known.rights is not None:
        return lock_rights.is_there(cast("Granting", connector), known)
    return cast("Locking", connector).locked(known.object) is not None


def apply(workspace: Workspace, asked: Asked) -> list[tuple[LockFinding, str]]:
    """Lock what can be locked; per object what became of it, and why not. Objects that are locked as they should be are left alone."""
    with workspace.store.read() as db:
        known = write_lock.list_(db)
    done = []
    by_place = {(one.system, one.object): one for one in look(workspace.config, workspace.systems, known, asked).findings}
    for place in _asked_places(workspace, asked):
        one = by_place[place.system, place.object.label]
        kept = next((lock for lock in known if (lock.system, lock.object.label) == (place.system, place.object.label)), None)
        if one.standing == "unknown":
            done.append((one, one.why))
        elif kept is not None and asked.by not in {"", _kind(kept)}:
            done.append((one, f"it is locked by {_kind(kept)}: `trueup lock {place.system} --remove` first"))
        elif one.standing == "locked":
            done.append((one, ""))
        elif one.standing != "overruled":
            done.append(_make(workspace, place, one, kept))
    return done


def _asked_places(workspace: Workspace, asked: Asked) -> Iterator[Place]:
    config = workspace.config
    yield from places(config, asked.systems or tuple(config.systems), asked.entities or tuple(config.entities))


def _make(workspace: Workspace, place: Place, one: LockFinding, kept: WriteLock | None) -> tuple[LockFinding, str]:
    now, who = workspace.clock(), audit.me()
    begun = WriteLock(place.system, place.object, place.lock, None, now, who)
    asked: lock_rights.Asked | None = None
    granting = cast("Granting", workspace.systems.connector(place.system))
    if one.by == GRANTS:
        try:
            asked = lock_rights.Asked.of(granting, place.object, place.lock, kept)
        except TrueupError as error:
            return one, str(error)
        begun = replace(begun, rights=asked.exchange)
    with workspace.store.write() as tx:
        write_lock.keep(tx, begun)
        what = {"system": place.system, "object": place.object.label, "columns": list(place.lock.columns)}
        decided(tx, "lock", what | ({"by": GRANTS} if asked is not None else {}), now)
    try:
        if asked is not None:
            digest = lock_rights.make(granting, place.object, asked, place.lock)
        else:
            digest = _made(cast("Locking", granting), place, one)
    except TrueupError as error:
        _after_failure(workspace, begun)
        return one, str(error)
    with workspace.store.write() as tx:
        write_lock.keep(tx, replace(begun, digest=digest))
    return replace(one, standing="locked"), ""


def _made(locking: Locking, place: Place, one: LockFinding) -> str:
    """Make the lock. One that somebody with more rights has made, from the statements shown, is taken over as it stands."""
    try:
        return locking.lock(place.object, place.lock)
    except AccessRefusedError:
        there = locking.locked(place.object) if one.standing == "stranger" else None
        if there is None:
            raise
        return there


def _after_failure(workspace: Workspace, begun: WriteLock) -> None:
    """A lock that could not be made: forgotten where nothing of it is there, else kept as unfinished."""
    try:
        is_there = _is_there(workspace.systems, begun)
    except TrueupError:
        return
    if not is_there:
        with workspace.store.write() as tx:
            write_lock.forget(tx, begun.system, begun.object.label)


def remove(workspace: Workspace, asked: Asked, *, only: Collection[tuple[str, str]] | None = None) -> list[tuple[LockFinding, str]]:
    """Take away what was locked; per object what became of it, and why not. `only`: none but these, by system and object."""
    with workspace.store.read() as db:
        known = {(one.system, one.object.label): one for one in write_lock.list_(db)}
    done = []
    for one in look(workspace.config, workspace.systems, list(known.values()), replace(asked, whole_tables=True)).findings:
        kept = known.get((one.system, one.object))
        if (kept is None and one.standing != "stranger") or (only is not None and (one.system, one.object) not in only):
            continue
        done.append(_take_away(workspace, one, kept))
    return done


def _take_away(workspace: Workspace, one: LockFinding, kept: WriteLock | None) -> tuple[LockFinding, str]:
    obj = kept.object if kept is not None else _spec_of(workspace.config, one)
    connector = workspace.systems.connector(one.system)
    try:
        if kept is not None and kept.rights is not None:
            lock_rights.undo(cast("Granting", connector), kept)
        else:
            cast("Locking", connector).unlock(obj)
    except ObjectMissingError:
        pass  # gone with its table
    except TrueupError as error:
        return one, str(error)
    now = workspace.clock()
    with workspace.store.write() as tx:
        write_lock.forget(tx, one.system, one.object)
        decided(tx, "unlock", {"system": one.system, "object": one.object}, now)
    return replace(one, standing="open"), ""


def _spec_of(config: Config, one: LockFinding) -> ObjectSpec:
    """The object as its mapping says."""
    mappings = [config.entities[name].mappings[one.system] for name in one.entities]
    return next(mapping.object for mapping in mappings if mapping.object.label == one.object)
