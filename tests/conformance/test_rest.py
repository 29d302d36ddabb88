"""The REST connector takes the exam against the conformance service."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trueup.testing.conformance import ConnectorSuite, World
from trueup.testing.conformance_rest import RestWorld, VersionedRestWorld


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


@pytest.fixture(scope="module")
def by_version(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = VersionedRestWorld(str(tmp_path_factory.mktemp("rest")), style="link_header", way="version")
    yield world
    world.close()


@pytest.mark.slow
class TestRestByVersion(ConnectorSuite):
    """Rows show their version; pages are led to by the Link header."""

    @pytest.fixture
    def world(self, by_version: World) -> World:
        return by_version

    test_mutant = None  # type: ignore[assignment]  # the rules notice, as they do above


@pytest.fixture(scope="module")
def in_bulk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = RestWorld(str(tmp_path_factory.mktemp("rest")), style="offset", way="read_compare", bulk=True)
    yield world
    world.close()


@pytest.mark.slow
class TestRestInBulk(ConnectorSuite):
    """Many rows in one request, compared just before; pages by offset."""

    @pytest.fixture
    def world(self, in_bulk: World) -> World:
        return in_bulk

    test_mutant = None  # type: ignore[assignment]


@pytest.fixture(scope="module")
def by_job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = RestWorld(str(tmp_path_factory.mktemp("rest")), way="read_compare", jobs=True)
    yield world
    world.close()


@pytest.mark.slow
class TestRestByJob(ConnectorSuite):
    """Rows are handed over, and written by a job that is waited for."""

    @pytest.fixture
    def world(self, by_job: World) -> World:
        return by_job

    test_mutant = None  # type: ignore[assignment]
