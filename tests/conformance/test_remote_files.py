"""The file connectors take the exam with their files in S3 (moto) and on SFTP servers (OpenSSH, asyncssh); what is there is read by others.

Judges are those of the connectors' own exams, on copies that boto3 fetches and puts, and on the server's own folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.asyncssh_server import asyncssh_server
from tests.conformance.test_csv import CsvWorld
from tests.conformance.test_excel import ExcelWorld
from tests.conformance.test_jsonl import JsonlWorld
from tests.s3_servers import S3Server, s3_server
from tests.sftp_servers import SftpServer
from trueup.model import ObjectSpec
from trueup.testing.conformance import ConnectorSuite, Trial, World
from trueup.testing.conformance_world import Row

pytestmark = pytest.mark.slow


class Bucket:
    """A bucket beside a folder here, in which the judges of the connectors work: what they change there is put into the bucket."""

    def __init__(self, server: S3Server, name: str, folder: Path) -> None:
        self.client, self.name, self.folder = server.client, name, folder
        self.client.create_bucket(Bucket=name)

    def fetch(self) -> None:
        for item in self.client.list_objects_v2(Bucket=self.name).get("Contents", []):
            (self.folder / item["Key"]).write_bytes(self.client.get_object(Bucket=self.name, Key=item["Key"])["Body"].read())

    def put(self) -> None:
        for path in self.folder.iterdir():
            self.client.put_object(Bucket=self.name, Key=path.name, Body=path.read_bytes())


class InBucket(World):
    """Mixed into the world of a file connector."""

    bucket: Bucket
    address: str

    def settings(self) -> dict[str, Any]:
        return {"path": self.address}

    def make(self, name: str, trial: Trial) -> None:
        self.bucket.fetch()
        super().make(name, trial)  # type: ignore[safe-super]  # of the world that this is mixed into
        self.bucket.put()

    def load(self, obj: ObjectSpec) -> list[Row]:
        self.bucket.fetch()
        found: list[Row] = super().load(obj)  # type: ignore[misc]  # as above
        return found

    def save(self, obj: ObjectSpec, rows: Sequence[Row]) -> None:
        self.bucket.fetch()
        super().save(obj, rows)  # type: ignore[misc]  # as above
        self.bucket.put()


class OnServer(World):
    """Mixed into the world of a file connector: its folder is served."""

    address: str

    def settings(self) -> dict[str, Any]:
        return {"path": self.address}


class CsvInBucket(InBucket, CsvWorld):
    """A folder of CSV files."""


class ExcelInBucket(InBucket, ExcelWorld):
    """A workbook."""


class JsonlInBucket(InBucket, JsonlWorld):
    """A folder of JSON Lines files."""


class CsvOnServer(OnServer, CsvWorld):
    """A folder of CSV files."""


class ExcelOnServer(OnServer, ExcelWorld):
    """A workbook."""


class JsonlOnServer(OnServer, JsonlWorld):
    """A folder of JSON Lines files."""


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key of whoever runs the tests."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)


@contextlib.contextmanager
def in_bucket(world: InBucket, server: S3Server, folder: Path, file: str = "") -> Iterator[World]:
    name = f"b{abs(hash(str(folder)))}"
    world.bucket, world.address = Bucket(server, name, folder), server.address(name, file)
    world.bucket.put()
    yield world
    world.close()


class TestCsvInS3(ConnectorSuite):
    @pytest.fixture
    def world(self, server: S3Server, tmp_path: Path) -> Iterator[World]:
        with in_bucket(CsvInBucket(str(tmp_path)), server, tmp_path) as world:
            yield world


class TestExcelInS3(ConnectorSuite):
    @pytest.fixture
    def world(self, server: S3Server, tmp_path: Path) -> Iterator[World]:
        with in_bucket(ExcelInBucket(tmp_path), server, tmp_path, "book.xlsx") as world:
            yield world


class TestJsonlInS3(ConnectorSuite):
    @pytest.fixture
    def world(self, server: S3Server, tmp_path: Path) -> Iterator[World]:
        with in_bucket(JsonlInBucket(str(tmp_path)), server, tmp_path) as world:
            yield world


class TestCsvBySftp(ConnectorSuite):
    @pytest.fixture
    def world(self, sftp_server: SftpServer, sftp_url: str) -> Iterator[World]:
        world = CsvOnServer(str(sftp_server.folder(sftp_url)))
        world.address = sftp_url
        yield world
        world.close()


class TestExcelBySftp(ConnectorSuite):
    @pytest.fixture
    def world(self, sftp_server: SftpServer, sftp_url: str) -> Iterator[World]:
        world = ExcelOnServer(sftp_server.folder(sftp_url))
        world.address = sftp_url.replace("?", "/book.xlsx?")
        yield world
        world.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    folder = tmp_path_factory.mktemp("asyncssh")
    with asyncssh_server(folder) as address:
        yield folder, address


class TestJsonlBySftp(ConnectorSuite):
    """On asyncssh's server."""

    @pytest.fixture
    def world(self, root: tuple[Path, str], request: pytest.FixtureRequest) -> Iterator[World]:
        folder, address = root
        name = f"f{abs(hash(request.node.nodeid))}"
        (folder / "files" / name).mkdir()
        world = JsonlOnServer(str(folder / "files" / name))
        world.address = address.replace("?", f"/{name}?")
        yield world
        world.close()
