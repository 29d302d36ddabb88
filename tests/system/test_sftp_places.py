"""Packages to and from a real SFTP server."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.sftp_servers import SftpServer
from tests.stories.test_packages import FIRST, OFFICE, SALES, Houses
from tests.system.cli.tool import Project
from trueup.errors import AccessRefusedError, SystemUnreachableError
from trueup.exchange.naming import PackageName
from trueup.exchange.places import TakenError, open_place
from trueup.exchange.sftp import SftpPlace

NAME = PackageName("invoice", 1)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "datapackage.json").write_text("{}")
    (folder / "invoice.csv").write_bytes(b"\x00\xff" * 700_000)
    return folder


def test_a_folder_and_a_file_are_put_there_whole_and_fetched_again(sftp_url, sftp_server, package, tmp_path):
    with SftpPlace(sftp_url) as place:
        assert place.names() == []
        assert place.stamp(NAME) == ""
        place.publish(package, NAME)
        assert place.names() == ["invoice-000001"]
        assert place.stamp(NAME)
        with pytest.raises(TakenError):
            place.publish(package, NAME)
        place.fetch(NAME, tmp_path / "fetched")
        assert {path.name: path.read_bytes() for path in (tmp_path / "fetched").iterdir()} == {
            path.name: path.read_bytes() for path in package.iterdir()
        }
        zipped = PackageName("invoice", 2, ending=".zip")
        place.publish(package / "invoice.csv", zipped)
        with pytest.raises(TakenError):
            place.publish(package / "invoice.csv", zipped)
        place.fetch(zipped, tmp_path / "fetched.zip")
        assert (tmp_path / "fetched.zip").read_bytes() == (package / "invoice.csv").read_bytes()
        assert sorted(place.names()) == ["invoice-000001", "invoice-000002.zip"]  # and nothing half-written
        assert "key=" not in place.shown
    assert sorted(path.name for path in sftp_server.folder(sftp_url).iterdir()) == ["invoice-000001", "invoice-000002.zip"]


def test_a_server_that_is_not_the_known_one_and_a_login_that_is_refused(sftp_url, tmp_path):
    unknown = tmp_path / "known_hosts"
    unknown.write_text("")
    plain, _, more = sftp_url.partition("?")
    key = more.split("&")[0]
    with SftpPlace(f"{plain}?{key}&known_hosts={unknown}") as place, pytest.raises(AccessRefusedError, match="known_hosts"):
        place.names()
    other = sftp_url.replace("key=", "key=/nowhere")
    with SftpPlace(other) as place, pytest.raises((AccessRefusedError, SystemUnreachableError)):
        place.names()
    user, _, rest = plain.removeprefix("sftp://").partition("@")
    with SftpPlace(f"sftp://{user}:wrong@{rest}?{more.split('&')[1]}") as place, pytest.raises(AccessRefusedError) as refused:
        place.names()
    assert "wrong" not in str(refused.value)


def test_a_folder_that_is_not_there_and_a_server_that_is_away(sftp_url, sftp_server, package):
    gone = sftp_server.folder(sftp_url)
    shutil.rmtree(gone)
    with SftpPlace(sftp_url) as place:
        with pytest.raises(SystemUnreachableError):
            place.names()
        with pytest.raises(SystemUnreachableError):
            place.publish(package, NAME)
    plain, _, more = sftp_url.partition("?")
    away = plain.replace(f":{sftp_server.port}", ":1")
    with SftpPlace(f"{away}?{more}") as place, pytest.raises(SystemUnreachableError, match="does not answer"):
        place.names()


def test_between_two_houses_by_sftp(sftp_url, sftp_server, tmp_path, monkeypatch):
    monkeypatch.setenv("PLACE", sftp_url)
    project = Project(tmp_path)
    project.write("sales.yaml", (SALES % "").replace("to: place", 'to: "${PLACE}"'))
    project.write("office.yaml", (OFFICE % "").replace("from: place", 'from: "${PLACE}"'))
    two = Houses(project)
    two.shop(*FIRST)
    assert two.export()["place"] == sftp_url.partition("?")[0]
    (sftp_server.folder(sftp_url) / "invoice-000002").mkdir()
    assert [(one["status"], one["kind"]) for one in two.come(place="come", status=3)] == [("accepted", None), ("waits", "half-copied")]
    assert two.ledger == sorted(FIRST)
    assert two.standing()["answer"]["status"] == "accepted"
    assert isinstance(open_place(sftp_url, "."), SftpPlace)
    assert isinstance(sftp_server, SftpServer)
