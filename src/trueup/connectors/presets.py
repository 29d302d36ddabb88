"""Which connector files come with trueup: presets that were confirmed, and drafts that were not. Reads names only."""

from __future__ import annotations

import functools
from pathlib import Path

PRESETS = Path(__file__).parents[1] / "presets"
DRAFTS = PRESETS / "drafts"


@functools.cache
def preset_names() -> tuple[str, ...]:
    """The applications that a configuration can name as its connector."""
    return _names(PRESETS)


@functools.cache
def draft_names() -> tuple[str, ...]:
    """Those that are described and not confirmed: to be copied and tried, never taken by name."""
    return _names(DRAFTS)


def _names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))
