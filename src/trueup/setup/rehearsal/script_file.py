"""A script of the user's own: rounds of moves in YAML, read with every problem at its line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from trueup.config.report import Report
from trueup.errors import ConfigError
from trueup.setup.rehearsal.script import ALL, FEW, Deed, Move, Round
from trueup.setup.rehearsal.weather import Weather
from trueup.yamlfile import plain, read_yaml

if TYPE_CHECKING:
    from pathlib import Path

    from trueup.model import Config, Entity
    from trueup.yamlfile import YamlPath

DEEDS: tuple[str, ...] = get_args(Deed)
WEATHERS: tuple[str, ...] = get_args(Weather)
_ROUND = ("name", "weather", "moves")
_MOVE = ("do", "entity", "systems", "field", "records", "to", "by", "same")
_WITH_FIELD = {"edit", "blank", "count", "invalid", "overlong"}


def read_script(path: Path, config: Config) -> tuple[Round, ...]:
    """The rounds. Raises ConfigError, with all that is missing, unknown or contradictory."""
    document = read_yaml(path)
    report = Report(document)
    report.problems += document.problems
    rounds: list[Round] = []
    if not document.problems:
        data = document.data
        for name in data if isinstance(data, dict) else ():
            if name != "rounds":
                report.unknown((name,), "setting", name, "a script", ["rounds"])
        given = data.get("rounds") if isinstance(data, dict) else None
        if not isinstance(given, list) or not given:
            report.add(("rounds",), "no round is there", "write `rounds:`, under it `- moves:`, and under that what people do")
        else:
            rounds = [_round(report, ("rounds", number), one, config) for number, one in enumerate(given)]
    if report.problems:
        raise ConfigError(report.problems)
    return tuple(rounds)


def _round(report: Report, path: YamlPath, given: Any, config: Config) -> Round:
    number = int(path[-1]) + 1
    if not isinstance(given, dict):
        report.add(path, "a round is a mapping", "write `- moves:`, and under that what people do")
        return Round(f"round {number}", ())
    for name in given:
        if name not in _ROUND:
            report.unknown((*path, name), "setting", name, "a round", _ROUND)
    weather = plain(given.get("weather"))
    if weather is not None and weather not in WEATHERS:
        report.unknown((*path, "weather"), "weather", str(weather), "a round", WEATHERS)
        weather = None
    moves = given.get("moves")
    if not isinstance(moves, list):
        report.add((*path, "moves"), "no move is there", "write `moves:`, and under that `- {do: edit, entity: …, field: …}`")
        moves = []
    read = [_move(report, (*path, "moves", place), one, config) for place, one in enumerate(moves)]
    return Round(str(plain(given.get("name")) or f"round {number}"), tuple(move for move in read if move is not None), weather)


def _move(report: Report, path: YamlPath, given: Any, config: Config) -> Move | None:
    before = len(report.problems)
    if not isinstance(given, dict):
        report.add(path, "a move is a mapping", "write `{do: edit, entity: …, field: …}`")
        return None
    told = plain(given)
    for name in told:
        if name not in _MOVE:
            report.unknown((*path, name), "setting", name, "a move", _MOVE)
    do = told.get("do")
    if do not in DEEDS:
        if do is None:
            report.add((*path, "do"), "what is done is not said", f"do: {', '.join(DEEDS)}")
        else:
            report.unknown((*path, "do"), "move", str(do), "a script", DEEDS)
        return None
    if do == "kill":
        return Move(do="kill")
    entity = config.entities.get(str(told.get("entity")))
    if entity is None:
        report.unknown((*path, "entity"), "entity", str(told.get("entity")), "the configuration", list(config.entities))
        return None
    systems = _systems(report, path, told.get("systems"), entity)
    field = _field(report, path, told.get("field"), str(do), entity, systems)
    records = _records(report, path, told.get("records", FEW))
    by = told.get("by", -1)
    if not isinstance(by, int) or isinstance(by, bool):
        report.add((*path, "by"), f"{by!r} is no whole number", "by: -1")
        by = -1
    if len(report.problems) > before:
        return None
    return Move(
        do=do, entity=entity.name, systems=systems, field=field, records=records, to=told.get("to"), by=by, same=told.get("same") is True
    )


def _systems(report: Report, path: YamlPath, given: Any, entity: Entity) -> tuple[str, ...]:
    names = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    if given is None:
        return tuple(entity.mappings)[:1]
    for name in names:
        if name not in entity.mappings:
            report.unknown((*path, "systems"), "system", str(name), f"the mappings of {entity.name}", list(entity.mappings))
    if not names:
        report.add((*path, "systems"), "no system is named", f"systems: [{', '.join(entity.mappings)}]")
    return tuple(str(name) for name in names)


def _field(report: Report, path: YamlPath, given: Any, do: str, entity: Entity, systems: tuple[str, ...]) -> str | None:
    if do not in _WITH_FIELD:
        return None
    if given not in entity.fields:
        report.unknown((*path, "field"), "field", str(given), entity.name, list(entity.fields))
        return None
    for name in systems:
        if name in entity.mappings and given not in entity.mappings[name].fields:
            report.add((*path, "field"), f"{name} does not show {given}", f"it shows {', '.join(entity.mappings[name].fields)}")
    return str(given)


def _records(report: Report, path: YamlPath, given: Any) -> float:
    """A number of records, or a share of them."""
    text = str(given).strip()
    if text == "all":
        return ALL
    try:
        number = float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        number = 0.0
    if number <= 0 or isinstance(given, bool) or (not text.endswith("%") and number != int(number)):
        report.add((*path, "records"), f"{text!r} is no number of records", "records: 5, or 40%, or all")
        return FEW
    return min(number, ALL) if text.endswith("%") else number
