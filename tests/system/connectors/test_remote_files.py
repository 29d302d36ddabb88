"""Files in S3 and on SFTP servers as systems: a late write is refused, what is wrong is said, and no password turns up anywhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import openpyxl
import pytest

from tests.s3_servers import S3Server, one_that_says, s3_server
from tests.sftp_servers import SftpServer
from tests.system.cli.tool import Project
from tests.system.connectors.preset_tools import batch, outcomes, read, rows
from trueup.connectors.csv import CsvConnector
from trueup.connectors.jsonl import JsonlConnector
from trueup.connectors.remotefile import RemoteFile
from trueup.errors import (
    AccessRefusedError,
    ChangedUnderneathError,
    ConfigError,
    ObjectMissingError,
    SystemUnreachableError,
    WriteRefusedError,
)
from trueup.model import ObjectSpec

ONE = ObjectSpec(name=None, key=("id",))
SECRET = "s3cret/+word"
CONFIG = """\
systems:
  shop:  {connector: csv, path: "${SHOP}"}
  stock: {connector: excel, path: "${STOCK}"}
entities:
  article:
    match: [[sku]]
    fields:
      sku: {}
      on_hand: {type: integer, conflict: {merge: add}}
    mappings:
      shop: {key: id, fields: {sku: SKU, on_hand: On hand}}
      stock: {object: Stock, key: no, fields: {sku: article, on_hand: pieces}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture
def bucket(server: S3Server, request: pytest.FixtureRequest) -> str:
    name = f"b{abs(hash(request.node.name))}"
    server.client.create_bucket(Bucket=name)
    return name


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)


def elsewhere(connector: CsvConnector) -> Any:
    """What holds the connector's files; tests put something in between."""
    assert isinstance(connector.path, RemoteFile)
    return connector.path.place


def csv_at(address: str) -> CsvConnector:
    return CsvConnector.open("shop", {"path": address})


def change(key: str, **values: Any) -> Any:
    return batch("update", (key, values), expected=[dict.fromkeys(values, "1")])


@pytest.mark.slow
def test_a_bucket_and_a_server_agree_and_nobody_sees_a_password(server, bucket, sftp_url, sftp_server, tmp_path, monkeypatch):
    folder = sftp_server.folder(sftp_url)
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.title = "Stock"
    for row in (["no", "article", "pieces"], [1, "H-1 🪑", 40]):
        sheet.append(row)
    book.save(folder / "stock.xlsx")
    server.client.put_object(Bucket=bucket, Key="out/été/shop.csv", Body=b"id;SKU;On hand;note\n007;S-1;18;mine\n")
    monkeypatch.setenv("SHOP", server.address(bucket, "out/%C3%A9t%C3%A9/shop.csv"))
    monkeypatch.setenv("STOCK", sftp_url.replace("?", "/stock.xlsx?"))
    project = Project(tmp_path)
    project.write("trueup.yaml", CONFIG)
    said = [project.trueup("check").expect(0), project.trueup("sync").expect(0)]

    def shown() -> tuple[str, list[Any]]:
        text = server.client.get_object(Bucket=bucket, Key="out/été/shop.csv")["Body"].read().decode()
        kept = openpyxl.load_workbook(folder / "stock.xlsx")["Stock"]
        return text, [list(row) for row in kept.iter_rows(values_only=True)]

    assert shown() == (
        "id;SKU;On hand;note\n007;S-1;18;mine\n008;H-1 🪑;40;\n",
        [["no", "article", "pieces"], [1, "H-1 🪑", 40], [2, "S-1", 18]],
    )
    book = openpyxl.load_workbook(folder / "stock.xlsx")
    book["Stock"]["C2"] = 35
    book.save(folder / "stock.xlsx")
    server.client.put_object(Bucket=bucket, Key="out/été/shop.csv", Body=shown()[0].replace("🪑;40", "🪑;37").encode())
    said += [project.trueup("sync").expect(0), project.trueup("verify").expect(0), project.trueup("grants", "shop")]
    assert shown()[0].splitlines()[2] == "008;H-1 🪑;32;"
    assert shown()[1][1] == [1, "H-1 🪑", 32]
    quiet = project.trueup("sync", "--json").expect(0).json["entities"]["article"]["systems"]
    assert [part["delivered"]["updated"] for part in quiet.values()] == [0, 0]
    assert [path for path in folder.iterdir() if path.name.startswith(".")] == []
    left = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert [True for text in left if SECRET.encode() in text or b"s3cret%2F" in text] == []
    assert [one for one in said if SECRET in one.out + one.err or "s3cret%2F" in one.out + one.err] == []


@pytest.mark.slow
def test_a_file_in_s3_that_changed_since_it_was_read_is_left_alone(server, bucket):
    server.client.put_object(Bucket=bucket, Key="a.csv", Body=b"id,n\n1,1\n")
    connector = csv_at(server.address(bucket, "a.csv"))
    assert connector.caps.precondition == "native"
    assert not connector.caps.watch
    replace = elsewhere(connector).files.replace

    def late(*args: Any) -> Any:
        server.client.put_object(Bucket=bucket, Key="a.csv", Body=b"id,n\n1,1\n2,theirs\n")
        return replace(*args)

    elsewhere(connector).files.replace = late
    with pytest.raises(ChangedUnderneathError, match=r"s3://.*/a\.csv was changed by another program"):
        connector.write(ONE, change("1", n="2"))
    assert server.client.get_object(Bucket=bucket, Key="a.csv")["Body"].read() == b"id,n\n1,1\n2,theirs\n"
    elsewhere(connector).files.replace = replace
    assert outcomes(connector, ONE, change("1", n="2"))[0]["status"] == "done"
    assert rows(read(connector, ONE, ["n"])) == [{"__key": "1", "n": "2"}, {"__key": "2", "n": "theirs"}]
    connector.close()


@pytest.mark.slow
def test_a_server_of_s3_that_heeds_no_condition_is_asked_before(server, bucket, monkeypatch):
    """The version is compared before the write as well."""
    server.client.put_object(Bucket=bucket, Key="a.csv", Body=b"id,n\n1,1\n")
    connector = csv_at(server.address(bucket, "a.csv"))
    from obstore import put

    monkeypatch.setattr("obstore.put", lambda store, path, file, **_: put(store, path, file, use_multipart=False))
    room = elsewhere(connector).room

    def late() -> Any:
        server.client.put_object(Bucket=bucket, Key="a.csv", Body=b"id,n\n1,theirs\n")
        return room()

    next(connector.read(ONE, ["n"]))
    reading = connector._reading

    def read_then_changed(*args: Any) -> Any:
        found = reading(*args)
        elsewhere(connector).room = late
        return found

    monkeypatch.setattr(connector, "_reading", read_then_changed)
    with pytest.raises(ChangedUnderneathError):
        connector.write(ONE, change("1", n="2"))
    assert server.client.get_object(Bucket=bucket, Key="a.csv")["Body"].read() == b"id,n\n1,theirs\n"
    connector.close()


@pytest.mark.slow
def test_a_file_on_a_server_that_changed_since_it_was_read_is_left_alone(sftp_url, sftp_server: SftpServer):
    file = sftp_server.folder(sftp_url) / "a.csv"
    file.write_bytes(b"id,n\n1,1\n")
    os.chown(file, file.parent.stat().st_uid, file.parent.stat().st_gid)
    file.chmod(0o640)
    connector = csv_at(sftp_url.replace("?", "/a.csv?"))
    assert connector.caps.precondition == "read_compare"
    replace = elsewhere(connector).files.replace

    def late(*args: Any) -> Any:
        facts = file.stat()
        file.write_bytes(b"id,n\n1,9\n")  # as many bytes, at the same second
        os.utime(file, (facts.st_atime, facts.st_mtime))
        return replace(*args)

    elsewhere(connector).files.replace = late
    with pytest.raises(ChangedUnderneathError, match=r"sftp://.*/a\.csv was changed by another program"):
        connector.write(ONE, change("1", n="2"))
    assert file.read_bytes() == b"id,n\n1,9\n"
    elsewhere(connector).files.replace = replace
    update = batch("update", ("1", {"n": "2"}), expected=[{"n": "9"}])
    assert outcomes(connector, ONE, update)[0]["status"] == "done"
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"id,n\n1,2\n", 0o640)
    file.chmod(0o400)
    with pytest.raises(WriteRefusedError, match="read-only"):
        connector.write(ONE, batch("update", ("1", {"n": "3"}), expected=[{"n": "2"}]))
    assert sorted(path.name for path in file.parent.iterdir()) == ["a.csv"]
    connector.close()


@pytest.mark.slow
def test_files_are_made_where_the_mapping_says_so(server, bucket, sftp_url, sftp_server):
    made = ObjectSpec(name="new", key=("id",), create=True)
    for connector in (csv_at(server.address(bucket)), csv_at(sftp_url)):
        with pytest.raises(ObjectMissingError, match="does not exist"):
            connector.describe(made)
        connector.prepare(made, {"id": "text", "n": "text"})
        connector.prepare(made, {"id": "text", "n": "text"})
        assert outcomes(connector, made, batch("create", (None, {"n": "Zoë O'Neil"})))[0]["status"] == "done"
        assert [info.name for info in connector.discover()] == ["new.csv"]
        connector.close()
    assert (sftp_server.folder(sftp_url) / "new.csv").read_text(encoding="utf-8") == "id,n\n1,Zoë O'Neil\n"


@pytest.mark.slow
def test_what_is_wrong_is_said(server, bucket, sftp_url, monkeypatch):
    monkeypatch.setattr("trueup.remote.s3.RETRIES", 0)
    for address, words in (
        (server.address(bucket, "no.csv"), rf"shop: the file s3://{bucket}/no\.csv does not exist"),
        (server.address("no-such-bucket", "a.csv"), "shop: there is no bucket no-such-bucket"),
        (sftp_url.replace("?", "/no.csv?"), r"shop: the file sftp://.*/no\.csv does not exist"),
        (sftp_url.replace("?", "/no/no.csv?"), r"shop: the file sftp://.*/no/no\.csv does not exist"),
    ):
        connector = csv_at(address)
        with pytest.raises(SystemUnreachableError, match=words):
            connector.describe(ONE)
        connector.close()
    with one_that_says((403, "<Error><Code>SignatureDoesNotMatch</Code></Error>")) as (endpoint, _):
        connector = csv_at(f"s3://ours:s3cret%2F+word@bucket/a.csv?region=r&endpoint={endpoint}")
        with pytest.raises(AccessRefusedError, match="the key was refused") as caught:
            connector.describe(ONE)
        assert SECRET not in str(caught.value)
        connector.close()


@pytest.mark.parametrize("address", ["s3://", "s3://bucket/a.csv?x=1", "sftp://host/a.csv", "sftp://user@host"])
def test_an_address_that_is_none_is_a_problem_of_the_configuration(address):
    for kind in (CsvConnector, JsonlConnector):
        with pytest.raises(ConfigError, match=r"systems\.shop\.path: this is no address"):
            kind.open("shop", {"path": address})
