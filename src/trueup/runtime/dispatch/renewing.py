"""A configuration that is changed while a worker runs: taken up as soon as it is what the leading server has, and no sooner."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from trueup.config.load import load_config
from trueup.errors import TrueupError
from trueup.runtime.dispatch.agreement import agreed

if TYPE_CHECKING:
    from collections.abc import Callable

    from trueup.model import Config
    from trueup.runtime.serving.events import Log


class Renewing:
    """Looks at the file of a configuration, and at what the leading server agrees with, now and then."""

    def __init__(self, config: Config, log: Log, *, load: Callable[[str], Config] = load_config) -> None:
        """`config` is what is at work."""
        self._config = config
        self._log = log
        self._load = load
        self._signs = signs_of(config)
        self._newest: Config | None = config  # what the file says; None: it cannot be read
        self._told: tuple[object, ...] = ()

    def look(self, leader: str | None) -> Config | None:
        """The configuration to be taken up now, None: the one at work stays. `leader`: what the leading server agrees with, if one leads.

        A file that cannot be read, or that the leading server does not have, is told of once.
        """
        signs = signs_of(self._config)
        if signs != self._signs:
            self._signs = signs
            self._newest = self._loaded()
        newest = self._newest
        if newest is None:
            return None
        if newest.state != self._config.state:
            self._tell("it names another state: start this worker anew for that")
            return None
        if leader not in {None, agreed(newest)}:
            self._tell("the leading server has other entities: nothing is done here until both have the same", leader)
            return None
        if newest == self._config:
            return None
        self._log.event("configuration", why="taken up as it is now")
        return newest

    def _loaded(self) -> Config | None:
        try:
            return self._load(self._config.file)
        except TrueupError as error:
            self._log.event("configuration", why=f"stays as it was: {error}")
            return None

    def _tell(self, why: str, leader: str | None = None) -> None:
        if self._told != (self._signs, why, leader):
            self._told = (self._signs, why, leader)
            self._log.event("configuration", why=why)


def signs_of(config: Config) -> tuple[object, ...]:
    """What is another thing once the file of a configuration, or the `.env` beside it, may have changed."""
    signs: list[object] = []
    for path in (Path(config.file), Path(config.directory, ".env")):
        with suppress(OSError):
            found = path.stat()
            signs.append((path.name, found.st_ino, found.st_size, found.st_mtime_ns))
    return tuple(signs)
