"""Reading a configuration: text, variables, shape, cross-checks; every problem at once, each with its line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from trueup.config.entities import build_entities
from trueup.config.environment import open_environment, substitute
from trueup.config.report import Report
from trueup.config.shapes import read_shape
from trueup.config.systems import build_systems
from trueup.errors import ConfigError
from trueup.model import Config
from trueup.yamlfile import read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.config.schema import ConfigShape
    from trueup.errors import Problem

DEFAULT_FILE = "trueup.yaml"


def load_config(path: Path | str = DEFAULT_FILE, environ: Mapping[str, str] | None = None, *, connects: bool = True) -> Config:
    """Read and check a configuration. `environ` stands for the process's environment (None: the real one).

    Reads the file and the `.env` beside it, and opens no system. Raises ConfigError with all problems, in the order of the file.
    Who never connects to a system (`connects=False`) needs no variable that stands in one's settings.
    """
    file = Path(path)
    document = read_yaml(file)
    report = Report(document, problems=list(document.problems))
    if document.data is None:
        if not document.problems:
            report.add((), "the configuration is empty", "name your systems under `systems:` and what they share under `entities:`")
        raise ConfigError(report.problems)
    directory = Path(os.path.abspath(file)).parent  # noqa: PTH100  resolve() would follow a link away from the file's own folder
    environment = open_environment(directory, os.environ if environ is None else environ)
    filled = substitute(document, environment)
    report.used = filled.used
    report.problems.extend((*environment.problems, *filled.problems, *(filled.unset if connects else ())))
    report.broken.update(filled.broken)
    shape = read_shape(filled.data, report)
    config = _build(shape, str(path), directory, report) if shape is not None else None
    if config is None or report.problems:
        raise ConfigError(_once(report.problems))
    return config


def _build(shape: ConfigShape, file: str, directory: Path, report: Report) -> Config:
    systems = build_systems(shape.systems, report)
    entities = build_entities(shape.entities, systems, report)
    if not entities and not report.is_broken(("entities",)):
        report.note((), "there are no entities: nothing is kept in agreement", "name what your systems share under `entities:`")
    used = {system for entity in entities.values() for system in entity.mappings}
    for name in systems:
        if entities and name not in used and not report.is_broken(("entities",)):
            report.note(("systems", name), f"no entity has a mapping for {name}", "map it, or remove the system")
    return Config(
        file=file,
        directory=str(directory),
        state=_state(shape.state, directory, report),
        systems={name: built.system for name, built in systems.items()},
        entities=entities,
        notes=tuple(sorted(report.notes)),
    )


def _state(state: str, directory: Path, report: Report) -> str:
    """A postgresql:// address as it is, a path made absolute."""
    scheme, separator, _ = state.partition("://")
    if not separator:
        return os.path.normpath(directory / state)
    if scheme in {"postgres", "postgresql"} or scheme.startswith("postgresql+"):
        return state
    report.add(("state",), "this is neither a file nor a postgresql:// address", "write a path such as .trueup/state.db, or postgresql://…")
    return state


def _once(problems: list[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))
