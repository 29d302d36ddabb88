"""Fixtures and rules for every test.

- `postgres_url`, `mariadb_url`: a new empty database on a private server, which is started once per test process when first asked for.
- `sftp_url`: a new empty folder on a private SFTP server.
- `spare_postgres`, `spare_mariadb`: a server of the test's own, for tests that kill or restart it.
- With CI=true a test that cannot run counts as failed, except where a connector does not declare the ability under test.
- Hypothesis: HYPOTHESIS_PROFILE chooses `dev` (default), `ci` (many random examples) or `deterministic` (the same examples every time).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

import hypothesis
import pytest

from tests.server_programs import ServerUnavailableError
from tests.servers import MariadbServer, PostgresServer, Server, start_mariadb, start_postgres
from tests.sftp_servers import SftpServer, start_sftp

S = TypeVar("S", bound=Server)

# The conformance suite (trueup.testing.conformance) begins the reason of its skips so where a connector does not declare an ability.
UNDECLARED = "undeclared:"

# A deadline per example would measure the machine, not the code.
hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=500, print_blob=True)
hypothesis.settings.register_profile("deterministic", deadline=None, derandomize=True, database=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def _may_be_skipped(report: pytest.TestReport | pytest.CollectReport) -> bool:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return hasattr(report, "wasxfail") or reason.removeprefix("Skipped: ").startswith(UNDECLARED)


def _judged(report: pytest.TestReport | pytest.CollectReport) -> None:
    """In CI, turn a skip into a failure."""
    if _in_ci() and report.skipped and not _may_be_skipped(report):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"could not run, which counts as failed in CI: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _judged(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _judged(report)
    return report


def _serve(start: Callable[[], S]) -> Iterator[S]:
    try:
        server = start()
    except ServerUnavailableError as error:
        pytest.skip(str(error))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """This test process's PostgreSQL. Do not stop it: `spare_postgres` is for that."""
    yield from _serve(start_postgres)


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariadbServer]:
    """This test process's MariaDB. Do not stop it: `spare_mariadb` is for that."""
    yield from _serve(start_mariadb)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """`postgresql://user:password@127.0.0.1:port/db` of a new empty database, dropped after the test."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture
def mariadb_url(mariadb_server: MariadbServer) -> Iterator[str]:
    """`mysql://user:password@127.0.0.1:port/db` of a new empty database, dropped after the test."""
    with mariadb_server.database() as url:
        yield url


@pytest.fixture(scope="session")
def sftp_server() -> Iterator[SftpServer]:
    """This test process's SFTP server."""
    yield from _serve(start_sftp)


@pytest.fixture
def sftp_url(sftp_server: SftpServer) -> Iterator[str]:
    """`sftp://user@127.0.0.1:port/folder?key=…&known_hosts=…` of a new empty folder, removed after the test."""
    with sftp_server.database() as url:
        yield url


@pytest.fixture
def spare_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own, with `kill()`, `start()`, `database()` and `url()`."""
    yield from _serve(start_postgres)


@pytest.fixture
def spare_mariadb() -> Iterator[MariadbServer]:
    """A MariaDB of the test's own, with `kill()`, `start()`, `database()` and `url()`."""
    yield from _serve(start_mariadb)
