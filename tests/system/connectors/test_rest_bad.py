"""What goes wrong between trueup and an application: an untrusted certificate, a right that is missing, a process that is killed."""

from __future__ import annotations

import datetime as dt
import signal
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.system.cli.tool import Project, command, environment
from tests.system.connectors.rest_tools import CONTACTS, contacts, creates, opened, outcomes
from trueup.connectors.rest.answers import trouble_of
from trueup.connectors.rest.message import Response
from trueup.errors import AccessRefusedError
from trueup.testing.rest_service import TOKEN, RestService

WAIT_S = 60
CONFIG = """\
systems:
  office: {connector: sqlite, path: office.db}
  directory: {connector: rest, file: directory.yaml, secrets: {token: "${DIRECTORY_TOKEN}"}}
entities:
  customer:
    match: [[email]]
    fields: {email: text, name: text}
    mappings:
      office: {object: people, key: id, fields: {email: email, name: name}}
      directory: {object: contacts, key: id, fields: {email: email, name: name}}
"""


@pytest.fixture
def service() -> Iterator[RestService]:
    with RestService() as running:
        running.traps.token = TOKEN
        running.make("contacts")
        yield running


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Somebody with a certificate that nobody vouches for: a port, and all that was sent there in the clear."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + dt.timedelta(days=1))
    certificate = certificate.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    pem = serialization.Encoding.PEM
    kept = tmp_path / "certificate.pem"
    kept.write_bytes(
        certificate.sign(key, hashes.SHA256()).public_bytes(pem)
        + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(kept)
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as door:

        def listen() -> None:
            while True:
                try:
                    plain, _ = door.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(plain, server_side=True) as talk:
                        heard.append(talk.recv(10_000))
                except OSError:
                    plain.close()

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield door.getsockname()[1], heard
        door.shutdown(socket.SHUT_RDWR)
        thread.join(WAIT_S)


def test_who_has_no_valid_certificate_hears_nothing(service, impostor, tmp_path):
    port, heard = impostor
    connector = opened(tmp_path, service, http={"base_url": f"https://localhost:{port}", "attempts": 1})
    with pytest.raises(AccessRefusedError, match=r"the certificate of localhost:.* is not valid: self-signed certificate") as caught:
        list(connector.read(CONTACTS, ["name"]))
    connector.close()
    assert heard == []
    assert TOKEN not in str(caught.value)


@pytest.mark.slow
def test_a_sync_that_is_killed_makes_nothing_twice_and_writes_no_secret_anywhere(service, tmp_path, monkeypatch):
    secret = "MARK-directory-token-9f"
    service.traps.token = secret
    monkeypatch.setenv("DIRECTORY_TOKEN", secret)
    made = contacts(match_on=["email"], modified=None)
    opened(tmp_path, service, made).close()
    project = Project(tmp_path)
    project.write("trueup.yaml", CONFIG)
    with closing(sqlite3.connect(tmp_path / "office.db")) as office, office:
        office.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, name TEXT)")
        office.executemany("INSERT INTO people VALUES (?, ?, ?)", [(n, f"p{n}@example.com", f"O'Neil {n} 🪑") for n in range(1, 301)])
    said = b""
    for share in (20, 150):
        process = subprocess.Popen(command("sync"), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        end = time.monotonic() + WAIT_S
        while len(service.collections["contacts"].rows) < share and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        said += process.communicate()[0]
    done = project.trueup("sync").expect(0)
    rows = service.collections["contacts"].rows.values()
    assert sorted(str(row["email"]) for row in rows) == sorted(f"p{n}@example.com" for n in range(1, 301))
    quiet = project.trueup("sync", "--json").expect(0).json["entities"]["customer"]["systems"]["directory"]["delivered"]
    assert (quiet["created"], quiet["updated"]) == (0, 0)
    service.traps.token = "another"
    refused = project.trueup("sync")
    assert refused.status in {1, 3}
    everything = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    everything += [said, *(text.encode() for ended in (done, refused) for text in (ended.out, ended.err))]
    assert [True for text in everything if secret.encode() in text] == []


def test_a_scope_that_is_missing_is_named(service, tmp_path):
    service.traps.lacks = "people.write"
    connector = opened(tmp_path, service)
    assert list(connector.read(CONTACTS, ["name"]))[-1].complete
    with pytest.raises(AccessRefusedError, match=r"this token may only read \(HTTP 403\): the scope people.write is not given") as caught:
        outcomes(connector, creates("ada", "grace"))
    connector.close()
    assert "`trueup grants directory` shows which scopes are needed" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("status", "header", "body", "said"),
    [
        (403, 'Bearer error="insufficient_scope", scope="a b"', b"", ("forbidden", "HTTP 403: the scope a b is not given")),
        (403, "Bearer error=insufficient_scope", b"", ("forbidden", "HTTP 403: a scope is not given")),
        (
            401,
            "",
            b'{"error": "insufficient_scope", "scope": "a"}',
            ("forbidden", "insufficient_scope (HTTP 401): the scope a is not given"),
        ),
        (401, 'Bearer error="invalid_token", scope="a"', b"", ("reauth", "HTTP 401")),
        (403, "", b'{"message": "insufficient_scope is no error here"}', ("forbidden", "insufficient_scope is no error here (HTTP 403)")),
        (200, "", b'{"error": "insufficient_scope"}', None),
    ],
)
def test_what_says_that_a_scope_is_missing(status, header, body, said):
    found = trouble_of(Response(status, {"www-authenticate": header}, body), [])
    assert (None if found is None else (found.means, found.reason)) == said


@pytest.mark.slow
def test_a_run_names_the_scope_that_is_missing_and_makes_it_good_once_it_is_given(service, tmp_path, monkeypatch):
    monkeypatch.setenv("DIRECTORY_TOKEN", TOKEN)
    opened(tmp_path, service, contacts(match_on=["email"], modified=None)).close()
    project = Project(tmp_path)
    project.write("trueup.yaml", CONFIG)
    with closing(sqlite3.connect(tmp_path / "office.db")) as office, office:
        office.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, name TEXT)")
        office.execute("INSERT INTO people VALUES (1, 'zoe@example.com', 'Zoë O''Neil')")
    service.traps.lacks = "people.write"
    told = project.trueup("sync").expect(3)
    assert "the scope people.write is not given" in told.out + told.err
    assert "`trueup grants directory`" in told.out + told.err
    service.traps.lacks = None
    project.trueup("sync").expect(0)
    assert "zoe@example.com" in {row["email"] for row in service.rows("contacts")}
