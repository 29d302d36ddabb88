"""What a service account says of itself: read by joserfc, and taken by a server that looks at each word of it."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat, PublicFormat
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from tests.oauth_server import OAuthServer
from trueup.credentials.assertion import assertion, key_of
from trueup.credentials.endpoint import Endpoint
from trueup.credentials.grant import grant_of, problems_of
from trueup.credentials.keeper import Keeper
from trueup.errors import AccessRefusedError, GrantExpiredError, veiled
from trueup.model import KeyPlace
from trueup.runtime.credentials import StateShelf
from trueup.sealing import new_key

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
SAID = {"grant": "jwt_bearer", "token_url": "https://login.example.com/token", "client_id": "robot@example.com", "scopes": ["a", "b"]}


def pem(key: Any, secret: bytes | None = None) -> str:
    how = NoEncryption() if secret is None else BestAvailableEncryption(secret)
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how).decode())


def judge(key: Any) -> Any:
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return (RSAKey if isinstance(key, rsa.RSAPrivateKey) else ECKey).import_key(public)


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256")])
@pytest.mark.parametrize("spelled", [str, lambda text: text.replace("\n", "\\n"), lambda text: f"\n{text}\n"])
def test_another_library_reads_it(key, algorithm, spelled):
    grant = grant_of("crm", {**SAID, "private_key": spelled(pem(key)), "key_id": "k1", "subject": "ada@example.com"})
    told = jwt.decode(assertion(grant, 1_700_000_000), judge(key), algorithms=[algorithm])
    assert told.header == {"alg": algorithm, "typ": "JWT", "kid": "k1"}
    claims = {**told.claims, "jti": ""}
    assert claims == {
        "iss": "robot@example.com",
        "sub": "ada@example.com",
        "aud": "https://login.example.com/token",
        "scope": "a b",
        "iat": 1_700_000_000,
        "exp": 1_700_000_170,
        "jti": "",
    }
    assert told.claims["jti"] != jwt.decode(assertion(grant, 1_700_000_000), judge(key), algorithms=[algorithm]).claims["jti"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no key",
        pem(RSA, b"secret"),
        pem(RSA)[:-60],
        pem(ed25519.Ed25519PrivateKey.generate()),
        pem(ec.generate_private_key(ec.SECP384R1())),
    ],
)
def test_a_key_that_cannot_sign_is_told_and_not_shown(text):
    with pytest.raises(AccessRefusedError, match="private_key") as caught:
        key_of(text)
    assert text[30:60] not in str(caught.value) or not text[30:60]


def test_what_is_missing_is_told():
    assert [problem.message for problem in problems_of(SAID)] == ["`private_key` is missing"]


@pytest.fixture
def server():
    with OAuthServer() as made:
        made.robots["robot@example.com"] = judge(RSA)
        yield made


def robot(server: OAuthServer, tmp_path, **more):
    grant = grant_of("crm", {**SAID, "token_url": f"{server.url}/token", "private_key": pem(RSA), **more})
    shelf = StateShelf(str(tmp_path / "state.db"), KeyPlace(given=new_key().text), grant)
    return Keeper(grant, shelf, Endpoint(grant), wait=lambda _s: None), shelf


def test_it_is_given_tokens_again_and_again_and_nobody_is_asked(server, tmp_path):
    keeper, shelf = robot(server, tmp_path, client_auth="post")
    with closing(shelf):
        first = keeper.token().access
        keeper._held.renew_at = 0.0
        assert keeper.token().access != first
    assert all(set(form) == {"grant_type", "assertion"} for form in server.asked)
    word = server.asked[0]["assertion"]
    assert word not in veiled(f"it said {word}")


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        ({"client_id": "another@example.com"}, GrantExpiredError, "invalid_grant: nobody known"),
        ({"private_key": pem(EC)}, GrantExpiredError, "invalid_grant: the signature is not valid"),
        ({"audience": "https://elsewhere.example.com"}, GrantExpiredError, "invalid_grant: meant for somebody else"),
        ({"private_key": "not in PEM at all"}, AccessRefusedError, "no private key in PEM"),
    ],
)
def test_what_the_server_does_not_take_is_told(server, tmp_path, more, error, said):
    keeper, shelf = robot(server, tmp_path, **more)
    with closing(shelf), pytest.raises(error, match=said):
        keeper.token()


def test_a_clock_that_is_wrong_is_told(server, tmp_path):
    grant = grant_of("crm", {**SAID, "token_url": f"{server.url}/token", "private_key": pem(RSA)})
    late = Endpoint(grant, clock=lambda: datetime.fromtimestamp(time.time() - 3600, UTC))
    with pytest.raises(GrantExpiredError, match=r"does not take what the account says of itself \(invalid_grant: it has ended") as caught:
        late.assertion()
    assert "clock of this machine" in str(caught.value.hint)
