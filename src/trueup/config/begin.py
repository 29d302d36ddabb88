"""A configuration that nobody has written yet: it names no system, and keeps its state where every configuration does by default."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from trueup.config.environment import open_environment
from trueup.config.load import load_config
from trueup.config.secrets import master_key_place, state_target
from trueup.model import Config
from trueup.sealing.master import remember

if TYPE_CHECKING:
    from collections.abc import Collection


def is_unwritten(path: Path | str) -> bool:
    """Whether a configuration is not there, or holds nothing but comments. One that cannot be read is there."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return True
    except (OSError, UnicodeDecodeError):
        return False
    return all(not line.strip() or line.lstrip().startswith("#") for line in text.splitlines())


def unwritten(path: Path | str) -> Config:
    """What an empty configuration at this path amounts to. Raises MasterKeyError."""
    directory = Path(os.path.abspath(path)).parent  # noqa: PTH100  as in load_config
    target = state_target(None, directory)
    assert target is not None
    place = master_key_place(None, directory, open_environment(directory, os.environ))
    remember(place)
    return Config(file=str(path), directory=str(directory), state=target, master_key=place, systems={}, entities={})


def load_or_begin(path: Path | str, *, connects: bool | Collection[str] = True) -> Config:
    """A configuration as `load_config` reads it, or an empty one where nothing was written yet. Raises ConfigError."""
    return unwritten(path) if is_unwritten(path) else load_config(path, connects=connects)
