"""Whether every row of a package can be taken: read and mapped as a pass would read and map it, before anything is touched."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from trueup.connectors.jsonl import JsonlConnector
from trueup.core.cells import KEY
from trueup.errors import PackageError, TrueupError
from trueup.exchange.answer import RowProblem
from trueup.runtime.systems import Systems

if TYPE_CHECKING:
    from pathlib import Path

    from trueup.model import Config


def refused_rows(config: Config, entity: str, system: str, file: Path, snapshot: Path, room: Path) -> list[RowProblem]:
    """The values of a snapshot, which is to take the place of `file`, that the entity's mapping for the system refuses; a filter applies.

    Raises PackageError where the snapshot cannot be read by this mapping at all.
    """
    rules = config.entities[entity]
    stand_in = room / "stand-in"
    stand_in.mkdir()
    for other in file.parent.iterdir():  # the other objects of the system, as they are
        if other.name != file.name and other.is_file() and other.suffix in JsonlConnector.suffixes:
            with suppress(OSError):
                (stand_in / other.name).symlink_to(other)
    (stand_in / file.name).symlink_to(snapshot)
    settings = dict(config.systems[system].settings)
    whole = JsonlConnector(system, settings, directory=config.directory).path.is_dir()
    settings["path"] = str(stand_in if whole else stand_in / file.name)
    systems = Systems(config, {system: JsonlConnector(system, settings)})
    try:
        away = frozenset(rules.mappings.keys() - {system})
        seats, errors = systems.seats(rules, only_look=True, away=away)
        if errors:
            raise PackageError(errors[system].message, kind="wrong", hint=errors[system].hint)
        seat = seats[system]
        found: list[RowProblem] = []
        for page in seat.connector.read(seat.mapping.object, seat.compiled.read_columns):
            found += [RowProblem(one.key or "", one.column or "", one.reason) for one in page.rejected]
            rows = page.rows
            if rows.height and seat.compiled.where is not None:
                found += [RowProblem(key, "", reason) for key, reason in seat.compiled.where_rejects(rows).select(KEY, "reason").rows()]
                rows = rows.filter(seat.compiled.takes_part(rows))
            if rows.height:
                found += [RowProblem(*row) for row in seat.compiled.to_cells(rows).rejected.rows()]
        return found
    except TrueupError as error:
        raise PackageError(error.message, kind="wrong", hint=error.hint) from None
    finally:
        systems.close()
