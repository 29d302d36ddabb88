"""Where a message may go, and to whom it is not given: addresses that belong to no receiver, and servers whose certificate is nobody's."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from trueup.runtime.notices import post
from trueup.runtime.notices.post import Poster

NOT_HERE = "its address is not on this machine, and http is only for this machine (unless insecure: true)"
NOBODYS = "its address belongs to no receiver (link-local, multicast or unspecified)"


def leads_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Whatever a name means; returns the addresses that are connected to."""
    tried: list[str] = []

    def answer(_host: str, port: int, **_how: Any) -> list[Any]:
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        return [(family, socket.SOCK_STREAM, 6, "", (address, port)) for family, address in zip(families, addresses, strict=True)]

    class Never(socket.socket):
        def connect(self, place: Any) -> None:
            tried.append(place[0])
            raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    monkeypatch.setattr(socket, "socket", Never)
    return tried


@pytest.mark.parametrize(
    ("url", "insecure", "address", "why"),
    [
        ("https://n8n.example.com/", False, "169.254.169.254", NOBODYS),
        ("https://n8n.example.com/", False, "::ffff:169.254.169.254", NOBODYS),
        ("https://n8n.example.com/", False, "fe80::1", NOBODYS),
        ("https://n8n.example.com/", True, "::", NOBODYS),
        ("https://n8n.example.com/", False, "224.0.0.1", NOBODYS),
        ("http://localhost/", False, "10.0.0.5", NOT_HERE),
        ("http://n8n.example.com/", True, "10.0.0.5", "nobody listens there"),
        ("https://n8n.example.com/", False, "10.0.0.5", "nobody listens there"),
        ("http://localhost/", False, "127.0.0.1", "nobody listens there"),
    ],
)
def test_the_very_address_that_is_connected_to_is_looked_at(monkeypatch, url, insecure, address, why):
    tried = leads_to(monkeypatch, address)
    assert Poster(url, timeout_s=5, insecure=insecure).post(b"{}", {}).why == why
    assert tried == ([address] if why == "nobody listens there" else [])


def test_of_several_addresses_only_those_that_may_be_are_tried(monkeypatch):
    tried = leads_to(monkeypatch, "169.254.169.254", "10.0.0.5", "10.0.0.6")
    assert Poster("https://n8n.example.com/", timeout_s=5).post(b"{}", {}).why == "nobody listens there"
    assert tried == ["10.0.0.5", "10.0.0.6"]


def test_a_name_without_an_address_is_a_failure():
    assert Poster("https://receiver.invalid/", timeout_s=5).post(b"{}", {}).why == "its name has no address"


def certificate(folder: Path) -> Path:
    """A certificate that nobody vouches for, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = folder / "server.pem"
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.mark.parametrize("trusted", [False, True])
def test_a_message_goes_only_to_whom_the_certificate_names(tmp_path, monkeypatch, trusted):
    file = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    came: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        held, _ = listening.accept()
        try:
            with context.wrap_socket(held, server_side=True) as secure:
                came.append(secure.recv(65_536))
                secure.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        except OSError:
            held.close()

    thread = Thread(target=serve, daemon=True)
    thread.start()
    if trusted:
        monkeypatch.setattr(post, "_trust", lambda: ssl.create_default_context(cafile=str(file)))
    poster = Poster(f"https://localhost:{listening.getsockname()[1]}/x", timeout_s=10)
    answer = poster.post(b'{"secret": 1}', {"webhook-id": "n"})
    thread.join(10)
    poster.close()
    listening.close()
    if trusted:
        assert (answer.status, answer.why) == (204, None)
        assert came[0].startswith(b"POST /x HTTP/1.1\r\n")
    else:
        assert (answer.why or "").startswith("its certificate is not to be trusted")
        assert came == []


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("120", 120, 120),
        ("99999999", 86_400, 86_400),
        (format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True), 3_600, 7_200),
        (format_datetime(datetime.now(UTC) - timedelta(hours=2), usegmt=True), 0, 0),
    ],
    ids=["seconds", "too many seconds", "a moment to come", "a moment that is over"],
)
def test_retry_after_is_seconds_or_a_moment(text, low, high):
    found = post._pause(text)
    assert found is not None
    assert low <= found <= high


@pytest.mark.parametrize("text", ["", "soon", "-5", "1.5", "٣"])
def test_retry_after_that_says_nothing_is_none(text):
    assert post._pause(text) is None
