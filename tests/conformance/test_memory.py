"""The reference connector takes the exam that it is the reference for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from trueup.connectors.memory import FULL_CAPS
from trueup.model import Caps
from trueup.testing.conformance import ConnectorSuite, World
from trueup.testing.conformance_memory import MemoryTrialWorld, PlainMemoryTrialWorld


class TestMemory(ConnectorSuite):
    @pytest.fixture
    def world(self) -> Iterator[World]:
        world = MemoryTrialWorld(FULL_CAPS)
        yield world
        world.close()


class TestMemoryOfContents(ConnectorSuite):
    """Rows are known by what they read like, because nothing tells when they were touched."""

    @pytest.fixture
    def world(self) -> Iterator[World]:
        world = MemoryTrialWorld(replace(FULL_CAPS, marks_once=True))
        yield world
        world.close()


class TestPlainMemory(ConnectorSuite):
    @pytest.fixture
    def world(self) -> Iterator[World]:
        world = PlainMemoryTrialWorld(Caps(kind="memory", precondition="read_compare"))
        yield world
        world.close()
