"""The REST connector takes the exam against the conformance service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trueup.testing.conformance import ConnectorSuite, World
from trueup.testing.conformance_rest import RestWorld


@pytest.fixture(scope="module")
def by_etag(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = RestWorld(str(tmp_path_factory.mktemp("rest")))
    yield world
    world.close()


class TestRest(ConnectorSuite):
    """Rows one by one, each write under its ETag."""

    @pytest.fixture
    def world(self, by_etag: World) -> World:
        return by_etag
