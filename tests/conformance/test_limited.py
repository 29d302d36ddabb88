"""A connector that keeps to the limits of its system is a connector like any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from trueup.connectors.base import Connector
from trueup.connectors.memory import FULL_CAPS
from trueup.model import System
from trueup.runtime.limits import Limits
from trueup.testing.conformance import ConnectorSuite, World
from trueup.testing.conformance_memory import MemoryTrialWorld

pytestmark = pytest.mark.slow


class LimitedWorld(MemoryTrialWorld):
    """A memory world of which three rows at once are worked, by one connector at a time."""

    def __init__(self) -> None:
        super().__init__(replace(FULL_CAPS, atomic=False, parts=False))
        limited = System(name="trial", connector="memory", limits={"rows_per_s": 3.0, "connections": 1})
        self.limits = Limits({"trial": limited}, wait=lambda _s: None)

    def open_plainly(self, settings: Mapping[str, Any]) -> Connector:
        """See World."""
        return self.limits.around("trial", super().open_plainly(settings))


class TestLimited(ConnectorSuite):
    @pytest.fixture
    def world(self) -> Iterator[World]:
        world = LimitedWorld()
        world.opens = LimitedWorld.open_plainly  # type: ignore[assignment]
        yield world
        world.close()
