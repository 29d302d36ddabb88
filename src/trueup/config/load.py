"""Reading a configuration: text, variables, shape, cross-checks; every problem at once, each with its line."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trueup.config.by_hand import build_manual, build_report
from trueup.config.digests import digests
from trueup.config.entities import build_entities
from trueup.config.environment import open_environment, secrets_used, substitute
from trueup.config.notices import build_notices
from trueup.config.packages import build_packages
from trueup.config.report import Report
from trueup.config.secrets import NEITHER, StoredSecrets, master_key_place, state_target
from trueup.config.shapes import read_shape
from trueup.config.systems import build_systems
from trueup.errors import ConfigError, MasterKeyError
from trueup.model import Alerts, Config, KeyPlace, Retention
from trueup.sealing.master import remember
from trueup.yamlfile import read_yaml

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from trueup.config.environment import Environment
    from trueup.config.schema import ConfigShape, MasterKeyShape
    from trueup.errors import Problem
    from trueup.yamlfile import YamlDocument

DEFAULT_FILE = "trueup.yaml"


def load_config(
    path: Path | str = DEFAULT_FILE, environ: Mapping[str, str] | None = None, *, connects: bool | Collection[str] = True
) -> Config:
    """Read and check a configuration. `environ` stands for the process's environment (None: the real one).

    Reads the file, the `.env` beside it, and the secrets that it names from the state; opens no system. Raises ConfigError with all
    problems, in the order of the file.
    Who never connects to a system (`connects=False`) needs no variable and no secret that stands in one's settings; who connects to some
    only (their names) needs those of these.
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
    named = _named(document, connects) if connects else {}
    stored = StoredSecrets(document, directory, environment, set(named)) if named and isinstance(document.data, dict) else None
    filled = substitute(document, environment, stored.find if stored else None)
    report.used = filled.used
    report.problems.extend((*environment.problems, *filled.problems, *_missed(filled.unset, connects)))
    report.broken.update(filled.broken)
    shape = read_shape(filled.data, report)
    config = _build(shape, str(path), directory, environment, report) if shape is not None else None
    if config is None or report.problems:
        raise ConfigError(_once(report.problems))
    return replace(config, digests=digests(document.data))


def _named(document: YamlDocument, connects: bool | Collection[str]) -> set[str]:  # noqa: FBT001  as `load_config` was told
    """The secrets that are needed."""
    used = secrets_used(document)
    if isinstance(connects, bool):
        return set(used)
    return {name for name, paths in used.items() if any(path[:1] == ("systems",) and path[1] in connects for path in paths)}


def _missed(unset: list[Problem], connects: bool | Collection[str]) -> list[Problem]:  # noqa: FBT001  as `load_config` was told
    """Those of the problems that matter to whoever connects to these systems."""
    if isinstance(connects, bool):
        return unset if connects else []
    return [problem for problem in unset if any(problem.path.startswith(f"systems.{name}.") for name in connects)]


def _build(shape: ConfigShape, file: str, directory: Path, environment: Environment, report: Report) -> Config:
    systems = build_systems(shape.systems, report, str(directory))
    entities = build_entities(shape.entities, systems, report)
    if not systems and not shape.manual and not any(report.is_broken((part,)) for part in ("systems", "manual")):
        what = "empty" if _says(report, "systems") else "missing"
        report.add((), f"`systems` is {what}", "name the connected systems, or under `manual:` what people do by hand")
    if not entities and not shape.manual and not report.is_broken(("entities",)):
        report.note((), "there are no entities: nothing is kept in agreement", "name what your systems share under `entities:`")
    used = {system for entity in entities.values() for system in entity.mappings}
    for name in systems:
        if entities and name not in used and not report.is_broken(("entities",)):
            report.note(("systems", name), f"no entity has a mapping for {name}", "map it, or remove the system")
    notices = build_notices(shape.notices, entities, systems, report)
    manual = build_manual(shape.manual, report)
    owners = {entity.owner for entity in entities.values()} | {built.system.owner for built in systems.values()}
    packages = build_packages(shape.packages, entities, systems, report)
    owners |= {told.owner for told in notices.values()} | {told.owner for told in packages.values()}
    owners |= {process.owner for process in manual.values()}
    reported = set() if shape.report is None else set(shape.report.to)
    for name in shape.alerts.to.keys() - owners - reported - {"default"}:
        report.note(
            ("alerts", "to", name),
            f"nothing has the owner {name}: nobody is told there",
            "name it as `owner` of an entity, a system, or under `notices` or `packages`",
        )
    return Config(
        file=file,
        directory=str(directory),
        state=_state(shape.state, directory, report),
        master_key=_master_key(shape.master_key, directory, environment, report),
        systems={name: built.system for name, built in systems.items()},
        entities=entities,
        notes=tuple(sorted(report.notes)),
        retention=Retention(shape.retention.history, shape.retention.lines, shape.retention.runs, shape.retention.webhooks)
        if shape.retention
        else Retention(),
        alerts=Alerts(shape.alerts.to, shape.alerts.repeat, shape.alerts.gather, shape.alerts.rules.model_dump()),
        notices=notices,
        packages=packages,
        report=build_report(shape.report, shape.alerts.to, report),
        manual=manual,
        runbooks=None if shape.runbooks is None else os.path.normpath(directory / Path(shape.runbooks).expanduser()),
        metrics_token=None if shape.metrics is None else shape.metrics.token,
    )


def _says(report: Report, part: str) -> bool:
    """Whether the file names a part at all."""
    return isinstance(report.document.data, dict) and report.document.data.get(part) is not None


def _state(state: str, directory: Path, report: Report) -> str:
    """A postgresql:// address as it is, a path made absolute."""
    target = state_target(state, directory)
    if target is None:
        report.add(("state",), *NEITHER)
    return target or state


def _master_key(written: MasterKeyShape | None, directory: Path, environment: Environment, report: Report) -> KeyPlace:
    """Where the master key is; what is wrong with it is reported."""
    said = None if written is None else written.model_dump(exclude_none=True)
    try:
        place = master_key_place(said, directory, environment)
        remember(place)
        return place
    except MasterKeyError as error:
        report.add(("master_key",), error.message, error.hint or "", unless=[("master_key",)])
        return master_key_place(None, directory, environment)


def _once(problems: list[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))
