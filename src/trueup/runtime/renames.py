"""Renamed systems and fields (`was:`): before anything else of a run, the state keeps what it knows of them under their new names."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trueup import scratch
from trueup.errors import StateError
from trueup.store import Store, names, renames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.model import Config
    from trueup.store import Db


@dataclass(frozen=True, slots=True)
class Renames:
    """What the configuration calls otherwise than the state: systems (old, new), and fields (entity, old, new)."""

    systems: tuple[tuple[str, str], ...] = ()
    fields: tuple[tuple[str, str, str], ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to rename."""
        return bool(self.systems or self.fields)

    def __str__(self) -> str:
        """For people: each old name and its new one."""
        return ", ".join(f"{old} is {new} now" for *_entity, old, new in (*self.systems, *self.fields))


def renames_due(store: Store, config: Config) -> Renames:
    """What is to be renamed in the state. Raises StateError where it keeps a field under both names."""
    systems = [(item.was, item.name) for item in config.systems.values() if item.was is not None]
    entities = [entity for entity in config.entities.values() if any(field.was is not None for field in entity.fields.values())]
    if not systems and not entities:
        return Renames()
    with store.read() as db:
        known = set(names.list_(db, "system"))
        fields = [pair for entity in entities for pair in _fields_due(db, config, entity.name)]
    return Renames(tuple(pair for pair in systems if pair[0] in known), tuple(fields))


def _fields_due(db: Db, config: Config, entity: str) -> Iterator[tuple[str, str, str]]:
    known = renames.fields_known(db, entity)
    for field in config.entities[entity].fields.values():
        if field.was is None or field.was not in known:
            continue
        if field.name in known:
            raise StateError(
                f"the field {field.was} of {entity} cannot be renamed: the state already knows a field {field.name}",
                hint="remove `was:` or choose another name",
            )
        yield entity, field.was, field.name


def carry_out(store: Store, config: Config) -> None:
    """Rename in the state what is due, in one transaction. Raises StateError where a new name is taken."""
    due = renames_due(store, config)
    if not due:
        return
    with store.write() as tx:
        for old, new in due.systems:
            renames.rename_system(tx, old, new)
        for entity, old, new in due.fields:
            renames.rename_field(tx, entity, old, new)


@contextmanager
def with_new_names(store: Store, config: Config) -> Iterator[Store]:
    """The state as who looks is to see it: itself, or a copy in which everything has its new name. Raises StateError in PostgreSQL."""
    due = renames_due(store, config)
    if not due:
        yield store
        return
    if store.backend != "sqlite":
        raise StateError(
            f"the new names are to be in the state first: {due}",
            hint="`trueup sync --limit 0` gives it these, and writes nothing to any system",
        )
    with scratch.folder_for("plan") as folder:
        path = Path(folder, "state.db")
        store.copy_to(path)
        with Store.open(str(path)) as copy:
            carry_out(copy, config)
            yield copy
