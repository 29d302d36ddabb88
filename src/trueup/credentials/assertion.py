"""A signed word of the client itself, which a token server takes for a token: service accounts (RFC 7523, with RFC 7515 and 7519)."""

from __future__ import annotations

import base64
import json
import uuid
from typing import TYPE_CHECKING, Any

from trueup.errors import AccessRefusedError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

    from trueup.credentials.grant import Grant

LIVES_S = 170
"""So long an assertion counts: Salesforce takes none of more than three minutes."""
_EC_BYTES = 32


def assertion(grant: Grant, now_s: float) -> str:
    """The assertion of a grant. Raises AccessRefusedError where its key cannot be read.

    Scopes are claims, and an account that asks for itself names no `sub`, as Google has both:
    https://developers.google.com/identity/protocols/oauth2/service-account
    """
    key = key_of(grant.private_key or "")
    said = {"iss": grant.client_id, "aud": grant.audience or grant.token_url}
    said |= {name: value for name, value in (("sub", grant.subject), ("scope", grant.scope)) if value}
    claims = {**said, "iat": int(now_s), "exp": int(now_s) + LIVES_S, "jti": str(uuid.uuid4())}
    head = {"alg": _algorithm(key), "typ": "JWT", **({"kid": grant.key_id} if grant.key_id else {})}
    signed = f"{_part(head)}.{_part(claims)}"
    return f"{signed}.{_text(_signature(key, signed.encode()))}"


def key_of(text: str) -> RSAPrivateKey | EllipticCurvePrivateKey:
    """The private key of a PEM text, of which line ends may be spelled out. Raises AccessRefusedError, which shows nothing of it."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(text.replace("\\n", "\n").strip().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise AccessRefusedError(
            "its `private_key` is no private key in PEM, or one with a password",
            hint="it begins with -----BEGIN PRIVATE KEY-----, and its line ends may be written as \\n",
        ) from None
    if isinstance(key, RSAPrivateKey) or (isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1)):
        return key
    raise AccessRefusedError("its `private_key` is of a kind that nobody signs tokens with here", hint="take one of RSA, or of EC on P-256")


def _algorithm(key: RSAPrivateKey | EllipticCurvePrivateKey) -> str:
    return "ES256" if hasattr(key, "curve") else "RS256"


def _signature(key: Any, signed: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec, padding
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    if _algorithm(key) == "RS256":
        return bytes(key.sign(signed, padding.PKCS1v15(), SHA256()))
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(SHA256())))  # both as they stand in a JWS (RFC 7518, 3.4)
    return r.to_bytes(_EC_BYTES) + s.to_bytes(_EC_BYTES)


def _part(value: dict[str, Any]) -> str:
    return _text(json.dumps(value, separators=(",", ":")).encode())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
