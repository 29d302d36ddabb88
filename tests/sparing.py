"""Parameters of which the quick suite takes some, and the slow one the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable


def every_third(values: Iterable[Any]) -> list[Any]:
    """All values as parameters: every third one, from the first on, for `make test`, and the rest for `make test-slow`."""
    return [value if number % 3 == 0 else pytest.param(value, marks=pytest.mark.slow) for number, value in enumerate(values)]
