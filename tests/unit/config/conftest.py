"""A configuration written to a file, and what loading it gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from trueup.config import load_config
from trueup.errors import ConfigError, Problem
from trueup.model import Config

Load = Callable[..., Config]
Problems = Callable[..., list[Problem]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write the text as trueup.yaml and load it, with an environment of its own."""

    def loaded(text: str, **environ: str) -> Config:
        (tmp_path / "trueup.yaml").write_text(dedent(text), encoding="utf-8")
        return load_config(tmp_path / "trueup.yaml", environ)

    return loaded


@pytest.fixture
def problems(load: Load) -> Problems:
    """The problems of a configuration that cannot be loaded; fails when it can."""

    def found(text: str, **environ: str) -> list[Problem]:
        with pytest.raises(ConfigError) as caught:
            load(text, **environ)
        return caught.value.problems

    return found
