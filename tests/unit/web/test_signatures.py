"""Who knows the secret is let in, in each vendor's way of signing, and nobody else; an old message is refused however well it is signed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks import Webhook

from tests.hook_client import STANDARD, based, hexed, standard
from trueup.web.signatures import Incoming, verifier

NOW_S = 1_700_000_000.0
BODY = b'{"object":"contacts","key":"42"}'
SECRET = "s3cret"


def incoming(headers: Mapping[str, str], body: bytes = BODY, *, method: str = "POST", path: str = "/hooks/shop") -> Incoming:
    return Incoming(method, path, {name.lower(): [value] for name, value in headers.items()}, body)


def proves(verify: Mapping[str, Any], headers: Mapping[str, str], body: bytes = BODY, now_s: float = NOW_S, **given: Any) -> bool:
    return verifier(verify).proves(incoming(headers, body, **given), now_s)


# ---------------------------------------------------------------- Standard Webhooks


def test_the_published_vector_of_standard_webhooks():
    """The one in the specification's own tests: the same secret, id, time and body give this signature."""
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert proves({"kind": "standard", "secret": STANDARD}, headers, b'{"test": 2432232314}', 1_614_265_330)


@pytest.mark.parametrize("number", ["msg_1", "a-long_id.with-dots", "1"])
@pytest.mark.parametrize("body", [BODY, b"{}", '{"name":"Zoë 💛"}'.encode()])
def test_what_the_reference_signs_is_taken_and_what_we_sign_the_reference_takes(number, body):
    now = time.time()
    reference = Webhook(STANDARD)
    signature = reference.sign(number, datetime.fromtimestamp(int(now), UTC), body.decode())
    headers = {"webhook-id": number, "webhook-timestamp": str(int(now)), "webhook-signature": signature}
    assert proves({"kind": "standard", "secret": STANDARD}, headers, body, now)
    reference.verify(body, standard(body, number))


def test_several_signatures_and_several_secrets():
    other = "whsec_" + base64.b64encode(b"another secret of somebody").decode()
    headers = standard(BODY, at=NOW_S)
    both = headers | {"webhook-signature": "v1a,unknown v1,AAAA " + headers["webhook-signature"]}
    assert proves({"kind": "standard", "secret": STANDARD}, both)
    assert proves({"kind": "standard", "secret": (other, STANDARD)}, headers)
    assert proves({"kind": "standard", "secret": (other, STANDARD)}, standard(BODY, secret=other, at=NOW_S))
    assert not proves({"kind": "standard", "secret": other}, headers)


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-id": ""},
        {"webhook-timestamp": str(int(NOW_S) + 1)},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "nan"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1,not base64!"},
    ],
)
def test_a_changed_header_is_refused(change):
    assert not proves({"kind": "standard", "secret": STANDARD}, standard(BODY, at=NOW_S) | change)


def test_a_changed_body_is_refused():
    assert not proves({"kind": "standard", "secret": STANDARD}, standard(BODY, at=NOW_S), BODY + b" ")


def test_a_header_that_came_twice_is_none():
    headers = {name: [value] for name, value in standard(BODY, at=NOW_S).items()}
    headers["webhook-id"] *= 2
    assert not verifier({"kind": "standard", "secret": STANDARD}).proves(Incoming("POST", "/hooks/shop", headers, BODY), NOW_S)


@pytest.mark.parametrize(("age_s", "taken"), [(0, True), (300, True), (301, False), (-300, True), (-301, False), (86_400, False)])
def test_the_replay_window(age_s, taken):
    assert proves({"kind": "standard", "secret": STANDARD}, standard(BODY, at=NOW_S - age_s)) is taken
    stamped = {
        "kind": "hmac",
        "secret": SECRET,
        "header": "X-Signature",
        "message": "${timestamp}.${body}",
        "timestamp": {"header": "X-Timestamp", "unit": "s", "max_age_s": 300.0},
    }
    stamp = str(int(NOW_S - age_s))
    assert proves(stamped, {"X-Signature": hexed(SECRET, f"{stamp}.".encode() + BODY), "X-Timestamp": stamp}) is taken


def test_a_shorter_window_where_one_is_asked_for():
    verify = {"kind": "standard", "secret": STANDARD, "timestamp": {"max_age_s": 10.0}}
    assert proves(verify, standard(BODY, at=NOW_S - 10))
    assert not proves(verify, standard(BODY, at=NOW_S - 11))


# ---------------------------------------------------------------- HMAC, as each vendor has it

STAMP = str(int(NOW_S))
STAMP_MS = str(int(NOW_S * 1000))
ISO = datetime.fromtimestamp(NOW_S, UTC).isoformat()
URI = "https://sync.example.com/hooks/hubspot"

VENDORS: dict[str, tuple[dict[str, Any], dict[str, str], dict[str, Any]]] = {
    "INTERFACE": (
        {
            "header": "X-Signature",
            "prefix": "sha256=",
            "message": "${timestamp}.${body}",
            "timestamp": {"header": "X-Timestamp", "unit": "s", "max_age_s": 300},
        },
        {"X-Signature": "sha256=" + hexed(SECRET, f"{STAMP}.".encode() + BODY), "X-Timestamp": STAMP},
        {},
    ),
    "HubSpot": (
        {
            "header": "X-HubSpot-Signature-v3",
            "encoding": "base64",
            "message": "${method}${uri}${body}${timestamp}",
            "timestamp": {"header": "X-HubSpot-Request-Timestamp", "unit": "ms", "max_age_s": 300},
        },
        {
            "X-HubSpot-Signature-v3": based(SECRET, f"POST{URI}?portal=1".encode() + BODY + STAMP_MS.encode()),
            "X-HubSpot-Request-Timestamp": STAMP_MS,
            "Host": "sync.example.com",
        },
        {"path": "/hooks/hubspot?portal=1"},
    ),
    "HubSpot behind a proxy that changes the address": (
        {
            "header": "X-HubSpot-Signature-v3",
            "encoding": "base64",
            "uri": URI,
            "message": "${method}${uri}${body}${timestamp}",
            "timestamp": {"header": "X-HubSpot-Request-Timestamp", "unit": "ms", "max_age_s": 300},
        },
        {
            "X-HubSpot-Signature-v3": based(SECRET, f"POST{URI}".encode() + BODY + STAMP_MS.encode()),
            "X-HubSpot-Request-Timestamp": STAMP_MS,
            "Host": "10.0.0.7:8080",
        },
        {},
    ),
    "Shopify": ({"header": "X-Shopify-Hmac-SHA256", "encoding": "base64"}, {"X-Shopify-Hmac-SHA256": based(SECRET, BODY)}, {}),
    "WooCommerce": ({"header": "X-WC-Webhook-Signature", "encoding": "base64"}, {"X-WC-Webhook-Signature": based(SECRET, BODY)}, {}),
    "Xero": ({"header": "x-xero-signature", "encoding": "base64"}, {"x-xero-signature": based(SECRET, BODY)}, {}),
    "QuickBooks": ({"header": "intuit-signature", "encoding": "base64"}, {"intuit-signature": based(SECRET, BODY)}, {}),
    "Notion": ({"header": "X-Notion-Signature", "prefix": "sha256="}, {"X-Notion-Signature": "sha256=" + hexed(SECRET, BODY)}, {}),
    "Stripe": (
        {
            "header": "Stripe-Signature",
            "field": "v1",
            "message": "${timestamp}.${body}",
            "timestamp": {"field": "t", "unit": "s", "max_age_s": 300},
        },
        {"Stripe-Signature": f"t={STAMP},v1={'0' * 64},v1={hexed(SECRET, f'{STAMP}.'.encode() + BODY)},v0=abc"},
        {},
    ),
    "an ISO time, another header and the path": (
        {
            "header": "X-Sig",
            "hash": "sha512",
            "message": "${header:X-Id}|${path}|${timestamp}|${body}",
            "timestamp": {"header": "X-At", "unit": "iso", "max_age_s": 300},
        },
        {"X-Sig": hexed(SECRET, f"7|/hooks/shop|{ISO}|".encode() + BODY, "sha512"), "X-At": ISO, "X-Id": "7"},
        {},
    ),
    "SHA-1, several with a prefix": (
        {"header": "X-Sig", "hash": "sha1", "prefix": "sha1="},
        {"X-Sig": f"sha1={hexed('old', BODY, 'sha1')}, sha1={hexed(SECRET, BODY, 'sha1')}"},
        {},
    ),
}


@pytest.mark.parametrize("vendor", VENDORS)
def test_each_vendor(vendor):
    settings, headers, given = VENDORS[vendor]
    verify = {"kind": "hmac", "secret": SECRET} | settings
    assert proves(verify, headers, **given)
    assert proves(verify | {"secret": ("new", SECRET)}, headers, **given)
    assert not proves(verify | {"secret": "new"}, headers, **given)
    assert not proves(verify, headers, BODY + b"\n", **given)
    for name in headers:
        if name != "Host":
            assert not proves(verify, {key: value for key, value in headers.items() if key != name}, **given)
            assert not proves(verify, headers | {name: ""}, **given)
    if "timestamp" in settings:
        assert not proves(verify, headers, now_s=NOW_S + 301, **given)


def test_another_address_or_method_is_refused_where_it_is_signed():
    settings, headers, given = VENDORS["HubSpot"]
    verify = {"kind": "hmac", "secret": SECRET} | settings
    assert not proves(verify, headers, path="/hooks/hubspot?portal=2")
    assert not proves(verify, headers, method="PUT", **given)
    assert not proves(verify, headers | {"Host": "other.example.com"}, **given)


def test_a_signature_without_its_prefix_is_refused():
    settings, headers, _ = VENDORS["Notion"]
    assert not proves({"kind": "hmac", "secret": SECRET} | settings, {"X-Notion-Signature": headers["X-Notion-Signature"][7:]})


def test_the_times_of_two_fields_are_no_time():
    settings, headers, _ = VENDORS["Stripe"]
    doubled = {"Stripe-Signature": f"t={STAMP}," + headers["Stripe-Signature"]}
    assert not proves({"kind": "hmac", "secret": SECRET} | settings, doubled)


def test_a_flood_of_signatures_is_not_looked_through():
    good = hexed(SECRET, BODY)
    verify = {"kind": "hmac", "secret": SECRET, "header": "X-Sig"}
    assert proves(verify, {"X-Sig": ",".join(["0" * 64] * 19 + [good])})
    assert not proves(verify, {"X-Sig": ",".join(["0" * 64] * 20 + [good])})


# ---------------------------------------------------------------- Basic and tokens


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_basic():
    verify = {"kind": "basic", "user": "hook", "password": "pass:with:colons é"}
    assert proves(verify, basic("hook", "pass:with:colons é"))
    assert proves(verify | {"password": ("new", "old")}, basic("hook", "old"))
    assert proves(verify, {"Authorization": basic("hook", "pass:with:colons é")["Authorization"].replace("Basic", "basic")})
    for headers in (
        {},
        basic("hook", "pass"),
        basic("other", "pass:with:colons é"),
        basic("hook", ""),
        {"Authorization": "Basic"},
        {"Authorization": "Basic aG9vaw=="},
        {"Authorization": "Basic not base64!"},
        {"Authorization": basic("hook", "pass:with:colons é")["Authorization"].replace("Basic", "Bearer")},
    ):
        assert not proves(verify, headers)


def test_a_token():
    verify = {"kind": "token", "header": "X-Token", "secret": SECRET}
    assert proves(verify, {"x-token": SECRET})
    assert proves(verify | {"secret": ["new", SECRET]}, {"X-Token": SECRET})
    assert proves(verify | {"prefix": "Bearer "}, {"X-Token": "Bearer " + SECRET})
    for headers in ({}, {"X-Token": ""}, {"X-Token": SECRET + " "}, {"X-Token": SECRET[:-1]}, {"X-Other": SECRET}):
        assert not proves(verify, headers)
    assert not proves(verify | {"prefix": "Bearer "}, {"X-Token": SECRET})


def test_a_secret_beyond_ascii():
    header = "sécret 💛".encode().decode("latin-1")  # how a server hands over its bytes
    assert proves({"kind": "token", "header": "X-Token", "secret": "sécret 💛"}, {"X-Token": header})


# ---------------------------------------------------------------- nothing is told


@pytest.fixture
def compared(monkeypatch) -> list[tuple[int, int]]:
    """The lengths of what was compared so far."""
    found: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        found.append((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    return found


def test_every_secret_is_compared_with_every_signature_whatever_was_found(compared):
    """The number of comparisons depends on what is configured and given, and on nothing secret."""
    verify = {"kind": "hmac", "secret": ("one", "two"), "header": "X-Sig"}
    for headers in ({"X-Sig": hexed("one", BODY)}, {"X-Sig": hexed("two", BODY)}, {"X-Sig": hexed("three", BODY)}, {"X-Sig": "x"}, {}):
        compared.clear()
        proves(verify, headers)
        assert len(compared) == 2


def test_secrets_of_any_length_are_compared_as_digests(compared):
    for token in ("", "x", SECRET, "x" * 500):
        proves({"kind": "token", "header": "X-Token", "secret": SECRET}, {"X-Token": token})
    assert set(compared) == {(hashlib.sha256().digest_size,) * 2}


# ---------------------------------------------------------------- the sender's own key

OWNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = OWNER.public_key().public_bytes_raw()
CHAT: dict[str, Any] = {"kind": "ed25519", "public_key": PUBLIC.hex(), "header": "X-Signature-Ed25519", "message": "${timestamp}${body}"}
CHAT |= {"timestamp": {"header": "X-Signature-Timestamp"}}


def owned(body: bytes = BODY, key: Ed25519PrivateKey = OWNER, at: float = NOW_S) -> dict[str, str]:
    stamp = str(int(at))
    return {"X-Signature-Ed25519": key.sign(stamp.encode() + body).hex(), "X-Signature-Timestamp": stamp}


def test_the_published_vector_of_ed25519():
    """The second one of RFC 8032, 7.1: one byte, and its signature."""
    verify = {"kind": "ed25519", "public_key": "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "header": "X-S"}
    signature = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert proves(verify, {"X-S": signature}, b"\x72")
    assert not proves(verify, {"X-S": signature}, b"\x73")


@pytest.mark.parametrize("key", [PUBLIC.hex(), base64.b64encode(PUBLIC).decode(), base64.urlsafe_b64encode(PUBLIC).decode().rstrip("=")])
def test_only_the_owner_of_the_key_is_let_in(key):
    verify = {**CHAT, "public_key": key}
    assert proves(verify, owned())
    assert not proves(verify, owned(key=Ed25519PrivateKey.generate()))
    assert not proves(verify, owned(), BODY + b" ")
    assert not proves(verify, owned(at=NOW_S - 301))
    assert not proves(verify, {**owned(), "X-Signature-Ed25519": "zz"})
    assert not proves(verify, {})
    assert proves({**CHAT, "public_key": ["00" * 32, key]}, owned())


def test_standard_webhooks_with_a_public_key():
    public = "whpk_" + base64.b64encode(PUBLIC).decode()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(int(NOW_S))}
    told = base64.b64encode(OWNER.sign(f"msg_1.{int(NOW_S)}.".encode() + BODY)).decode()
    assert proves({"kind": "standard", "secret": public}, {**headers, "webhook-signature": f"v1,AAAA v1a,{told}"})
    assert not proves({"kind": "standard", "secret": public}, {**headers, "webhook-signature": f"v1,{told}"})
    assert not proves({"kind": "standard", "secret": public}, {**headers, "webhook-signature": f"v1a,{told}"}, b"{}")
    both = {"kind": "standard", "secret": [STANDARD, public]}
    assert proves(both, {**headers, "webhook-signature": f"v1a,{told}"})
    assert proves(both, standard(BODY, at=NOW_S))
    hashed = hmac.digest(b"", f"msg_1.{int(NOW_S)}.".encode() + BODY, "sha256")  # with no secret, nobody knows one
    assert not proves({"kind": "standard", "secret": public}, {**headers, "webhook-signature": f"v1,{base64.b64encode(hashed).decode()}"})
