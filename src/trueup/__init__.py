"""trueup keeps the same records in agreement across a company's systems, and proves it.

    with trueup.open("trueup.yaml") as workspace:
        print(workspace.plan())
        print(workspace.sync())

Importing this package loads nothing else of it; `open` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trueup.runtime.workspace import Workspace

__all__ = ["__version__", "open"]

__version__ = "0.1.0"


def open(path: str | Path = "trueup.yaml", *, environ: Mapping[str, str] | None = None) -> Workspace:  # noqa: A001  trueup.open reads as it acts
    """Read a configuration and make it ready to work: `plan()`, `sync()`, `status()` … Connects to nothing yet.

    `environ` stands for the process's environment (None: the real one). Raises errors.ConfigError with every problem.
    """
    from trueup.runtime.workspace import open_workspace

    return open_workspace(path, environ=environ, by_program=True)
