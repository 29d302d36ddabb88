"""A folder of one's own to make or to check a package in. One process at a time has it; what a killed one left is removed."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from trueup.errors import TrueupError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trueup.model import Config

FOLDER = "packages"


def _place_of(config: Config) -> Path:
    """Beside the state, where that is a file."""
    return Path(config.directory, ".trueup") if "://" in config.state else Path(config.state).parent


@contextmanager
def workroom(config: Config, *names: str) -> Iterator[Path]:
    """An empty folder, removed afterwards; `names` say for what. Raises TrueupError where another process is at the same."""
    room = Path(_place_of(config), FOLDER, blake2b("\x00".join(names).encode(), digest_size=8).hexdigest())
    try:
        room.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(room.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise TrueupError(
            f"{room.parent} cannot be written: {error.strerror}", hint="packages are made there: give the user that runs trueup the right"
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise TrueupError(f"another trueup is at work on the packages of {names[-1]}", hint="run again when it has finished") from None
        shutil.rmtree(room, ignore_errors=True)
        room.mkdir(mode=0o700)
        try:
            yield room
        finally:
            shutil.rmtree(room, ignore_errors=True)
    finally:
        os.close(descriptor)
