"""Whether an incoming message comes from who knows the secret. The answer is yes or no; why not is nobody's business.

Standard Webhooks: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import itertools
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

MAX_AGE_S = 300.0
MAX_SIGNATURES = 20
"""So many signatures of one message are looked at; senders give one per secret."""
PUBLIC = "whpk_"
"""How a public key of Standard Webhooks begins."""
_KEY_BYTES = 32
_PLACES = re.compile(r"\$\{([^}]*)\}")
_PAIRS = re.compile(r"\s*,\s*")
_SEVERAL = re.compile(r"[,\s]+")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it came. `headers` by lower-case name; `path` with its query; `body` is empty as long as it was not read."""

    method: str
    path: str
    headers: Mapping[str, Sequence[str]]
    body: bytes = field(default=b"", repr=False)

    def header(self, name: str) -> str:
        """A header's value; empty where it did not come, or came more than once."""
        found = self.headers.get(name.lower(), ())
        return found[0] if len(found) == 1 else ""


class Verifier(Protocol):
    """One kind of proof."""

    @property
    def needs_body(self) -> bool:
        """Whether the body must have been read."""
        ...

    def proves(self, message: Incoming, now_s: float) -> bool:
        """Whether the message is genuine, and not too old."""
        ...


def verifier(verify: Mapping[str, Any]) -> Verifier:
    """What `webhook: {verify: …}` of a checked configuration asks for."""
    match verify["kind"]:
        case "standard":
            return Standard.of(verify)
        case "hmac":
            return Hmac.of(verify)
        case "ed25519":
            return Ed25519.of(verify)
        case "basic":
            return Basic(verify["user"].encode(), _secrets(verify["password"]))
        case _:
            return Token(verify["header"], verify.get("prefix", ""), _secrets(verify["secret"]))


def _secrets(value: str | Sequence[str]) -> tuple[bytes, ...]:
    return tuple(secret.encode() for secret in ((value,) if isinstance(value, str) else value))


def _same(one: bytes, other: bytes) -> bool:
    """Whether two texts are equal, in a time that tells nothing about them, their lengths included."""
    return hmac.compare_digest(hashlib.sha256(one).digest(), hashlib.sha256(other).digest())


def _any_same(given: Sequence[bytes], expected: Sequence[bytes]) -> bool:
    """Whether any two are equal; all are compared, whatever is found."""
    found = False
    for one in given or [b""]:
        for other in expected:
            found |= _same(one, other)
    return found


@dataclass(frozen=True, slots=True)
class Token:
    """A header that holds a secret."""

    name: str
    prefix: str
    secrets: tuple[bytes, ...]
    needs_body: bool = False

    def proves(self, message: Incoming, now_s: float) -> bool:  # noqa: ARG002 - a token is good at any time
        """Compare it with each secret."""
        value = message.header(self.name)
        fits = value.startswith(self.prefix)
        return _any_same([_raw(value[len(self.prefix) :])], self.secrets) and fits


@dataclass(frozen=True, slots=True)
class Basic:
    """User and password (RFC 7617)."""

    user: bytes
    passwords: tuple[bytes, ...]
    needs_body: bool = False

    def proves(self, message: Incoming, now_s: float) -> bool:  # noqa: ARG002 - a password is good at any time
        """Compare both, whichever is wrong."""
        scheme, _, rest = message.header("authorization").partition(" ")
        user, colon, password = (_base64(rest.strip()) or b"").partition(b":")
        right_user = _same(user, self.user)
        right_password = _any_same([password], self.passwords)
        return right_user and right_password and bool(colon) and scheme.lower() == "basic"


@dataclass(frozen=True, slots=True)
class Standard:
    """Standard Webhooks with a shared secret (`v1`), or with the sender's public key (`v1a`)."""

    keys: tuple[bytes, ...]
    public: tuple[bytes, ...] = ()
    max_age_s: float = MAX_AGE_S
    needs_body: bool = True

    @classmethod
    def of(cls, verify: Mapping[str, Any]) -> Standard:
        """From the configuration."""
        texts = [secret.decode() for secret in _secrets(verify["secret"])]
        public = tuple(_base64(text.removeprefix(PUBLIC)) or b"" for text in texts if text.startswith(PUBLIC))
        keys = tuple(_base64(text.removeprefix("whsec_")) or b"" for text in texts if not text.startswith(PUBLIC))
        return cls(keys, public, (verify.get("timestamp") or {}).get("max_age_s", MAX_AGE_S))

    def proves(self, message: Incoming, now_s: float) -> bool:
        """Sign `id.timestamp.body` with each secret, and compare with each signature given."""
        number, stamp = message.header("webhook-id"), message.header("webhook-timestamp")
        signed = _raw(f"{number}.{stamp}.") + message.body
        expected = [hmac.digest(key, signed, "sha256") for key in self.keys]
        told = [text.partition(",")[::2] for text in message.header("webhook-signature").split(" ")[:MAX_SIGNATURES]]
        genuine = _any_same([_base64(text) or b"" for version, text in told if version == "v1"], expected)
        genuine |= _any_signed([_base64(text) or b"" for version, text in told if version == "v1a"], [signed], self.public)
        return genuine and bool(number) and _is_fresh(stamp, "s", self.max_age_s, now_s)


@dataclass(frozen=True, slots=True)
class Hmac:
    """A signature over a message made from what came, as most vendors have it, each in its own way."""

    secrets: tuple[bytes, ...]
    header: str
    parts: tuple[str, ...]  # of the message: texts and the names of places, in turn
    hash: str = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    field: str | None = None
    uri: str | None = None
    stamp_header: str | None = None
    stamp_field: str | None = None
    unit: str = "s"
    max_age_s: float | None = None
    needs_body: bool = True

    @classmethod
    def of(cls, verify: Mapping[str, Any]) -> Hmac:
        """From the configuration."""
        stamp = verify.get("timestamp") or {}
        return cls(
            secrets=_secrets(verify["secret"]),
            header=verify["header"],
            parts=tuple(_PLACES.split(verify.get("message", "${body}"))),
            hash=verify.get("hash", "sha256"),
            encoding=verify.get("encoding", "hex"),
            prefix=verify.get("prefix", ""),
            field=verify.get("field"),
            uri=verify.get("uri"),
            stamp_header=stamp.get("header"),
            stamp_field=stamp.get("field"),
            unit=stamp.get("unit", "s"),
            max_age_s=stamp.get("max_age_s", MAX_AGE_S) if stamp else None,
        )

    def proves(self, message: Incoming, now_s: float) -> bool:
        """Sign what came with each secret, and compare with each signature given."""
        signatures, stamp = self.given(message)
        expected = [hmac.digest(secret, signed, self.hash) for signed in self.signed(message, stamp) for secret in self.secrets]
        return _any_same(signatures, expected) and self.is_fresh(stamp, now_s)

    def is_fresh(self, stamp: str, now_s: float) -> bool:
        """Whether a message with this time is not too old, where that matters."""
        return self.max_age_s is None or _is_fresh(stamp, self.unit, self.max_age_s, now_s)

    def given(self, message: Incoming) -> tuple[list[bytes], str]:
        """The signatures that came, and the time as text; empty where it did not come."""
        given, stamp = self._given(message)
        decode: Callable[[str], bytes | None] = _hex if self.encoding == "hex" else _base64
        fitting = [text.removeprefix(self.prefix) for text in given if text.startswith(self.prefix)]
        return [decode(text) or b"" for text in fitting[:MAX_SIGNATURES]], stamp

    def _given(self, message: Incoming) -> tuple[list[str], str]:
        """The signatures that came, and the time as text; empty where it did not come."""
        stamp = message.header(self.stamp_header) if self.stamp_header is not None else ""
        value = message.header(self.header)
        if self.field is None:
            return [text for text in _SEVERAL.split(value) if text], stamp
        pairs = [pair.partition("=")[::2] for pair in _PAIRS.split(value.strip())]
        if self.stamp_field is not None:
            stamps = [text for name, text in pairs if name == self.stamp_field]
            stamp = stamps[0] if len(stamps) == 1 else ""
        return [text for name, text in pairs if name == self.field], stamp

    def signed(self, message: Incoming, stamp: str) -> Iterator[bytes]:
        """What the sender may have signed: behind a proxy nobody knows by which scheme it was asked."""
        addresses = [""]
        if "uri" in self.parts[1::2]:
            query = "?" + message.path.partition("?")[2] if "?" in message.path else ""
            host = message.header("host")
            addresses = [self.uri + query] if self.uri else [f"{scheme}://{host}{message.path}" for scheme in ("https", "http")]
        for address in addresses:
            values = {"timestamp": stamp, "method": message.method, "path": message.path, "uri": address}
            signed = b""
            for number, part in enumerate(self.parts):
                if number % 2 == 0:
                    signed += part.encode()
                elif part == "body":
                    signed += message.body
                elif part.startswith("header:"):
                    signed += _raw(message.header(part.removeprefix("header:")))
                else:
                    signed += _raw(values.get(part, ""))
            yield signed


@dataclass(frozen=True, slots=True)
class Ed25519:
    """A signature with a private key that the sender alone has (RFC 8032), over a message that is made as that of an hmac."""

    message: Hmac
    keys: tuple[bytes, ...]
    needs_body: bool = True

    @classmethod
    def of(cls, verify: Mapping[str, Any]) -> Ed25519:
        """From the configuration."""
        keys = tuple(key_of(key.decode()) or b"" for key in _secrets(verify["public_key"]))
        return cls(Hmac.of({**verify, "secret": ""}), keys)

    def proves(self, message: Incoming, now_s: float) -> bool:
        """Check each signature given with each key."""
        given, stamp = self.message.given(message)
        genuine = _any_signed(given, list(self.message.signed(message, stamp)), self.keys)
        return genuine and self.message.is_fresh(stamp, now_s)


def key_of(text: str) -> bytes | None:
    """A public key of Ed25519, in hex or base64; None: it is none."""
    found = _hex(text) if len(text) == 2 * _KEY_BYTES else _base64(text.replace("-", "+").replace("_", "/"))
    return found if found is not None and len(found) == _KEY_BYTES else None


def _any_signed(given: Sequence[bytes], signed: Sequence[bytes], keys: Sequence[bytes]) -> bool:
    """Whether any of these signatures is one of any message, by the owner of any key."""
    if not given or not keys:
        return False
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    for key, text, signature in itertools.product(keys, signed, given):
        with contextlib.suppress(InvalidSignature, ValueError):
            Ed25519PublicKey.from_public_bytes(key).verify(signature, text)
            return True
    return False


def _raw(text: str) -> bytes:
    """A header as it came: its bytes are read as Latin-1."""
    return text.encode("latin-1", errors="replace")


def _hex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _is_fresh(stamp: str, unit: str, max_age_s: float, now_s: float) -> bool:
    """Whether a time is neither too long ago nor too far ahead; False where it is none."""
    try:
        if unit == "iso":
            moment = datetime.fromisoformat(stamp)
            at_s = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        else:
            at_s = float(stamp) / (1000 if unit == "ms" else 1)
    except (ValueError, OverflowError):
        return False
    return abs(now_s - at_s) <= max_age_s
