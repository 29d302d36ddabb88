"""What must be known before anything else of a configuration: where the state is, where the master key is, and the secrets in that state.

Nothing of the state, and nothing that seals, is loaded before the first `${secret:NAME}` is met.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trueup.config.environment import OPENS_STATE, open_environment, substitute
from trueup.errors import ConfigError, MasterKeyError, Problem, StateMissingError
from trueup.model import KeyPlace
from trueup.sealing.master import remember
from trueup.yamlfile import YamlDocument, read_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.config.environment import Environment

DEFAULT_STATE = ".trueup/state.db"
_KINDS = ("file", "env", "keyring", "command")
_POSTGRES = ("postgres", "postgresql")


@dataclass(frozen=True, slots=True)
class StatePlace:
    """Where a configuration keeps its state and its master key; `document` is what is written in it, with nothing filled in."""

    target: str
    master_key: KeyPlace
    document: YamlDocument


def state_target(written: Any, directory: Path) -> str | None:
    """A postgresql:// address as it is, a path made absolute; None where it is neither."""
    text = DEFAULT_STATE if written is None else str(written)
    scheme, separator, _ = text.partition("://")
    if not separator:
        return os.path.normpath(directory / text)
    return text if scheme in _POSTGRES or scheme.startswith("postgresql+") else None


def master_key_place(written: Any, directory: Path, environment: Environment) -> KeyPlace:
    """What `master_key:` says, or the default. Raises MasterKeyError where it says none of the four, or several."""
    if written is None:
        return _variable(KeyPlace().where, environment, chosen=False)
    said = {kind: value for kind, value in written.items() if value is not None} if isinstance(written, dict) else {}
    if len(said) != 1 or not set(said) <= set(_KINDS):
        raise MasterKeyError("`master_key` does not say where it is", hint=f"write one of {', '.join(_KINDS)}: master_key: {{file: PATH}}")
    [(kind, value)] = said.items()
    if kind == "file":
        return KeyPlace("file", os.path.normpath(directory / Path(str(value)).expanduser()))
    if kind == "env":
        return _variable(str(value), environment)
    if kind == "keyring":
        return KeyPlace("keyring", str(value))
    try:
        words = [str(word) for word in value] if isinstance(value, list) else shlex.split(str(value))
    except ValueError as error:
        raise MasterKeyError(f"the command under `master_key` cannot be read: {error}", hint="write it as a list of words") from None
    return KeyPlace("command", shlex.join(words), tuple(words), str(directory))


def _variable(name: str, environment: Environment, *, chosen: bool = True) -> KeyPlace:
    inside = None if name in environment.process or name not in environment.dotenv else environment.file
    return KeyPlace("env", name, given=environment.get(name), given_in=inside, chosen=chosen)


def read_state_place(file: Path, environ: Mapping[str, str] | None = None) -> StatePlace:
    """The place of the state and of the master key, whatever else may be wrong in the configuration. Raises ConfigError, MasterKeyError."""
    document = read_yaml(file)
    if not isinstance(document.data, dict):
        nothing = Problem(str(file), 0, "", "this is no configuration", "name your systems under `systems:`")
        raise ConfigError(list(document.problems) if document.problems else [nothing])
    directory = Path(os.path.abspath(file)).parent  # noqa: PTH100  as in load_config
    return place_of(document, directory, open_environment(directory, os.environ if environ is None else environ))


def place_of(document: YamlDocument, directory: Path, environment: Environment) -> StatePlace:
    """The same of a document that was read. Raises ConfigError, MasterKeyError."""
    head = {key: value for key, value in document.data.items() if (key,) in OPENS_STATE}
    filled = substitute(YamlDocument(document.file, head, document.lines), environment)
    if filled.problems:
        raise ConfigError(list(filled.problems))
    target = state_target(filled.data.get("state"), directory)
    if target is None:
        raise ConfigError([document.problem(("state",), *NEITHER)])
    place = master_key_place(filled.data.get("master_key"), directory, environment)
    remember(place)
    return StatePlace(target, place, document)


NEITHER = ("this is neither a file nor a postgresql:// address", "write a path such as .trueup/state.db, or postgresql://…")


class StoredSecrets:
    """The secrets of a configuration's own state, read when the first one is asked for; all that it names are read at once."""

    def __init__(self, document: YamlDocument, directory: Path, environment: Environment, names: set[str]) -> None:
        """Read nothing yet."""
        self._document, self._directory, self._environment = document, directory, environment
        self._names = names
        self._values: dict[str, str] | None = None

    def find(self, name: str) -> str | None:
        """The value; None where there is none. Raises ConfigError, MasterKeyError, StateError."""
        if self._values is None:
            self._values = self._read()
        return self._values.get(name)

    def _read(self) -> dict[str, str]:
        from trueup.sealing import MasterKeys
        from trueup.store import Store
        from trueup.store.vault import Vault

        place = place_of(self._document, self._directory, self._environment)
        try:
            store = Store.open(place.target, read_only=True, older=True)
        except StateMissingError:
            return {}
        with store:
            return Vault(store, MasterKeys(place.master_key)).values(self._names)
