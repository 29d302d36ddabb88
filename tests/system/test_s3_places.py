"""Packages to and from a real S3 server, and what its errors are told as."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.s3_servers import S3Server, one_that_says, package_in, s3_server
from tests.stories.test_packages import FIRST, OFFICE, SALES, Houses
from tests.system.cli.tool import Project
from trueup.errors import AccessRefusedError, SystemUnreachableError, TrueupError
from trueup.exchange import s3
from trueup.exchange.naming import PackageName
from trueup.exchange.places import TakenError, open_place
from trueup.exchange.s3 import S3Place
from trueup.remote import s3 as client

NAME = PackageName("invoice", 1)
ZIPPED = PackageName("invoice", 2, ending=".zip")


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as started:
        yield started


@pytest.fixture
def bucket(server: S3Server, request: pytest.FixtureRequest) -> str:
    name = f"b{abs(hash(request.node.name))}"
    server.client.create_bucket(Bucket=name)
    return name


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key of whoever runs the tests."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("folder", ["", "out", "year 2026/out's שלום"])
def test_a_folder_and_a_file_are_put_there_whole_and_fetched_again(server, bucket, folder, tmp_path, monkeypatch):
    package = package_in(tmp_path / "package")
    address = server.address(bucket, folder.replace(" ", "%20"))
    with S3Place(address) as place:
        assert place.names() == []
        assert place.stamp(NAME) == ""
        place.publish(package, NAME)
        assert place.names() == ["invoice-000001"]
        before = place.stamp(NAME)
        assert before
        with pytest.raises(TakenError, match="is there already"):
            place.publish(package, NAME)
        place.fetch(NAME, tmp_path / "fetched")
        assert {path.name: path.read_bytes() for path in (tmp_path / "fetched").iterdir()} == {
            path.name: path.read_bytes() for path in package.iterdir()
        }
        place.publish(package / "invoice.csv", ZIPPED)
        with pytest.raises(TakenError):
            place.publish(package / "invoice.csv", ZIPPED)
        place.fetch(ZIPPED, tmp_path / "fetched.zip")
        assert (tmp_path / "fetched.zip").read_bytes() == (package / "invoice.csv").read_bytes()
        assert sorted(place.names()) == ["invoice-000001", "invoice-000002.zip"]
        monkeypatch.setattr(s3, "AT_ONCE_BYTES", 100)  # from here on files are large
        third = PackageName("invoice", 3, ending=".zip")
        place.publish(package / "invoice.csv", third)
        with pytest.raises(TakenError):
            place.publish(package / "invoice.csv", third)
        assert place.stamp(third).partition(":")[2] == place.stamp(ZIPPED).partition(":")[2]
        assert "s3cret" not in place.shown + repr(place)
    start = f"{folder}/" if folder else ""
    assert {key for key in server.keys(bucket) if not key.startswith(start)} == set()
    assert len(server.keys(bucket)) == 4


def test_the_statement_comes_last_and_half_of_a_package_is_told_and_completed(server, bucket, tmp_path, monkeypatch):
    package = package_in(tmp_path / "package")
    put: list[str] = []
    usual = s3._upload

    def breaks(store, source, path):
        put.append(source.name)
        usual(store, source, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(s3, "_upload", breaks)
    with S3Place(server.address(bucket)) as place:
        with pytest.raises(KeyboardInterrupt):
            place.publish(package, NAME)
        assert put == ["invoice.csv"]
        assert server.keys(bucket) == ["invoice-000001/invoice.csv"]
        assert place.stamp(NAME) == "", "nobody takes it for one that is there"
        monkeypatch.setattr(s3, "_upload", usual)
        (package / "invoice.csv").write_bytes(b"as it is now")
        place.publish(package, NAME)
        place.fetch(NAME, tmp_path / "fetched")
        assert (tmp_path / "fetched/invoice.csv").read_bytes() == b"as it is now"


@pytest.mark.slow
def test_more_names_than_one_page_of_a_listing_and_what_other_tools_leave(server, bucket, tmp_path):
    for number in range(1, 1_006):
        server.client.put_object(Bucket=bucket, Key=f"out/invoice-{number:06d}/datapackage.json", Body=b"{}")
    for odd in ("out/", "out/readme.txt", "out/invoice-000001/", "out/invoice-000001/below/deep.csv", "outside/invoice-009999/x"):
        server.client.put_object(Bucket=bucket, Key=odd, Body=b"")
    with S3Place(server.address(bucket, "out")) as place:
        names = place.names()
        assert len([name for name in names if name.startswith("invoice-")]) == 1_005
        assert "invoice-009999" not in names
        place.fetch(NAME, tmp_path / "fetched")
    assert [path.name for path in (tmp_path / "fetched").iterdir()] == ["datapackage.json"]


def test_what_is_wrong_is_said(server, bucket, tmp_path, monkeypatch):
    package = package_in(tmp_path / "package")
    gone = server.address("b-is-not-there")
    with S3Place(gone) as place:
        for ask in (place.names, lambda: place.publish(package, NAME), lambda: place.examine(writes=True)):
            with pytest.raises(SystemUnreachableError, match="there is no bucket b-is-not-there"):
                ask()
    monkeypatch.setattr(client, "RETRIES", 0)
    with S3Place("s3://me:it@bucket?endpoint=http://127.0.0.1:1") as place, pytest.raises(SystemUnreachableError, match="does not answer"):
        place.names()


SAID = {
    "the key was refused (InvalidAccessKeyId)": (403, "InvalidAccessKeyId", AccessRefusedError),
    "the key was refused (SignatureDoesNotMatch)": (403, "SignatureDoesNotMatch", AccessRefusedError),
    "the key may not do this (AccessDenied)": (403, "AccessDenied", AccessRefusedError),
    "the bucket bucket is in another region": (301, "PermanentRedirect", SystemUnreachableError),
    "is in another region": (400, "AuthorizationHeaderMalformed", SystemUnreachableError),
    "cannot be used: InternalError": (501, "InternalError", SystemUnreachableError),
}


@pytest.mark.parametrize("said", SAID)
def test_errors_of_s3_in_words_of_ours(said, monkeypatch):
    monkeypatch.setattr(client, "RETRIES", 0)
    status, code, kind = SAID[said]
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>sesame</Message></Error>"
    with (
        one_that_says((status, body)) as (endpoint, _asked),
        S3Place(f"s3://me:sesame@bucket/out?endpoint={endpoint}") as place,
        pytest.raises(kind) as told,
    ):
        place.names()
    assert said in str(told.value)
    assert "sesame" not in f"{told.value} {told.value.hint}"
    assert told.value.hint


def test_one_that_is_busy_is_asked_again():
    listing = "<?xml version='1.0'?><ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    with (
        one_that_says((503, "<Error><Code>SlowDown</Code></Error>"), (500, ""), (200, listing)) as (endpoint, asked),
        S3Place(f"s3://me:it@bucket?endpoint={endpoint}") as place,
    ):
        assert place.names() == []
    assert len(asked) == 3


@pytest.mark.parametrize(
    "address",
    ["s3://", "s3://B", "s3://key@bucket", "s3://bucket?endpoint=ftp://x", "s3://bucket?regon=x", "s3://:x@bucket", "s3://bucket:80/x"],
)
def test_what_is_no_address(address):
    with pytest.raises(TrueupError, match="no address of a folder in S3") as told:
        S3Place(address)
    assert told.value.hint == client.EXAMPLE


@pytest.mark.slow
def test_between_two_houses_by_s3(server, bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("PLACE", server.address(bucket, "between"))
    project = Project(tmp_path)
    project.write("sales.yaml", (SALES % "").replace("to: place", 'to: "${PLACE}"'))
    project.write("office.yaml", (OFFICE % "").replace("from: place", 'from: "${PLACE}"'))
    two = Houses(project)
    two.shop(*FIRST)
    assert two.export()["place"] == f"s3://{bucket}/between?endpoint={server.endpoint}"
    server.client.put_object(Bucket=bucket, Key="between/invoice-000002/invoice.csv", Body=b"")
    assert [(one["status"], one["kind"]) for one in two.come(place="come", status=3)] == [("accepted", None), ("waits", "half-copied")]
    assert two.ledger == sorted(FIRST)
    assert two.standing()["answer"]["status"] == "accepted"
    project.trueup("-c", "sales.yaml", "check").expect(0)
    assert isinstance(open_place(server.address(bucket), "."), S3Place)
    shown = project.trueup("-c", "sales.yaml", "packages").expect(0)
    assert "s3cret" not in shown.out + shown.err
