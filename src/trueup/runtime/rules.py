"""What the state remembers of a configuration besides mappings: rules of merging, systems, and the columns that each object had.

Nothing follows from it for the data. It is what a plan compares the configuration with, and what tells a column that is gone from one that
was never there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from trueup.errors import TrueupError
from trueup.store import meta

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from trueup.model import Config, Entity
    from trueup.runtime.systems import Seat, Systems
    from trueup.store import Db, Store

ENTITIES = "entities"
"""Under this name the state keeps which entities are configured."""


def rules_of(entity: Entity) -> dict[str, Any]:
    """What decides about edits, rows and deletes of an entity; JSON."""
    body = {
        "match": [list(rule) for rule in entity.match],
        "precedence": list(entity.precedence) if entity.explicit_precedence else None,
        "deletes": None if entity.deletes is None else {**asdict(entity.deletes), "sources": list(entity.deletes.sources)},
        "guard": None if entity.guard is None else asdict(entity.guard),
        "systems": sorted(entity.mappings),
        "fields": {
            name: {"source_of_truth": item.source_of_truth, "conflict": item.rule or item.conflict, "hold_if": item.hold_if}
            for name, item in entity.fields.items()
        },
    }
    plain: dict[str, Any] = orjson.loads(orjson.dumps(body, default=str))
    return plain


def known_rules(db: Db, entity: Entity, config: Config) -> dict[str, Any] | None:
    """The rules of the last run, under the names of now; None before the first one."""
    text = meta.get(db, f"rules:{entity.name}")
    if text is None:
        return None
    known: dict[str, Any] = orjson.loads(text)
    systems = {item.was: item.name for item in config.systems.values() if item.was is not None and item.was not in config.systems}
    fields = {item.was: name for name, item in entity.fields.items() if item.was is not None and item.was not in entity.fields}
    known["systems"] = sorted(systems.get(name, name) for name in known["systems"])
    if known["precedence"] is not None:
        known["precedence"] = [systems.get(name, name) for name in known["precedence"]]
    if known["deletes"] is not None:
        known["deletes"]["sources"] = [systems.get(name, name) for name in known["deletes"]["sources"]]
    known["match"] = [[fields.get(name, name) for name in rule] for rule in known["match"]]
    known["fields"] = {
        fields.get(name, name): {**part, "source_of_truth": systems.get(part["source_of_truth"], part["source_of_truth"])}
        for name, part in known["fields"].items()
    }
    return known


def known_entities(db: Db) -> list[str]:
    """The entities of the last run."""
    text = meta.get(db, ENTITIES)
    return orjson.loads(text) if text is not None else []


def remember(store: Store, entity: Entity, config: Config, seats: Mapping[str, Seat], *, held: Collection[str] = ()) -> None:
    """Keep the rules of now, and the columns of the objects that could be described; without any, nothing.

    Of systems whose edits are `held` what their columns were like is kept: a person is still to be asked about what they became.
    """
    if not seats:
        return
    texts = {
        f"rules:{entity.name}": orjson.dumps(rules_of(entity)).decode(),
        ENTITIES: orjson.dumps(sorted(config.entities)).decode(),
        **{_columns_name(entity, name): orjson.dumps(_columns(seat)).decode() for name, seat in seats.items() if name not in held},
    }
    with store.read() as db:
        fresh = {name: text for name, text in texts.items() if meta.get(db, name) != text}
    if fresh:
        with store.write() as tx:
            for name, text in fresh.items():
                meta.set_(tx, name, text)


@dataclass(frozen=True, slots=True)
class Drift:
    """What objects are like now, against the last run.

    errors   of systems that take no part; where columns came and went, with what to change
    notes    what else is to be told
    retyped  system -> field -> its column, of another type now, and what became of it; of files nothing: their types are guessed
    """

    errors: dict[str, TrueupError]
    notes: list[str] = field(default_factory=list)
    retyped: Mapping[str, Mapping[str, tuple[str, str]]] = field(default_factory=dict)


def drift(store: Store, entity: Entity, systems: Systems, seats: Mapping[str, Seat], errors: Mapping[str, TrueupError]) -> Drift:
    """Compare the columns of the objects with those of the last run."""
    with store.read() as db:
        told = {name: _told(db, entity, systems, name, error) for name, error in errors.items()}
        columns = {name: forms for name, seat in seats.items() if (forms := dict(_retyped(db, entity, name, seat)))}
    notes = [
        f"the column `{column}` of {name} {form} now: values that do not fit are told as failures, and values that read otherwise are"
        " held; where they lost something by it, change the column back"
        for name, forms in columns.items()
        for column, form in forms.items()
    ]
    retyped = {name: _fields_of(seats[name], forms) for name, forms in columns.items() if not seats[name].is_file}
    return Drift(told, notes, retyped)


def _retyped(db: Db, entity: Entity, name: str, seat: Seat) -> Iterator[tuple[str, str]]:
    """Each mapped column that is of another type than at the last run, and what became of it."""
    before, now = _known_columns(db, entity, name), _columns(seat)
    for column in seat.compiled.read_columns:
        if column in before and column in now and before[column] != now[column]:
            yield column, f"was {before[column]} and is {now[column]}"


def _fields_of(seat: Seat, forms: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The fields that are read from these columns."""
    return {reader.field.name: (column, forms[column]) for reader in seat.compiled.readers for column in reader.columns if column in forms}


def _told(db: Db, entity: Entity, systems: Systems, name: str, error: TrueupError) -> TrueupError:
    before = _known_columns(db, entity, name)
    if not before:
        return error
    try:
        info = systems.connector(name).describe(entity.mappings[name].object)
    except TrueupError:
        return error
    gone = [column for column in before if column not in info.columns]
    new = [column for column in info.columns if column not in before]
    if not gone:
        return error
    mapped = {part.column: field for field, part in entity.mappings[name].fields.items() if part.column in gone}
    said = f"{_named(gone)} {'is' if len(gone) == 1 else 'are'} gone since the last run"
    if new:
        said += f", and {_named(new)} {'is' if len(new) == 1 else 'are'} new: did you rename?"
        pairs = ", ".join(f"`{field}: {new[0]}`" for field in mapped.values()) if len(new) == 1 and len(mapped) == 1 else ""
        said += f" Then map {pairs or 'it under its new name'}"
    else:
        said += ": take it out of the mapping, or put it back"
    hint = f"{said}; until then only this mapping waits, and nothing of it is taken for deleted"
    return TrueupError(error.message, hint=hint, system=error.system, entity=error.entity)


def _named(columns: list[str]) -> str:
    return f"{'column' if len(columns) == 1 else 'columns'} {', '.join(f'`{column}`' for column in columns)}"


def _columns_name(entity: Entity, system: str) -> str:
    return f"columns:{entity.name}:{system}"


def _known_columns(db: Db, entity: Entity, system: str) -> dict[str, str]:
    text = meta.get(db, _columns_name(entity, system))
    return orjson.loads(text) if text is not None else {}


def _columns(seat: Seat) -> dict[str, str]:
    return {name: str(column.type) for name, column in seat.info.columns.items()}
